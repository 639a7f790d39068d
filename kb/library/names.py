"""Names that users give: labels in any script, never paths."""

import unicodedata

from kb.errors import InvalidName

NAME_CHARACTERS = 100
LABEL_CHARACTERS = 255
_JOINERS = "\u200c\u200d"  # Persian, the Indic scripts and joined emoji are spelt with them


def clean_name(name: str) -> str:
    """A knowledge base's name; `InvalidName` if nothing visible is left or it is too long."""
    cleaned = " ".join(clean_label(name).split())
    if not cleaned or len(cleaned) > NAME_CHARACTERS:
        raise InvalidName(limit=NAME_CHARACTERS)
    return cleaned


def clean_label(name: str) -> str:
    """A file's name for showing: control characters and those that turn the writing direction are dropped."""
    name = "".join(" " if c.isspace() else c for c in name)  # a line break still parts two words
    # Cc: control, Cf: format (bidi overrides, zero-width), Cs: lone surrogates.
    visible = "".join(c for c in name if c in _JOINERS or unicodedata.category(c) not in ("Cc", "Cf", "Cs"))
    return unicodedata.normalize("NFC", visible).strip()[:LABEL_CHARACTERS]
