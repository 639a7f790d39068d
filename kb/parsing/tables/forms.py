"""Forms: tables of names of fields with what is filled in beside them, or behind them in the same cell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest

from kb.columns import columns
from kb.parsing.tables.cells import is_label, is_name, kind_of, names_field
from kb.parsing.tables.rows import SPANNED, Row, count_covered, count_filled, join_cells, labelled_lines

_MAX_FIELD_NAME = 40  # columns of text
_MANY_FIELDS = 0.4
_MOST_FIELDS = 0.6
_MAX_SIDES = 3
_COLONS = (":", "：")
_FIELD = re.compile(r"[^\W\d][^:：]{0,40}[:：](?!//)")  # a name of a field, perhaps with its value behind

_Field = tuple[str, str]  # name and value


def form_lines(rows: Sequence[Row]) -> list[list[str]]:
    """The lines of each of the first rows, as far as they are a form with several fields in a row; else none.

    Where two parties fill in the same fields beside each other, the lines of each follow together, after the last row.
    """
    if _has_fields_in_cells(rows):
        sides = (filter(None, side) for side in zip_longest(*rows, fillvalue=""))
        return [*([] for _ in rows[1:]), [line for line in map("; ".join, sides) if line]]
    used = [index for index in range(max(map(len, rows))) if any(count_covered(row[index : index + 1]) for row in rows)]
    seen: set[str] = set()
    form: list[list[str]] = []
    fields: list[list[_Field]] = []
    first = 0
    has_sides = False
    for row in rows:
        if count_filled(row) == 1 and (SPANNED in row or not fields) and not _ends_with_colon(row[0]):
            form.append([join_cells(row)])
            first = first if fields else len(form)
            continue
        of_row = _marked_fields(row) or _fields([row[index] for index in used if index < len(row)])
        names = [name for name, _value in of_row]
        is_marked = bool(_marked_fields(row))
        if (
            not of_row
            or (seen.intersection(names) and not is_marked)
            or (len(set(names)) < len(names) and not is_marked)
        ):
            break
        has_sides = has_sides or len(set(names)) < len(names)
        seen.update(names)
        fields.append(of_row)
        form.append(list(_written(of_row)))
    if not (_is_marked(rows[: len(form)]) or _is_form(fields)):
        return []
    if has_sides and len(form) - first == len(fields):
        form[first:] = [*([] for _ in fields[1:]), list(_sides(fields))]
    return form


def _sides(fields: Sequence[Sequence[_Field]]) -> Iterable[str]:
    """What each party filled in, with one line for each."""
    for side in zip_longest(*fields):
        yield from _written([field for field in side if field])


def _written(fields: Sequence[_Field]) -> Iterable[str]:
    """The fields as lines; those that are to be filled in have nothing behind their colon."""
    return labelled_lines(
        [name if value else "" for name, value in fields], [value or f"{name}:" for name, value in fields]
    )


def _is_form(fields: Sequence[Sequence[_Field]]) -> bool:
    """Whether the names are names of fields: some in at least two rows, and at each place of a row."""
    named = [[names_field(name) for name, _value in row] for row in fields]
    many = sum(1 for row in fields if len(row) > 1)
    total = sum(map(len, named))
    places = list(zip_longest(*named, fillvalue=False))
    return (
        many > 0 and sum(map(any, named)) > 1 and all(map(any, places)) and sum(map(sum, named)) >= _MANY_FIELDS * total
    )


def _is_marked(rows: Sequence[Row]) -> bool:
    """Whether colons mark the names of several fields in a row, and there are at least two such rows."""
    return sum(1 for row in rows if sum(map(_ends_with_colon, row)) > 1) > 1


def _marked_fields(row: Row) -> list[_Field]:
    """The fields of a row whose names end with colons, whatever is left empty or merged; none if they do not."""
    fields: list[_Field] = []
    for cell in row:
        if _ends_with_colon(cell):
            fields.append((cell.rstrip(":： "), ""))
        elif cell and cell != SPANNED:
            if not fields or fields[-1][1]:
                return []
            fields[-1] = (fields[-1][0], cell)
    return fields


def _ends_with_colon(cell: str) -> bool:
    return cell.endswith(_COLONS) and columns(cell) <= _MAX_FIELD_NAME


def _has_fields_in_cells(rows: Sequence[Row]) -> bool:
    """Whether parties stand beside each other, and most cells hold the name of a field and its value."""
    if not 2 <= max(map(len, rows)) <= _MAX_SIDES or any(SPANNED in row for row in rows):
        return False
    cells = [cell for cell in chain.from_iterable(rows) if cell]
    fields = [cell for cell in cells if _FIELD.match(cell)]
    inside = sum(1 for row in rows if sum(1 for cell in row if _FIELD.match(cell)) > 1)
    is_beside = all(_ends_with_colon(cell) for cell in fields) and any(not _FIELD.match(cell) for cell in cells)
    by_column = [[_FIELD.match(cell) for cell in column] for column in zip_longest(*rows, fillvalue="")]
    names = [[match[0] for match in column if match] for column in by_column]
    if any(len(set(column)) < len(column) for column in names):  # a list of questions and answers
        return False
    return inside > 1 and len(fields) >= _MOST_FIELDS * len(cells) and not is_beside


def _fields(row: Row) -> list[_Field]:
    """The names and values that alternate in a row; none if they do not."""
    cells = [cell for cell in row if cell != SPANNED]
    names, values = cells[::2], [*cells[1::2], ""]
    if any(map(is_name, values)) or not all(_is_field_name(name) for name in names):
        return []
    return [(name.rstrip(":： "), value) for name, value in zip(names, values, strict=False)]


def _is_field_name(cell: str) -> bool:
    return is_label(cell) and columns(cell) <= _MAX_FIELD_NAME and kind_of(cell) == "text"
