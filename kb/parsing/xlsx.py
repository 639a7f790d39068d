"""Excel: each sheet is a page with a heading, each row a line that names its columns."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from itertools import islice
from typing import Any

from python_calamine import CalamineError, CalamineWorkbook, PasswordError, WorksheetNotFound

from kb.errors import N_, DamagedFile, PasswordProtected
from kb.models import ParsedDocument
from kb.parsing.builder import Source, TextBuilder, clean
from kb.parsing.tables import number_text, table_lines

_BATCH = 5_000  # rows


def parse(source: Source) -> Iterator[ParsedDocument]:
    """Sheets in order. A sheet without cells, for example with only a chart, is a page without text."""
    builder = TextBuilder(source.name, has_whole_pages=True)
    try:
        with CalamineWorkbook.from_path(source.path) as workbook:
            yield from _read_sheets(builder, workbook, source)
    except PasswordError as error:
        raise PasswordProtected(name=source.name) from error
    except CalamineError as error:
        raise DamagedFile(name=source.name, detail=N_("its sheets cannot be read")) from error
    yield from builder.last_parts()


def _read_sheets(builder: TextBuilder, workbook: CalamineWorkbook, source: Source) -> Iterator[ParsedDocument]:
    names = workbook.sheet_names
    for number, name in enumerate(names, start=1):
        builder.start_page(number)
        lines = table_lines(_read_rows(workbook, name), is_sheet=True)
        first = next(lines, None)
        if first is not None:
            builder.add_heading(1, name)
            builder.add(first)
        while batch := list(islice(lines, _BATCH)):
            builder.add("\n".join(batch))
            yield from builder.full_parts()
        yield from builder.parts()
        source.report(number, len(names))


def _read_rows(workbook: CalamineWorkbook, name: str) -> Iterator[list[str]]:
    try:
        sheet = workbook.get_sheet_by_name(name)
    except WorksheetNotFound:  # a chart sheet or a dialog
        return
    for row in sheet.to_python(skip_empty_area=True):
        yield [_format(cell) for cell in row]


def _format(cell: Any) -> str:
    """The value of a cell as text: 3 instead of 3.0, dates in ISO format."""
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    if isinstance(cell, float):
        return number_text(cell)
    if isinstance(cell, datetime):
        return cell.isoformat(" ").removesuffix(" 00:00:00")
    if isinstance(cell, date | time):
        return cell.isoformat()
    if isinstance(cell, timedelta):
        return str(cell)
    return clean(str(cell))
