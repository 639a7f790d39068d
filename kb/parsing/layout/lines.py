"""Runs of characters with their places on a page → lines of text in reading order.

Runs on one baseline make segments. Small runs beside a larger one above or below its baseline are raised or lowered.
Columns are found as strips that no segment crosses, between sides that are running text, or that the file draws one
after the other without regard to each other's lines. Cells of tables stay in their rows, with tabs between.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from statistics import median

from kb.columns import columns
from kb.parsing.inline import LOWERED, RAISED, Run, join_runs
from kb.parsing.layout.rulings import Rulings

_SAME_LINE = 0.25  # of the character size: how far baselines may be apart
_SEGMENT_GAP = 0.55  # character sizes: a wider one may be the gap between two columns
_JUMP_GAP = 0.15
_CELL_GAP = 1.0  # a wider gap parts two cells
_PROSE_GAP = 2.5  # the same in running text, whose words may be far apart
_SAME_SIDE = 1.5  # points
_WORD_GAP = 0.2
_WIDE_GAP = 0.8  # between characters of scripts that have no spaces
_STRAY = 0.5  # of the character size: how far the baseline of a sign from another font may be off
_LOWEST = -0.55  # of the size beside it: how far down a lowered run stands
_BESIDE = 0.35  # how far from the base
_CELL = 15.0  # points
_MAX_IN_CELL = 50
_SMALL = 0.86  # of the size beside it: a raised or lowered run
_PARAGRAPH_GAP = 1.45  # of the usual distance of lines
_GUTTER = 0.5  # character sizes
_MIN_COLUMN_LINES = 3
_FEWEST_COLUMN_LINES = 2  # of one side, if both are wordy
_WORDY = 30  # columns
_MIN_FILL = 0.6  # of a column's width, by the lines of running text in it
_MIN_LINE = 16  # characters, of a paragraph that is narrower than its column
_MIN_PROSE = 16  # columns, of a line of running text
_MAX_SWITCHES = 0.35  # of the lines: how often a file goes from one column to the other
_MAX_ALIGNED = 0.5  # of the lines of one side: on a baseline of the other
_MIN_WIDTH = 50  # points, of the left column
_MAX_CANDIDATES = 12
_MAX_DEPTH = 6  # columns inside columns
_ENDS_SENTENCE = re.compile(r"[.!?:;。！？：；][\"'”’）)]*$")
HYPHEN = "\u2010"  # at the end of a line, as the reader of the page marks it
_LIST_ITEM = re.compile(r"(?:[•●■□▪◆◇○◦‣–*-]|\(?(?:\d{1,2}|[a-z])[.)])\t[^\t]*")
_WIDE = re.compile("[\u2e80-\u9fff\uf900-\ufaff\uff00-\uff60\U00020000-\U0003ffff]")


Box = tuple[float, float, float, float]  # left, top, right, bottom: see `kb.parsing.layout.places`


@dataclass(slots=True)
class TextRun:
    """Characters on one baseline, in points from the lower left corner of the upright page.

    The row of a ruled table is one, too: with the places of its `cells`, and the number of the `table` on the page; or,
    if its cells are long, with their `lines`.
    """

    text: str
    left: float
    right: float
    baseline: float
    size: float
    has_space_before: bool = False
    spacing: float = 0.0  # between its characters, at most
    level: int = 0
    order: int = 0  # in the file
    cells: tuple[tuple[float, float], ...] = ()
    table: int = 0
    lines: tuple[Line, ...] = ()
    depth: float = 0.0  # of a row: from its baseline to that of the last line in its cells


@dataclass(slots=True)
class Segment:
    """Runs with no wide gap between them."""

    runs: list[TextRun]
    text: str
    left: float
    right: float
    baseline: float
    size: float
    order: int
    is_ruled: bool = False  # a line of a table stands before it


@dataclass(slots=True)
class Line:
    """What stands side by side in one column of the page. `end` is where the column's lines end."""

    text: str
    left: float
    right: float
    baseline: float
    size: float
    begin: float = 0.0
    end: float = 0.0
    is_row: bool = False  # several cells
    has_gap_before: bool = False
    cells: tuple[tuple[float, float], ...] = ()  # from where to where each goes
    table: int = 0  # with ruled cells, of the page
    lines: tuple[Line, ...] = ()  # that stand in its place
    depth: float = 0.0  # of a row with wrapped cells: as that of a run
    box: Box | None = None  # on the page as it is shown, if that is known


def read_lines(runs: Sequence[TextRun], rulings: Rulings | None = None) -> list[Line]:
    """The lines of a page, in reading order."""
    rulings = rulings or Rulings()
    for order, run in enumerate(runs):
        run.order = order
    placed = _with_levels([run for run in runs if run.text.strip()])
    rows = [_segments(row, rulings) for row in _with_strays(list(_rows(placed)))]
    lines: list[Line] = []
    for region in _regions(rows, 0):
        of_region = _lines(region)
        of_region[0].has_gap_before = not lines or not _goes_on(lines[-1], of_region[0])
        lines += of_region
    return lines


def _goes_on(before: Line, line: Line) -> bool:
    """Whether a paragraph goes on from the end of one column to the beginning of the next."""
    is_full = before.right >= before.end - 2 * before.size and line.left <= line.begin + line.size
    is_alike = abs(before.size - line.size) <= 0.1 * line.size and not before.is_row and not line.is_row
    return is_full and is_alike and not _ENDS_SENTENCE.search(before.text)


def _with_levels(runs: list[TextRun]) -> list[TextRun]:
    """Put small runs onto the line of the larger run beside them, raised or lowered."""
    largest = max((run.size for run in runs), default=0.0)
    plain = [run for run in runs if not run.table]
    ends = _Edges(plain, lambda run: run.right)
    begins = _Edges(plain, lambda run: run.left)
    for run in plain:
        if run.size > _SMALL * largest:
            continue
        best, nearest = None, _BESIDE
        for base in (*ends.near(run.left, run.baseline), *begins.near(run.right, run.baseline)):
            if base.level or run.size > _SMALL * base.size or run.size < 0.3 * base.size:
                continue
            shift = (run.baseline - base.baseline) / base.size
            gap = max(run.left - base.right, base.left - run.right) / base.size
            if _LOWEST <= shift <= 0.75 and abs(shift) >= 0.05 and -0.3 <= gap < nearest:
                best, nearest = base, gap
        if best is not None:
            run.level = RAISED if run.baseline > best.baseline else LOWERED
            run.baseline = best.baseline
    return runs


class _Edges:
    """Finds runs by the place of one of their ends."""

    def __init__(self, runs: list[TextRun], edge: Callable[[TextRun], float]) -> None:
        self._cells: dict[tuple[int, int], list[TextRun]] = {}
        for run in runs:
            self._cells.setdefault((int(edge(run) // _CELL), int(run.baseline // _CELL)), []).append(run)

    def near(self, x: float, y: float) -> Iterator[TextRun]:
        """Those whose end is at most a cell away."""
        column, row = int(x // _CELL), int(y // _CELL)
        for place in product(range(column - 1, column + 2), range(row - 1, row + 2)):
            yield from self._cells.get(place, ())[:_MAX_IN_CELL]


def _rows(runs: list[TextRun]) -> Iterator[list[TextRun]]:
    """Runs that share a baseline, from the top to the bottom."""
    row: list[TextRun] = []
    for run in sorted(runs, key=lambda run: (-run.baseline, run.left)):
        reach = _SAME_LINE * min(row[0].size, max(run.size, row[0].size / 2)) if row else 0.0
        if row and (run.lines or row[-1].lines or row[0].baseline - run.baseline > reach):
            yield row
            row = []
        row.append(run)
    if row:
        yield row


def _with_strays(rows: list[list[TextRun]]) -> list[list[TextRun]]:
    """Put runs of another font, whose baseline is a little off, into the gaps that the line above or below has."""
    for row, other in [*pairwise(rows), *((below, above) for above, below in pairwise(rows))]:
        if row and other and len(row) <= len(other) and abs(row[0].baseline - other[0].baseline) < _STRAY * row[0].size:
            ends = sorted((each.left, each.right) for each in other)
            if all(_fits(run, ends) for run in row):
                other += row
                row.clear()
    return [row for row in rows if row]


def _fits(run: TextRun, ends: list[tuple[float, float]]) -> bool:
    """Whether a run stands in a gap, close to what is on one of its sides."""
    after = bisect_left(ends, (run.left, run.left))
    before_gap = run.left - ends[after - 1][1] if after else math.inf
    after_gap = ends[after][0] - run.right if after < len(ends) else math.inf
    return min(before_gap, after_gap) > -0.6 * run.size and min(before_gap, after_gap) < _BESIDE * run.size


def _segments(row: list[TextRun], rulings: Rulings) -> list[Segment]:
    row.sort(key=lambda run: run.left)
    groups: list[list[TextRun]] = []
    ruled: list[bool] = []
    end = 0.0
    for run in row:
        size = max(run.size, groups[-1][-1].size) if groups else run.size
        is_ruled = bool(groups) and (
            bool(run.table or groups[-1][-1].table)
            or (bool(rulings) and rulings.part(min(end, run.left), max(end, run.left), run.baseline))
        )
        if groups and not is_ruled and run.left - end <= _joined_gap(groups[-1][-1], run) * size:
            groups[-1].append(run)
            end = max(end, run.right)
        else:
            groups.append([run])
            ruled.append(is_ruled)
            end = run.right
    return [_segment(group, is_ruled) for group, is_ruled in zip(groups, ruled, strict=True)]


def _joined_gap(before: TextRun, run: TextRun) -> float:
    """How wide the gap inside a segment may be: less where the file does not draw the runs one after the other."""
    is_next = abs(run.order - before.order) == 1 or run.level or before.level
    return _SEGMENT_GAP + max(before.spacing, run.spacing) / run.size if is_next else _JUMP_GAP


def _segment(runs: list[TextRun], is_ruled: bool) -> Segment:
    pieces: list[Run] = []
    before: TextRun | None = None
    for run in runs:
        if before is not None:
            follows = run if run.order == before.order + 1 or run.level else None
            if needs_space(before.text, run.text, run.left - before.right, run.size, follows):
                pieces.append((" ", 0))
        pieces.append((run.text, run.level))
        before = run
    size = max(run.size for run in runs)
    return Segment(
        runs,
        runs[0].text if runs[0].table else join_runs(pieces).strip(),
        runs[0].left,
        max(run.right for run in runs),
        runs[0].baseline,
        size,
        min(run.order for run in runs),
        is_ruled,
    )


def needs_space(before: str, after: str, gap: float, size: float, run: TextRun | None = None) -> bool:
    """Whether a gap between two characters is a space."""
    if before[-1:].isspace() or after[:1].isspace():
        return False
    if _WIDE.match(before[-1:]) and _WIDE.match(after[:1]):
        return gap >= _WIDE_GAP * size
    if run is not None and run.level:
        return run.has_space_before and gap > 0.05 * size
    return gap > _WORD_GAP * size or (run is not None and run.has_space_before)


# --- the order of reading ---


def _regions(rows: list[list[Segment]], depth: int) -> Iterator[list[list[Segment]]]:
    """Stretches of the page to be read one after another: a column, or what goes over all columns."""
    found = _find_columns(rows) if depth < _MAX_DEPTH else None
    if found is None:
        if rows:
            yield rows
        return
    first, end, cut = found
    if first:
        yield from _regions(rows[:first], depth + 1)
    for is_left in (True, False):
        side = [[each for each in row if (each.right <= cut) == is_left] for row in rows[first:end]]
        yield from _regions([row for row in side if row], depth + 1)
    if end < len(rows):
        yield from _regions(rows[end:], depth + 1)


def _find_columns(rows: list[list[Segment]]) -> tuple[int, int, float] | None:
    """The rows from and to which two columns stand side by side, and where they part."""
    if len(rows) < _MIN_COLUMN_LINES:
        return None
    best: tuple[int, int, float] | None = None
    gutter = _GUTTER * median(segment.size for row in rows for segment in row)
    for cut in _candidates(rows):
        start = 0
        for index in range(len(rows) + 1):
            if index < len(rows) and not _crosses(rows[index], cut, gutter):
                continue
            if index - start >= _MIN_COLUMN_LINES and (best is None or index - start > best[1] - best[0]):
                trimmed = _trimmed_columns(rows, start, index, cut)
                if trimmed and (best is None or trimmed[1] - trimmed[0] > best[1] - best[0]):
                    best = (*trimmed, cut)
            start = index + 1
    return best


def _candidates(rows: list[list[Segment]]) -> list[float]:
    """Where a column may begin: just before the left edge that several segments share."""
    counts = Counter(round(segment.left) for row in rows for segment in row)
    leftmost = min(counts)
    often = [left for left, count in counts.items() if count >= _FEWEST_COLUMN_LINES and left > leftmost + _MIN_WIDTH]
    best = sorted(often, key=lambda left: -counts[left])[:_MAX_CANDIDATES]
    return [left - 1.0 for left in sorted(best)]


def _crosses(row: list[Segment], cut: float, gutter: float) -> bool:
    return any(segment.left < cut and segment.right > cut - gutter for segment in row)


def _trimmed_columns(rows: list[list[Segment]], start: int, end: int, cut: float) -> tuple[int, int] | None:
    """The rows in which both sides have text, and the rest of the longer side; None if that is no pair of columns."""
    right = [index for index in range(start, end) if any(each.left >= cut for each in rows[index])]
    left = [index for index in range(start, end) if any(each.right <= cut for each in rows[index])]
    if min(len(right), len(left)) < _FEWEST_COLUMN_LINES or max(len(right), len(left)) < _MIN_COLUMN_LINES:
        return None
    begin, last = max(left[0], right[0]), min(left[-1], right[-1])
    if begin > last:
        return None
    is_short = min(len(right), len(left)) < _MIN_COLUMN_LINES
    begin = min(begin, _near(left, right, begin))
    last = _end_of_lines(rows, last) if is_short else max(left[-1], right[-1])
    sides = [
        [each for row in rows[begin : last + 1] for each in row if (each.right <= cut) == is_left]
        for is_left in (True, False)
    ]
    are_texts = all(_is_running_text(part, may_hold_table=True) for side in sides for part in _stripes(side))
    are_apart = _are_drawn_apart(sides) and (not is_short or all(map(_is_wordy, sides)))
    if are_texts or are_apart or all(_table([each]) for side in sides for each in side):
        return begin, last + 1
    return None


def _stripes(side: list[Segment]) -> list[list[Segment]]:
    """The segments of each strip of the page, where gutters that nothing crosses part them."""
    stripes: list[list[Segment]] = []
    end = -math.inf
    gutter = _GUTTER * median(each.size for each in side)
    for each in sorted(side, key=lambda each: each.left):
        if each.left >= end + gutter:
            stripes.append([])
        stripes[-1].append(each)
        end = max(end, each.right)
    return stripes


def _are_drawn_apart(sides: list[list[Segment]]) -> bool:
    """Whether the file draws one side after the other, with lines of their own; cells of a table share theirs."""
    order = sorted((each.order, place) for place, side in enumerate(sides) for each in side)
    switches = sum(1 for one, other in pairwise(order) if one[1] != other[1])
    few, many = sorted(({round(each.baseline) for each in side} for side in sides), key=len)
    aligned = sum(1 for line in few if many & {line - 1, line, line + 1})
    return switches <= max(1, _MAX_SWITCHES * len(few)) and aligned <= _MAX_ALIGNED * len(few)


def _end_of_lines(rows: list[list[Segment]], last: int) -> int:
    """The last row that follows closely upon those above, from row `last` on."""
    while last + 1 < len(rows):
        above, below = rows[last][0], rows[last + 1][0]
        if above.baseline - below.baseline > _PARAGRAPH_GAP * below.size:
            break
        last += 1
    return last


def _is_wordy(side: list[Segment]) -> bool:
    return median(columns(each.text) for each in side) >= _WORDY


def _near(left: list[int], right: list[int], begin: int) -> int:
    """Columns that do not begin on one line begin at most a line apart."""
    first = min(left[0], right[0])
    return first if begin - first <= 1 else begin


def _is_running_text(side: list[Segment], *, may_hold_table: bool = False) -> bool:
    """Whether most lines fill the side's width, as those of paragraphs do and cells of tables do not."""
    width = max(each.right for each in side) - min(each.left for each in side)
    lines: dict[int, list[Segment]] = {}
    for each in side:
        lines.setdefault(round(each.baseline), []).append(each)
    gaps = [sum(1 for pair in pairwise(line) if _is_cell_gap(*pair)) for line in lines.values()]
    cells = sum(map(bool, gaps)) if may_hold_table else sum(gaps)
    if len(lines) < _MIN_COLUMN_LINES or cells > 0.3 * len(lines):
        return False
    fills = [sum(each.right - each.left for each in line) / width for line in lines.values()]
    lengths = [sum(columns(each.text) for each in line) for line in lines.values()]
    return median(fills) >= _MIN_FILL and median(lengths) >= _MIN_PROSE


def _row_text(row: list[Segment], cell_gap: float) -> str:
    pieces = [row[0].text]
    for before, segment in pairwise(row):
        gap = segment.left - before.right
        is_word = needs_space(before.text, segment.text, gap, min(before.size, segment.size))
        pieces += ["\t" if _is_cell_gap(before, segment, cell_gap) else " " if is_word else "", segment.text]
    return "".join(pieces)


def _cells(row: list[Segment], cell_gap: float) -> Iterator[tuple[float, float]]:
    left = row[0].left
    for before, segment in pairwise(row):
        if _is_cell_gap(before, segment, cell_gap):
            yield from before.runs[0].cells or ((left, before.right),)
            left = segment.left
    yield from row[-1].runs[0].cells or ((left, row[-1].right),)


def with_empty_cells(lines: Sequence[Line]) -> list[list[str]]:
    """The cells of rows below each other, with empty ones where a row has none in a column of the widest rows."""
    rows = [line.text.split("\t") for line in lines]
    width = max(map(len, rows))
    whole = [line.cells for line in lines if len(line.cells) == width]
    edges = [
        (min(left for left, _right in each), max(right for _left, right in each)) for each in zip(*whole, strict=True)
    ]
    if not edges or any(left < right for (_left, right), (left, _right) in pairwise(edges)):
        return rows
    return [_placed(row, line.cells, edges, is_ruled=bool(line.table)) for row, line in zip(rows, lines, strict=True)]


def _placed(
    row: list[str], cells: Sequence[tuple[float, float]], edges: Sequence[tuple[float, float]], *, is_ruled: bool
) -> list[str]:
    """The row with each cell in its column, or the first of those that a ruled one goes over; else as it is."""
    places = [[index for index, edge in enumerate(edges) if cell[0] < edge[1] and cell[1] > edge[0]] for cell in cells]
    columns_of_row = [each[0] for each in places if len(each) == 1 or (each and is_ruled)]
    if len(columns_of_row) < len(row) or len(set(columns_of_row)) < len(row):
        return row
    placed = [""] * (max(columns_of_row) + 1)
    for index, text in zip(columns_of_row, row, strict=True):
        placed[index] = text
    return placed


def _is_cell_gap(before: Segment, segment: Segment, cell_gap: float = _CELL_GAP) -> bool:
    if segment.is_ruled:
        return True
    if before.text[-1:] in ".,;:!?" and before.text[-2:-1].isalpha():  # TeX makes the gaps behind sentences wider
        cell_gap = _PROSE_GAP
    spacing = max(before.runs[-1].spacing, segment.runs[0].spacing)
    return segment.left - before.right > cell_gap * max(before.size, segment.size) + 2 * spacing


def _lines(rows: list[list[Segment]]) -> list[Line]:
    """The rows of one region as lines."""
    begin = min(each.left for row in rows for each in row)
    end = max(each.right for row in rows for each in row)
    lines = [
        Line(
            _row_text(row, cell_gap),
            row[0].left,
            row[-1].right,
            row[0].baseline,
            max(each.size for each in row),
            begin,
            end,
            bool(_table(row)) or any(_is_cell_gap(*pair, cell_gap) for pair in pairwise(row)),
            cells=tuple(_cells(row, cell_gap)),
            table=_table(row),
            lines=row[-1].runs[0].lines,
            depth=max(run.depth for segment in row for run in segment.runs),
        )
        for row, cell_gap in zip(rows, _cell_gaps(rows), strict=True)
    ]
    lines = _with_wrapped_cells(lines)
    pitches = [above.baseline - above.depth - below.baseline for above, below in pairwise(lines)]
    usual = median(pitches) if pitches else 0.0
    for (before, line), pitch in zip(pairwise(lines), pitches, strict=True):
        is_far = pitch > _PARAGRAPH_GAP * usual and pitch > _PARAGRAPH_GAP * line.size
        line.has_gap_before = is_far and not (line.table and line.table == before.table)
    _end_paragraphs(lines)
    for line in lines:
        if _LIST_ITEM.fullmatch(line.text):
            line.text, line.is_row = line.text.replace("\t", " "), False
    return [each for line in lines for each in line.lines or (line,)]


def _end_paragraphs(lines: list[Line]) -> None:
    """Let lines end where those of their own paragraph do, if all but the last are about as long."""
    begin = 0
    for index in range(1, len(lines) + 1):
        if index < len(lines) and not lines[index].has_gap_before:
            continue
        full, begin = lines[begin : index - 1], index
        end = max((line.right for line in full), default=0.0)
        are_long = all(len(line.text) >= _MIN_LINE and end - line.right <= line.size for line in full)
        if len(full) > 1 and are_long and not any(line.is_row for line in full):
            for line in full:
                line.end = end


def _cell_gaps(rows: list[list[Segment]]) -> Iterator[float]:
    """How wide the gap between cells is on each row: words of running text may be far apart, and of justified text."""
    outside = [each for row in rows for each in row if not _table([each])]
    cell_gap = _PROSE_GAP if outside and _is_running_text(outside) else _CELL_GAP
    for before, row, after in zip([[], *rows], rows, [*rows[1:], []], strict=False):
        is_justified = len(row) > 1 and any(_has_sides_of(row, other) for other in (before, after))
        yield _PROSE_GAP if is_justified else cell_gap


def _has_sides_of(row: list[Segment], other: list[Segment]) -> bool:
    """Whether `other` is an unbroken line from the left to the right side of `row`."""
    is_whole = len(other) == 1 and not _table(other) and columns(other[0].text) >= _MIN_PROSE
    sides = (row[0].left - other[0].left, row[-1].right - other[0].right) if is_whole else ()
    return is_whole and all(abs(side) <= _SAME_SIDE for side in sides)


def _with_wrapped_cells(lines: list[Line]) -> list[Line]:
    """The lines with those that only go on with the text of a cell above put into it."""
    joined: list[Line] = []
    for line in lines:
        column = _wrapped_column(joined[-1], line) if joined else None
        if column is None:
            joined.append(line)
            continue
        row = joined[-1]
        texts, cells = row.text.split("\t"), list(row.cells)
        is_wide = _WIDE.match(texts[column][-1:]) and _WIDE.match(line.text)
        texts[column] += ("" if is_wide or texts[column].endswith(HYPHEN) else " ") + line.text
        cells[column] = (cells[column][0], max(cells[column][1], line.right))
        joined[-1] = replace(row, text="\t".join(texts), cells=tuple(cells), depth=row.baseline - line.baseline)
    return joined


def _wrapped_column(row: Line, line: Line) -> int | None:
    """The column of `row` whose text goes on in `line`: not the first, and it had no room for the next word."""
    pitch = row.baseline - row.depth - line.baseline
    is_near = pitch <= _PARAGRAPH_GAP * row.size and abs(row.size - line.size) <= 0.1 * line.size
    if not row.is_row or row.table or line.is_row or not is_near or not any(map(str.isalpha, line.text)):
        return None
    for column, (left, right) in enumerate(row.cells[1:], start=1):
        end = row.cells[column + 1][0] if column + 1 < len(row.cells) else math.inf
        word = line.text[0] if _WIDE.match(line.text) else line.text.split(maxsplit=1)[0]
        first = (line.right - line.left) * len(word) / len(line.text)
        if abs(line.left - left) < _BESIDE * line.size and line.right < end and right + first > max(right, line.right):
            return column
    return None


def _table(row: Sequence[Segment]) -> int:
    return max(run.table for segment in row for run in segment.runs)
