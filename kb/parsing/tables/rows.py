"""The rows of a table as lines that can be understood alone: `label: value; …`, or `a | b` without labels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from kb.columns import columns

Row = Sequence[str]
SPANNED = "\x01"  # a cell that the one on its left covers
_EXACT = 2.0**53  # up to here a float represents every whole number
_WRITTEN_OUT = 1e21
_MAX_KEY = 100
_HEADER_COLUMNS = 800  # of rows, until their header is repeated: about a chunk
_LINE_COLUMNS = 700  # of a longer row, each line begins with its key, so that every chunk names it
_MAX_REPEATED = 200  # characters of a merged cell
_NUMBERED = re.compile(r" \(\d+\)$")
_MAX_NAMES = 7  # of the columns that one cell covers
_FEW_GAPS = 3  # cells for each one with text


def number_text(value: float) -> str:
    """3 instead of 3.0; other numbers with the 15 digits that Office keeps, written out."""
    if float(value).is_integer() and abs(value) < _EXACT:
        return str(int(value))
    return format(Decimal(f"{value:.15g}"), "f") if abs(value) < _WRITTEN_OUT else f"{value:.15g}"


def below(rows: Sequence[Row], column: int) -> str:
    """The text of a cell that the one above it covers. Long texts are not repeated."""
    text = rows[-1][column] if rows and column < len(rows[-1]) else ""
    return text if len(text) <= _MAX_REPEATED else ""


def trim_cells(row: Row) -> list[str]:
    """The cells as single lines, without empty ones at the end."""
    cells = [" ".join(cell.split()) if cell and cell != SPANNED else cell for cell in row]
    if not any(cells):
        return []
    while not cells[-1]:
        cells.pop()
    return cells if any(cell != SPANNED for cell in cells) else []


def count_filled(row: Row) -> int:
    return sum(1 for cell in row if cell and cell != SPANNED)


def count_covered(row: Row) -> int:
    return sum(1 for cell in row if cell)


def join_cells(cells: Iterable[str]) -> str:
    """A row without labels as a line; empty if all its cells are empty. Gaps show only where they are few."""
    texts = [" ".join(cell.split()) if cell else "" for cell in cells if cell != SPANNED]
    filled = [text for text in texts if text]
    return " | ".join(texts if len(texts) <= _FEW_GAPS * len(filled) and len(filled) > 1 else filled)


def repeat_header(first: str, lines: Iterable[str]) -> Iterator[str]:
    """The lines of a table, with its first one about once a chunk, unless that is longer than a chunk itself."""
    yield first
    width = columns(first)
    if width > _HEADER_COLUMNS:
        yield from lines
        return
    for line in lines:
        if width > _HEADER_COLUMNS:
            yield first
            width = columns(first)
        yield line
        width += columns(line) + 1


@dataclass(slots=True)
class _Cell:
    label: str
    text: str

    def __str__(self) -> str:
        return f"{self.label}: {self.text}" if self.label else self.text


def labelled_lines(labels: Row, row: Row) -> Iterator[str]:
    """The row as a line, `label: text; …`; a long one as several, each with its key before."""
    cells = [_Cell(_label_over(labels, row, index), text) for index, text in enumerate(row) if text and text != SPANNED]
    line = "; ".join(map(str, cells))
    if columns(line) <= _LINE_COLUMNS:
        yield line
        return
    key = next((str(cell) for cell in cells[:3] if len(str(cell)) <= _MAX_KEY), "")
    pieces: list[str] = []
    width = 0
    for cell in cells:
        for text in split_text(cell.text, cell.label):
            if pieces and width + columns(text) > _LINE_COLUMNS:
                yield "; ".join(pieces)
                pieces, width = ([key], columns(key)) if key and text != key else ([], 0)
            pieces.append(text)
            width += columns(text) + 2
    yield "; ".join(pieces)


def _label_over(labels: Row, row: Row, index: int) -> str:
    """The label of a cell, or those of all columns that it covers; one that begins in the first has only that."""
    end = index + 1
    if end == len(row) or row[end] != SPANNED:
        return labels[index] if index < len(labels) else ""
    while index and end < min(len(row), index + _MAX_NAMES + 1) and row[end] == SPANNED:
        end += 1
    names = dict.fromkeys(filter(None, labels[index:end]))
    if len(alike := {_NUMBERED.sub("", name) for name in names}) == 1:  # one name covers these columns, too
        return alike.pop()
    return " / ".join(names) if len(names) <= _MAX_NAMES else next(iter(names), "")


def split_text(text: str, label: str) -> Iterator[str]:
    """`label: text`, in pieces if it is too long for a line, cut after sentences or words."""
    before = f"{label}: " if label else ""
    limit = max(_MAX_KEY, _LINE_COLUMNS - _MAX_KEY - columns(before))
    text = text.rstrip()
    at = 0
    while columns(head := text[at : at + limit + 1]) > limit:  # no more is measured than could fit
        end = max(1, limit // 2) if columns(head) > len(head) else limit
        cuts = (head.rfind(mark, end // 2, end) for mark in ("。", ". ", "；", "; ", "，", ", ", " "))
        cut = next((cut + 1 for cut in cuts if cut > 0), end)
        yield before + head[:cut].strip()
        at += cut
        while text[at : at + 1].isspace():
            at += 1
    if at < len(text):
        yield before + text[at:]
