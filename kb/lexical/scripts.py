"""The scripts that a text is written in."""

from __future__ import annotations

import unicodedata
from enum import Enum
from functools import lru_cache

from kb.normalizing import normalize

_SCRIPTS = {
    "cjk": "han",
    "ideographic": "han",
    "hiragana": "kana",
    "katakana": "kana",
    "katakana-hiragana": "kana",  # the mark of long vowels: サーバー
}


class Script(Enum):
    """How Chinese is written. The values are the national character sets that tell them apart."""

    SIMPLIFIED = "gb2312"
    TRADITIONAL = "big5"


def chinese_script(text: str) -> Script | None:
    """The script of a Chinese text; None where its characters are the same in both.

    A name in the other script does not change the script of a question: most of the characters that differ decide.
    """
    differing = [script for script in map(_only_script, text) if script]
    traditional = differing.count(Script.TRADITIONAL)
    if traditional * 2 == len(differing):
        return None
    return Script.TRADITIONAL if traditional * 2 > len(differing) else Script.SIMPLIFIED


@lru_cache(maxsize=8192)
def _only_script(character: str) -> Script | None:
    """The script that has the character, if the other one does not."""
    if character.isascii():
        return None
    found = [script for script in Script if _is_encodable(character, script.value)]
    return found[0] if len(found) == 1 else None


def _is_encodable(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


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
    return [char for char in normalize("NFKC", text) if char.isalpha()]


@lru_cache(maxsize=8192)
def _script(letter: str) -> str:
    """The script's name from the letter's Unicode name: "latin", "han", "kana", "hangul", "cyrillic" …"""
    name = unicodedata.name(letter, "unknown").split(maxsplit=1)[0].lower()
    return _SCRIPTS.get(name, name)
