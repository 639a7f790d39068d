"""Rows of cells → lines of text, one a row, each of which can be understood alone.

The same for every format: titles above a table stay lines, its header is found by what the cells hold, and each row
below reads `label: value; …`. A false label would be a false statement, so rows stay `a | b` where there is a doubt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, islice

from kb.parsing.tables.cells import MOSTLY, TOTAL, has_names, is_label, is_name, is_period, kind_of, share_of
from kb.parsing.tables.forms import form_lines
from kb.parsing.tables.headers import column_labels, count_titles, has_key, is_deeper, is_header, merge_rows, stretches
from kb.parsing.tables.rows import (
    SPANNED,
    Row,
    count_filled,
    join_cells,
    labelled_lines,
    repeat_header,
    split_text,
    trim_cells,
)

_SAMPLE_ROWS = 200
_MAX_HEADER_ROWS = 3  # above a gap
_LOOK_AHEAD = 50  # rows
_MAX_SIDE_BY_SIDE = 20_000  # rows; longer tables are read as one
_MAX_TRANSPOSED = 40  # columns
_ENOUGH_ROWS = 2  # to say that a column holds numbers
_REMARK = re.compile(
    r"[*†‡※]|(?:notes?|remarks?|sources?|注|备注|說明|说明|来源|資料來源|anm\w*|quelle)\b", re.IGNORECASE
)


def table_lines(rows: Iterable[Row], *, header: int | None = None, is_assumed: bool = False) -> Iterator[str]:
    """The lines of a table. An empty row ends a table, and what follows is another one.

    `header` is how many rows the file says are header rows, if it does. `is_assumed`: a first row of short names is a
    header even where nothing sets it apart, as in tables that people make for readers.
    """
    width = 0
    stretches = (together for has_cells, together in groupby(map(trim_cells, rows), key=bool) if has_cells)
    for together in stretches if header is not None else _join_headers(stretches):
        following: Iterable[list[str]] | None = together
        while following is not None:
            block = _Block(following, header, is_assumed, width)
            yield from block.lines()
            following, header, width = block.next, None, 0
        width = block.width


def _join_headers(stretches: Iterable[Iterable[list[str]]]) -> Iterator[Iterable[list[str]]]:
    """The stretches of adjacent rows, where a header joins the table below it although a gap parts them."""
    held: list[list[str]] = []  # it may be the header of what follows
    for stretch in stretches:
        rows = iter(stretch)
        sample = list(islice(rows, _LOOK_AHEAD))
        if held and _heads(held, sample):
            sample = held + sample
        elif held:
            yield held
        held = []
        if len(sample) <= _MAX_HEADER_ROWS and count_filled(sample[-1]) > 1:
            held = sample
        else:
            yield chain(sample, rows)
    if held:
        yield held


def _heads(top: list[list[str]], body: list[list[str]]) -> bool:
    """Whether `top` ends with names for all columns of `body`, which has none."""
    named = [index for index, cell in enumerate(top[-1]) if cell]
    unnamed = {index for row in body for index, cell in enumerate(row) if cell}.difference(named, [0])
    is_clear = len(named) > 2 or has_names(top[-1]) or not has_key([row[1:] for row in body])
    if unnamed or not is_clear or _Block(body, None, False, 0).find_header().labels:
        return False
    return _Block(top + body, None, False, 0).find_header().first == len(top)


def headed_lines(rows: Sequence[Row]) -> Iterator[str]:
    """The rows of a table as they stand on a page, with tabs between the cells; a long one repeats its header."""
    lines = list(map("\t".join, rows))
    if has_header(rows):
        return repeat_header(lines[0], (line for line in lines[1:] if line != lines[0]))
    return iter(lines)


def has_header(rows: Sequence[Row]) -> bool:
    """Whether the first row of a table on a page names its columns."""
    return len(rows) > 2 and is_header(rows[0], rows[1:], is_assumed=True)


@dataclass(frozen=True, slots=True)
class _Header:
    """The first rows of a table: `titles` rows above its header, and the header, up to row `first`."""

    titles: int
    first: int
    labels: list[str]  # of the columns; empty if there is no header


class _Block:
    """Adjacent rows: titles, a header, and the rows below. Of a long one, only the beginning is held."""

    def __init__(self, rows: Iterable[list[str]], header: int | None, is_assumed: bool, width_before: int) -> None:
        rows = iter(rows)
        self._head = list(islice(rows, _SAMPLE_ROWS))
        self._rest = rows
        self.width = max(map(len, self._head))
        self._header, self._is_assumed = header, is_assumed
        self._may_continue = self.width == width_before
        self._numeric: set[int] = set()  # columns
        self._has_codes = False  # in the first column
        self._is_filled = False  # most rows have several cells
        self._rows_since_text = 1  # since the last one with text where most have numbers; 0 after a title
        self._first_label = ""  # in the header
        self.next: Iterable[list[str]] | None = None  # the rows of another table, that begins without a gap

    def lines(self) -> Iterator[str]:
        form = form_lines(self._head) if self._header is None else []
        if form:
            yield from chain.from_iterable(form)
            others = self._head[len(form) :] or list(islice(self._rest, 1))
            self.next = chain(others, self._rest) if others else None
            return
        parts = self._side_by_side() if self._header is None else []
        beginning = list(islice(self._rest, _MAX_SIDE_BY_SIDE if parts else 0))
        self._rest = chain(beginning, self._rest)
        if parts and len(beginning) < _MAX_SIDE_BY_SIDE:
            rows = [*self._head, *beginning]
            for start, end in parts:
                yield from table_lines([row[start:end] for row in rows], is_assumed=self._is_assumed)
            return
        if self._header is None and _is_transposed(self._head):
            self._head = _transposed(self._head)
        found = self.find_header()
        yield from (join_cells(row) for row in self._head[: found.titles])
        header = self._head[found.titles : found.first]
        self._first_label = header[-1][0] if header else ""
        rest = chain(self._head[found.first :], self._rest)
        self._numeric = self._numeric_columns(found.first)
        keys = [row[0] for row in self._head[found.first :] if count_filled(row) > 1]
        self._has_codes = share_of(keys, "code") + share_of(keys, "number") + share_of(keys, "date") >= MOSTLY
        self._is_filled = 2 * len(keys) >= len(self._head) - found.first
        if not found.labels:
            yield from self._unlabelled(rest)
            return
        unused = {index: label for index, label in enumerate(found.labels) if label}
        for row in rest:
            if self._is_new_header(row) or _is_outside(row, found.labels):
                self.next = chain([row], rest)
                break
            if count_filled(row) == 1 and SPANNED in row:  # a title inside the table, perhaps
                yield from split_text(join_cells(row), "")
            elif row not in header:  # some tables repeat it on each page
                yield from labelled_lines(self._labels_of(row, found.labels), row)
                for index in [index for index, cell in enumerate(row) if cell] if unused else []:
                    unused.pop(index, None)
        if unused:  # columns to be filled in
            yield join_cells(unused.values())

    def _labels_of(self, row: Row, labels: list[str]) -> list[str]:
        """The labels without that of a cell that names the row and stands in a column of something else."""
        if row[0] and self._has_codes and TOTAL.fullmatch(row[0]):
            return ["", *labels[1:]]
        if row[0] and len(row) > 1 and row[1]:
            return labels
        first = next(index for index, cell in enumerate(row) if cell and cell != SPANNED)
        if SPANNED in row or first > len(labels):
            return labels
        kind, is_named = kind_of(row[first]), bool(TOTAL.fullmatch(row[first]))
        is_alone = first == 0 and count_filled(row) == 1 and self._is_filled
        is_title = is_alone and bool((kind == "text" and self.width > 2) or _REMARK.match(row[0]))
        is_beside = first > 0 and count_filled(row) > 1
        if is_title or (is_beside and (is_named or (kind == "text" and first in self._numeric))):
            return [*labels[:first], "", *labels[first + 1 :]]
        return labels

    def _unlabelled(self, rows: Iterator[list[str]]) -> Iterator[str]:
        """Rows as they are. If the first one may be a header, it comes back about once a chunk."""
        margin = min(next(index for index, cell in enumerate(row) if cell) for row in self._head)
        rows = (row if any(row[:margin]) else row[margin:] for row in rows)
        first = next(rows, [])
        lines = (line for row in rows for line in split_text(join_cells(row), ""))
        may_head = count_filled(first) > 2 and all(is_label(cell) for cell in first if cell and cell != SPANNED)
        if may_head and first not in (row[margin:] for row in self._head[1:]):
            yield from repeat_header(join_cells(first), lines)
        else:
            yield from split_text(join_cells(first), "")
            yield from lines

    def find_header(self) -> _Header:
        rows = self._head
        if self._header is not None:
            first = min(self._header, len(rows) - 1)
            return _Header(0, first, column_labels(rows[:first]) if first else [])
        titles = count_titles(rows, self._is_assumed)
        for depth in (1, 2, 3):
            top, body = rows[titles : titles + depth], rows[titles + depth :]
            if len(top) < depth or not body:
                break
            if depth > 1 and not is_deeper(top, body):
                break
            if is_header(merge_rows(top), body, self._is_assumed and self.width > 2):
                deeper = rows[titles : titles + depth + 1]
                if len(deeper) > depth and body[1:] and is_deeper(deeper, body[1:]):
                    continue
                if self._may_continue and not titles and not has_names(merge_rows(top)):
                    break  # perhaps the table above goes on behind a gap
                return _Header(titles, titles + depth, column_labels(top))
        return _Header(titles, titles, [])

    def _numeric_columns(self, first: int) -> set[int]:
        body = self._head[first : first + 20]
        return {
            index
            for index in range(self.width)
            if share_of([row[index] for row in body if index < len(row) and row[index]], "number") >= MOSTLY
        }

    def _is_new_header(self, row: Row) -> bool:
        """Whether `row` has names where the rows above have numbers."""
        is_alike = bool(row and self._first_label and row[0] == self._first_label)
        cells = [row[index] for index in self._numeric if index < len(row)]
        kinds = ["text" if is_alike and is_period(cell) else kind_of(cell) for cell in cells]
        names = kinds.count("text")
        is_apart = (
            is_alike or self._rows_since_text == 0 or (self._rows_since_text >= _ENOUGH_ROWS and all(map(is_name, row)))
        )
        self._rows_since_text = 0 if count_filled(row) == 1 else 1 if names else self._rows_since_text + 1
        return (
            is_apart
            and names > 1 - is_alike
            and names >= sum(1 for kind in kinds if kind)
            and all(is_label(c) for c in row if kind_of(c))
        )

    def _side_by_side(self) -> list[tuple[int, int]]:
        """The columns of each table, where several stand beside each other with empty columns between."""
        used = [any(index < len(row) and row[index] for row in self._head) for index in range(self.width)]
        parts = stretches(used)
        if len(parts) < 2 or any(end - start < 2 for start, end in parts):
            return []
        lines_before: list[int] = []
        for start, end in parts:
            lines = [index for index, row in enumerate(self._head) if trim_cells(row[start:end])]
            rows = [trim_cells(self._head[index][start:end]) for index in lines]
            titles = count_titles(rows, self._is_assumed)
            body = rows[titles + 1 :]
            if not body or not is_header(rows[titles], body, self._is_assumed):
                return []
            if lines == lines_before and not has_key(body):
                return []  # figures beside each row of the table on their left belong to it
            lines_before = lines
        return parts


def _is_outside(row: Row, labels: Sequence[str]) -> bool:
    """Whether several cells stand only where no column has a name: another table beside this one goes on."""
    filled = [index for index, cell in enumerate(row) if cell and cell != SPANNED]
    return len(filled) > 1 and not any(index < len(labels) and labels[index] for index in filled)


def _is_transposed(rows: Sequence[Row]) -> bool:
    """Whether the first column names what each row holds: each is of one kind, and the columns are mixed."""
    body = [row for row in rows if count_filled(row) > 1]
    width = len(rows[0])
    if not 3 <= len(rows) <= _SAMPLE_ROWS // 2 or len(body) < len(rows) or not 3 <= width <= _MAX_TRANSPOSED:
        return False
    if any(len(row) != width or not is_label(row[0]) or SPANNED in row for row in rows):
        return False
    kinds = [{each for cell in row[1:] if (each := kind_of(cell))} for row in rows]
    numeric = [kind <= {"number", "date"} for kind in kinds]
    if not all(len(kind) == 1 for kind in kinds) or all(numeric[1:]) or not any(numeric):
        return False
    names = [row[0] for row in rows]
    return len(set(names)) == len(names) and 2 * sum(map(is_name, names)) >= len(names)


def _transposed(rows: Sequence[Row]) -> list[list[str]]:
    return [list(cells) for cells in zip(*rows, strict=True)]
