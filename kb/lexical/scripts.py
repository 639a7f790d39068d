"""The scripts that a text is written in."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

_SCRIPTS = {
    "cjk": "han",
    "ideographic": "han",
    "hiragana": "kana",
    "katakana": "kana",
    "katakana-hiragana": "kana",  # the mark of long vowels: サーバー
}


def foreign_share(text: str, scripts: frozenset[str] | None) -> float:
    """The share (0 to 1) of `text`'s letters that are in none of `scripts`, such as "latin", "han" or "kana".

    `None` means all scripts. The share of a text without letters is 0.
    """
    if scripts is None:
        return 0.0
    letters = _letters(text)
    return sum(_script(letter) not in scripts for letter in letters) / max(len(letters), 1)


def script_share(text: str, script: str) -> float:
    """The share (0 to 1) of `text`'s letters that are in `script`, such as "han"."""
    letters = _letters(text)
    return sum(_script(letter) == script for letter in letters) / max(len(letters), 1)


def _letters(text: str) -> list[str]:
    return [char for char in unicodedata.normalize("NFKC", text) if char.isalpha()]


@lru_cache(maxsize=8192)
def _script(letter: str) -> str:
    """The script's name from the letter's Unicode name: "latin", "han", "kana", "hangul", "cyrillic" …"""
    name = unicodedata.name(letter, "unknown").split(maxsplit=1)[0].lower()
    return _SCRIPTS.get(name, name)
