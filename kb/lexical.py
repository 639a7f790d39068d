"""Text → search terms for BM25, the same for questions and chunks.

Chinese, Japanese and Korean runs become single characters and bigrams, so no dictionary is needed. Other words are
lower-cased and English ones stemmed; identifiers are kept both whole and in parts. Each term is one `\\w+` token, so
that tokenizers that split at white space and at non-word characters see the same terms.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from operator import add
from threading import Lock
from typing import Protocol

import snowballstemmer
from opencc import OpenCC

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
_FRACTION = re.compile("(?=[¼-¾⅐-⅞])")
_LONGEST_TERM = 64  # characters; anything longer is data, not a word
_MOST_PARTS = 8

# Words without meaning for a question. English is stemmed; Chinese bigrams with one of the characters are dropped, too.
_ENGLISH = """
a about an and ani are as at be been but by can could did do doe for from give had has have how i if in into is it
its me my of on or our pleas shall should show so tell than that the their them there these they this those to
us was we were what when where which who whom whose whi will with would you your
"""
_STOP_CHARACTERS = frozenset("的了吗呢吧啊么是在和与及或也就都而之其于被把从对这那有请谁")
_STOP_TERMS = frozenset(_ENGLISH.split()) | _STOP_CHARACTERS
_ASKING = re.compile("请问|为什么|什么|怎么样?|怎样|如何|为何|哪[些个里儿]|多少|几个|是否|可不可以|可以|我们|你们|他们")


class _Stemmer(Protocol):
    def stemWord(self, word: str) -> str: ...  # noqa: N802


_stemmer: _Stemmer = snowballstemmer.stemmer("english")
_stemmer_lock = Lock()  # a stemmer has state


def analyze(text: str) -> list[str]:
    """The search terms of `text` in the order of its words, including repeats."""
    found: list[str] = []
    for run, token in _TOKEN.findall(_normalise(text)):
        if run:
            found.extend(run)
            found.extend(map(add, run, run[1:]))
        else:
            found.extend(_token_terms(token))
    return found


def terms(*texts: str) -> str:
    """The search terms of all `texts`, joined with spaces: for Milvus to index, and to search for."""
    return " ".join(term for text in texts for term in analyze(text))


def question_terms(text: str) -> tuple[str, ...]:
    """The distinct meaningful terms of a question, in order; used to explain what a passage matched.

    Single Chinese characters occur in nearly every text, so they only count if the question has nothing longer.
    """
    asked = _ASKING.sub(" ", _normalise(text))
    terms = tuple(term for term in dict.fromkeys(analyze(asked)) if not _is_stop(term))
    return tuple(term for term in terms if len(term) > 1 or term.isascii()) or terms


def simplify(text: str) -> str:
    """`text` with Simplified characters in place of Traditional ones. It must not have lone surrogates."""
    return text if text.isascii() else str(_simplifier().convert(text))


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


def _normalise(text: str) -> str:
    """NFKC and Simplified characters. Case is kept, because it separates the parts of identifiers."""
    if text.isascii():
        return text
    text = text.encode("utf-8", "ignore").decode()  # OpenCC does not accept lone surrogates
    text = _FRACTION.sub(" ", text)  # NFKC would turn 6½ into 61⁄2
    return simplify(unicodedata.normalize("NFKC", text))


@cache
def _simplifier() -> OpenCC:
    return OpenCC("t2s")


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


def _is_stop(term: str) -> bool:
    return term in _STOP_TERMS or (len(term) == 2 and not _STOP_CHARACTERS.isdisjoint(term))


@lru_cache(maxsize=8192)
def _script(letter: str) -> str:
    """The script's name from the letter's Unicode name: "latin", "han", "kana", "hangul", "cyrillic" …"""
    name = unicodedata.name(letter, "unknown").split(maxsplit=1)[0].lower()
    return {"cjk": "han", "ideographic": "han", "hiragana": "kana", "katakana": "kana"}.get(name, name)
