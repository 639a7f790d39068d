"""Where the cells of a sheet go in its rows, so that a cell far to the right costs no more than any other."""

from __future__ import annotations

NEAR = 512


class FarColumns:
    """The first columns of a sheet keep their places in a row; of those far to the right, the used ones follow.

    These come in the order in which they are first used. A gap before one becomes a single empty place.
    """

    def __init__(self) -> None:
        self._places: dict[int, int] = {}  # of far columns
        self._last = self._last_place = NEAR - 1

    def put(self, row: list[str], column: int, text: str) -> None:
        """Set the cell of a column, counted from 0."""
        place = self.find(column)
        if place is None:
            place = self._last_place + (1 if column == self._last + 1 else 2)
            self._places[column] = place
            self._last, self._last_place = column, place
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
        """The place of a column; None for a far one that has not been used."""
        return column if column < NEAR else self._places.get(column)
