"""What repeats on the pages of a document and says nothing of its subject: page numbers, running headers, footers."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from kb.notes import NoteKind
from kb.parsing.layout.lines import Line
from kb.parsing.page_numbers import is_page_number, replace_page_numbers

_MARGIN = 0.15  # of the page's height, above and below
_MARGIN_LINES = 4
_SAME_PLACE = 4.0  # points
_MARK = "#"  # of a page's number
_MIN_ROWS = 4  # of a table
_MAX_KNOWN = 50  # places of one text
_DIGITS = re.compile(r"\d+")
_CELLS = re.compile(r"\t|\s[|·•]\s")
_NUMBER_BESIDE = re.compile(r"(?P<before>\d{1,4})\s+(?P<header>\D.*)|(?P<title>.*\S)\s+(?P<behind>\d{1,4})")
_NUMBERED = re.compile(r"(?:\b(?:no|nr|num|number|nummer|lesson|part|version)|[№#:号])\W*$", re.IGNORECASE)
_OF_CHAPTER = re.compile(r"(?P<chapter>[A-Z]{1,2}|\d{1,3})\s?[-–]\s?(?P<page>\d{1,4})")  # A-12, 3-1
_LONG_HEADER = re.compile(r"(?:\S+\s+){2}\S|[\u3040-\u9fff\uac00-\ud7a3]{6}")


@dataclass(frozen=True, slots=True)
class PageLines:
    """The lines of a page, in reading order, its height in points, and what else is to be said of it."""

    number: int
    lines: Sequence[Line] = ()
    height: float = 0.0
    note: NoteKind | None = None
    comments: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Place:
    """A line near the edge of page `page`. `key` is its text without the `numbers` that may count pages."""

    key: str
    numbers: tuple[int, ...]
    height: float
    page: int

    def is_repeated(self, other: _Place) -> bool:
        """Whether both say the same at the same height, but for numbers that grow as those of the pages do."""
        if self.key != other.key or abs(self.height - other.height) > _SAME_PLACE:
            return False
        steps = [theirs - mine for mine, theirs in zip_longest(self.numbers, other.numbers, fillvalue=0)]
        pages = other.page - self.page
        if self.key == _MARK and steps and pages not in steps:
            return False
        return all(step in (0, pages) for step in steps)


class RunningLines:
    """Finds the lines that a document repeats at the same places of its pages. Pages must come in order."""

    def __init__(self) -> None:
        self._known: defaultdict[str, list[_Place]] = defaultdict(list)

    def split(self, page: PageLines, following: Sequence[PageLines]) -> tuple[list[Line], list[Line]]:
        """The lines that are seen for the first time, and those of the page's own text."""
        margins = {id(line): place for line, place in _margin_lines(page)}
        others = [place for other in following for _line, place in _margin_lines(other)]
        first: list[Line] = []
        own: list[Line] = []
        for line in page.lines:
            place = margins.get(id(line))
            if place is None:
                own.append(line)
            elif any(map(place.is_repeated, self._known[place.key])):
                continue
            elif any(map(place.is_repeated, others)):
                self._known[place.key] = [*self._known[place.key], place][-_MAX_KNOWN:]
                if not is_page_number(line.text) and not _OF_CHAPTER.fullmatch(line.text.strip()):
                    first.append(line)
            else:
                own.append(line)
        return first, own


def _margin_lines(page: PageLines) -> Iterator[tuple[Line, _Place]]:
    """Lines near the upper and the lower edge, without rows of tables: these may be alike on many pages."""
    in_tables = set(map(id, _rows_of_tables(page.lines)))
    by_height = sorted(page.lines, key=lambda line: line.baseline)
    for line in [*by_height[:_MARGIN_LINES], *by_height[_MARGIN_LINES:][-_MARGIN_LINES:]]:
        is_near_edge = not _MARGIN * page.height < line.baseline < (1 - _MARGIN) * page.height
        if is_near_edge and id(line) not in in_tables:
            key, numbers = _without_page_number(line.text)
            yield line, _Place(key, numbers, line.baseline, page.number)


def _rows_of_tables(lines: Sequence[Line]) -> Iterator[Line]:
    """Rows that follow upon each other, more of them than a header has lines."""
    rows: list[Line] = []
    for line in [*lines, None]:
        if rows and (line is None or not line.is_row or line.has_gap_before or line.table != rows[0].table):
            yield from rows if len(rows) >= _MIN_ROWS else ()
            rows = []
        if line is not None and line.is_row:
            rows.append(line)


def _without_page_number(text: str) -> tuple[str, tuple[int, ...]]:
    """The text with a mark where the page's number stands, perhaps with that of all pages; and these numbers."""
    numbers: list[int] = []

    def mark(match: re.Match[str]) -> str:
        numbers.extend(map(int, _DIGITS.findall(match.group())))
        return f" {_MARK} "

    if of_chapter := _OF_CHAPTER.fullmatch(text.strip()):
        return f"{of_chapter['chapter']}-{_MARK}", (int(of_chapter["page"]),)
    cells = [replace_page_numbers(cell, mark) for cell in _CELLS.split(text.strip())]
    beside = _NUMBER_BESIDE.fullmatch(text.strip())
    if beside and not numbers:  # that of a page, if it is not the name of what the page holds, as "Invoice 12"
        header = beside["header"] or beside["title"]
        if _LONG_HEADER.match(header) and not _NUMBERED.search(header):
            return f"{header} {_MARK}", (int(beside["before"] or beside["behind"]),)
    return " ".join(" ".join(cells).split()), tuple(numbers)
