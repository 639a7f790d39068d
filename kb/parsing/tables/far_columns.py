"""Where the cells of a sheet go in its rows, so that a cell far to the right costs no more than any other."""

from __future__ import annotations

NEAR = 512
# So many empty places, and so many for each cell, before far columns get no more places of their own.
FEW_GAPS, MOST_GAPS = 100_000, 100


class FarColumns:
    """The first columns of a sheet keep their places in a row; of those far to the right, the used ones follow.

    These come in the order in which they are first used. A gap before one becomes a single empty place. Where each row
    uses another far column, the rows would grow with every row; the cells of further columns then follow the places
    of all others, and have no place of their own.
    """

    def __init__(self) -> None:
        self._places: dict[int, int] = {}  # of far columns
        self._last = self._last_place = NEAR - 1
        self._cells = self._gaps = 0  # in the far parts of all rows

    def put(self, row: list[str], column: int, text: str) -> None:
        """Set the cell of a column, counted from 0."""
        place = self.find(column)
        if place is None:
            place = self._next_place(row, column)
        if column >= NEAR:
            self._cells += 1
            self._gaps += max(0, place - max(len(row), NEAR))
        if place == len(row):
            row.append(text)
            return
        row += [""] * (place + 1 - len(row))
        row[place] = text

    def squeeze(self, row: list[str]) -> list[str]:
        """The cells of a whole row in their places; empty ones at the end may be left out."""
        if len(row) <= NEAR:
            return row
        squeezed = row[:NEAR]
        for column, text in enumerate(row[NEAR:], NEAR):
            if text:
                self.put(squeezed, column, text)
        return squeezed

    def find(self, column: int) -> int | None:
        """The place of a column; None for a far one that has none of its own, or not yet."""
        return column if column < NEAR else self._places.get(column)

    def _next_place(self, row: list[str], column: int) -> int:
        if self._gaps > max(FEW_GAPS, MOST_GAPS * self._cells):
            return max(len(row), self._last_place + 2)
        place = self._last_place + (1 if column == self._last + 1 else 2)
        self._places[column] = place
        self._last, self._last_place = column, place
        return place
