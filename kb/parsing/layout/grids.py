"""Tables with ruled cells → their rows, each a run of text with tabs between the cells.

The lines of a cell are joined, and what merged cells hold is in each of their rows. Where nothing is ruled between the
rows, they are those lines of text that the columns share.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile
from statistics import median, mode

from kb.columns import columns
from kb.parsing.layout.grid_cells import Cell, is_table, read_cells, unruled_columns, with_row_above, without_titles
from kb.parsing.layout.lines import HYPHEN, Line, TextRun
from kb.parsing.layout.rulings import Grid, Rulings
from kb.parsing.layout.spaced_words import join_han

_MAX_PADDING = 8.0  # points
_SHARED = 0.7  # of the cells: have all lines that their neighbours have
_SAME_LINE = 0.5  # of the character size
_MOST_FORCED = 0.25  # of the ends of lines in cells of several rows
_SLACK = 1.6  # character sizes: signs that must not begin a line take others with them
_MAX_REFINED = 3
_RAGGED = 0.3  # of a narrow cell: programs make the lines of its title alike
_MANY_LINES = 3  # more of them are rows, rather than the lines of one
_SHORT = 18  # columns of text, of an entry
_LONG = 6  # lines of a cell; where several are longer, they are read one after the other
_MOST_BANDS = 0.6
_MAX_REPEATED = 200  # characters of a merged cell
_WIDE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff，。、；：！？（）「」《》]")
_FIGURE = re.compile(r"\W*\d[\d\W]*")
_YEAR = re.compile(r"(?:19|20)\d\d")
_BREAKS_WORD = re.compile(f"\\w[{HYPHEN}-]$")
_HAS_LETTERS = re.compile(r"[^\W\d_]")


@dataclass(slots=True)
class _Row:
    """Texts with the places from and to which they go."""

    texts: list[str]
    places: list[tuple[float, float]]
    baseline: float
    depth: float
    lines: tuple[Line, ...] = ()  # instead of the texts: those of each cell, where several are long


def with_rows_of_tables(runs: Sequence[TextRun], rulings: Rulings) -> list[TextRun]:
    """`runs` with those in the cells of tables replaced by one run for each row."""
    placed = list(runs)
    for number, grid in enumerate([*rulings.grids(), *rulings.stacks()], start=1):
        taken, rows = _read_table(placed, grid, number)
        if rows:
            first = next(index for index, run in enumerate(placed) if id(run) in taken)
            rest = [run for run in placed[first:] if id(run) not in taken]
            placed = [*placed[:first], *rows, *rest]
    return placed


def _read_table(runs: Sequence[TextRun], grid: Grid, number: int) -> tuple[set[int], list[TextRun]]:
    """Which runs stand in the table, and its rows; none if it is no table."""
    is_stack = len(grid.columns) == 2
    if is_stack:
        grid = with_row_above(grid, runs)
    cells = read_cells(grid, runs)
    if is_stack:
        grid = grid.with_columns(unruled_columns(grid, cells))
        cells = read_cells(grid, runs)
    if not is_table(grid, cells) or (is_stack and not _has_rows(cells)):
        return set(), []
    for _ in range(_MAX_REFINED):  # columns may be hidden in those that were found
        more = unruled_columns(grid, cells)
        if not more:
            break
        grid = grid.with_columns(more)
        cells = read_cells(grid, runs)
    cells = without_titles(grid, cells)
    if sum(1 for cell in cells if cell.lines) < 2:
        return set(), []
    padding = _padding(cells)
    rows = [row for band in _bands(_with_whole_names(cells, padding)) for row in _rows_of_band(*band, padding)]
    taken = {id(run) for cell in cells for run in cell.runs}
    size = median(run.size for cell in cells for run in cell.runs)
    left = min(run.left for cell in cells for run in cell.runs)
    right = max(run.right for cell in cells for run in cell.runs)
    return taken, [
        TextRun(
            "\t".join(row.texts) or " ".join(line.text for line in row.lines),
            *(left, right, row.baseline, size),
            cells=tuple(row.places),
            table=number,
            lines=row.lines,
            depth=row.depth,
        )
        for row in rows
        if any(row.texts) or row.lines
    ]


def _padding(cells: Sequence[Cell]) -> float:
    """What is empty at least on either side of the texts."""
    gaps = [min(line.left - cell.left, cell.right - line.right) for cell in cells for line in cell.lines]
    return min(_MAX_PADDING, max(0.0, min(gaps, default=0.0)))


def _bands(cells: Sequence[Cell]) -> Iterator[tuple[int, list[Cell]]]:
    """The cells of each row of the grid, from the left; merged ones in each of their rows."""
    by_row: defaultdict[int, list[Cell]] = defaultdict(list)
    for cell in cells:
        for row in range(cell.row, cell.last_row + 1):
            by_row[row].append(cell)
    for row in sorted({cell.row for cell in cells}):
        yield row, sorted(by_row[row], key=lambda cell: cell.column)


def _rows_of_band(row: int, cells: Sequence[Cell], padding: float) -> Iterator[_Row]:
    own = [cell for cell in cells if cell.row == row and cell.lines]
    if not own:
        return
    baselines = _shared_baselines(own, padding)
    top = max(cell.lines[0].baseline for cell in own)
    if len(baselines) < 2 and sum(1 for cell in own if len(cell.lines) > _LONG) > 1:
        yield _Row([], [], top, 0.0, _lines_of(cells))
        return
    if len(baselines) < 2:
        yield _row(
            cells, [_text(cell, row, padding) for cell in cells], top, [line for cell in own for line in cell.lines]
        )
        return
    labels = list(takewhile(lambda cell: len(cell.lines) == 1, cells))
    ends = _ends_of_rows(own, baselines)
    for index, baseline in enumerate(baselines):
        texts = []
        for cell in cells:
            if cell in labels or cell.row < row or cell.is_merged_down:
                texts.append(_text(cell, row, padding))
            else:
                texts.append(" ".join(_words(line) for line in cell.lines if _row_at(line, ends) == index))
        lines = [line for cell in own for line in cell.lines if _row_at(line, ends) == index]
        yield _row(cells, texts, baseline, lines)


def _lines_of(cells: Sequence[Cell]) -> tuple[Line, ...]:
    lines: list[Line] = []
    for cell in cells:
        lines += [replace(line, has_gap_before=line.has_gap_before or line is cell.lines[0]) for line in cell.lines]
    return tuple(lines)


def _row(cells: Sequence[Cell], texts: list[str], baseline: float, lines: Iterable[Line]) -> _Row:
    depth = baseline - min((line.baseline for line in lines), default=baseline)
    last = max((index for index, text in enumerate(texts, start=1) if text), default=0)
    return _Row(texts[:last], [(cell.left, cell.right) for cell in cells[:last]], baseline, max(0.0, depth))


def _shared_baselines(cells: Sequence[Cell], padding: float) -> list[float]:
    """The baselines of rows that no line parts; at most one if the lines in the cells are those of one row."""
    unmerged = [cell for cell in cells if not cell.is_merged_down]
    several = [cell for cell in unmerged if len(cell.lines) > 1]
    if len(several) < 2:
        return []
    usual = mode(len(cell.lines) for cell in several)
    model = next(cell for cell in several if len(cell.lines) == usual)
    baselines = [line.baseline for line in model.lines]
    near = _SAME_LINE * model.lines[0].size
    shared = [
        cell
        for cell in unmerged
        if len(cell.lines) >= _SHARED * len(baselines)
        and all(min(abs(line.baseline - each) for each in baselines) < near for line in cell.lines)
    ]
    is_shared = len(shared) >= max(2, _SHARED * len(cells))
    breaks = [_is_forced(*pair, cell, padding) for cell in several for pair in pairwise(cell.lines)]
    are_short = median(columns(line.text) for cell in several for line in cell.lines) <= _SHORT
    may_be_forced = sum(breaks) > _MOST_FORCED * len(breaks)
    is_counted = any(all(_FIGURE.fullmatch(line.text) for line in cell.lines) for cell in shared if len(cell.lines) > 1)
    if is_shared and (is_counted or not may_be_forced or (len(baselines) > _MANY_LINES and are_short)):
        return baselines
    long = [cell for cell in several if len(cell.lines) > _MANY_LINES]
    if len(long) >= max(2, len(unmerged) / 2) and not may_be_forced:
        return _clustered((line.baseline for cell in unmerged for line in cell.lines), near)
    return _lines_that_begin_rows(unmerged, padding) if len(several) == len(unmerged) else []


def _clustered(baselines: Iterable[float], near: float) -> list[float]:
    clustered: list[float] = []
    for baseline in sorted(baselines, reverse=True):
        if not clustered or clustered[-1] - baseline > near:
            clustered.append(baseline)
    return clustered


def _lines_that_begin_rows(cells: Sequence[Cell], padding: float) -> list[float]:
    """The baselines of a column whose every line is the only one of its row, where other columns have more."""
    fewest = min(cells, key=lambda cell: len(cell.lines))
    breaks = [_is_forced(*pair, fewest, padding) for pair in pairwise(fewest.lines)]
    has_figures = all(any(map(str.isdigit, line.text)) for line in fewest.lines)
    if len(breaks) < 1 or any(breaks) or not (has_figures or len(breaks) > 1):
        return []
    return [line.baseline for line in fewest.lines]


def _ends_of_rows(cells: Sequence[Cell], baselines: Sequence[float]) -> list[float]:
    """Below which height each row but the first begins: halfway, unless all rows begin at the top of their cells."""
    near = _SAME_LINE * cells[0].lines[0].size
    lines = [[line.baseline for line in cell.lines] for cell in cells if not cell.is_merged_down]
    are_at_top = all(
        any(abs(each - baseline) < near for each in of_cell) for of_cell in lines for baseline in baselines
    )
    return [below + near if are_at_top else (above + below) / 2 for above, below in pairwise(baselines)]


def _row_at(line: Line, ends: Sequence[float]) -> int:
    return sum(1 for end in ends if line.baseline < end)


def _is_forced(before: Line, line: Line, cell: Cell, padding: float) -> bool:
    """Whether the first word of `line` has no room behind `before`."""
    if _FIGURE.fullmatch(before.text) and _FIGURE.fullmatch(line.text):
        return False
    if _WIDE.match(line.text):
        first = max(_SLACK * line.size, _RAGGED * (cell.right - cell.left))
    else:
        word = line.text.split(maxsplit=1)[0]
        first = (len(word) + 1) * (line.right - line.left) / max(1, len(line.text))
    return before.right - before.left + first > cell.right - cell.left - 2 * padding


def _text(cell: Cell, row: int, padding: float) -> str:
    """The lines as one; the word that a hyphen broke is marked, as at the end of other lines."""
    if not cell.lines:
        return ""
    text = _words(cell.lines[0])
    for before, line in pairwise(cell.lines):
        words = _words(line)
        is_wide = _WIDE.match(text[-1:]) and _WIDE.match(words)
        if _BREAKS_WORD.search(text) and _HAS_LETTERS.match(words):
            text = text[:-1] + HYPHEN + words
        else:
            text += ("" if is_wide and _is_forced(before, line, cell, padding) else " ") + words
    text = join_han(text)
    text = f"{cell.group} {text}".strip() if text != cell.group else text
    return text if cell.row == row or len(text) <= _MAX_REPEATED else ""


def _words(line: Line) -> str:
    return line.text.replace("\t", " ")


def _with_whole_names(cells: list[Cell], padding: float) -> list[Cell]:
    """Names of groups put into the cells of the names below them, so that each column has its whole name."""
    by_row: defaultdict[int, list[Cell]] = defaultdict(list)
    for cell in cells:
        by_row[cell.row].append(cell)
    for row in sorted(by_row):
        top, below = by_row[row], by_row.get(row + 1, [])
        groups = [cell for cell in top if cell.last_column > cell.column and cell.last_row == row and cell.lines]
        others = [cell for cell in top if cell not in groups and cell.lines]
        texts = [_text(cell, cell.row, padding) for cell in (*groups, *below)]
        is_header = len(groups) + len(others) > 1 and all(cell.last_row == row + 1 for cell in (*others, *below))
        is_split = all(sum(1 for cell in below if _is_under(cell, group)) > 1 for group in groups)
        has_figures = any(_FIGURE.fullmatch(text) and not _YEAR.fullmatch(text) for text in texts)
        if not groups or not is_header or not is_split or has_figures:
            continue
        for cell in filter(lambda cell: cell.lines, below):
            cell.group = next((_text(group, row, padding) for group in groups if _is_under(cell, group)), "")
        for cell in others:
            cell.row = row + 1
        return [cell for cell in cells if cell.row != row]
    return cells


def _is_under(cell: Cell, group: Cell) -> bool:
    return group.column <= cell.column and cell.last_column <= group.last_column


def _has_rows(cells: Sequence[Cell]) -> bool:
    """Whether most stretches between level lines are rows, and none is long enough to hold several that differ."""
    padding = _padding(cells)
    filled = 0
    bands = list(_bands(cells))
    for _row, band in bands:
        own = [cell for cell in band if cell.lines]
        filled += len(own) > 1
        if len(own) > 1 and not _shared_baselines(own, padding) and max(len(cell.lines) for cell in own) > _LONG:
            return False
    return filled >= _MOST_BANDS * len(bands)
