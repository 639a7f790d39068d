"""Forms: tables of names of fields with what is filled in beside them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from kb.columns import columns
from kb.parsing.table_cells import is_label, is_name, kind_of, names_field
from kb.parsing.table_rows import SPANNED, Row, count_covered, count_filled, join_cells, labelled_lines

_MAX_FIELD_NAME = 40  # columns of text
_MANY_FIELDS = 0.4


def form_lines(rows: Sequence[Row]) -> list[list[str]]:
    """The lines of each of the first rows, as far as they are a form with several fields in a row; else none."""
    used = [index for index in range(max(map(len, rows))) if any(count_covered(row[index : index + 1]) for row in rows)]
    seen: set[str] = set()
    form: list[list[str]] = []
    fields: list[list[tuple[str, str]]] = []
    for row in rows:
        if count_filled(row) == 1 and (SPANNED in row or not fields):
            form.append([join_cells(row)])
            continue
        of_row = _fields([row[index] for index in used if index < len(row)])
        names = [name for name, _value in of_row]
        if not of_row or seen.intersection(names) or len(set(names)) < len(names):
            break
        seen.update(names)
        fields.append(of_row)
        form.append(list(labelled_lines(names, [value for _name, value in of_row])))
    return form if _is_form(fields) else []


def _is_form(fields: Sequence[Sequence[tuple[str, str]]]) -> bool:
    """Whether the names are names of fields: some in at least two rows, and at each place of a row."""
    named = [[names_field(name) for name, _value in row] for row in fields]
    many = sum(1 for row in fields if len(row) > 1)
    total = sum(map(len, named))
    places = list(zip_longest(*named, fillvalue=False))
    return (
        many > 0 and sum(map(any, named)) > 1 and all(map(any, places)) and sum(map(sum, named)) >= _MANY_FIELDS * total
    )


def _fields(row: Row) -> list[tuple[str, str]]:
    """The names and values that alternate in a row; none if they do not."""
    cells = [cell for cell in row if cell != SPANNED]
    names, values = cells[::2], [*cells[1::2], ""]
    if any(map(is_name, values)) or not all(_is_field_name(name) for name in names):
        return []
    return [(name.rstrip(":： "), value) for name, value in zip(names, values, strict=False)]


def _is_field_name(cell: str) -> bool:
    return is_label(cell) and columns(cell) <= _MAX_FIELD_NAME and kind_of(cell) == "text"
