"""The text of a file as parsed, with the positions in it, and the chunks that it is cut into."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from kb.notes import Note


@dataclass(frozen=True, slots=True)
class PageStart:
    """Page `number` (1-based) begins at character `start` of the parsed text."""

    start: int
    number: int


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of `level` (1 is the highest) whose line begins at character `start` of the parsed text."""

    start: int
    level: int
    title: str


@dataclass(frozen=True, slots=True)
class TableRows:
    """Characters `start` to `end` of the parsed text are rows of a table, one a line."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class LineBox:
    """Where characters `start` to `end` of the parsed text stand on their page, as it is shown.

    The sides are fractions of the page's width and height, from its upper left corner.
    """

    start: int
    end: int
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """A file's text with the positions of its pages, headings, tables and lines, as character offsets into `text`.

    `pages` is empty for formats without pages; all tuples are in order of `start`. Pages are whole where each is a
    thing of its own, as slides and sheets are: none goes on with the one before.
    """

    text: str
    pages: tuple[PageStart, ...] = ()
    headings: tuple[Heading, ...] = ()
    title: str = ""
    has_whole_pages: bool = False
    notes: tuple[Note, ...] = ()
    tables: tuple[TableRows, ...] = ()
    lines: tuple[LineBox, ...] = ()  # of PDF files and pictures


@dataclass(frozen=True, slots=True)
class ChunkSpan:
    """A stretch of a parsed text: characters `start` to `end`, its page (0: none) and heading path."""

    ordinal: int
    start: int
    end: int
    page: int
    heading: str


def chunk_id(version_id: UUID, ordinal: int) -> str:
    """A chunk's id: the same at each attempt, so that storing a chunk again replaces it."""
    return f"{version_id.hex}-{ordinal:06d}"


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stored span of a document. `text` is what was embedded; `terms` what BM25 sees."""

    id: str
    document_id: UUID
    version_id: UUID
    ordinal: int = 0
    start: int = 0
    end: int = 0
    page: int = 0
    heading: str = ""
    text: str = ""
    terms: str = ""
    enabled: bool = True
