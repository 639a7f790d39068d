"""Rows of cells → lines of text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import groupby

Row = Sequence[str]
_ADDRESS = re.compile(r"\S@\S+\.\S|https?://")
_EXACT = 2.0**53  # up to here a float represents every whole number
_WRITTEN_OUT = 1e21
_MAX_HEADER_CELL = 80  # characters; longer ones are prose


def number_text(value: float) -> str:
    """3 instead of 3.0; other numbers with the 15 digits that Office keeps, written out."""
    if float(value).is_integer() and abs(value) < _EXACT:
        return str(int(value))
    return format(Decimal(f"{value:.15g}"), "f") if abs(value) < _WRITTEN_OUT else f"{value:.15g}"


def join_cells(cells: Iterable[str]) -> str:
    """A table row as a line; empty if all its cells are empty."""
    texts = [" ".join(cell.split()) for cell in cells]
    return " | ".join(texts) if any(texts) else ""


def table_lines(rows: Iterable[Row], *, repeat_header: bool = True, is_sheet: bool = False) -> Iterator[str]:
    """The lines of a table. Each row under a header reads `header: value; …`, so that it can be found alone.

    An empty row ends a table. Rows with a single cell above the header stay as they are. A sheet can contain anything,
    so there we are more careful to take a first row for a header: a wrong label would make a false statement.
    """
    width = 0
    for has_cells, together in groupby(map(_trim, rows), key=bool):
        if has_cells:
            block = _Block(list(together))
            yield from block.lines(repeat_header and (not is_sheet or block.may_have_header(width)))
            width = block.width


def _trim(row: Row) -> list[str]:
    """The cells as single lines, without empty ones at the end."""
    cells = [" ".join(cell.split()) for cell in row]
    while cells and not cells[-1]:
        cells.pop()
    return cells


class _Block:
    """Adjacent table rows: first those with a single cell, then the rest."""

    def __init__(self, table: list[list[str]]) -> None:
        first = next((index for index, row in enumerate(table) if _filled(row) > 1), len(table))
        self._titles, self._rows = table[:first], table[first:]
        self.width = max(map(len, self._rows), default=0)

    def may_have_header(self, width_before: int) -> bool:
        """False if it may continue the table before, of the same width, or if it lists names and values."""
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
    """Whether the cells are names: short, distinct, and not numbers, dates or addresses."""
    cells = [cell for cell in row if cell]
    return len(set(cells)) == len(cells) and all(len(c) <= _MAX_HEADER_CELL and not _is_value(c) for c in cells)


def _is_value(cell: str) -> bool:
    """A number, a date, a phone number or an address. 12月 and 2023Q1 are column names."""
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
