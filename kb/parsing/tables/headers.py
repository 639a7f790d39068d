"""Which rows of a table are titles, which are its header, and what the header calls each column."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, groupby, zip_longest

from kb.parsing.tables.cells import (
    MOSTLY,
    UNIT,
    counting_pattern,
    has_names,
    is_counting,
    is_label,
    is_name,
    is_next_day,
    is_period,
    is_range,
    is_short_name,
    kind_of,
    kinds_of,
    share_of,
    style_of,
)
from kb.parsing.tables.rows import SPANNED, Row, count_covered, count_filled

_FILLED_IN = re.compile(r"[^\W\d][^:：]{0,40}(?::\s+|：\s*)\w")  # Name: Ann
_TITLE_ROWS = 10
_NEXT_TO_NONE = 0.1
_DATED_DAYS, _NAMED_DAYS, _PLAIN_DAYS = 3, 5, 7  # at least, to name columns
_ENOUGH = 20  # columns, to see whether rows count
_MAX_PERIODS = 0.4  # of the cells under years and dates that name columns


def count_titles(rows: Sequence[Row], is_assumed: bool) -> int:
    """How many rows stand above the header: those with one cell, or fewer than the header that follows."""
    widest = max(map(count_covered, rows))
    titles = 0
    for index, row in enumerate(rows[: min(_TITLE_ROWS, len(rows) - 1)]):
        if count_filled(row) <= 1 and widest > 1 and (row[0] or SPANNED not in row):
            titles = index + 1
        elif (
            count_covered(row) == widest
            or not row[0]
            or SPANNED in row
            or _is_group(row, rows[index + 1])
            or not any(
                count_covered(each) > count_covered(row) and is_header(each, rows[later + 1 :], is_assumed)
                for later, each in enumerate(rows[index + 1 : _TITLE_ROWS], start=index + 1)
            )
        ):
            break
        else:
            titles = index + 1
    return titles if titles < len(rows) else 0


def _is_group(row: Row, below: Row) -> bool:
    """Whether `row` names groups of the columns that `below` names: its gaps are where `below` goes on."""
    if _parted_groups(row, [below]):
        return True
    if SPANNED not in row and count_filled(row) == 2 and row[0] and row[-1] and not row[1] and row[0] not in below:
        return False  # a title with something at the right edge
    gaps = [index for index, cell in enumerate(row) if not cell or cell == SPANNED]
    return bool(gaps) and all(index < len(below) and below[index] not in ("", SPANNED) for index in gaps)


def is_deeper(top: Sequence[Row], body: Sequence[Row]) -> bool:
    """Whether the last row of `top` belongs to the header, under the rows above it: groups, or units."""
    above, last = top[-2], top[-1]
    cells = [cell for cell in last if cell and cell != SPANNED]
    if not cells or not all(map(is_label, cells)):
        return False
    if all(map(UNIT.fullmatch, cells)) and any(kind_of(cell) == "number" for row in body[:20] for cell in row):
        return True
    days = _days(above)
    if days and len(patterns := set(map(counting_pattern, last[days.start : days.stop]))) == 1 and all(patterns):
        return True  # the days of the week below those of the month
    repeats = [index for index in range(1, len(above)) if above[index] and above[index] == above[index - 1]]
    if repeats and all(index < len(last) and last[index] != last[index - 1] for index in repeats):
        return is_header(merge_rows(top), body, False)
    is_parted = any(cell == SPANNED != other and other for cell, other in zip(above, last, strict=False))
    has_groups = is_parted or _is_group(above, last) or (len(last) > len(above) and not last[0])
    return has_groups and is_header(merge_rows(top), body, False)


def is_header(row: Row, body: Sequence[Row], is_assumed: bool) -> bool:
    """Whether the cells of `row` name the columns of `body`."""
    cells = [cell for cell in row if cell and cell != SPANNED]
    if _is_calendar(row, body[:50]) or _is_banded(row, body[:50]):
        return True
    if len(cells) < 2 or not all(map(is_label, cells)) or any(map(_FILLED_IN.match, cells)):
        return False
    periods = [cell for cell in cells if is_period(cell)]
    if len(periods) == len(cells) and row[0]:
        return False
    body = _until_header_like(row, body[:50])
    values: list[list[str]] = [
        [other[index] for other in body if index < len(other) and other[index] not in ("", SPANNED)]
        for index in range(len(row))
    ]
    recurring = [index for index, cell in enumerate(row) if cell and cell != SPANNED and cell in values[index]]
    if recurring and (recurring != [0] or len(cells) == 2):  # the first one may head another table below
        return False
    if _is_counted(row, body):
        return True
    if body and all(is_short_name(cell) for other in body for cell in other if cell and cell != SPANNED):
        return False  # a form that is to be filled in
    below_periods = [value for index, cell in enumerate(row) if is_period(cell) for value in values[index]]
    if sum(map(is_period, below_periods)) > _MAX_PERIODS * len(below_periods):
        return False
    if periods and not any(share_of(column, "number") >= MOSTLY for column in values):
        return False
    if len(cells) == 2 and sum(1 for value in values[0] if is_name(value)) > 1:
        return False  # a list of names and values
    contrasts = [index for index, cell in enumerate(row) if cell and _contrasts(cell, values[index])]
    if len(cells) == 2 and len(row) == 2:
        return all(map(is_name, row)) or (bool(contrasts) and (contrasts != [1] or share_of(values[1], "number") == 1))
    return bool(contrasts) or has_names(row) or is_assumed or _is_spelt_apart(cells, chain.from_iterable(values))


def _is_counted(row: Row, body: Sequence[Row]) -> bool:
    """Whether columns behind the first are called by years, days, or what else is counted, and no row below counts."""
    patterns = ["", *map(counting_pattern, row[1:])]
    start = 0
    for pattern, group in groupby(patterns):
        end = start + len(list(group))
        cells = row[start:end]
        if pattern and len(cells) > 1 + (not all(map(is_period, cells))) and is_counting(cells):
            below = [[cell for cell in each[start : min(end, start + _ENOUGH)] if cell] for each in body]
            return bool(body) and all({*map(counting_pattern, cells)} != {pattern} for cells in below)
        start = end
    return False


def _is_calendar(row: Row, body: Sequence[Row]) -> bool:
    """Whether columns are called by days, 1 to 31 or 3/1, 3/2, …, as in rosters, and no row below counts."""
    at = _days(row)
    others = [cell for index, cell in enumerate(row) if cell and cell != SPANNED and index not in at]
    return bool(at) and bool(body) and all(map(is_label, others)) and not any(map(_days, body))


def _is_banded(row: Row, body: Sequence[Row]) -> bool:
    """Whether all columns behind the first are called by ranges, such as 1-9, 10-99, 100+, and no row below is."""
    return _is_of_ranges(row) and bool(body) and not any(map(_is_of_ranges, body))


def _is_of_ranges(row: Row) -> bool:
    return len(row) > 2 and is_label(row[0]) and all(map(is_range, row[1:]))


def _days(row: Row) -> range:
    """The longest stretch of cells, behind the first one, that count days."""
    row = [cell.split(" ")[0] for cell in row]  # perhaps with the days of the week behind
    found = range(0)
    start = 1
    for index in range(1, len(row)):
        one, other = row[index - 1 : index + 1] if index > 1 else ("", row[index])
        if not (is_next_day(one, other)):
            start = index
        if index + 1 - start > len(found):
            found = range(start, index + 1)
    if not found or not row[found.start].isdigit():
        return found if len(found) >= _DATED_DAYS else range(0)
    least = _NAMED_DAYS if is_name(row[0]) else _PLAIN_DAYS
    return found if len(found) >= least and row[found.start] in ("1", "01") else range(0)


def _until_header_like(header: Row, body: Sequence[Row]) -> Sequence[Row]:
    """The rows before one that heads another table with names like those of `header`."""
    for index, row in enumerate(body):
        alike = sum(1 for cell, other in zip(header, row, strict=False) if cell and cell == other and cell != SPANNED)
        if index and alike > 1 and all(is_label(cell) for cell in row if cell and cell != SPANNED):
            return body[:index]
    return body


def _is_spelt_apart(cells: Sequence[str], values: Iterable[str]) -> bool:
    """Whether all `cells` are in capitals, in small letters, or spelt as in programs, and next to no value is."""
    styles = set(map(style_of, cells))
    if len(styles) > 1 or not styles.isdisjoint({"", "title"}):
        return False
    below = [style for value in values if (style := style_of(value))]
    return len(below) >= len(cells) and sum(1 for style in below if style in styles) <= _NEXT_TO_NONE * len(below)


def _contrasts(cell: str, values: Sequence[str]) -> bool:
    """Whether `cell` is of another kind than what stands below it."""
    kind = "text" if is_period(cell) else kind_of(cell)
    for other in ("number", "date", "code", "long"):
        if kind != other and share_of(values, other) >= MOSTLY:
            return True
    distinct = set(values)
    return len(values) >= 6 and len(distinct) <= len(values) // 3


def has_key(rows: Sequence[Row]) -> bool:
    """Whether any column tells what the row is about, as figures alone do not."""
    kinds_by_column = map(kinds_of, zip_longest(*rows, fillvalue=""))
    return any(kinds and kinds.count("number") < MOSTLY * len(kinds) for kinds in kinds_by_column)


def merge_rows(top: Sequence[Row]) -> list[str]:
    """The header's rows as one: each column's names from the top down, groups repeated over their columns."""
    width = max(map(len, top))
    filled = [_spread(row, top[depth + 1 :], width) for depth, row in enumerate(top)]
    merged = []
    for index in range(width):
        names = list(dict.fromkeys(row[index] for row in filled if row[index]))
        if len(names) > 1 and UNIT.fullmatch(names[-1]) and names[-1][0] not in "(（[":
            names[-1] = f"({names[-1]})"
        merged.append(" ".join(names))
    return merged


def _spread(row: Row, below: Sequence[Row], width: int) -> list[str]:
    """`row` with the name of each group in all its columns."""
    cells = [*row, *[""] * (width - len(row))]
    groups = _parted_groups(cells, below)
    for start, end in groups:
        cells[start:end] = [next(cell for cell in cells[start:end] if cell and cell != SPANNED)] * (end - start)
    for index in range(1, width) if not groups else ():
        is_inside = not cells[index] and any(index < len(each) and each[index] for each in below)
        is_under_group = cells[index - 1] and any(index - 1 < len(each) and each[index - 1] for each in below)
        if cells[index] == SPANNED or (is_inside and is_under_group and index > 1):
            cells[index] = cells[index - 1]
    return ["" if cell == SPANNED else cell for cell in cells]


def _parted_groups(row: Row, below: Sequence[Row]) -> list[tuple[int, int]]:
    """The columns of each group, where empty columns part them and `row` names each group anywhere above it."""
    runs = stretches(below[-1]) if below else []
    has_groups = any(end - start > 1 for start, end in runs)
    return (
        runs if len(runs) > 1 and has_groups and all(count_filled(row[start:end]) == 1 for start, end in runs) else []
    )


def stretches(cells: Iterable[object]) -> list[tuple[int, int]]:
    """The stretches without gaps."""
    runs, start = [], 0
    for is_filled, group in groupby(map(bool, cells)):
        end = start + sum(1 for _ in group)
        if is_filled:
            runs.append((start, end))
        start = end
    return runs


def column_labels(top: Sequence[Row]) -> list[str]:
    """A label for each column; names that are used twice are numbered."""
    labels = [label.rstrip(":： ") for label in merge_rows(top)]
    counts = Counter(labels)
    seen: Counter[str] = Counter()
    for index, label in enumerate(labels):
        if label and counts[label] > 1:
            seen[label] += 1
            labels[index] = f"{label} ({seen[label]})"
    return labels
