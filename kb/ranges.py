"""The parts of a document → ranges: stretches that are chunked, embedded and stored one after another.

However large a document is, only one of its ranges is in memory. The same parts always give the same ranges.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from kb.chunking import chunk_document
from kb.models import ChunkSpan, Heading, PageStart, ParsedDocument
from kb.notes import Note
from kb.parsing import joined

# Many pages, so that few chunks end where a range does, and some seconds of embedding.
RANGE_CHARACTERS = 100_000


@dataclass(frozen=True, slots=True)
class Range:
    """Characters from `start` on of a document's text, and their chunks.

    `document` is the range as a document of its own, under the headings and on the page that it continues. Chunks are
    numbered through the whole document; their offsets count from the beginning of the range.
    """

    document: ParsedDocument
    start: int
    spans: Sequence[ChunkSpan]
    new_pages: int  # that begin in it
    notes: tuple[Note, ...]
    is_last: bool


def read_ranges(parts: Iterable[ParsedDocument]) -> Iterator[Range]:
    """Chunk a document range by range. A range ends before a heading or a whole page, unless none comes for long."""
    title, start, chunks = "", 0, 0
    context = _Context()
    for stretch, is_last in _stretches(parts):
        document = joined(stretch)
        title = title or document.title
        document = replace(document, title=title)
        under = context.put_before(document)
        spans = [replace(span, ordinal=chunks + span.ordinal) for span in chunk_document(under)]
        yield Range(under, start, spans, len(document.pages), document.notes, is_last)
        context.pass_by(document)
        start += len(document.text)
        chunks += len(spans)


def _stretches(parts: Iterable[ParsedDocument]) -> Iterator[tuple[list[ParsedDocument], bool]]:
    """The parts of each range, and whether it is the last one."""
    stretch: list[ParsedDocument] = []
    length = 0
    for part in parts:
        if length >= (RANGE_CHARACTERS if _begins_section(part) else 2 * RANGE_CHARACTERS):
            yield stretch, False
            stretch, length = [], 0
        stretch.append(part)
        length += len(part.text)
    yield stretch, True


def _begins_section(part: ParsedDocument) -> bool:
    starts = [heading.start for heading in part.headings[:1]]
    if part.has_whole_pages:
        starts += [page.start for page in part.pages[:1]]
    return any(not part.text[:start].strip() for start in starts)


class _Context:
    """The page and the headings that a range continues."""

    def __init__(self) -> None:
        self._page: PageStart | None = None
        self._open: list[Heading] = []

    def put_before(self, document: ParsedDocument) -> ParsedDocument:
        pages = (self._page, *document.pages) if self._page else document.pages
        return replace(document, pages=pages, headings=(*self._open, *document.headings))

    def pass_by(self, document: ParsedDocument) -> None:
        since = 0
        if document.pages:
            self._page = PageStart(0, document.pages[-1].number)
            if document.has_whole_pages:  # headings of the pages before do not apply to this one
                self._open, since = [], document.pages[-1].start
        for heading in document.headings:
            if heading.start >= since:
                self._open = [each for each in self._open if each.level < heading.level] + [replace(heading, start=0)]
