"""Parsed document → chunks. Pure: the same text always gives the same spans.

A section reaches from one heading to the next. Sections stay whole and are joined while they fit; a longer one is
split at the best place available: paragraph, line, sentence, clause, word. Slides and sheets are not joined. Rows of
tables stay whole, and none is repeated in part, since each can be understood alone. Length is measured in columns. A
Han character takes two, so that a chunk contains about as much in Chinese as in English.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from langchain_text_splitters import RecursiveCharacterTextSplitter

from kb.columns import columns
from kb.models import ChunkSpan, Heading, ParsedDocument, TableRows

MAX_CHUNK_BYTES = 60_000
_MAX_COLUMNS = MAX_CHUNK_BYTES // 4  # a character has at least one column and at most four bytes
_MIN_COLUMNS = 8  # enough for a wide character and its overlap
_WINDOW = 200_000  # characters per call of the splitter
_MAX_HEADING_PATH = 500
_SENTENCE_END = r"(?:[。！？!?…]+[”’」』）》\"')]*|(?<=[^\s.])\.+[”\"')]*(?=\s))\s*"
_SEPARATORS = (r"\n\s*\n", r"\n", _SENTENCE_END, r"[；;]\s*", r"[，、：,:]\s*", r"\s+")
# Where an overlap can begin: after a sentence, a clause or a space, and anywhere between Han characters.
_OVERLAP_START = re.compile(r"[。！？!?…；;\n]\s*|(?<=\w)[.,，、]\s+|[，、]")
_WORD_START = re.compile(r"\s+|(?<=[\u3400-\u9fff])(?=[\u3400-\u9fff])")


@dataclass(frozen=True, slots=True)
class _Section:
    """From a heading to the next; level 0 is the text before the first heading."""

    start: int
    end: int
    level: int
    columns: int
    is_bare: bool  # only the heading line


def chunk_document(document: ParsedDocument, size: int = 1000, overlap: int = 100) -> list[ChunkSpan]:
    """Cut `document` into chunks of at most `size` columns; neighbours in a section share up to `overlap` columns.

    Each character except white space is in a chunk. A chunk's `heading` is the path of headings at its start, without
    those of other slides or sheets.
    """
    size = max(_MIN_COLUMNS, min(size, _MAX_COLUMNS))
    overlap = max(0, min(overlap, size // 2))
    text = document.text
    page_starts = [page.start for page in document.pages]
    paths = _HeadingPaths(document.headings)
    spans: list[ChunkSpan] = []
    before = 0
    for start, end in _trimmed(text, _spans(document, size, overlap)):
        page = bisect_right(page_starts, _own_start(text, max(start, before), end))
        before = end
        number = document.pages[page - 1].number if page else 0
        since = page_starts[page - 1] if page and document.has_whole_pages else 0
        spans.append(ChunkSpan(len(spans), start, end, number, paths.at(start, since)))
    return spans


def _own_start(text: str, start: int, end: int) -> int:
    """Where a chunk's own text begins, after the overlap with the previous chunk. This decides its page."""
    while start < end - 1 and text[start].isspace():
        start += 1
    return start


def _spans(document: ParsedDocument, size: int, overlap: int) -> Iterator[tuple[int, int]]:
    groups = (group for sections in _wholes(document) for group in _group(sections, size))
    for group in groups:
        start, end = group[0].start, group[-1].end
        if sum(section.columns for section in group) <= size:
            yield start, end
        else:
            yield from _split(document, start, end, size, overlap)


def _wholes(document: ParsedDocument) -> Iterator[list[_Section]]:
    """The sections that may share chunks: those of one slide or sheet, else all."""
    starts = {page.start for page in document.pages} if document.has_whole_pages else set()
    whole: list[_Section] = []
    for section in _sections(document, starts):
        if section.start in starts and whole:
            yield whole
            whole = []
        whole.append(section)
    yield whole


def _sections(document: ParsedDocument, page_starts: Collection[int]) -> Iterator[_Section]:
    text = document.text
    starts = dict.fromkeys([0, *page_starts], 0) | {heading.start: heading.level for heading in document.headings}
    bounds = [*sorted(starts), len(text)]
    for start, end in pairwise(bounds):
        body = text[start:end]
        if body and not body.isspace():
            yield _Section(start, end, starts[start], columns(body), starts[start] > 0 and "\n" not in body.strip())


def _group(sections: Iterable[_Section], size: int) -> Iterator[list[_Section]]:
    """Join neighbours while they fit. A heading without text stays with what follows."""
    group: list[_Section] = []
    width = 0
    for unit in _units(sections):
        unit_width = sum(section.columns for section in unit)
        rises = bool(group) and 0 < unit[0].level < group[0].level
        if group and (width + unit_width > size or (rises and width >= size // 4)):
            yield group
            group, width = [], 0
        group = [*group, *unit] if group else unit
        width += unit_width
    if group:
        yield group


def _units(sections: Iterable[_Section]) -> Iterator[list[_Section]]:
    """Each section, together with the bare headings above it."""
    unit: list[_Section] = []
    for section in sections:
        if unit and section.level <= unit[-1].level:
            yield unit
            unit = []
        unit.append(section)
        if not section.is_bare:
            yield unit
            unit = []
    if unit:
        yield unit


def _split(document: ParsedDocument, start: int, end: int, size: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Split a section that is too long; each part after the first begins with the end of the previous one."""
    before: tuple[int, int] | None = None
    for part_start, part_end in _parts(document.text, start, end, size - overlap):
        first = max(start, _end_of_rows(document.tables, part_start))
        part = (_overlap_start(document.text, first, part_start, overlap), part_end)
        if before and part[0] > before[0]:  # else this part contains all of the previous one
            yield before
        before = part
    if before:
        yield before


def _end_of_rows(tables: Sequence[TableRows], at: int) -> int:
    """Where the last table before `at` ends; `at` inside a table."""
    index = bisect_left(tables, at, key=lambda rows: rows.start)
    return min(tables[index - 1].end, at) if index else 0


def _parts(text: str, start: int, end: int, limit: int) -> Iterator[tuple[int, int]]:
    """Cut a stretch into adjacent parts of at most `limit` columns."""
    splitter = _splitter(limit)
    for at, window_end in _windows(text, start, end):
        pieces = splitter.split_text(text[at:window_end])
        for length in _join_small([(len(piece), columns(piece)) for piece in pieces], limit):
            yield at, at + length
            at += length


def _splitter(limit: int) -> RecursiveCharacterTextSplitter:
    """A splitter whose pieces add up to the text again, which makes the offsets exact."""
    by_count = rf"(?s:.{{{max(1, limit // 4)}}})"  # for text without white space or punctuation
    return RecursiveCharacterTextSplitter(
        separators=[*_SEPARATORS, by_count],
        is_separator_regex=True,
        keep_separator="end",
        strip_whitespace=False,
        chunk_size=limit,
        chunk_overlap=0,
        length_function=columns,
    )


def _windows(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut a long stretch after paragraphs or lines, because the splitter needs many times the memory of its text."""
    while end - start > _WINDOW:
        for separator in ("\n\n", "\n", "。", " "):
            cut = text.rfind(separator, start + _WINDOW // 2, start + _WINDOW)
            if cut >= 0:
                break
        cut = start + _WINDOW if cut < 0 else cut + len(separator)
        yield start, cut
        start = cut
    yield start, end


def _join_small(pieces: Sequence[tuple[int, int]], limit: int) -> Iterator[int]:
    """Join the splitter's small pieces, given as (length, columns), while they fit; yields lengths."""
    length = width = 0
    for piece_length, piece_width in pieces:
        if length and width + piece_width > limit:
            yield length
            length = width = 0
        length += piece_length
        width += piece_width
    if length:
        yield length


def _overlap_start(text: str, first: int, at: int, overlap: int) -> int:
    """Where the overlap of the part at `at` begins: at a sentence or clause, else at a word."""
    begin = at
    while begin > first and overlap - (width := columns(text[begin - 1])) >= 0:
        begin -= 1
        overlap -= width
    if begin in (first, at):
        return begin
    for pattern in (_OVERLAP_START, _WORD_START):
        found = pattern.search(text, begin, at)
        if found and found.end() < at:
            return found.end()
    return at


def _trimmed(text: str, spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The spans without surrounding white space, and without those that add only white space."""
    covered = 0
    for start, end in spans:
        body = text[start:end]
        last = start + len(body.rstrip())
        if last > covered and not body.isspace():
            covered = last
            yield end - len(body.lstrip()), last


class _HeadingPaths:
    """Finds the headings that apply at positions, which must be asked in ascending order."""

    def __init__(self, headings: Sequence[Heading]) -> None:
        self._coming = list(reversed(headings))
        self._open: list[Heading] = []
        self._path = ""

    def at(self, position: int, since: int = 0) -> str:
        """The path "A > B > C" at `position`, ignoring headings before `since`."""
        while self._coming and self._coming[-1].start <= position:
            heading = self._coming.pop()
            while self._open and self._open[-1].level >= heading.level:
                self._open.pop()
            self._open.append(heading)
            self._path = ""
        if self._open and self._open[0].start < since:
            self._open = [heading for heading in self._open if heading.start >= since]
            self._path = ""
        if self._open and not self._path:
            self._path = " > ".join(entry.title for entry in self._open)[:_MAX_HEADING_PATH]
        return self._path
