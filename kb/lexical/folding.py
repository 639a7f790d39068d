"""One form for characters that look different and mean the same."""

from __future__ import annotations

import re
from functools import cache, lru_cache

from opencc import OpenCC

from kb.normalizing import normalize

# Soft hyphens, zero-width characters, marks of direction, variation selectors; accents that no letter has taken up,
# the vowel marks of Arabic and Hebrew, and the stroke that widens Arabic words.
_UNSEEN = (
    "\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufe00-\ufe0f\ufeff"
    "\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670"
)
_SAME = {"\u2010\u2011\u2012\u2013\u2212": "-", "\u2044\u2215": "/", "‘’ʼ": "'"}
_DASH_IN_CODE = re.compile(r"(?<=[0-9])[\u2014\u2015](?=[0-9])")  # GB/T 19001—2016
_TO_FOLD = re.compile(f"[{_UNSEEN}{''.join(_SAME)}]")  # one class: `re` searches it five times as fast as two
_FOLDED = {char: mark for chars, mark in _SAME.items() for char in chars}
# What NFKC changes in nearly every Chinese text. It is slow, but only where there is something to change.
_WIDE_MARKS = tuple(zip("，：；？！（）", ",:;?!()", strict=True))
# NFKC would turn 6½ into 61⁄2, 10⁶ into 106, and ①② into 12.
_RAISED = "⁰²³¹⁴-⁹₀-₉"
_SLIDE, _SLIDE_OF_TAIWAN = "幻燈片", "投影片"  # OpenCC leaves it as it is
_QUOTES_OF_TAIWAN = str.maketrans("“”‘’", "「」『』")
_SMALL_NUMBER = re.compile(f"[¼-¾⅐-⅞①-⓿{_RAISED}](?:(?<=[{_RAISED}])[{_RAISED}]+)?")


def fold(text: str) -> str:
    """NFKC and Simplified characters, without what cannot be seen. Case is kept: it separates parts of identifiers."""
    if text.isascii():
        return text
    text = text.encode("utf-8", "ignore").decode()  # OpenCC does not accept lone surrogates
    for wide, narrow in _WIDE_MARKS:
        text = text.replace(wide, narrow)
    text = _DASH_IN_CODE.sub("-", normalize("NFKC", _SMALL_NUMBER.sub(_apart, text)))
    return simplify(_TO_FOLD.sub(lambda match: _FOLDED.get(match.group(), ""), text))


def _apart(match: re.Match[str]) -> str:
    return " " * match.string[match.start() - 1 : match.start()].isnumeric() + match.group()


def simplify(text: str) -> str:
    """`text` with Simplified characters in place of Traditional ones. It must not have lone surrogates."""
    return text if text.isascii() else str(_simplifier().convert(text))


def to_traditional(text: str) -> str:
    """`text` with Traditional characters in place of Simplified ones, the usual one where there are several."""
    return text if text.isascii() else str(_traditionalizer().convert(text))


@lru_cache(maxsize=256)
def to_taiwanese(text: str) -> str:
    """A fixed text of ours, which is in Simplified characters, with the characters, words and quotes of Taiwan."""
    return str(_to_taiwan().convert(text)).replace(_SLIDE, _SLIDE_OF_TAIWAN).translate(_QUOTES_OF_TAIWAN)


@cache
def _simplifier() -> OpenCC:
    return OpenCC("t2s")


@cache
def _traditionalizer() -> OpenCC:
    return OpenCC("s2t")


@cache
def _to_taiwan() -> OpenCC:
    return OpenCC("s2twp")
