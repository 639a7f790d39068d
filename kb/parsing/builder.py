"""A parser's input (`Source`) and its output: a `ParsedDocument` built from cleaned pieces, with exact offsets."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kb.errors import N_, FileTooLarge
from kb.models import Heading, PageStart, ParsedDocument

MAX_CHARACTERS = 300_000_000  # per document; the error message repeats the number
_NEWLINES = re.compile("\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029]")
# Control characters, lone surrogates, byte order marks and Unicode noncharacters.
_UNWANTED = re.compile("[\x00-\x08\x0e-\x1b\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufeff\ufffe\uffff]+")
_BLANK_LINES = re.compile(r"\n(?:[ \t]*+\n){3,}+")
_MAX_TITLE = 200


def clean(text: str) -> str:
    """Remove NULs, control characters and lone surrogates; keep at most two blank lines in a row."""
    text = _NEWLINES.sub("\n", text)
    return _BLANK_LINES.sub("\n\n\n", _UNWANTED.sub("", text))


def clean_title(text: str) -> str:
    """The title as one short line."""
    return " ".join(clean(text).split())[:_MAX_TITLE]


class TextBuilder:
    """Collects pieces of text, and where pages and headings begin."""

    def __init__(self, name: str, *, has_whole_pages: bool = False) -> None:
        self.name = name
        self._has_whole_pages = has_whole_pages
        self.length = 0
        self._parts: list[str] = []
        self._pages: list[PageStart] = []
        self._headings: list[Heading] = []
        self._waiting: list[int] = []  # pages without text so far
        self._gap = 1

    def add(self, text: str, *, gap: int = 1) -> int:
        """Append a block, `gap` newlines after the previous one; return where it begins."""
        return self.add_clean(clean(text), gap=gap)

    def add_clean(self, text: str, *, gap: int = 1) -> int:
        """Like `add`, for text that is already clean."""
        text = text.strip("\n")
        if not text or text.isspace():
            return self.length
        gap = max(gap, self._gap)
        self._gap = 1
        if self.length:
            self._append("\n" * gap)
        start = self.length
        self._pages += [PageStart(start, number) for number in self._waiting]
        self._waiting.clear()
        self._append(text)
        return start

    def add_heading(self, level: int, title: str) -> None:
        """Append the whole `title` as a line that is a heading."""
        line = " ".join(clean(title).split())
        if line:
            self._headings.append(Heading(self.add_clean(line, gap=2), level, clean_title(line)))

    def mark_heading(self, start: int, level: int, title: str) -> None:
        """Mark the line at `start` of the text so far as a heading."""
        title = clean_title(title)
        if title:
            self._headings.append(Heading(start, level, title))

    def start_page(self, number: int) -> None:
        """The next text is on page `number`."""
        self._waiting.append(number)
        self.break_paragraph()

    def break_paragraph(self) -> None:
        """Leave a blank line before the next piece."""
        self._gap = 2

    def build(self, title: str = "") -> ParsedDocument:
        """The document, with its headings ordered by position."""
        headings = tuple(sorted(self._headings, key=lambda heading: heading.start))
        text = "".join(self._parts)
        return ParsedDocument(text, tuple(self._pages), headings, clean_title(title), self._has_whole_pages)

    def _append(self, text: str) -> None:
        self.length += len(text)
        if self.length > MAX_CHARACTERS:
            raise FileTooLarge(
                name=self.name, size=N_("more than 300 million characters"), limit=N_("300 million characters")
            )
        self._parts.append(text)


Report = Callable[[int, int], None]


def report_nothing(done: int, total: int) -> None:
    """A `Report` that does nothing."""


@dataclass(frozen=True, slots=True)
class Source:
    """The file at `path`; `name` is the user's file name; `report(done, total)` counts pages, slides or sheets."""

    path: Path
    name: str
    report: Report = report_nothing
