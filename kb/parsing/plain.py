"""Plain text in any encoding; the numbered chapters and articles of regulations, contracts and manuals are headings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from kb.models import ParsedDocument
from kb.parsing.builder import Source, TextBuilder, clean
from kb.parsing.decoding import decode

_HAN_NUMBER = "[一二三四五六七八九十百千零〇两\\d]{1,8}"
_LONGEST_TITLE = 60  # characters; a longer line is a sentence
_FEWEST = 2  # one numbered line alone is no outline
# The kinds of numbered titles. Those of one kind are of one level: the first kind in this list is the highest.
_KINDS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"第{_HAN_NUMBER}[编編篇部卷](?![\w分])[ \t\u3000]*\S*.*",
        rf"第{_HAN_NUMBER}章[ \t\u3000:：、.]*.*",
        r"(?:PART|Part|Chapter|CHAPTER)[ \t]+(?:\d{1,3}|[IVXLC]{1,7})\b[.:]?[ \t]*.*",
        rf"第{_HAN_NUMBER}[节節][ \t\u3000:：、.]*.*",
        r"(?:Section|SECTION|Article|ARTICLE)[ \t]+(?:\d{1,3}(?:\.\d{1,3})*|[IVXLC]{1,7})\b[.:]?[ \t]*.*",
        rf"第{_HAN_NUMBER}[条條](?![款目文的和及与與至、,，])",
    )
)
_ARTICLE = len(_KINDS) - 1  # its title is its number, as its text begins on the same line
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
    start = 0
    lines = text.split("\n")
    for index, whole in enumerate(lines):
        line = whole.strip(" \t\u3000")
        for kind, pattern in enumerate(_KINDS):
            match = pattern.match(line) if line[:1] in "第PCSApcsa" else None
            if match and (kind == _ARTICLE or _is_title(match.group())):
                found.append((start, kind, match.group()))
                break
        else:
            decimal = _DECIMAL.fullmatch(line) if line[:1].isdigit() else None
            if decimal and _is_title(line) and ("." in decimal.group(1) or _stands_alone(lines, index)):
                decimals.append((start, decimal.group(1), line))
        start += len(whole) + 1
    counts = Counter(kind for _start, kind, _title in found)
    kinds = sorted(kind for kind, number in counts.items() if number >= _FEWEST)
    headings = [(begin, kinds.index(kind) + 1, title) for begin, kind, title in found if kind in kinds]
    if headings or len(decimals) < _FEWEST or not _is_outline([number for _start, number, _title in decimals]):
        return headings
    return [(begin, number.count(".") + 1, title) for begin, number, title in decimals]


def _stands_alone(lines: list[str], index: int) -> bool:
    return not "".join(lines[max(0, index - 1) : index]).strip() or not "".join(lines[index + 1 : index + 2]).strip()


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
    return any(len(place) > 1 for place in places) and follows >= 0.8 * (len(places) - 1)
