"""Names that users give: labels in any script, never paths."""

import unicodedata

from kb.errors import InvalidName

NAME_CHARACTERS = 100
LABEL_CHARACTERS = 255
_JOINERS = "\u200c\u200d"  # Persian, the Indic scripts and joined emoji are spelt with them


def clean_name(name: str, limit: int = NAME_CHARACTERS) -> str:
    """A name in one line; `InvalidName` if nothing visible is left or it has more than `limit` characters."""
    cleaned = " ".join(clean_label(name).split())
    if not 0 < len(cleaned) <= limit:
        raise InvalidName(limit=limit)
    return cleaned


def clean_text(text: str) -> str:
    """Without what a database takes for no text: NUL, and lone halves of characters."""
    return text.replace("\0", "").encode(errors="ignore").decode()


def clean_label(name: str) -> str:
    """A text to show in a line, as a file's name: no control characters, none that turn the writing direction."""
    name = "".join(" " if c.isspace() else c for c in name)  # a line break still parts two words
    # Cc: control, Cf: format (bidi overrides, zero-width), Cs: lone surrogates.
    visible = "".join(c for c in name if c in _JOINERS or unicodedata.category(c) not in ("Cc", "Cf", "Cs"))
    return unicodedata.normalize("NFC", visible).strip()[:LABEL_CHARACTERS]
