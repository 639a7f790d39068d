"""Rows of cells → lines of text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import groupby

Row = Sequence[str]
_ADDRESS = re.compile(r"\S@\S+\.\S|https?://")
_EXACT = 2.0**53  # up to here a float holds each whole number
_WRITTEN_OUT = 1e21
_MAX_HEADER_CELL = 80  # characters; longer ones are prose


def number_text(value: float) -> str:
    """3 rather than 3.0; else all the 15 digits that Office keeps, written out."""
    if value.is_integer() and abs(value) < _EXACT:
        return str(int(value))
    return format(Decimal(f"{value:.15g}"), "f") if abs(value) < _WRITTEN_OUT else f"{value:.15g}"


def join_cells(cells: Iterable[str]) -> str:
    """A row of a table as a line; empty if all its cells are."""
    texts = [" ".join(cell.split()) for cell in cells]
    return " | ".join(texts) if any(texts) else ""


def table_lines(rows: Iterable[Row], *, repeat_header: bool = True, is_sheet: bool = False) -> Iterator[str]:
    """The lines of a table. Every row under a header reads `header: value; …`, so that it is found by itself.

    An empty row ends a table; lines of a single cell above its header stay what they are. On a sheet, where anything
    may stand, a first row is taken for a header with more care: a wrong label says what is not true.
    """
    width = 0
    for has_cells, together in groupby(map(_trim, rows), key=bool):
        if has_cells:
            block = _Block(list(together))
            yield from block.lines(repeat_header and (not is_sheet or block.may_have_header(width)))
            width = block.width


def _trim(row: Row) -> list[str]:
    """The cells as single lines, without the empty ones at the end."""
    cells = [" ".join(cell.split()) for cell in row]
    while cells and not cells[-1]:
        cells.pop()
    return cells


class _Block:
    """Rows of a table that stand together: first lines of a single cell, then the rest."""

    def __init__(self, table: list[list[str]]) -> None:
        first = next((index for index, row in enumerate(table) if _filled(row) > 1), len(table))
        self._titles, self._rows = table[:first], table[first:]
        self.width = max(map(len, self._rows), default=0)

    def may_have_header(self, width_before: int) -> bool:
        """Not if it may go on with the table before, as wide as this one, or if it is a list of names and values."""
        if self.width == width_before and not self._titles:
            return False
        return self.width > 2 or all(_is_number(row[-1]) for row in self._rows[1:] if len(row) == self.width)

    def lines(self, with_labels: bool) -> Iterator[str]:
        yield from (join_cells(filter(None, row)) for row in self._titles)
        if with_labels and len(self._rows) > 1 and _is_header(self._rows[0]):
            yield from (_labelled(self._rows[0], row) for row in self._rows[1:])
        else:
            yield from (" | ".join(row) for row in self._rows)


def _filled(row: Row) -> int:
    return sum(1 for cell in row if cell)


def _is_header(row: Row) -> bool:
    """Whether the cells are names: short, different, and none of them a number, a date or an address."""
    cells = [cell for cell in row if cell]
    return len(set(cells)) == len(cells) and all(len(c) <= _MAX_HEADER_CELL and not _is_value(c) for c in cells)


def _is_value(cell: str) -> bool:
    """A number, a date, a telephone number or an address; 12月 and 2023Q1 are names of columns."""
    mostly_digits = 2 * sum(map(str.isdigit, cell)) > len(cell) and not any(map(str.isalpha, cell))
    return _is_number(cell) or mostly_digits or bool(_ADDRESS.search(cell))


def _is_number(cell: str) -> bool:
    return cell.lstrip("+-$€£¥").replace(",", "").replace(".", "").rstrip("%").isdigit()


def _labelled(header: Row, row: Row) -> str:
    cells = []
    for index, value in enumerate(row):
        label = header[index] if index < len(header) else ""
        if value:
            cells.append(f"{label}: {value}" if label else value)
    return "; ".join(cells)
