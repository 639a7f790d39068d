"""Runs of text in a line, some raised or lowered → text in which exponents, indices and footnote marks stay apart."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby

RAISED, LOWERED, NOTE_MARK = 1, -1, 2
Run = tuple[str, int]  # the text, and 0, RAISED, LOWERED or NOTE_MARK: raised, and known to be the mark of a note

_SMALL = str.maketrans("0123456789+-−–", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁻")
_SIGNED = re.compile(r"[-+−–]?\d{1,3}")
_NUMBERS = re.compile(r"\d{1,3}(?:\s*[,，、;–-]\s*\d{1,3})*,?[*†‡§]?")
_LETTERS = re.compile(r"[a-z](?:\s*[,，]\s*[a-z])+")
_WORD = re.compile(r"[^\W\d_]+$")
_FIGURE = re.compile(r"\d[\d.,]*$")
_CONTAINS_HAN = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]")
_IS_TERM = re.compile(r"\([^()\s]{1,40}\)$|[\]})|]$")
_MARKS = {"tm": "™", "sm": "℠"}
_CHARGE = re.compile(r"\d?[+−–-]")
_ION = re.compile(r"(?:[A-Z][a-z]?|[\])])\d{0,2}$")
# 21e, XIXe, 1o, no 5, Mr, St: what is raised is the end of a number or of a word that was shortened.
_SHORTENED = re.compile(r"(?:(?<![\d.,])\d{1,4}|\b[IVXLC]{1,8}|\b[nN]|\b[MDJS])$")
_ENDINGS = frozenset(
    ("e", "o", "r", "t", "è", "ª", "º", "st", "nd", "rd", "th", "er", "re", "ème", "eme", "ère", "ste", "de")
)
_PRICE = re.compile(r"[$€£]\s?\d{1,3}(?:,?\d{3})*$")
_CENTS = re.compile(r"\d\d")
_BASES = ("10", "2", "e")
_LONGEST_UNIT = 3  # letters: m, cm, km
_LONGEST_POWER = 6  # characters: n+1, 2x
_SLASHES = ("/", "⁄", "∕")
_SHORT = re.compile(r"\d{1,3}")
_DENOMINATOR = re.compile(r"\s*[/⁄∕]\s*(\d{1,9})")
_HAN_UNITS = "米厘分毫里寸尺平立メ"


def join_runs(runs: Iterable[Run]) -> str:
    """Keep what is raised or lowered off its base: `10^6`, `25 m²`, `4,512 [1]`, `1st`, `H2O`, `x_i`, `2 3/4`."""
    merged = [
        ("".join(text for text, _level in group), level)
        for level, group in groupby((run for run in runs if run[0]), key=lambda run: run[1])
    ]
    pieces: list[str] = []
    before = ""
    for index, (text, level) in enumerate(merged):
        after = merged[index + 1][0] if index + 1 < len(merged) else ""
        if level == RAISED:
            behind = after + "".join(each for each, its_level in merged[index + 2 : index + 3] if its_level == LOWERED)
            text = _raised(before, text, after, is_numerator=_is_numerator(text.strip(), behind))
        elif level == NOTE_MARK:
            text = _noted(before, text, after)
        elif level == LOWERED:
            is_stacked = merged[index + 1 : index + 2] and merged[index + 1][1] == RAISED  # SO₄²⁻
            text = _lowered(before, text, "" if is_stacked else after)
        pieces.append(text)
        before = (before + text)[-60:]
    return "".join(pieces)


def _is_numerator(mark: str, behind: str) -> bool:
    """Whether `mark` before `behind` is the upper part of a fraction: 3/4, not 10^9/L."""
    denominator = _DENOMINATOR.match(behind)
    return denominator is not None and bool(_SHORT.fullmatch(mark)) and int(mark) < int(denominator[1])


def _raised(before: str, text: str, after: str, *, is_numerator: bool) -> str:
    mark = text.strip()
    if not any(map(str.isalnum, mark)):
        return text
    if not before or before[-1].isspace():  # a numerator, or the number of a note before its text
        return _apart(text, after)
    if is_numerator:
        return f" {mark}" if before[-1].isdigit() else mark
    if _PRICE.search(before) and _CENTS.fullmatch(mark):
        return f".{mark}"
    if mark in _ENDINGS and _SHORTENED.search(before):
        return text
    if _CHARGE.fullmatch(mark) and _ION.search(before):
        return mark.translate(_SMALL)
    if mark.lower() in _MARKS:
        return _MARKS[mark.lower()]
    if _is_exponent(before, mark):
        if _SIGNED.fullmatch(mark) and not before[-1].isdigit():
            return mark.translate(_SMALL)
        is_simple = (len(mark) == 1 or _SIGNED.fullmatch(mark)) and not after[:1].isalnum()
        return f"^{mark}" if is_simple else f"^{{{mark}}}"
    if _NUMBERS.fullmatch(mark) or _LETTERS.fullmatch(mark) or (len(mark) == 1 and mark.isalpha()):
        return _noted(before, mark, after)
    if mark[0] in "[(（〔【*†‡" and not before[-1].isspace():
        return _apart(f" {mark}", after)
    return text  # an ending: 1st, Mme


def _noted(before: str, mark: str, after: str) -> str:
    """The mark of a note, apart from what it stands behind."""
    if not before or before[-1].isspace():
        return _apart(mark, after)
    return f" [{mark.strip()}]" + (" " if after[:1].isalnum() else "")


def _is_exponent(before: str, mark: str) -> bool:
    """Whether `mark` after `before` is a power rather than a footnote's number."""
    if word := _WORD.search(before):
        letters = word.group()
        if _CONTAINS_HAN.search(letters):
            return letters[-1] in _HAN_UNITS and mark in ("2", "3")
        if len(letters) == 1 and len(mark) > 1 and any(map(str.isdigit, mark)):
            return len(mark) <= _LONGEST_POWER
        is_unit = len(letters) <= _LONGEST_UNIT and (len(letters) == 1 or not letters[:1].isupper())
        return is_unit and (bool(_SIGNED.fullmatch(mark)) or mark.lower() in ("n", "k", "i", "t", "x"))
    if figure := _FIGURE.search(before):
        base = figure.group()
        if mark[0] in "-+−–" or base in _BASES:
            return True
        return base.isdigit() and len(base) <= 2 and len(mark) <= 2 and mark.isdigit()
    return bool(_IS_TERM.search(before)) and bool(_SIGNED.fullmatch(mark) or len(mark) == 1)


def _lowered(before: str, text: str, after: str) -> str:
    mark = text.strip()
    if not any(map(str.isalnum, mark)) or not before or before[-1].isspace():
        return text
    if before[-1] in _SLASHES:  # a denominator
        return _apart(text, after)
    if (before[-1].isalpha() or before[-1] in ")]") and mark.isdigit():
        return _apart(text, after) if after[:1].isdigit() else text  # a formula of chemistry: H2O
    if before[-1].isalnum():
        return f"_{mark}" if len(mark) == 1 and not after[:1].isalnum() else f"_{{{mark}}}"
    return text


def _apart(text: str, after: str) -> str:
    return f"{text} " if text[-1:].isalnum() and after[:1].isalnum() else text
