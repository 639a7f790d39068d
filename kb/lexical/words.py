"""Folded text → the terms of its words."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from operator import add
from threading import Lock
from typing import Protocol

import snowballstemmer

_CJK = (
    "\u3005\u3007\u3041-\u3096\u30a1-\u30fa\u30fc"  # 々 〇 and kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufa6d\ufa70-\ufad9"
    "\uac00-\ud7a3"  # hangul
    "\U00020000-\U0002a6df\U0002a700-\U0002b738\U0002b740-\U0002b81d\U0002b820-\U0002cea1\U0002ceb0-\U0002ebe0"
    "\U0002f800-\U0002fa1d\U00030000-\U0003134a"
)
_TOKEN = re.compile(
    rf"([{_CJK}]+)"
    r"|((?<![^\W\d_])[A-Za-z](?:\+\+|\#)(?!\w)"  # C++ C#
    rf"|[^\W\d_{_CJK}]*+\d++(?:[.,]\d++)++"  # 3.14  1,234  v2.6.10  python3.11
    rf"|[^\W{_CJK}]++(?:['’][^\W\d_{_CJK}]+)?)"  # words, identifiers, don't
)
_PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+", re.ASCII)
_FOREIGN_PART = re.compile(r"[^\W\d_]+|\d+")
_ACRONYMS = re.compile(r"[A-Z]{2,}s")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*$")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?$")
_LONGEST_TERM = 64  # characters; anything longer is data, not a word
_MOST_PARTS = 8


class _Stemmer(Protocol):
    def stemWord(self, word: str) -> str: ...  # noqa: N802


_stemmer: _Stemmer = snowballstemmer.stemmer("english")
_stemmer_lock = Lock()  # a stemmer has state


def words(text: str) -> list[str]:
    """The terms of a folded text, in order, including repeats."""
    found: list[str] = []
    for run, token in _TOKEN.findall(text):
        if run:
            found.extend(run)
            found.extend(map(add, run, run[1:]))
        else:
            found.extend(_token_terms(token))
    return found


@lru_cache(maxsize=32768)
def _token_terms(token: str) -> tuple[str, ...]:
    """The terms of a non-CJK token; cached, because stemming is slow and words repeat."""
    if token[-1] in "+#":
        return (token[0].lower() + ("plusplus" if token[-1] == "+" else "sharp"),)
    if "." in token or "," in token:
        return _dotted_terms(token)
    return tuple(dict.fromkeys(_word_terms(token.replace("’", "'").strip("_"))))


def _dotted_terms(token: str) -> tuple[str, ...]:
    """`3.14` → 3_14; `1,234` → 1234; `v2.6.10` → 2_6_10 and 2_6; `python3.11` → python and 3_11."""
    number = _NUMBER.search(token)
    assert number is not None  # `_TOKEN` found one
    prefix, digits = token[: number.start()], number.group()
    if _THOUSANDS.match(digits):
        digits = digits.replace(",", "")
    found = [] if prefix in ("", "v", "V") else _word_terms(prefix)
    for piece in digits.split(","):
        numbers = piece.split(".")
        found.append("_".join(numbers)[:_LONGEST_TERM])
        if len(numbers) > 2:
            found.append("_".join(numbers[:2])[:_LONGEST_TERM])
    return tuple(found)


def _word_terms(word: str) -> list[str]:
    """`running` → run; `HTTPServer` → httpserv, http, server; `foo_bar` → foo_bar, foo, bar; `gpt4` → gpt4, gpt, 4."""
    if _ACRONYMS.fullmatch(word):  # "PDFs" is neither a plural for the stemmer nor camel case
        return [word[:-1].lower()]
    whole = [_stem(word)]
    parts = (_PART if word.isascii() else _FOREIGN_PART).findall(word) if "'" not in word else []
    if 1 < len(parts) <= _MOST_PARTS:
        whole += [_stem(part) for part in parts if len(part) > 1 or part.isdigit()]
    return [term for term in whole if term]


def _stem(word: str) -> str:
    """Lower case, without accents on Latin letters, stemmed if it is a word; always matches `\\w*`."""
    word = word[:_LONGEST_TERM].lower()
    if not word.isascii():
        word = _without_accents(word)
    if word.replace("'", "").isalpha() and word.isascii():
        with _stemmer_lock:
            word = _stemmer.stemWord(word)
    return "".join(char for char in word if char.isalnum() or char == "_")


def _without_accents(word: str) -> str:
    if word[0] > "\u024f":  # not Latin; in other scripts, marks can be vowels
        return word
    return "".join(char for char in unicodedata.normalize("NFKD", word) if not unicodedata.combining(char))
