"""Names and texts that users give, in any script: cleaned to be kept and shown, folded to be searched."""

import re
import unicodedata
from functools import lru_cache
from pathlib import PurePath

from kb.errors import InvalidName
from kb.lexical import simplify
from kb.normalizing import normalize

NAME_CHARACTERS = 100
LABEL_CHARACTERS = 255
_LONGEST_EXTENSION = 20
_JOINERS = "\u200c\u200d"  # Persian, the Indic scripts and joined emoji are spelt with them

_HAN = re.compile("[\u3400-\u9fff\U00020000-\U0003ffff]")


def clean_name(name: str, limit: int = NAME_CHARACTERS) -> str:
    """A name in one line; `InvalidName` if nothing visible is left or it has more than `limit` characters."""
    cleaned = " ".join(clean_label(name).split())
    if not 0 < len(cleaned) <= limit:
        raise InvalidName(limit=limit)
    return cleaned


def clean_text(text: str) -> str:
    """Without what a database takes for no text: NUL, and lone halves of characters."""
    return text.replace("\0", "").encode(errors="ignore").decode()


def clean_label(name: str, limit: int = LABEL_CHARACTERS) -> str:
    """A text to show in a line, as a file's name: no control characters, none that turn the writing direction."""
    return _visible(name)[:limit]


def clean_file_name(name: str) -> str:
    """Like `clean_label`, but what is too long is shortened before the extension."""
    visible = _visible(name)
    extension = PurePath(visible).suffix
    if len(visible) <= LABEL_CHARACTERS or len(extension) > _LONGEST_EXTENSION:
        return visible[:LABEL_CHARACTERS]
    return visible[: LABEL_CHARACTERS - len(extension)] + extension


def _visible(text: str) -> str:
    text = "".join(" " if c.isspace() else c for c in text)  # a line break still parts two words
    # Cc: control, Cf: format (bidi overrides, zero-width), Cs: lone surrogates.
    visible = "".join(c for c in text if c in _JOINERS or unicodedata.category(c) not in ("Cc", "Cf", "Cs"))
    return normalize("NFC", visible).strip()


def fold(text: str) -> str:
    """The text as searches and sorting see it: without case, and with one spelling for each character.

    Folds full-width forms, ligatures and combining accents (NFKC), but keeps accents: é is not e. The Turkish ı and İ
    count as i, so that a search finds a word whichever way its capital I was written. Traditional characters become
    Simplified ones, each by itself, so that a part of a folded text is the folded part of the text.
    """
    folded = normalize("NFKC", normalize("NFKC", text).casefold())
    folded = folded.replace("i\u0307", "i").replace("\u0131", "i")
    return folded if folded.isascii() else _HAN.sub(lambda match: _simplified(match.group()), folded)


@lru_cache(maxsize=32_768)
def _simplified(character: str) -> str:
    return simplify(character)
