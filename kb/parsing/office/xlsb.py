"""Binary workbooks of Excel (.xlsb): [MS-XLSB], records in the parts of a ZIP."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from kb.models import ParsedDocument
from kb.parsing.builder import Source, clean
from kb.parsing.office.number_formats import BUILT_IN, GENERAL, format_number
from kb.parsing.office.open_package import OpenPackage
from kb.parsing.office.workbook import (
    MergedRange,
    column_number,
    comment_rows,
    drawn_texts,
    fill_merged,
    threaded_comments,
)
from kb.parsing.office.xlsx import write_sheets
from kb.parsing.tables.far_columns import FarColumns
from kb.parsing.tables.rows import number_text

_ROW, _BLANK, _RK, _ERROR, _BOOLEAN, _REAL, _STRING, _SHARED = 0, 1, 2, 3, 4, 5, 6, 7
_FORMULAS = {8: _STRING, 9: _REAL, 10: _BOOLEAN, 11: _ERROR}  # each begins like the cell of its result
_SHARED_ITEM, _FORMAT, _XF, _CELL_XFS, _CELL_XFS_END = 19, 44, 47, 617, 618
_PROPERTIES, _SHEET, _MERGED = 153, 156, 176
_COMMENT, _COMMENT_TEXT = 635, 637
_REFERENCE = re.compile(r"([A-Z]{1,3})(\d{1,7})")
_ERRORS = {0: "#NULL!", 7: "#DIV/0!", 15: "#VALUE!", 23: "#REF!", 29: "#NAME?", 36: "#NUM!", 42: "#N/A"}
_MAX_COLUMNS = 16_384
_MAX_MERGED = 100_000
_BLOCK_BYTES = 1 << 20
_MAX_RECORD = 10_000_000  # bytes


def parse(source: Source) -> Iterator[ParsedDocument]:
    with OpenPackage(source.path) as package:
        yield from write_sheets(source, _Workbook(package))


class _Workbook:
    """The sheets of an open file; raised text is not read."""

    def __init__(self, package: OpenPackage) -> None:
        self._package = package
        self.unstored_formulas = 0
        main = package.main_part("xl/workbook.bin")
        parts = {each.id: each.part for each in package.relations(main)}
        others = {each.kind: each.part for each in package.relations(main)}
        self._starts_1904 = False
        self._sheets: list[tuple[str, str]] = []  # name and part
        for kind, data in self._records(main):
            if kind == _PROPERTIES:
                self._starts_1904 = bool(data[0] & 1)
            elif kind == _SHEET:
                relation, end = _wide(data, 8)
                self._sheets.append((clean(_wide(data, end)[0]), parts.get(relation, "")))
        strings = self._records(others.get("sharedStrings", "xl/sharedstrings.bin"))
        self._strings = [clean(_wide(data, 1)[0]) for kind, data in strings if kind == _SHARED_ITEM]
        self._formats = list(self._cell_formats(others.get("styles", "xl/styles.bin")))
        self._comments: dict[tuple[int, int], str] = {}  # of the sheet that is read, by row and column

    @property
    def sheet_names(self) -> list[str]:
        return [name for name, _part in self._sheets]

    def rows(self, index: int) -> Iterator[list[str]]:
        part = self._sheets[index][1]
        self._comments = dict(self._sheet_comments(part))
        columns = FarColumns()
        yield from fill_merged(self._numbered_rows(part, columns), self._merged_ranges(part), columns)
        yield from comment_rows(self._comments.values())

    def box_texts(self, index: int) -> Iterator[str]:
        return drawn_texts(self._package, self._sheets[index][1])

    def _numbered_rows(self, part: str, columns: FarColumns) -> Iterator[tuple[int, list[str]]]:
        number, cells = 0, list[str]()
        for kind, data in self._records(part):
            if kind == _ROW:
                yield number, cells
                number, cells = struct.unpack_from("<I", data)[0] + 1, []
            elif _BLANK <= kind <= max(_FORMULAS):
                column, style = struct.unpack_from("<II", data)
                text = self._text(_FORMULAS.get(kind, kind), data, style & 0xFFFFFF)
                if comment := self._comments.pop((number - 1, column), ""):
                    text = f"{text} [comment: {comment}]".strip()
                if text and column < _MAX_COLUMNS:
                    columns.put(cells, column, text)
        yield number, cells

    def _text(self, kind: int, data: bytes, style: int) -> str:
        if kind == _BLANK:
            return ""
        if kind == _STRING:
            return clean(_wide(data, 8)[0])
        if kind == _SHARED:
            index: int = struct.unpack_from("<I", data, 8)[0]
            return self._strings[index]
        if kind == _BOOLEAN:
            return "TRUE" if data[8] else "FALSE"
        if kind == _ERROR:
            return _ERRORS.get(data[8], "")
        value: float = struct.unpack_from("<d", data, 8)[0] if kind == _REAL else _rk(data[8:12])
        code = self._formats[style] if style < len(self._formats) else GENERAL
        return format_number(value, code, self._starts_1904) if code != GENERAL else number_text(value)

    def _merged_ranges(self, part: str) -> Iterator[MergedRange]:
        found = 0
        for kind, data in self._records(part):
            if kind == _MERGED and found < _MAX_MERGED:
                top, bottom, left, right = struct.unpack_from("<IIII", data)
                found += 1
                yield MergedRange(top + 1, bottom + 1, left + 1, right + 1)

    # --- the parts of the file ---

    def _sheet_comments(self, part: str) -> Iterator[tuple[tuple[int, int], str]]:
        """The comments of a sheet by row and column, counted from 0."""
        cell = (0, 0)
        for comments in self._package.parts_of(part, "comments"):
            for kind, data in self._records(comments):
                if kind == _COMMENT:
                    row, _last, column = struct.unpack_from("<III", data, 4)
                    cell = (row, column)
                elif kind == _COMMENT_TEXT:
                    yield cell, " ".join(clean(_wide(data, 1)[0]).split())
        for reference, text in threaded_comments(self._package, part):
            if match := _REFERENCE.fullmatch(reference):
                yield (int(match[2]) - 1, column_number(match[1]) - 1), text

    def _cell_formats(self, part: str) -> Iterator[str]:
        """The number format of each cell style."""
        codes = dict(BUILT_IN)
        is_inside = False
        for kind, data in self._records(part):
            if kind == _FORMAT:
                codes[struct.unpack_from("<H", data)[0]] = _wide(data, 2)[0]
            elif kind in (_CELL_XFS, _CELL_XFS_END):
                is_inside = kind == _CELL_XFS
            elif kind == _XF and is_inside:
                yield codes.get(struct.unpack_from("<H", data, 2)[0], GENERAL)

    def _records(self, part: str) -> Iterator[tuple[int, bytes]]:
        """The kind and the content of each record of a part; none if there is no such part."""
        if part not in self._package:
            return
        with self._package.open(part) as file:
            data, at = file.read(_BLOCK_BYTES), 0
            while at < len(data):
                if len(data) - at < _BLOCK_BYTES // 2:
                    data, at = data[at:] + file.read(_BLOCK_BYTES), 0
                kind, at = _varint(data, at, 2)
                size, at = _varint(data, at, 4)
                if size > _MAX_RECORD:
                    raise ValueError("record too long")
                if len(data) - at < size:
                    data, at = data[at:] + file.read(size), 0
                yield kind, data[at : at + size]
                at += size


def _varint(data: bytes, at: int, longest: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    value = 0
    for index in range(longest):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            break
    return value, at


def _wide(data: bytes, at: int) -> tuple[str, int]:
    """A string, and where it ends."""
    (length,) = struct.unpack_from("<I", data, at)
    end = at + 4 + 2 * length
    return data[at + 4 : end].decode("utf-16-le", "replace"), end


def _rk(data: bytes) -> float:
    """A number in four bytes: a whole one, or the upper half of a float; perhaps a hundred times too large."""
    (bits,) = struct.unpack("<i", data)
    value = float(bits >> 2) if bits & 2 else struct.unpack("<d", b"\0\0\0\0" + struct.pack("<I", bits & 0xFFFFFFFC))[0]
    return value / 100 if bits & 1 else value
