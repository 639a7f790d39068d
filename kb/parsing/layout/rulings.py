"""The straight lines drawn on a page: what they part, and the grids of cells that they make."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

Ruling = tuple[float, float, float]  # its place across, where it begins and where it ends, in points

_AROUND = 1.5  # points around a line of a table
_CELL = 15.0
_SHORTEST, _LONGEST_BAR = 6.0, 100.0  # points
_SAME_PLACE = 3.0  # double lines are one
_MEETS = 3.5  # lines end this far from those they meet
_MIN_SIDE = 5.0  # of a cell
_MAX_MERGED = 700  # in each direction; drawings have more
_MIN_STACK = 4
_MAX_COLUMNS, _MAX_ROWS = 60, 300
_LEAST_COVERED = 0.6  # of a cell's side, by the lines drawn there


class Rulings:
    """Vertical lines as (x, bottom, top), and horizontal ones as (y, left, right)."""

    def __init__(self, vertical: Iterable[Ruling] = (), horizontal: Iterable[Ruling] = ()) -> None:
        self._vertical, self._level = list(vertical), list(horizontal)
        self._horizontal = [line for line in self._level if line[2] - line[1] >= _SHORTEST]
        self._cells: dict[int, list[Ruling]] = {}
        for x, bottom, top in self._vertical:
            self._cells.setdefault(int(x // _CELL), []).append((x, bottom, top))

    def __bool__(self) -> bool:
        """Whether there are any that part cells on a line of text."""
        return bool(self._cells)

    def part(self, left: float, right: float, baseline: float) -> bool:
        """Whether one stands between `left` and `right` on a line of text."""
        return any(
            left - _AROUND <= x <= right + _AROUND and bottom - _AROUND <= baseline <= top
            for cell in range(int((left - _AROUND) // _CELL), int((right + _AROUND) // _CELL) + 1)
            for x, bottom, top in self._cells.get(cell, ())
        )

    def bars(self) -> list[Ruling]:
        """Level lines as short as those of fractions."""
        return [line for line in self._level if line[2] - line[1] <= _LONGEST_BAR]

    def turned(self, angle: float) -> Rulings:
        """The lines on the page turned so that text at `angle`, a multiple of a right angle, is upright."""
        cos, sin = round(math.cos(angle)), round(math.sin(angle))
        if cos:
            return Rulings(_scaled(self._vertical, cos, cos), _scaled(self._level, cos, cos))
        return Rulings(_scaled(self._level, sin, -sin), _scaled(self._vertical, -sin, sin))

    def grids(self) -> list[Grid]:
        """The grids of at least two columns and two rows, without those that hold another."""
        vertical, horizontal = _merged(self._vertical), _merged(self._horizontal)
        if not vertical or not horizontal or max(len(vertical), len(horizontal)) > _MAX_MERGED:
            return []
        grids = [grid for lines in _connected(vertical, horizontal) if (grid := _grid(*lines))]
        return [grid for grid in grids if not any(grid.contains(other) for other in grids if other is not grid)]

    def stacks(self) -> list[Grid]:
        """Level lines of one length below each other, which no upright one meets: the rows of a table, perhaps."""
        vertical, horizontal = _merged(self._vertical), _merged(self._horizontal)
        if max(len(vertical), len(horizontal)) > _MAX_MERGED:
            return []
        by_ends: dict[tuple[int, int], list[Ruling]] = {}
        for lines in _connected(vertical, horizontal):
            for line in lines[1] if not lines[0] else ():
                by_ends.setdefault((round(line[1] / _SAME_PLACE), round(line[2] / _SAME_PLACE)), []).append(line)
        return [
            Grid(columns, rows, {edge: [] for edge in columns}, _by_edge(lines, rows))
            for lines in by_ends.values()
            if _MIN_STACK <= len(rows := _edges(lines, ())[::-1]) <= _MAX_ROWS
            for columns in ([min(line[1] for line in lines), max(line[2] for line in lines)],)
        ]


@dataclass(frozen=True, slots=True)
class Grid:
    """The edges of columns from the left and of rows from the top, and the lines that are drawn on each."""

    columns: Sequence[float]
    rows: Sequence[float]
    vertical: dict[float, list[Ruling]]
    horizontal: dict[float, list[Ruling]]
    gaps: frozenset[float] = frozenset()  # edges that no line shows

    def contains(self, other: Grid) -> bool:
        return (
            self.columns[0] <= other.columns[0]
            and other.columns[-1] <= self.columns[-1]
            and self.rows[-1] <= other.rows[-1]
            and other.rows[0] <= self.rows[0]
        )

    def with_columns(self, edges: Iterable[tuple[float, list[Ruling]]]) -> Grid:
        """The grid with more edges of columns, each with where it parts them."""
        more = dict(edges)
        vertical = self.vertical | more
        return Grid(sorted(vertical), self.rows, vertical, self.horizontal, self.gaps.union(more))

    def with_top(self, top: float) -> Grid:
        """The grid with a row above, up to `top`."""
        horizontal = self.horizontal | {top: [(top, self.columns[0], self.columns[-1])]}
        return replace(self, rows=[top, *self.rows], horizontal=horizontal)

    def place(self, x: float, y: float) -> tuple[int, int] | None:
        """The row and the column of a point."""
        if not (self.columns[0] < x < self.columns[-1] and self.rows[-1] < y < self.rows[0]):
            return None
        return bisect_left(self.rows, -y, key=lambda edge: -edge) - 1, bisect_right(self.columns, x) - 1

    def is_parted_left(self, row: int, column: int) -> bool:
        """Whether a line stands between a cell and the one on its left."""
        top, bottom = self.rows[row], self.rows[row + 1]
        return _is_covered(self.vertical[self.columns[column]], bottom, top)

    def is_parted_above(self, row: int, column: int) -> bool:
        left, right = self.columns[column], self.columns[column + 1]
        return _is_covered(self.horizontal[self.rows[row]], left, right)


def _scaled(lines: Iterable[Ruling], across: int, along: int) -> Iterator[Ruling]:
    for place, begin, end in lines:
        yield place * across, min(begin * along, end * along), max(begin * along, end * along)


def _merged(lines: Iterable[Ruling]) -> list[Ruling]:
    """Lines at about one place that touch or overlap, as one."""
    merged: list[Ruling] = []
    together: list[Ruling] = []
    for line in sorted(lines):
        if together and line[0] - together[0][0] > _SAME_PLACE:
            merged += _touching(together)
            together = []
        together.append(line)
    return merged + _touching(together) if together else merged


def _touching(lines: Sequence[Ruling]) -> list[Ruling]:
    place = lines[len(lines) // 2][0]
    spans: list[list[float]] = []
    for _place, begin, end in sorted(lines, key=lambda line: line[1]):
        if spans and begin <= spans[-1][1] + _MEETS:
            spans[-1][1] = max(spans[-1][1], end)
        else:
            spans.append([begin, end])
    return [(place, begin, end) for begin, end in spans]


def _connected(vertical: list[Ruling], horizontal: list[Ruling]) -> Iterator[tuple[list[Ruling], list[Ruling]]]:
    """The lines of each drawing whose lines meet."""
    parents = list(range(len(vertical) + len(horizontal)))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = index = parents[parents[index]]
        return index

    heights = [line[0] for line in horizontal]
    for index, (x, bottom, top) in enumerate(vertical):
        for other in range(bisect_left(heights, bottom - _MEETS), bisect_right(heights, top + _MEETS)):
            _y, left, right = horizontal[other]
            if left - _MEETS <= x <= right + _MEETS:
                parents[root(index)] = root(len(vertical) + other)
    drawings: dict[int, tuple[list[Ruling], list[Ruling]]] = {}
    for index, line in enumerate([*vertical, *horizontal]):
        drawings.setdefault(root(index), ([], []))[index >= len(vertical)].append(line)
    yield from drawings.values()


def _grid(vertical: list[Ruling], horizontal: list[Ruling]) -> Grid | None:
    columns = _edges(vertical, horizontal)
    rows = _edges(horizontal, vertical)[::-1]
    if not (3 <= len(columns) <= _MAX_COLUMNS and 3 <= len(rows) <= _MAX_ROWS):
        return None
    return Grid(columns, rows, _by_edge(vertical, columns), _by_edge(horizontal, rows))


def _edges(lines: Sequence[Ruling], across: Sequence[Ruling]) -> list[float]:
    """Where the lines are, and where those across them end, as some tables have no lines on their outer sides."""
    places = {line[0] for line in lines}
    for end in (min(line[1] for line in across), max(line[2] for line in across)) if across else ():
        is_common = sum(1 for line in across if min(abs(line[1] - end), abs(line[2] - end)) < _SAME_PLACE) > 1
        if is_common and all(abs(place - end) > _MIN_SIDE for place in places):
            places.add(end)
    edges = sorted(places)
    near = {after for before, after in pairwise(edges) if after - before < _MIN_SIDE}
    return [edge for edge in edges if edge not in near]


def _by_edge(lines: Iterable[Ruling], edges: Sequence[float]) -> dict[float, list[Ruling]]:
    by_edge: dict[float, list[Ruling]] = {edge: [] for edge in edges}
    for line in lines:
        by_edge[min(edges, key=lambda edge: abs(edge - line[0]))].append(line)
    return by_edge


def _is_covered(lines: Iterable[Ruling], begin: float, end: float) -> bool:
    covered = sum(max(0.0, min(end, line[2]) - max(begin, line[1])) for line in lines)
    return covered >= _LEAST_COVERED * (end - begin)
