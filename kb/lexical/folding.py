"""One form for characters that look different and mean the same."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from opencc import OpenCC

_FRACTION = re.compile("(?=[¼-¾⅐-⅞])")


def fold(text: str) -> str:
    """NFKC and Simplified characters. Case is kept, because it separates the parts of identifiers."""
    if text.isascii():
        return text
    text = text.encode("utf-8", "ignore").decode()  # OpenCC does not accept lone surrogates
    text = _FRACTION.sub(" ", text)  # NFKC would turn 6½ into 61⁄2
    return simplify(unicodedata.normalize("NFKC", text))


def simplify(text: str) -> str:
    """`text` with Simplified characters in place of Traditional ones. It must not have lone surrogates."""
    return text if text.isascii() else str(_simplifier().convert(text))


@cache
def _simplifier() -> OpenCC:
    return OpenCC("t2s")
