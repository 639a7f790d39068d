"""How wide a text is, as fonts of one width show it."""

import re

_WIDE = re.compile(
    "[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6"
    "\U0001f000-\U0001faff\U00020000-\U0003fffd]+"
)


def columns(text: str) -> int:
    """The width of `text`: 2 for a wide character, 1 for any other."""
    return len(text) if text.isascii() else len(text) + sum(map(len, _WIDE.findall(text)))
