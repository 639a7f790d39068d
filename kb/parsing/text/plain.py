"""Plain text in any encoding; the numbered chapters and articles of regulations, contracts and manuals are headings."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

from kb.models import ParsedDocument
from kb.parsing.builder import Source, TextBuilder, clean
from kb.parsing.decoding import decode

_HAN_NUMBER = "[一二三四五六七八九十百千零〇两\\d]{1,8}"
_LONGEST_TITLE = 60  # characters; a longer line is a sentence
_FEWEST = 2  # one numbered line alone is no outline
_WORDS = "ONE|TWO|THREE|FOUR|FIVE|SIX|SEVEN|EIGHT|NINE|TEN|ELEVEN|TWELVE"
_NUMBER = rf"(?:\d{{1,3}}|[IVXLC]{{1,7}}|{_WORDS}|{_WORDS.title()})\b"
_TITLE = r"(?:[.:]?[ \t]*$|[ \t]*[.:–—-][ \t]*\S.*|[ \t]+[^\sa-zäöüà-ÿа-я].*)"  # no small letter, as in a sentence
_HAN_DIGITS = "一二三四五六七八九"
_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}


_CHAPTER = "Part|Chapter|Kapitel|Chapitre|Capítulo|Capitolo|Глава|Раздел"
_CHAPTER = f"(?:{_CHAPTER}|{_CHAPTER.upper()})"
_SECTION = "Section|Article|Artikel|Artículo|Articolo|Статья"
_SECTION = f"(?:{_SECTION}|{_SECTION.upper()})"
# The kinds of numbered titles. Those of one kind are of one level: the first kind in this list is the highest.
_KINDS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"第{_HAN_NUMBER}[编編篇部卷](?![\w分])[ \t\u3000]*\S*.*|제[ ]?\d{{1,3}}[ ]?[편부](?=[ \t]|$).*",
        rf"第{_HAN_NUMBER}章[ \t\u3000:：、.]*.*|제[ ]?\d{{1,3}}[ ]?장(?=[ \t]|$).*",
        rf"{_CHAPTER}[ \t]+{_NUMBER}{_TITLE}",
        r"(?P<roman>[IVXLC]{1,7})\.[ \t]+\S.*",
        rf"第{_HAN_NUMBER}[节節][ \t\u3000:：、.]*.*|제[ ]?\d{{1,3}}[ ]?절(?=[ \t]|$).*",
        rf"{_SECTION}[ \t]+(?:\d{{1,3}}(?:\.\d{{1,3}})*|[IVXLC]{{1,7}})\b{_TITLE}",
        rf"第{_HAN_NUMBER}[条條](?![款目文的和及与與至、,，])"
        r"|제[ ]?\d{1,4}[ ]?조(?:의[ ]?\d+)?(?:[ ]?\([^()\n]{1,40}\)|(?=[ \t]|$))",
        r"§[ \t]*(?P<digits>\d{1,4})(?:[ \t]?[a-z]\b)?[.:]?[ \t]+[^\sa-zäöü].*",
        r"(?P<han>[一二三四五六七八九十]{1,3})、[ \t\u3000]*\S.*",
        r"[（(](?P<inner>[一二三四五六七八九十]{1,3})[)）][ \t\u3000、]*\S.*",
    )
)
_BEGINS = frozenset("第제§（(一二三四五六七八九十PpCcSsAaKkIVXLГРСгрс")
_ARTICLE = 6  # its title is its number, as its text begins on the same line
_DECIMAL = re.compile(r"(\d{1,2}(?:\.\d{1,2}){0,4})\.?[ \t\u3000]+([^\s\d].*)")
_ENDS_SENTENCE = re.compile(r"[。；;,，:：!?！？]$|[a-z]\.$|\.{3,}|…|\t\d+$")


def parse(source: Source) -> Iterator[ParsedDocument]:
    """The text as it is, and where its chapters begin."""
    builder = TextBuilder(source.name)
    text = clean(decode(source.path.read_bytes())).strip("\n")
    builder.add_clean(text)
    for start, level, title in find_chapters(text):
        builder.mark_heading(start, level, title)
    yield from builder.last_parts()


def find_chapters(text: str) -> list[tuple[int, int, str]]:
    """The start, level and title of each line that is numbered as a chapter, a section or an article."""
    found: list[tuple[int, int, str]] = []  # start, kind, title
    decimals: list[tuple[int, str, str]] = []
    has_clauses = False  # 1.1, 1.2, …, titles or not
    counted: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)  # the lines of a kind, and their numbers
    start = 0
    lines = text.split("\n")
    for index, whole in enumerate(lines):
        line = whole.strip(" \t\u3000")
        for kind, pattern in enumerate(_KINDS) if line[:1] in _BEGINS else ():
            match = pattern.match(line)
            if match and (kind == _ARTICLE or _is_title(match.group())):
                found.append((start, kind, match.group()))
                if match.lastgroup:
                    counted[kind].append((index, _value(match[match.lastgroup])))
                break
        else:
            decimal = _DECIMAL.fullmatch(line) if line[:1].isdigit() else None
            is_alone = decimal and ("." in decimal.group(1) or _stands_alone(lines, index, decimal.group(1)))
            if decimal and is_alone and _is_title(line) and not line.endswith("."):
                decimals.append((start, decimal.group(1), line))
            has_clauses = has_clauses or bool(decimal and "." in decimal.group(1))
        start += len(whole) + 1
    lists = {kind for kind, places in counted.items() if not _is_counted(places, lines)}
    counts = Counter(kind for _start, kind, _title in found)
    kinds = sorted(kind for kind, number in counts.items() if number >= _FEWEST and kind not in lists)
    headings = [(begin, kinds.index(kind) + 1, title) for begin, kind, title in found if kind in kinds]
    if headings or not has_clauses or len(decimals) < _FEWEST:
        return headings
    if not _is_outline([number for _start, number, _title in decimals]):
        return headings
    return [(begin, number.count(".") + 1, title) for begin, number, title in decimals]


def _value(number: str) -> int:
    """Of 12, XII or 十二."""
    if number.isdecimal():
        return int(number)
    if number[0] in _ROMAN:
        values = [_ROMAN[letter] for letter in number]
        return sum(-each if each < after else each for each, after in pairwise([*values, 0]))
    tens, is_ten, ones = number.rpartition("十")
    return (10 * (_HAN_DIGITS.find(tens) + 1 or 1) if is_ten else 0) + _HAN_DIGITS.find(ones or " ") + 1


def _is_counted(places: list[tuple[int, int]], lines: list[str]) -> bool:
    """Whether numbers follow upon each other, with text between most of the lines, as there is none in a list."""
    steps = list(pairwise(places))
    follows = sum(1 for before, after in steps if after[1] in (before[1] + 1, 1))
    filled = sum(1 for before, after in steps if any(map(str.strip, lines[before[0] + 1 : after[0]])))
    return bool(steps) and follows >= 0.8 * len(steps) and filled > 0.5 * len(steps)


def _stands_alone(lines: list[str], index: int, number: str) -> bool:
    """Whether a line is apart from others, or is followed by the first of its own clauses."""
    before, after = "".join(lines[max(0, index - 1) : index]).strip(), "".join(lines[index + 1 : index + 2]).strip()
    return not before or not after or after.startswith((f"{number}.1 ", f"{number}.1."))


def _is_title(line: str) -> bool:
    return len(line) <= _LONGEST_TITLE and not _ENDS_SENTENCE.search(line)


def _is_outline(numbers: list[str]) -> bool:
    """Whether decimal numbers go on from one another as those of chapters do: 1, 1.1, 1.2, 2, …"""
    places = [[int(part) for part in number.split(".")] for number in numbers]
    follows = sum(
        1
        for before, after in pairwise(places)
        if (len(after) > len(before) and after == before + [1] * (len(after) - len(before)))
        or (len(after) <= len(before) and after == [*before[: len(after) - 1], before[len(after) - 1] + 1])
    )
    return follows >= 0.8 * (len(places) - 1)
