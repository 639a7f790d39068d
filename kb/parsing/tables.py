"""Rows of cells → lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

Row = Sequence[str]
_MAX_HEADER_CELL = 80  # characters; longer ones are prose


def join_cells(cells: Iterable[str]) -> str:
    """A row of a table as a line; empty if all its cells are."""
    texts = [" ".join(cell.split()) for cell in cells]
    return " | ".join(texts) if any(texts) else ""


def table_lines(rows: Iterable[Row], *, repeat_header: bool = True) -> Iterator[str]:
    """The lines of a sheet. Every row under a header reads `header: value; …`, so that it is found by itself.

    An empty row ends a table; lines of a single cell above its header stay what they are.
    """
    table: list[list[str]] = []
    for raw in rows:
        row = _trim(raw)
        if row:
            table.append(row)
        elif table:
            yield from _block_lines(table, repeat_header)
            table = []
    yield from _block_lines(table, repeat_header)


def _trim(row: Row) -> list[str]:
    """The cells as single lines, without the empty ones at the end."""
    cells = [" ".join(cell.split()) for cell in row]
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _block_lines(table: list[list[str]], repeat_header: bool) -> Iterator[str]:
    """The lines of rows that stand together."""
    first = next((index for index, row in enumerate(table) if _filled(row) > 1), len(table))
    yield from (join_cells(filter(None, row)) for row in table[:first])
    rows = table[first:]
    if repeat_header and len(rows) > 1 and _is_header(rows[0]):
        yield from (_labelled(rows[0], row) for row in rows[1:])
    else:
        yield from (" | ".join(row) for row in rows)


def _filled(row: Row) -> int:
    return sum(1 for cell in row if cell)


def _is_header(row: Row) -> bool:
    """Whether the cells are names: short, different, and none of them a number."""
    cells = [cell for cell in row if cell]
    return len(set(cells)) == len(cells) and all(len(c) <= _MAX_HEADER_CELL and not _is_number(c) for c in cells)


def _is_number(cell: str) -> bool:
    return cell.lstrip("+-$€£¥").replace(",", "").replace(".", "").rstrip("%").isdigit()


def _labelled(header: Row, row: Row) -> str:
    cells = []
    for index, value in enumerate(row):
        label = header[index] if index < len(header) else ""
        if value:
            cells.append(f"{label}: {value}" if label else value)
    return "; ".join(cells)
