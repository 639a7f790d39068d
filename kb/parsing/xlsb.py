"""Binary workbooks of Excel (.xlsb): [MS-XLSB], records in the parts of a ZIP."""

from __future__ import annotations

import posixpath
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from lxml import etree

from kb.models import ParsedDocument
from kb.parsing.builder import Source, clean
from kb.parsing.number_formats import BUILT_IN, GENERAL, format_number
from kb.parsing.table_rows import number_text
from kb.parsing.workbook import MergedRange, fill_merged
from kb.parsing.xlsx import write_sheets

_ROW, _RK, _ERROR, _BOOLEAN, _REAL, _STRING, _SHARED = 0, 2, 3, 4, 5, 6, 7
_FORMULAS = {8: _STRING, 9: _REAL, 10: _BOOLEAN, 11: _ERROR}  # each begins like the cell of its result
_SHARED_ITEM, _FORMAT, _XF, _CELL_XFS, _CELL_XFS_END = 19, 44, 47, 617, 618
_PROPERTIES, _SHEET, _MERGED = 153, 156, 176
_ERRORS = {0: "#NULL!", 7: "#DIV/0!", 15: "#VALUE!", 23: "#REF!", 29: "#NAME?", 36: "#NUM!", 42: "#N/A"}
_MAX_COLUMNS = 16_384
_MAX_MERGED = 100_000
_BLOCK_BYTES = 1 << 20
_MAX_RECORD = 10_000_000  # bytes


def parse(source: Source) -> Iterator[ParsedDocument]:
    with _Workbook(source.path) as workbook:
        yield from write_sheets(source, workbook)


class _Workbook:
    """An open workbook; comments, boxes and raised text are not read."""

    def __init__(self, path: Path) -> None:
        self._archive = zipfile.ZipFile(path)
        self.unstored_formulas = 0
        self._members = {name.lower(): name for name in self._archive.namelist()}
        parts = self._relations()
        self._starts_1904 = False
        self._sheets: list[tuple[str, str]] = []  # name and part
        for kind, data in self._records("xl/workbook.bin"):
            if kind == _PROPERTIES:
                self._starts_1904 = bool(data[0] & 1)
            elif kind == _SHEET:
                relation, end = _wide(data, 8)
                self._sheets.append((clean(_wide(data, end)[0]), parts.get(relation, "")))
        self._strings = [
            clean(_wide(data, 1)[0]) for kind, data in self._records("xl/sharedstrings.bin") if kind == _SHARED_ITEM
        ]
        self._formats = list(self._cell_formats())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    @property
    def sheet_names(self) -> list[str]:
        return [name for name, _part in self._sheets]

    def rows(self, index: int) -> Iterator[list[str]]:
        part = self._sheets[index][1]
        yield from fill_merged(self._numbered_rows(part), self._merged_ranges(part))

    def box_texts(self, index: int) -> Iterator[str]:
        return iter(())

    def _numbered_rows(self, part: str) -> Iterator[tuple[int, list[str]]]:
        number, cells = 0, list[str]()
        for kind, data in self._records(part):
            if kind == _ROW:
                yield number, cells
                number, cells = struct.unpack_from("<I", data)[0] + 1, []
            elif _RK <= kind <= max(_FORMULAS):
                column, style = struct.unpack_from("<II", data)
                text = self._text(_FORMULAS.get(kind, kind), data, style & 0xFFFFFF)
                if text and column < _MAX_COLUMNS:
                    cells += [""] * (column + 1 - len(cells))
                    cells[column] = text
        yield number, cells

    def _text(self, kind: int, data: bytes, style: int) -> str:
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

    def _relations(self) -> dict[str, str]:
        """The sheets' parts by the ids that the workbook calls them."""
        name = self._members.get("xl/_rels/workbook.bin.rels")
        if name is None:
            return {}
        root = etree.fromstring(self._archive.read(name), etree.XMLParser(resolve_entities=False, no_network=True))
        return {
            each.get("Id", ""): posixpath.normpath(posixpath.join("/xl", each.get("Target", ""))).lstrip("/").lower()
            for each in root.iterchildren("{*}Relationship")
        }

    def _cell_formats(self) -> Iterator[str]:
        """The number format of each cell style."""
        codes = dict(BUILT_IN)
        is_inside = False
        for kind, data in self._records("xl/styles.bin"):
            if kind == _FORMAT:
                codes[struct.unpack_from("<H", data)[0]] = _wide(data, 2)[0]
            elif kind in (_CELL_XFS, _CELL_XFS_END):
                is_inside = kind == _CELL_XFS
            elif kind == _XF and is_inside:
                yield codes.get(struct.unpack_from("<H", data, 2)[0], GENERAL)

    def _records(self, part: str) -> Iterator[tuple[int, bytes]]:
        """The kind and the content of each record of a part; none if there is no such part."""
        name = self._members.get(part)
        if name is None:
            return
        with self._archive.open(name) as file:
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
