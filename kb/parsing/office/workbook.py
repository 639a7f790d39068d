"""The cells of an Excel workbook, row by row, as people see them: ECMA-376, part 1, 18.3 (worksheets).

Only what the file holds takes time and memory: a cell at the far corner of a sheet costs as much as any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from lxml import etree

from kb.parsing.alt_texts import alt_text
from kb.parsing.builder import clean
from kb.parsing.elements import Element
from kb.parsing.inline import LOWERED, RAISED, Run, join_runs
from kb.parsing.office.charts import chart_titles
from kb.parsing.office.number_formats import BUILT_IN, GENERAL, format_number
from kb.parsing.office.open_package import OpenPackage
from kb.parsing.symbols import read_symbols
from kb.parsing.tables.far_columns import NEAR, FarColumns
from kb.parsing.tables.rows import SPANNED, below, number_text

_MAX_COLUMNS = 16_384
_MAX_MERGED = 100_000  # ranges of a sheet
_MAX_COVERING = 1_000  # of them in one row
_MAX_SPAN = 256  # columns of one
_BLOCK_BYTES = 1 << 20
_MERGED = re.compile(
    rb"<(?:\w+:)?mergeCell\s[^<>]{0,200}?\bref\s*=\s*[\"']([A-Z]{1,3})(\d{1,7}):([A-Z]{1,3})(\d{1,7})[\"']"
)
_SHEETS = ("worksheet", "chartsheet", "dialogsheet")
_LEVELS = {"superscript": RAISED, "subscript": LOWERED}
_COLUMN = re.compile(r"[A-Z]{1,3}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class MergedRange:
    """Merged cells: rows and columns, counted from 1, both ends included."""

    top: int
    bottom: int
    left: int
    right: int

    def cover(self, cells: list[str], before: Sequence[str], row: int, columns: FarColumns) -> None:
        """Fill what of the range is in `row`; `before` are the cells of the row above."""
        start = columns.find(self.left - 1)
        if start is None:
            return
        end = start + 1 if self.left > NEAR else min(self.right, self.left + _MAX_SPAN, NEAR)
        cells += [""] * (end - len(cells))
        if row > self.top:
            cells[start] = below([before], start)
        cells[start + 1 : end] = [SPANNED] * (end - start - 1)


class Workbook:
    """The sheets of an open file. Errors: those of `OpenPackage`, and `LookupError` for missing values."""

    def __init__(self, package: OpenPackage) -> None:
        self._package = package
        main = package.main_part("xl/workbook.xml")
        root = package.parse(main)
        parts = {each.id: each.part for each in package.relations(main) if each.kind in _SHEETS}
        others = {each.kind: each.part for each in package.relations(main)}
        self._sheets = [(sheet.get("name", ""), parts.get(_relation_id(sheet))) for sheet in root.iter("{*}sheet")]
        properties = root.find("{*}workbookPr")
        self._starts_1904 = properties is not None and properties.get("date1904") in ("1", "true")
        self._strings = list(self._shared_strings(others.get("sharedStrings", "")))
        self._formats = self._cell_formats(others.get("styles", ""))
        self._comments: dict[str, str] = {}  # of the sheet that is read
        self.unstored_formulas = 0  # in the rows that were read

    @property
    def sheet_names(self) -> list[str]:
        return [name for name, _part in self._sheets]

    def rows(self, index: int) -> Iterator[list[str]]:
        """The rows of a sheet with anything in them, with an empty one for each gap; none for a sheet of a chart.

        The cells that a merged one covers hold its text below it, and `SPANNED` to the right.
        """
        part = self._sheets[index][1]
        if part is None or part not in self._package:
            return
        self._comments = dict(self._sheet_comments(part))
        columns = FarColumns()
        yield from fill_merged(self._numbered_rows(part, columns), self._merged_ranges(part), columns)
        yield from comment_rows(self._comments.values())

    def _numbered_rows(self, part: str, columns: FarColumns) -> Iterator[tuple[int, list[str]]]:
        number = 0
        for row in self._elements(part, "row"):
            number = int(row.get("r") or number + 1)
            yield number, self._cells(row, columns)

    def box_texts(self, index: int) -> Iterator[str]:
        return drawn_texts(self._package, self._sheets[index][1] or "")

    def _sheet_comments(self, part: str) -> Iterator[tuple[str, str]]:
        """The comments of a sheet by cell."""
        for comments in self._package.parts_of(part, "comments"):
            for comment in self._package.parse_aside(comments).iter("{*}comment"):
                text = "".join(map(_string, comment.iterchildren("{*}text")))
                yield comment.get("ref", ""), " ".join(text.split())
        yield from threaded_comments(self._package, part)

    def _merged_ranges(self, part: str) -> list[MergedRange]:
        """The file names them behind the rows, so they are looked for in its bytes at first."""
        found: list[MergedRange] = []
        rest = b""
        with self._package.open(part) as file:
            while (block := file.read(_BLOCK_BYTES)) and len(found) < _MAX_MERGED:
                text = rest + block
                at = 0
                for match in _MERGED.finditer(text):
                    left, top, right, bottom = (each.decode() for each in match.groups())
                    found.append(MergedRange(int(top), int(bottom), column_number(left), column_number(right)))
                    at = match.end()
                rest = text[max(at, len(text) - 300) :]
        return found

    def _cells(self, row: Element, columns: FarColumns) -> list[str]:
        cells: list[str] = []
        column = 0
        for cell in row.iterchildren("{*}c"):
            text, reference = self._text(cell), cell.get("r", "")
            if self._comments and (comment := self._comments.pop(reference, "")):
                text = f"{text} [comment: {comment}]".strip()
            column = column_number(reference) or column + 1
            if text and column <= _MAX_COLUMNS:
                columns.put(cells, column - 1, text)
        return cells

    def _text(self, cell: Element) -> str:
        kind, value, formula = cell.get("t", "n"), "", None
        if kind == "inlineStr":
            return "".join(_string(each) for each in cell.iterchildren("{*}is"))
        for child in cell:  # looking for each by its name takes several times as long
            name = str(child.tag)[-2:]
            if name == "}v":
                value = child.text or ""
            elif name == "}f":
                formula = child.text or ""
        if not value:
            if formula is None or kind == "str":
                return ""
            self.unstored_formulas += 1
            return clean(f"={formula}") if formula else ""
        if kind == "s":
            return self._strings[int(value)]
        if kind == "b":
            return "FALSE" if value == "0" else "TRUE"
        if kind == "d":
            return clean(value).replace("T", " ").removesuffix("Z").removesuffix(" 00:00:00")
        if kind != "n":
            return clean(value)
        number = float(value)
        style = int(cell.get("s") or 0)
        code = self._formats[style] if style < len(self._formats) else GENERAL
        return format_number(number, code, self._starts_1904) if code != GENERAL else number_text(number)

    # --- the other parts of the file ---

    def _shared_strings(self, part: str) -> Iterator[str]:
        if part in self._package:
            yield from map(_string, self._elements(part, "si"))

    def _cell_formats(self, part: str) -> list[str]:
        """The number format of each cell style."""
        if part not in self._package:
            return []
        root = self._package.parse(part)
        codes = dict(BUILT_IN)
        codes |= {int(each.get("numFmtId", "0")): each.get("formatCode", "") for each in root.iter("{*}numFmt")}
        styles = root.find("{*}cellXfs")
        if styles is None:
            return []
        return [codes.get(int(style.get("numFmtId") or 0), GENERAL) for style in styles.iterchildren("{*}xf")]

    def _elements(self, part: str, name: str) -> Iterator[Element]:
        """Each element of that name, which is gone once the next one is asked for."""
        with self._package.open(part) as file:
            found = etree.iterparse(file, tag=f"{{*}}{name}", resolve_entities=False, no_network=True, huge_tree=True)
            for _event, element in found:
                yield element
                element.clear()
                while element.getprevious() is not None:
                    del element.getparent()[0]


def drawn_texts(package: OpenPackage, sheet: str) -> Iterator[str]:
    """The texts of boxes that are drawn on a sheet, descriptions of images, and titles of charts; some are empty."""
    for drawing in package.parts_of(sheet, "drawing"):
        root = package.parse_aside(drawing)
        for box in root.iter("{*}txBody"):
            lines = ("".join(text.text or "" for text in line.iter("{*}t")) for line in box.iterchildren("{*}p"))
            yield "\n".join(filter(None, map(clean, lines)))
        for image in root.iter("{*}pic"):
            yield next((alt_text(each.get("descr")) for each in image.iter("{*}cNvPr")), "")
        for chart in package.parts_of(drawing, "chart"):
            yield "\n".join(chart_titles(package.parse_aside(chart)))


def threaded_comments(package: OpenPackage, sheet: str) -> Iterator[tuple[str, str]]:
    """Comments with their replies by cell; older programs are shown a comment that says what this is."""
    threads: dict[str, list[str]] = {}
    for comments in package.parts_of(sheet, "threadedComment"):
        for comment in package.parse_aside(comments).iter("{*}threadedComment"):
            text = clean(comment.findtext("{*}text") or "")
            threads.setdefault(comment.get("ref", ""), []).append(" ".join(text.split()))
    return ((cell, " / ".join(filter(None, texts))) for cell, texts in threads.items())


def comment_rows(comments: Iterable[str]) -> Iterator[list[str]]:
    """Comments on cells without content, behind a gap."""
    for comment in filter(None, comments):
        yield []
        yield [f"[comment: {comment}]"]


def fill_merged(
    rows: Iterable[tuple[int, list[str]]], ranges: Iterable[MergedRange], columns: FarColumns
) -> Iterator[list[str]]:
    """The rows with anything in them, given with their numbers from 1 on, and an empty one for each gap.

    The cells that a merged one covers hold its text below it, and `SPANNED` to the right.
    """
    merged = sorted(ranges, key=lambda each: each.top, reverse=True)
    covering: list[MergedRange] = []
    before: list[str] = []
    last = 0
    for number, cells in rows:
        if not any(cells):
            continue
        while merged and merged[-1].top <= number:
            covering.append(merged.pop())
        covering = [each for each in covering if each.bottom >= number][:_MAX_COVERING]
        for each in covering:
            each.cover(cells, before, number, columns)
        if number > last + 1:
            yield []
        yield cells
        before, last = cells, number


def _relation_id(sheet: Element) -> str:
    """The id of the sheet's relation, in whatever namespace."""
    return next((value for name, value in sheet.attrib.items() if etree.QName(name).localname == "id"), "")


def _string(item: Element) -> str:
    """The text of a string item, without the readings above its characters."""
    runs: list[Run] = [(text.text or "", 0) for text in item.iterchildren("{*}t")]
    for run in item.iterchildren("{*}r"):
        align, font = run.find("{*}rPr/{*}vertAlign"), run.find("{*}rPr/{*}rFont")
        text = read_symbols(run.findtext("{*}t") or "", (font.get("val") or "") if font is not None else "")
        runs.append((text, _LEVELS.get(align.get("val"), 0) if align is not None else 0))
    return clean(join_runs(runs))


def column_number(reference: str) -> int:
    """1 for A, 27 for AA; 0 if the reference names no column."""
    return _number_of(reference.rstrip("0123456789"))


@lru_cache(maxsize=_MAX_COLUMNS)
def _number_of(letters: str) -> int:
    number = 0
    for letter in letters.upper() if _COLUMN.fullmatch(letters) else "":
        number = number * 26 + ord(letter) - ord("A") + 1
    return number
