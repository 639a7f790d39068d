"""XML Spreadsheet 2003: a workbook in one XML file, as Excel and many exports write it, often under the name .xls."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from lxml import etree

from kb.models import ParsedDocument
from kb.parsing.builder import Source, clean
from kb.parsing.elements import Element
from kb.parsing.office.number_formats import GENERAL, format_number
from kb.parsing.office.workbook import MergedRange, fill_merged
from kb.parsing.office.xlsx import write_sheets
from kb.parsing.tables.far_columns import FarColumns
from kb.parsing.tables.rows import number_text

_NAMESPACE = "urn:schemas-microsoft-com:office:spreadsheet"
_SS = f"{{{_NAMESPACE}}}"
_MAX_COLUMNS = 16_384
_MAX_CHAIN = 20  # of styles
_FORMATS = {
    "General Number": GENERAL,
    "General Date": "yyyy-mm-dd h:mm",
    "Long Date": "yyyy-mm-dd",
    "Medium Date": "d-mmm-yy",
    "Short Date": "yyyy-mm-dd",
    "Long Time": "h:mm:ss",
    "Medium Time": "h:mm AM/PM",
    "Short Time": "h:mm",
    "Fixed": "0.00",
    "Standard": "#,##0.00",
    "Percent": "0.00%",
    "Scientific": "0.00E+00",
    "Currency": "#,##0.00",
    "Euro Currency": "[$€-2] #,##0.00",
    "Yes/No": '"Yes";"Yes";"No"',
    "True/False": '"TRUE";"TRUE";"FALSE"',
    "On/Off": '"On";"On";"Off"',
}
_FIRST_DAY = datetime(1899, 12, 30)


def parse(source: Source) -> Iterator[ParsedDocument]:
    yield from write_sheets(source, _Workbook(source.path))


class _Workbook:
    """The sheets of a file. A formula's result is always stored."""

    def __init__(self, path: Path) -> None:
        parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)
        root = etree.parse(str(path), parser).getroot()
        self._sheets = list(root.iter(f"{_SS}Worksheet"))
        self._styles = {style.get(f"{_SS}ID", ""): style for style in root.iter(f"{_SS}Style")}
        self.unstored_formulas = 0

    @property
    def sheet_names(self) -> list[str]:
        return [sheet.get(f"{_SS}Name", "") for sheet in self._sheets]

    def rows(self, index: int) -> Iterator[list[str]]:
        merged: list[MergedRange] = []
        columns = FarColumns()
        rows = list(self._numbered_rows(self._sheets[index], merged, columns))
        yield from fill_merged(rows, merged, columns)

    def box_texts(self, index: int) -> Iterator[str]:
        return iter(())

    def _numbered_rows(
        self, sheet: Element, merged: list[MergedRange], columns: FarColumns
    ) -> Iterator[tuple[int, list[str]]]:
        number = 0
        for row in sheet.iter(f"{_SS}Row"):
            number = _count(row, "Index", number + 1)
            cells: list[str] = []
            column = 0
            for cell in row.iterchildren(f"{_SS}Cell"):
                column = _count(cell, "Index", column + 1)
                across, down = _count(cell, "MergeAcross", 0), _count(cell, "MergeDown", 0)
                if (text := self._text(cell)) and column <= _MAX_COLUMNS:
                    columns.put(cells, column - 1, text)
                if across or down:
                    merged.append(MergedRange(number, number + down, column, column + across))
                column += across
            yield number, cells
            number += _count(row, "Span", 0)

    def _text(self, cell: Element) -> str:
        data = cell.find(f"{_SS}Data")
        text = self._value(cell, data) if data is not None else ""
        comment = cell.find(f"{_SS}Comment")
        if comment is not None:
            text = f"{text} [comment: {' '.join(clean(''.join(comment.itertext())).split())}]"
        return text.strip()

    def _value(self, cell: Element, data: Element) -> str:
        text, kind = clean("".join(data.itertext())), data.get(f"{_SS}Type", "String")
        if kind == "Boolean":
            return "FALSE" if text == "0" else "TRUE"
        if kind not in ("Number", "DateTime"):
            return text
        code = self._format(cell.get(f"{_SS}StyleID", "Default"))
        try:
            value = float(text) if kind == "Number" else _serial(text)
        except ValueError:
            return text
        if code == GENERAL:
            return number_text(value) if kind == "Number" else text.replace("T", " ").removesuffix(" 00:00:00.000")
        return format_number(value, code)

    def _format(self, style_id: str) -> str:
        """The number format of a style, or of the one that it is based on."""
        for _ in range(_MAX_CHAIN):
            style = self._styles.get(style_id)
            if style is None:
                break
            found = style.find(f"{_SS}NumberFormat")
            if found is not None and (code := found.get(f"{_SS}Format")):
                return str(_FORMATS.get(code, code))
            style_id = style.get(f"{_SS}Parent", "")
        return GENERAL


def _serial(text: str) -> float:
    return (datetime.fromisoformat(text) - _FIRST_DAY).total_seconds() / 86400


def _count(element: Element, name: str, default: int) -> int:
    value = element.get(f"{_SS}{name}") or ""
    return int(value) if value.isdecimal() and len(value) < 8 else default
