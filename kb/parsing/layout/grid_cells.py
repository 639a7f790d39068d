"""The cells of a ruled grid, and the runs of text in each; where only gaps part the columns, edges are put there."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from kb.parsing.layout.lines import Line, TextRun, read_lines
from kb.parsing.layout.rulings import Grid, Ruling

_MAX_LINES = 40  # in a cell
_LEAST_FILLED = 0.2  # of the cells
_MOST_CROSSING = 0.1  # of the runs, over lines of the grid
_AROUND = 2.0  # points
_MIDDLE = 0.3  # of the character size above the baseline
_MAX_PADDING = 8.0  # points
_ROW_GAP = 0.8  # character sizes between cells that no line parts
_ALIGNED, _ALIGNED_GAP = 3, 0.45  # texts that begin at one place need a smaller gap before them
_ABOVE = 2.0  # character sizes
_FEWEST_ROWS = 2
_MOST_CELLS = 0.6  # have lines that gaps part
_MOSTLY_ROWS = 0.3  # of the lines in a column, where gaps part it
_LIST_ITEM = re.compile(r"(?:\W+|\(?(?:\d{1,2}|[a-z])[.)])\t[^\t]*")


@dataclass(slots=True, eq=False)
class Cell:
    """What stands between lines of the grid, perhaps over several of its rows and columns."""

    row: int
    last_row: int
    column: int
    last_column: int
    left: float
    right: float
    runs: list[TextRun] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    group: str = ""  # the name above, of the group of columns

    @property
    def is_merged_down(self) -> bool:
        return self.last_row > self.row


def without_titles(grid: Grid, cells: list[Cell]) -> list[Cell]:
    """Titles above a table, and paragraphs inside, are read like what stands around it."""
    whole = sorted((cell for cell in cells if _is_over_all(cell, grid)), key=lambda cell: cell.row)
    last_title = 0
    for cell in whole:
        if cell.row <= last_title:
            last_title = cell.last_row + 1
    left_out = {
        id(cell) for cell in whole if cell.row < last_title or len(cell.lines) > 1 or any(map(_has_cells, cell.lines))
    }
    return [cell for cell in cells if id(cell) not in left_out]


def read_cells(grid: Grid, runs: Sequence[TextRun]) -> list[Cell]:
    """The cells, where slots of the grid that no line parts are one."""
    inside: defaultdict[tuple[int, int], list[TextRun]] = defaultdict(list)
    for run in runs:
        place = grid.place((run.left + run.right) / 2, run.baseline + _MIDDLE * run.size)
        if place and not run.table:
            inside[place].append(run)
    return list(_merged_cells(grid, inside)) if inside else []


def _merged_cells(grid: Grid, inside: dict[tuple[int, int], list[TextRun]]) -> Iterator[Cell]:
    rows, columns = len(grid.rows) - 1, len(grid.columns) - 1
    owner: dict[tuple[int, int], Cell] = {}
    for row in range(rows):
        for column in range(columns):
            if (row, column) in owner:
                continue
            last_column = column
            while last_column + 1 < columns and (row, last_column + 1) not in owner:
                if grid.is_parted_left(row, last_column + 1) or _are_apart(grid, inside, row, last_column + 1):
                    break
                last_column += 1
            last_row = row
            span = range(column, last_column + 1)
            while last_row + 1 < rows and not any(grid.is_parted_above(last_row + 1, each) for each in span):
                below = last_row + 1
                if any(grid.is_parted_left(below, each) for each in span[1:]):
                    break
                last_row = below
            cell = Cell(row, last_row, column, last_column, grid.columns[column], grid.columns[last_column + 1])
            for place in ((r, c) for r in range(row, last_row + 1) for c in span):
                owner[place] = cell
                cell.runs += inside.get(place, ())
            cell.lines = read_lines(cell.runs) if cell.runs else []
            if cell.lines or column > 0 or _is_inside(grid, cell):
                yield cell


def _is_inside(grid: Grid, cell: Cell) -> bool:
    """Whether lines are drawn around a cell of the first column: beside a narrower table there are none."""
    is_below = grid.is_parted_above(cell.last_row + 1, cell.column)
    return grid.is_parted_left(cell.row, cell.column) or (grid.is_parted_above(cell.row, cell.column) and is_below)


def _are_apart(grid: Grid, inside: dict[tuple[int, int], list[TextRun]], row: int, column: int) -> bool:
    """Whether the texts of two neighbours keep clear of the edge between, though no line is drawn there."""
    edge = grid.columns[column]
    before, after = inside.get((row, column - 1), ()), inside.get((row, column), ())
    if edge in grid.gaps or not before or not after:
        return False
    gap = _ROW_GAP * max(before[0].size, after[0].size)
    return all(run.right <= edge for run in before) and all(
        run.left >= edge and run.left - max(each.right for each in before) >= gap for run in after
    )


def is_table(grid: Grid, cells: Sequence[Cell]) -> bool:
    """Whether the cells are filled as those of a table, and not the squares of a chart or the columns of a page."""
    filled = [cell for cell in cells if cell.runs]
    runs = [run for cell in filled for run in cell.runs]
    crossing = sum(
        1 for cell in filled for run in cell.runs if run.left < cell.left - _AROUND or run.right > cell.right + _AROUND
    )
    return (
        len(filled) > 2
        and len(filled) >= _LEAST_FILLED * len(cells)
        and crossing <= _MOST_CROSSING * len(runs)
        and all(len(cell.lines) <= _MAX_LINES or _is_over_all(cell, grid) for cell in filled)
        and len({cell.column for cell in filled}) > 1
        and len({cell.row for cell in filled}) > 1
    )


def with_row_above(grid: Grid, runs: Sequence[TextRun]) -> Grid:
    """The grid with the row of cells that stands close above its first line, as headers do."""
    top = grid.rows[0]
    near = [
        run
        for run in runs
        if 0 < run.baseline - top < _ABOVE * run.size
        and grid.columns[0] < (run.left + run.right) / 2 < grid.columns[-1]
    ]
    lines = read_lines([run for run in near if not run.table])
    if len(lines) != 1 or not lines[0].is_row:
        return grid
    return grid.with_top(lines[0].baseline + lines[0].size)


def unruled_columns(grid: Grid, cells: Sequence[Cell]) -> list[tuple[float, list[Ruling]]]:
    """The edges of columns that gaps alone part, each with the rows in which nothing crosses it."""
    by_column: defaultdict[tuple[int, int], list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.lines and (len(grid.columns) == 2 or not _is_over_all(cell, grid)):
            by_column[cell.column, cell.last_column].append(cell)
    edges: list[tuple[float, list[Ruling]]] = []
    for together in by_column.values():
        lines = [line for cell in together for line in cell.lines]
        rows = [line for line in lines if _has_cells(line)]
        with_rows = sum(1 for cell in together if any(map(_has_cells, cell.lines)))
        is_parted = len(rows) >= _MOSTLY_ROWS * len(lines) or with_rows >= _MOST_CELLS * len(together)
        if len(rows) < _FEWEST_ROWS or not is_parted:
            continue
        of_rows = sorted(span for line in rows for span in line.cells)
        gaps = list(_gaps(of_rows))
        begins = {round(begin) for begin, _end in of_rows}
        in_one = [
            (line.left, line.right)
            for line in lines
            if (round(line.left) in begins and not _is_over(line, gaps))
            or any(end < line.left and line.right < begin for end, begin in gaps)  # a column of its own
        ]
        begins_at = Counter(round(begin) for begin, _end in of_rows + in_one)
        gutters = [
            (end, begin)
            for end, begin in _gaps(sorted(of_rows + in_one))
            if begin - end >= (_ALIGNED_GAP if begins_at[round(begin)] >= _ALIGNED else _ROW_GAP) * rows[0].size
        ]
        of_cells = [(end + begin) / 2 for end, begin in gutters]
        parted = [cell for cell in together if any(map(_has_cells, cell.lines)) or not _is_crossed(cell, of_cells)]
        edges += [
            (edge, [(edge, grid.rows[cell.last_row + 1], grid.rows[cell.row]) for cell in parted])
            for edge in of_cells
            if all(abs(edge - other) > _MAX_PADDING for other in grid.columns)
        ]
    return edges


def _is_over(line: Line, gaps: Sequence[tuple[float, float]]) -> bool:
    return any(line.left < end and begin < line.right for end, begin in gaps)


def _gaps(spans: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    end = spans[0][1]
    for left, right in spans:
        if left > end:
            yield end, left
        end = max(end, right)


def _has_cells(line: Line) -> bool:
    return line.is_row and not _LIST_ITEM.fullmatch(line.text)


def _is_crossed(cell: Cell, edges: Sequence[float]) -> bool:
    return any(line.left < edge < line.right for line in cell.lines for edge in edges)


def _is_over_all(cell: Cell, grid: Grid) -> bool:
    return cell.column == 0 and cell.last_column == len(grid.columns) - 2
