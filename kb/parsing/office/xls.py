"""Excel 97–2003 (.xls): the sheets, their cells as people see them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import xlrd
from xlrd.biffh import error_text_from_code

from kb.errors import N_, DamagedFile, PasswordProtected
from kb.models import ParsedDocument
from kb.parsing.builder import Source, clean
from kb.parsing.inline import LOWERED, RAISED, join_runs
from kb.parsing.office.number_formats import GENERAL, format_number
from kb.parsing.office.workbook import MergedRange, fill_merged
from kb.parsing.office.xlsx import write_sheets
from kb.parsing.symbols import read_symbols
from kb.parsing.tables.far_columns import FarColumns
from kb.parsing.tables.rows import number_text

_LEVELS = {1: RAISED, 2: LOWERED}  # of fonts

Sheet = Any  # xlrd gives no types


def parse(source: Source) -> Iterator[ParsedDocument]:
    try:
        book = xlrd.open_workbook(
            str(source.path), logfile=io.StringIO(), formatting_info=True, on_demand=True, ragged_rows=True
        )
    except xlrd.XLRDError as error:
        if "encrypted" in str(error):
            raise PasswordProtected(name=source.name) from error
        raise DamagedFile(name=source.name, detail=N_("part of it is missing or invalid")) from error
    with book:
        yield from write_sheets(source, _Sheets(book))


class _Sheets:
    """The sheets of an open workbook. xlrd reads no boxes, and a formula's result is always stored."""

    def __init__(self, book: Any) -> None:
        self._book = book
        self.unstored_formulas = 0

    @property
    def sheet_names(self) -> list[str]:
        return list(self._book.sheet_names())

    def rows(self, index: int) -> Iterator[list[str]]:
        sheet = self._book.sheet_by_index(index)
        merged = [MergedRange(top + 1, bottom, left + 1, right) for top, bottom, left, right in sheet.merged_cells]
        rows = ((number + 1, self._cells(sheet, number)) for number in range(sheet.nrows))
        yield from fill_merged(rows, merged, FarColumns())
        self._book.unload_sheet(index)

    def box_texts(self, index: int) -> Iterator[str]:
        return iter(())

    def _cells(self, sheet: Sheet, row: int) -> list[str]:
        cells = [self._text(sheet, row, column) for column in range(sheet.row_len(row))]
        for column in range(len(cells)) if sheet.cell_note_map else ():
            note = sheet.cell_note_map.get((row, column))
            if note is not None:
                cells[column] = f"{cells[column]} [comment: {' '.join(clean(note.text).split())}]".strip()
        return cells

    def _text(self, sheet: Sheet, row: int, column: int) -> str:
        kind, value = sheet.cell_type(row, column), sheet.cell_value(row, column)
        if kind == xlrd.XL_CELL_TEXT:
            return self._runs(sheet, row, column, value)
        if kind in (xlrd.XL_CELL_NUMBER, xlrd.XL_CELL_DATE):
            code = self._book.format_map[self._style(sheet, row, column).format_key].format_str
            is_plain = code.lower() == GENERAL.lower()
            return number_text(value) if is_plain else format_number(value, code, self._book.datemode == 1)
        if kind == xlrd.XL_CELL_BOOLEAN:
            return "TRUE" if value else "FALSE"
        return error_text_from_code.get(value, "") if kind == xlrd.XL_CELL_ERROR else ""

    def _runs(self, sheet: Sheet, row: int, column: int, text: str) -> str:
        """The text, with what is raised or lowered kept off the rest."""
        fonts = [(0, self._style(sheet, row, column).font_index), *sheet.rich_text_runlist_map.get((row, column), ())]
        ends = [start for start, _font in fonts[1:]] + [len(text)]
        runs = []
        for (start, number), end in zip(fonts, ends, strict=True):
            font = self._book.font_list[number]
            runs.append((read_symbols(text[start:end], font.name), _LEVELS.get(font.escapement, 0)))
        return clean(join_runs(runs))

    def _style(self, sheet: Sheet, row: int, column: int) -> Any:
        return self._book.xf_list[sheet.cell_xf_index(row, column)]
