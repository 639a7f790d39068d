"""Folded text → the terms of its words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import add
from threading import Lock
from typing import Protocol

import snowballstemmer

from kb.normalizing import normalize

CJK = (
    "\u3005\u3007\u3041-\u3096\u30a1-\u30fa\u30fc"  # 々 〇 and kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufa6d\ufa70-\ufad9"
    "\uac00-\ud7a3"  # hangul
    "\U00020000-\U0002a6df\U0002a700-\U0002b738\U0002b740-\U0002b81d\U0002b820-\U0002cea1\U0002ceb0-\U0002ebe0"
    "\U0002f800-\U0002fa1d\U00030000-\U0003134a"
)
_PLUS = r"[A-Za-z](?:\+\+|\#)(?!\w)"  # C++ C#
_PLUS_ALONE = rf"(?=.[+\#])(?<![^\W\d_]){_PLUS}"
_WORD = rf"(?:[A-Za-z0-9_]++|[^\W{CJK}]++)++"  # the first part is faster
_TOKEN = re.compile(
    rf"([{CJK}]+)"
    rf"|({_PLUS_ALONE}"
    rf"|{_WORD}(?:(?:[-/\\.:#@&'’]|,(?<=\d,)(?=\d))(?!{_PLUS}){_WORD})*+)"  # words, and codes of words
)
_PIECE = re.compile(
    rf"({_PLUS_ALONE}"
    rf"|[^\W\d_{CJK}]*+\d++(?:[.,]\d++)++"  # 3.14  1,234  v2.6.10  python3.11
    rf"|{_WORD}(?:['’][^\W\d_{CJK}]+)?)"  # words, identifiers, don't
)
_PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+", re.ASCII)
_FOREIGN_PART = re.compile(r"[^\W\d_]+|\d+")
_ACRONYMS = re.compile(r"[A-Z]{2,}s")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*$")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?$")
_DATE = re.compile(r"[12]\d{3}([-/.])\d{1,2}\1\d{1,2}|\d{1,2}([-/.])\d{1,2}\2[12]\d{3}")
_ATOMS = re.compile(r"((?<!\d)\.|\.(?!\d)|[-/\\:@&]|#(?=\w))")  # what stands between the parts of a code
_SPACED = re.compile(  # ISO 9001:2015
    r"[A-Z](?<![A-Za-z\d_/-].)[A-Z]{0,5}(?:/[A-Z]{1,2})?[ ]\d[A-Za-z\d]*(?:[-/.:][A-Za-z\d]+)*"
)
_STANDARD = re.compile(r"(?<=[A-Z][A-Z]|/[A-Z]) (?=\d[A-Za-z\d]*[-/:]\d)")
_DIGIT = frozenset("0123456789")
_VERSION = re.compile(r"^v(?=\d)")
_BETWEEN_DIGITS = re.compile(r"(?<=\d)[\W_]+(?=\d)")
_SEPARATOR = re.compile(r"(?<=\D)[\W_]+|[\W_]+(?=\D)")
# Letters that have no accent to take away. ё is often written е.
_LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ħ": "h", "ı": "i"}
    | {"ŋ": "n", "ŧ": "t", "ς": "σ", "ё": "е", "أ": "ا", "إ": "ا", "آ": "ا"}
)
_SPELT_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa"})
_LONGEST_ACRONYM = 5
_LONGEST_TOKEN = 128
_LONGEST_TERM = 64  # characters; anything longer is data, not a word
_MOST_PARTS = 8


class _Stemmer(Protocol):
    def stemWord(self, word: str) -> str: ...  # noqa: N802


_stemmer: _Stemmer = snowballstemmer.stemmer("english")
_stemmer_lock = Lock()  # a stemmer has state


@dataclass(frozen=True, slots=True)
class _Token:
    """What a token gives to an index, and the forms that a question with it looks for (see `word_forms`)."""

    terms: tuple[str, ...]
    forms: tuple[tuple[str, ...], ...]


def word_terms(text: str) -> list[str]:
    """The terms of a folded text, in order, including repeats."""
    found: list[str] = []
    for run, token in _TOKEN.findall(text):
        if run:
            characters = list(run)
            found += characters
            found += map(add, characters, characters[1:])
        else:
            found += (_read(token) if len(token) <= _LONGEST_TOKEN else _read_data(token)).terms
    for code in _SPACED.findall(text):
        found.extend(_wholes(_ATOMS.split(code.replace(" ", "-"))[::2]))
    return found


def parts(text: str) -> str:
    """The terms of a folded text without the wholes of its codes, as all terms were once: a form for old documents."""
    found: list[str] = []
    for run, token in _TOKEN.findall(text):
        found.extend((*run, *map(add, run, run[1:])) if run else _read_data(token).terms)
    return " ".join(found)


def word_forms(text: str) -> Iterator[tuple[str, ...]]:
    """What a folded question asks for: for each word or code its forms, of which any will do.

    A form is a term, or several terms in a row with spaces between. The first one is the most exact.
    """
    text = _STANDARD.sub("-", text)
    for run, token in _TOKEN.findall(text):
        if run:
            yield from ((term,) for term in (*run, *map(add, run, run[1:])))
        else:
            yield from (_read(token) if len(token) <= _LONGEST_TOKEN else _read_data(token)).forms


@lru_cache(maxsize=32768)
def _read(token: str) -> _Token:
    """Cached, because stemming is slow and words repeat."""
    terms: list[str] = []
    forms: list[tuple[str, ...]] = []
    for atoms, text in _codes(token):
        pieces = [_piece_terms(piece) for piece in _PIECE.findall(text)]
        parts = [term for piece in pieces for term in piece]
        is_code = len(atoms) > 1 or (len(parts) > 1 and "," not in text)
        wholes = _wholes(atoms) if is_code and not _DATE.fullmatch(text) else []
        terms += [term for term in wholes if term not in parts] + parts
        spelt_out = {} if text.isascii() else dict(filter(None, map(_spelt_out, _PIECE.findall(text))))
        terms += spelt_out.values()
        if not wholes:
            forms += [(term, spelt_out[term]) if term in spelt_out else (term,) for term in parts]
        elif len(atoms) == 1:
            spelt = parts if "." in text else parts[1:]  # the first term of HTTPServer is the whole already
            forms.append(tuple(dict.fromkeys((wholes[0], parts[0], " ".join(spelt)))))
        else:
            forms += _code_forms(atoms, text, wholes[0], parts)
    return _Token(tuple(terms), tuple(forms))


def _spelt_out(piece: str) -> tuple[str, str] | None:
    """The term of a word with umlauts, and that of the same word without: Müller, Mueller."""
    word = piece.lower()
    spelt_out = word.translate(_SPELT_OUT)
    return None if spelt_out == word or not word.isalpha() else (_stem(word), _stem(spelt_out))


def _read_data(token: str) -> _Token:
    """A token that is too long for a code: its pieces, as they come."""
    terms = tuple(term for piece in _PIECE.findall(token) for term in _piece_terms(piece))
    return _Token(terms, tuple((term,) for term in terms))


def _codes(token: str) -> Iterator[tuple[list[str], str]]:
    """The stretches of a token whose atoms belong together, each with its text: he/she are two, A-1023/7 is one."""
    atoms = _ATOMS.split(token)
    first = 0
    for place in range(1, len(atoms), 2):
        if not _is_joined(*atoms[place - 1 : place + 2]):
            yield atoms[first:place:2], "".join(atoms[first:place])
            first = place + 1
    yield atoms[first::2], "".join(atoms[first:])


def _is_joined(left: str, mark: str, right: str) -> bool:
    if mark in "-@":
        return True
    if mark == ".":  # Node.js, but not the end of one sentence and the start of the next
        return not (left[-1].islower() and right[0].isupper() and right[1:2].islower())
    return _is_code(left) and _is_code(right)


def _is_code(atom: str) -> bool:
    return len(atom) <= 2 or not _DIGIT.isdisjoint(atom) or (len(atom) <= _LONGEST_ACRONYM and atom.isupper())


def _wholes(atoms: Sequence[str]) -> list[str]:
    """The whole of a code as one term, and what is left without its first or last part.

    `Wi-Fi` → wifi; `SP-1050` → sp1050; `A-1023/7` → a1023_7, a1023, 1023_7.
    """
    if len(atoms) > _MOST_PARTS or not (whole := _joined(atoms)):
        return []
    has_runs = len(atoms) > 2 and not _DIGIT.isdisjoint(whole) and not whole.replace("_", "").isdigit()
    runs = (atoms[:-1], atoms[1:]) if has_runs else ()
    found = [whole, *(_joined(run) for run in runs)]
    return [term for term in dict.fromkeys(found) if term]


def _joined(atoms: Sequence[str]) -> str:
    """The atoms as one term, with `_` only between digits: SP-1050 is SP1050, but A-1/23 is not A-12/3."""
    text = _plain("-".join(atoms)).replace("'", "")
    if len(atoms) > 1 or "." in text:
        text = _VERSION.sub("", text)
    text = _SEPARATOR.sub("", _BETWEEN_DIGITS.sub("_", text))
    if len(text) > _LONGEST_TERM:
        return ""
    return _stem(text) if text.isalpha() else text


def _code_forms(atoms: Sequence[str], text: str, whole: str, parts: Sequence[str]) -> list[tuple[str, ...]]:
    """A code counts as a whole, a compound such as low-temperature by its words.

    Terms in a row stand for the whole in texts without it, such as documents that were ingested before.
    """
    code = (whole, " ".join(parts))
    by_word: list[tuple[str, ...]] = [(part, whole) for part in parts]
    if "@" in text:
        return [code]
    if not _DIGIT.isdisjoint(whole):
        is_compound = any(len(atom) > 2 and atom.isalpha() and atom.islower() for atom in atoms)
        return [code, *by_word] if is_compound else [code]  # covid-19, 30-day; else A-1023/7
    is_spelling = any(len(atom) == 1 or (len(atom) == 2 and not atom.isupper()) for atom in atoms)
    return [code] if is_spelling else by_word  # e-mail, set-up; else low-temperature


def _piece_terms(token: str) -> tuple[str, ...]:
    """The terms of a piece of a token."""
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
    """Lower case, without accents, stemmed if it is a word; always matches `\\w*`."""
    word = _plain(word[:_LONGEST_TERM])
    if word.isascii() and word.replace("'", "").isalpha():
        with _stemmer_lock:
            word = _stemmer.stemWord(word)
    return word if word.isalnum() else "".join(char for char in word if char.isalnum() or char == "_")


def _plain(word: str) -> str:
    """Lower case, with the plain letters of Latin and Greek; in other scripts, marks can be vowels."""
    word = word.lower()
    if word.isascii():
        return word
    word = word.translate(_LETTERS)
    if word[0] > "\u03ff":
        return word
    return "".join(char for char in normalize("NFKD", word) if not unicodedata.combining(char))
