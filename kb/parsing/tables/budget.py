"""How many cells the tables of a document may have that its file does not write out.

A few bytes can say that a cell covers a thousand columns, or that a row stands there a thousand times.
"""

from __future__ import annotations

from kb.errors import TableTooLarge

MAX_COPIES = 20_000_000  # the error message repeats the number


class CellBudget:
    """Counts the copies of cells, and the places that merged ones cover, in all tables of the file called `name`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._left = MAX_COPIES

    def take(self, count: int, table: str) -> None:
        """Allow `count` more in the table that people know as `table`. Errors: `TableTooLarge`."""
        self._left -= count
        if self._left < 0:
            raise TableTooLarge(name=self._name, table=table)
