"""A parser's input (`Source`) and its output: parts, built from cleaned pieces of text with exact offsets."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from kb.errors import TooMuchText, TooMuchTextInPart
from kb.models import Heading, LineBox, PageStart, ParsedDocument, TableRows
from kb.notes import Note, NoteKind, merge_notes
from kb.parsing.symbols import read_symbols

MAX_CHARACTERS = 300_000_000  # per document; the error message repeats the number
PART_CHARACTERS = 50_000
_NEWLINES = re.compile("\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029]")
# Colours, cursor movements and titles that programs send to a terminal (ECMA-48): CSI, OSC, and other sequences.
_TERMINAL = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b\n]{0,1000}(?:\x07|\x1b\\)|[ -/]+[0-~]|[@-OQ-WYZ\\`-~0-?])"
)
# Soft hyphens, at a line's end with the break that they stand for; characters without width, and those that turn the
# writing direction.
_INVISIBLE = re.compile("\u00ad(?:[ \t]*\n[ \t]*(?=\\w))?|[\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f]")
# Some scripts are spelt with joiners, and some have no other mark between words than a zero-width space.
_NEEDS_NO_JOINER = re.compile("[A-Za-z\u200b-\u200f\u00c0-\u024f\u3040-\u30ff\u3400-\u9fff]")
_HAS_NO_SPACES = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")  # Thai, Lao, Burmese, Khmer
# Control characters, lone surrogates, byte order marks and Unicode noncharacters.
_UNWANTED = re.compile("[\x00-\x08\x0e-\x1b\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufeff\ufffe\uffff]+")
_BLANK_LINES = re.compile(r"\n(?:[ \t]*+\n){3,}+")
_MAX_TITLE = 200
_Positioned = TypeVar("_Positioned", PageStart, Heading)
_Stretch = TypeVar("_Stretch", TableRows, LineBox)


def clean(text: str) -> str:
    """Remove what cannot be seen: control characters, terminal sequences, soft hyphens, characters without width.

    The private-use characters of symbol fonts become the signs that people see. At most two blank lines in a row stay.
    """
    text = read_symbols(_INVISIBLE.sub(_needed, _NEWLINES.sub("\n", _without_backspaces(_TERMINAL.sub("", text)))))
    return _BLANK_LINES.sub("\n\n\n", _UNWANTED.sub("", text))


def _without_backspaces(text: str) -> str:
    """What a terminal shows where programs go back and overwrite: bold letters of manuals, progress in percent."""
    if "\b" not in text:
        return text
    shown: list[str] = []
    for char in text:
        if char != "\b":
            shown.append(char)
        elif shown and shown[-1] != "\n":
            shown.pop()
    return "".join(shown)


def _needed(match: re.Match[str]) -> str:
    """The invisible character if the words around it need it, else nothing."""
    mark, text = match.group(), match.string
    before, after = text[max(0, match.start() - 1) : match.start()], text[match.end() : match.end() + 1]
    if mark in "\u200c\u200d":
        is_joined = before.strip() and after.strip()
        return mark if is_joined and not (_NEEDS_NO_JOINER.match(before) or _NEEDS_NO_JOINER.match(after)) else ""
    if mark == "\u200b" and _HAS_NO_SPACES.match(before) and _HAS_NO_SPACES.match(after):
        return mark
    return ""


def clean_title(text: str) -> str:
    """The title as one short line."""
    return " ".join(clean(text).split())[:_MAX_TITLE]


class TextBuilder:
    """Collects pieces of text, and where pages and headings begin, and hands them over in parts.

    The texts of all parts in order are the text of the document. A part's offsets count from its own beginning.
    `title` is the document's; the first part carries it.
    """

    def __init__(
        self, name: str, *, title: str = "", has_whole_pages: bool = False, is_continued: bool = False
    ) -> None:
        self.name = name
        self.title = title
        self._has_whole_pages = has_whole_pages
        self.length = 0  # of the text so far, with that of the parts that were handed over
        self._taken = 0
        self._pieces: list[str] = []
        self._pages: list[PageStart] = []
        self._headings: list[Heading] = []
        self._tables: list[TableRows] = []
        self._lines: list[LineBox] = []
        self._notes: list[Note] = []
        self._waiting: list[int] = []  # pages without text so far
        self._gap = 1
        self._has_text = is_continued
        self._section, self._section_start = "", 0  # below the latest heading
        self._largest = (0, "")  # of the sections before

    def add(self, text: str, *, gap: int = 1) -> int:
        """Append a block, `gap` newlines after the previous one; return where it begins."""
        return self.add_clean(clean(text), gap=gap)

    def add_clean(
        self, text: str, *, gap: int = 1, tables: Iterable[TableRows] = (), lines: Iterable[LineBox] = ()
    ) -> int:
        """Like `add`, for text that is already clean. `tables`: which of its lines are rows; `lines`: their places."""
        text = text.strip("\n")
        if not text or text.isspace():
            return self.length
        gap = max(gap, self._gap)
        self._gap = 1
        if self._has_text:
            self._append("\n" * gap)
        self._has_text = True
        start = self.length
        self._pages += [PageStart(start, number) for number in self._waiting]
        self._waiting.clear()
        self._append(text)
        self._tables += _moved(tables, start)
        self._lines += _moved(lines, start)
        return start

    def add_rows(self, lines: Iterable[str]) -> None:
        """Append the rows of a table, one a line; nothing cuts them while they are shorter than a chunk."""
        text = clean("\n".join(lines)).strip("\n")
        if text and not text.isspace():
            start = self.add_clean(text)
            self._tables.append(TableRows(start, self.length))

    def mark_rows(self, start: int, end: int) -> None:
        """Mark the lines from `start` to `end` of the text, which was not handed over yet, as rows of a table."""
        self._tables.append(TableRows(start, end))

    def add_heading(self, level: int, title: str) -> None:
        """Append the whole `title` as a line that is a heading."""
        line = " ".join(clean(title).split())
        if line:
            start, title = self.add_clean(line, gap=2), clean_title(line)
            self._headings.append(Heading(start, level, title))
            self._begin_section(start, title)

    def mark_heading(self, start: int, level: int, title: str) -> None:
        """Mark the line at `start` of the text, which was not handed over yet, as a heading."""
        title = clean_title(title)
        if title:
            self._headings.append(Heading(start, level, title))
            self._begin_section(start, title)

    def start_page(self, number: int) -> None:
        """The next text is on page `number`."""
        self._waiting.append(number)
        self.break_paragraph()

    def break_paragraph(self) -> None:
        """Leave a blank line before the next piece."""
        self._gap = 2

    def note(self, kind: NoteKind, *, page: int = 0, name: str = "", count: int = 1) -> None:
        """Tell the document's owner that its text lacks something, or holds it in doubt, and where."""
        self._notes.append(Note(kind, count, (page,) if page else (), (name,) if name else ()))

    def has_noted(self, kind: NoteKind) -> bool:
        """Whether there is such a note since the last part."""
        return any(note.kind == kind for note in self._notes)

    def full_parts(self) -> Iterator[ParsedDocument]:
        """Hand over the text so far, if it is enough for a part."""
        if self.length - self._taken >= PART_CHARACTERS:
            yield from self.parts()

    def parts(self) -> Iterator[ParsedDocument]:
        """Hand over the text so far, if any. Its parts are cut before headings if possible, else after lines."""
        if not (self._pieces or self._pages or self._notes):
            return
        text, notes = "".join(self._pieces), tuple(self._notes)
        self._headings.sort(key=lambda heading: heading.start)
        begin, self._taken = self._taken, self.length
        for start, end in _cuts(text, [heading.start - begin for heading in self._headings]):
            first = begin + start
            until = begin + end + (end == len(text))  # the last part holds what begins at its end, too
            yield ParsedDocument(
                text[start:end],
                tuple(PageStart(page.start - first, page.number) for page in _within(self._pages, first, until)),
                tuple(
                    replace(heading, start=heading.start - first) for heading in _within(self._headings, first, until)
                ),
                clean_title(self.title) if first == 0 else "",
                self._has_whole_pages,
                notes,
                tuple(_clipped(self._tables, first, begin + end)),
                tuple(_clipped(self._lines, first, begin + end)),
            )
            notes = ()
        for collected in (self._pieces, self._pages, self._headings, self._tables, self._lines, self._notes):
            collected.clear()

    def last_parts(self) -> Iterator[ParsedDocument]:
        """Hand over what is left, with the pages at the end that have no text."""
        self._pages += [PageStart(self.length, number) for number in self._waiting]
        yield from self.parts()

    def _append(self, text: str) -> None:
        self.length += len(text)
        if self.length > MAX_CHARACTERS:
            raise self._too_much()
        self._pieces.append(text)

    def _begin_section(self, start: int, title: str) -> None:
        self._largest = max(self._largest, (start - self._section_start, self._section))
        self._section, self._section_start = title, start

    def _too_much(self) -> TooMuchText:
        """What to say of a text over the limit: where most of it is, if it has headings."""
        count, part = max(self._largest, (self.length - self._section_start, self._section))
        if not part:
            return TooMuchText(name=self.name)
        return TooMuchTextInPart(name=self.name, part=part, count=f"{count:,}")


def _within(positioned: Sequence[_Positioned], first: int, until: int) -> Sequence[_Positioned]:
    """Those that begin from `first` on and before `until`."""
    low = bisect_left(positioned, first, key=lambda each: each.start)
    return positioned[low : bisect_left(positioned, until, lo=low, key=lambda each: each.start)]


def _clipped(stretches: Sequence[_Stretch], first: int, end: int) -> Iterator[_Stretch]:
    """What of the stretches, which follow one another, is between `first` and `end`, counted from `first`."""
    low = bisect_right(stretches, first, key=lambda each: each.end)
    for each in stretches[low : bisect_left(stretches, end, lo=low, key=lambda each: each.start)]:
        yield replace(each, start=max(each.start, first) - first, end=min(each.end, end) - first)


def _moved(stretches: Iterable[_Stretch], by: int) -> Iterator[_Stretch]:
    return (replace(each, start=by + each.start, end=by + each.end) for each in stretches)


def _cuts(text: str, headings: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Stretches of at most `PART_CHARACTERS`; the positions of `headings` are in ascending order."""
    start = 0
    while len(text) - start > PART_CHARACTERS:
        middle, limit = start + PART_CHARACTERS // 2, start + PART_CHARACTERS
        before = bisect_left(headings, limit) - 1
        if before >= 0 and headings[before] > middle:
            end = headings[before]
        else:
            end = text.rfind("\n", middle, limit) + 1 or limit
        yield start, end
        start = end
    yield start, len(text)


def joined(parts: Iterable[ParsedDocument]) -> ParsedDocument:
    """The whole document that consists of `parts`."""
    texts: list[str] = []
    pages: list[PageStart] = []
    headings: list[Heading] = []
    tables: list[TableRows] = []
    lines: list[LineBox] = []
    notes: list[Note] = []
    length, title, has_whole_pages = 0, "", False
    for part in parts:
        pages += [PageStart(length + page.start, page.number) for page in part.pages]
        headings += [replace(heading, start=length + heading.start) for heading in part.headings]
        tables += _moved(part.tables, length)
        lines += _moved(part.lines, length)
        notes += part.notes
        title, has_whole_pages = title or part.title, has_whole_pages or part.has_whole_pages
        texts.append(part.text)
        length += len(part.text)
    text = "".join(texts)
    return ParsedDocument(
        *(text, tuple(pages), tuple(headings), title, has_whole_pages),
        notes=merge_notes(notes),
        tables=tuple(tables),
        lines=tuple(lines),
    )


Report = Callable[[int, int], None]


def report_nothing(done: int, total: int) -> None:
    """A `Report` that does nothing."""


@dataclass(frozen=True, slots=True)
class Source:
    """The file at `path`; `name` is the user's file name, for messages only; `media_type` is its format.

    `report(done, total)` counts pages, slides or sheets that are read. Where the format has pages, reading begins at
    page `first_page` and leaves out those in `skipped`. `reads_images`: whether text in images of pages is read;
    `recognised` is where that text is kept, if it is (see `kb.parsing.images.recognised`).
    """

    path: Path
    name: str
    media_type: str
    report: Report = report_nothing
    first_page: int = 1
    skipped: frozenset[int] = frozenset()
    reads_images: bool = True
    recognised: Path | None = None
