"""What OpenDocument files have in common (OASIS ODF 1.3): parts, styles, the text of paragraphs, and tables."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lxml import etree

from kb.errors import PasswordProtected
from kb.parsing.alt_texts import alt_text
from kb.parsing.builder import clean
from kb.parsing.elements import Element
from kb.parsing.formulas import mathml_text
from kb.parsing.inline import LOWERED, RAISED, Run, join_runs
from kb.parsing.symbols import read_symbols
from kb.parsing.tables import table_lines
from kb.parsing.tables.budget import CellBudget
from kb.parsing.tables.far_columns import FarColumns
from kb.parsing.tables.rows import SPANNED, below

OFFICE, TEXT, TABLE, DRAW, STYLE, FO, SVG, PRESENTATION = (
    f"{{urn:oasis:names:tc:opendocument:xmlns:{name}:1.0}}"
    for name in ("office", "text", "table", "drawing", "style", "xsl-fo-compatible", "svg-compatible", "presentation")
)
P, H, LIST, A_TABLE, ROW, CELL, COVERED = (
    *(f"{TEXT}{name}" for name in ("p", "h", "list")),
    *(f"{TABLE}{name}" for name in ("table", "table-row", "table-cell", "covered-table-cell")),
)
ANNOTATION = f"{OFFICE}annotation"
_CHART = "{urn:oasis:names:tc:opendocument:xmlns:chart:1.0}"
_FLAT_PARTS = ("content.xml", "styles.xml", "meta.xml")
_HREF = "{http://www.w3.org/1999/xlink}href"
_FIELD = "{urn:openoffice:names:experimental:ooo-ms-interop:xmlns:field:1.0}"
_SKIPPED = {
    f"{TEXT}tracked-changes",  # what was deleted
    *(f"{TEXT}{name}" for name in ("ruby-text", "hidden-text", "page-number", "page-count", "sequence-decls")),
    *(f"{SVG}{name}" for name in ("title", "desc")),
    f"{OFFICE}forms",
    f"{PRESENTATION}notes",
    f"{OFFICE}binary-data",
}
# What stands between one of these and the next, where text is wanted that has several: of a cell, or a text box.
_APART = dict.fromkeys((P, H, LIST, f"{TEXT}list-item", A_TABLE, ROW), "\n") | {CELL: " | "}
_MAX_CHAIN = 20  # of styles
_MAX_SPACES = 1_000
_MAX_SPAN = 1_000
_MAX_COLUMNS = 16_384
_MAX_REPEATED = 1_000  # cells or rows with the same text


@dataclass(frozen=True, slots=True)
class Style:
    """What a style, with those that it is based on, says about text."""

    level: int = 0  # RAISED or LOWERED
    is_hidden: bool = False
    font: str = ""
    is_title: bool = False


class Package:
    """An open file: a ZIP, or a flat one, in which all parts are one. Errors: those of `zipfile` and `lxml`."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._archive = zipfile.ZipFile(path) if zipfile.is_zipfile(path) else None
        if b"encryption-data" in self.read("META-INF/manifest.xml"):
            self.__exit__()
            raise PasswordProtected(name=name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._archive is not None:
            self._archive.close()

    def read(self, part: str) -> bytes:
        """A part; empty if there is none."""
        if self._archive is None:
            return self._path.read_bytes() if part in _FLAT_PARTS else b""
        try:
            return self._archive.read(part)
        except KeyError:
            return b""

    def parse(self, part: str) -> Element | None:
        content = self.read(part)
        return etree.fromstring(content, etree.XMLParser(resolve_entities=False, no_network=True)) if content else None

    def rows(self, part: str) -> Iterator[tuple[str, Element]]:
        """The starts of tables, their rows and their shapes, one after another; each is gone with the next."""
        tags = (A_TABLE, ROW, f"{TABLE}shapes", f"{OFFICE}automatic-styles")
        with self._archive.open(part) if self._archive is not None else self._path.open("rb") as file:
            found = etree.iterparse(file, events=("start", "end"), tag=tags, resolve_entities=False, no_network=True)
            for event, element in found:
                if (event == "start") == (element.tag == A_TABLE):
                    yield element.tag, element
                    if element.tag == ROW:
                        element.clear()
                        while element.getprevious() is not None:
                            del element.getparent()[0]

    def title(self) -> str:
        meta = self.parse("meta.xml")
        return (meta.findtext(".//{http://purl.org/dc/elements/1.1/}title") or "") if meta is not None else ""


class Texts:
    """Reads paragraphs and cells. `notes` collects footnotes and endnotes, `comments` what reviewers wrote."""

    def __init__(self, package: Package, budget: CellBudget, *, reads_charts: bool = True) -> None:
        self.budget = budget
        self._package = package
        self._reads_charts = reads_charts
        self._raw: dict[str, Element] = {}
        self._styles: dict[str, Style] = {}
        self.notes: list[str] = []

    def learn(self, root: Element | None) -> None:
        """Take over the styles under `root`."""
        for style in root.iter(f"{STYLE}style") if root is not None else ():
            if style.get(f"{STYLE}family") in ("text", "paragraph"):
                self._raw[style.get(f"{STYLE}name") or ""] = style

    def style(self, name: str | None) -> Style:
        if not name or name not in self._raw:
            return Style(is_title=name == "Title")
        if name not in self._styles:
            self._styles[name] = self._resolve(name)
        return self._styles[name]

    def _resolve(self, name: str) -> Style:
        level, is_hidden, font, is_title = 0, False, "", False
        for _ in range(_MAX_CHAIN):
            style = self._raw.get(name)
            if style is None:
                break
            is_title = is_title or name == "Title"
            properties = style.find(f"{STYLE}text-properties")
            if properties is not None:
                level = level or _position(properties.get(f"{STYLE}text-position") or "")
                is_hidden = is_hidden or properties.get(f"{TEXT}display") == "none"
                font = font or properties.get(f"{STYLE}font-name") or properties.get(f"{FO}font-family") or ""
            name = style.get(f"{STYLE}parent-style-name") or ""
        return Style(level, is_hidden, font.strip("'\""), is_title)

    def paragraph(self, paragraph: Element) -> str:
        """The text of a paragraph, or of anything else with paragraphs in it, reviewers' comments behind."""
        text = clean(join_runs(self._runs(paragraph, Style()))).strip()
        comments = [f"[comment: {comment}]" for comment in self.comments(paragraph)]
        return " ".join(filter(None, [text, *comments]))

    def comments(self, element: Element) -> Iterator[str]:
        for annotation in element.iter(ANNOTATION):
            yield " ".join(" ".join(self.paragraph(each) for each in annotation.iter(P)).split())

    def _runs(self, element: Element, inherited: Style) -> Iterator[Run]:
        style = inherited
        name = element.get(f"{TEXT}style-name")
        if name and element.tag in (f"{TEXT}span", P, H, f"{TEXT}a"):
            own = self.style(name)
            style = Style(
                own.level or inherited.level, own.is_hidden or inherited.is_hidden, own.font or inherited.font
            )
        if style.is_hidden:
            return
        yield _spaced(element.text, style)
        is_first = True
        for child in element.iterchildren():
            if isinstance(child.tag, str):
                if child.tag in _APART:
                    yield ("" if is_first else _APART[child.tag]), 0
                    is_first = False
                yield from self._child(child, style)
            yield _spaced(child.tail, style)

    def _child(self, child: Element, style: Style) -> Iterator[Run]:
        match child.tag:
            case _ if child.tag in _SKIPPED or child.tag == ANNOTATION:
                return
            case tag if tag == f"{TEXT}s":
                yield " " * min(number(child.get(f"{TEXT}c"), 1), _MAX_SPACES), style.level
            case tag if tag == f"{TEXT}tab":
                yield "\t", 0
            case tag if tag == f"{TEXT}line-break":
                yield "\n", 0
            case tag if tag == f"{TEXT}note":
                yield self._note(child), 0
            case tag if tag == f"{DRAW}object":
                yield self._object(child), 0
            case tag if tag.startswith(DRAW) and child.find(P) is not None:  # a box
                yield "\n", 0
                yield from self._runs(child, style)
                yield "\n", 0
            case tag if tag == f"{DRAW}frame":
                yield from self._runs(child, style)
                yield image_text(child), 0
            case tag if tag == f"{_FIELD}fieldmark":
                yield _field_value(child), 0
            case _:
                yield from self._runs(child, style)

    def _note(self, note: Element) -> str:
        mark = f"[{(note.findtext(f'{TEXT}note-citation') or '').strip()}]"
        body = note.find(f"{TEXT}note-body")
        text = " ".join(self.paragraph(body).split()) if body is not None else ""
        if text:
            self.notes.append(f"{mark} {text}")
        return f" {mark}"

    def _object(self, holder: Element) -> str:
        """A formula or a chart, which is a document of its own."""
        root = self._embedded(holder)
        if root is None:
            return ""
        if etree.QName(root).localname == "math":
            return mathml_text(root)
        lines = [*self._chart_titles(root), *self._chart_rows(root)] if self._reads_charts else []
        return "\n".join(["", *lines, ""]) if lines else ""

    def _embedded(self, holder: Element) -> Element | None:
        path = (holder.get(_HREF) or "").removeprefix("./")
        root = holder.find(".//{http://www.w3.org/1998/Math/MathML}math")
        root = holder.find(f"{OFFICE}document") if root is None else root
        if root is None and path:
            root = self._package.parse(f"{path}/content.xml")
        return root

    def charts(self, element: Element) -> Iterator[str]:
        """The titles of the charts in a row of a sheet, which has their numbers."""
        for holder in element.iter(f"{DRAW}object"):
            if (root := self._embedded(holder)) is not None:
                yield "\n".join(self._chart_titles(root))

    def _chart_titles(self, root: Element) -> Iterator[str]:
        for title in root.iter(f"{_CHART}title", f"{_CHART}subtitle"):
            if text := " ".join(self.paragraph(title).split()):
                yield text

    def _chart_rows(self, root: Element) -> Iterator[str]:
        for table in root.iter(A_TABLE):
            grid = Grid(self, table.get(f"{TABLE}name") or "")
            rows = [["" if cell == "NaN" else cell for cell in grid.cells(row)] for row in table.iter(ROW)]
            yield from table_lines([row for row in rows if row], header=1)


def image_text(frame: Element) -> str:
    """What the author describes an image with."""
    if frame.find(f"{DRAW}image") is None or frame.find(f"{DRAW}object") is not None:
        return ""
    described = (alt_text(frame.findtext(f"{SVG}{name}")) for name in ("desc", "title"))
    text = next(filter(None, described), "")
    return f" {text} " if text else ""


class Grid:
    """The rows of a table, one after another, with the cells that merged ones cover filled."""

    def __init__(self, texts: Texts, name: str) -> None:
        self._texts = texts
        self._name = name
        self._columns = FarColumns()
        self._before: list[str] = []
        self._covered: dict[int, tuple[int, bool]] = {}  # by column: how many rows more, and whether from the left

    def rows(self, row: Element) -> Iterator[list[str]]:
        """The cells of the next row, as often as it stands there. Errors: `TableTooLarge`."""
        cells = self.cells(row)
        count = min(number(row.get(f"{TABLE}number-rows-repeated"), 1), _MAX_REPEATED)
        self._texts.budget.take(len(cells) * (count - 1), self._name)
        return (list(cells) for _ in range(count))

    def cells(self, row: Element) -> list[str]:
        """The cells of the next row; none if it has no text. Errors: `TableTooLarge`."""
        cells: list[str] = []
        column = 0
        for cell in row.iterchildren(CELL, COVERED):
            repeated = number(cell.get(f"{TABLE}number-columns-repeated"), 1)
            if column + repeated > _MAX_COLUMNS and not len(cell):
                break
            text = SPANNED if cell.tag == COVERED else self._cell_text(cell)
            copies = min(repeated, _MAX_REPEATED) if text else 0
            self._texts.budget.take(max(copies - 1, 0), self._name)
            for _ in range(copies):
                value = self._covered_text(column) if cell.tag == COVERED else text
                self._columns.put(cells, column, value)
                column += 1
            column = column if text else column + repeated
            if cell.tag == CELL and cell.get(f"{TABLE}number-rows-spanned"):
                self._cover(cell, column - 1)
        self._before = cells
        return cells if any(cell and cell != SPANNED for cell in cells) else []

    def _cell_text(self, cell: Element) -> str:
        """The paragraphs of a cell as people see them; the value where a program wrote no text."""
        if len(cell) == 1 and cell[0].tag == P and not len(cell[0]) and cell[0].text:  # nearly all are so
            return " ".join(cell[0].text.split())
        text = self._texts.paragraph(cell)
        if text:
            return text
        value = cell.get(f"{OFFICE}value") or cell.get(f"{OFFICE}date-value") or cell.get(f"{OFFICE}string-value") or ""
        return clean(value)

    def _cover(self, cell: Element, column: int) -> None:
        across = min(number(cell.get(f"{TABLE}number-columns-spanned"), 1), _MAX_SPAN)
        down = number(cell.get(f"{TABLE}number-rows-spanned"), 1)
        for index in range(across) if down > 1 else ():
            self._covered[column + index] = (down - 1, index > 0)

    def _covered_text(self, column: int) -> str:
        rows, is_from_left = self._covered.pop(column, (0, True))
        if rows > 1:
            self._covered[column] = (rows - 1, is_from_left)
        place = self._columns.find(column)
        return SPANNED if is_from_left or place is None else below([self._before], place)


def number(value: str | None, default: int) -> int:
    return int(value) if value and value.isascii() and value.isdigit() and len(value) < 10 else default


def _spaced(text: str | None, style: Style) -> Run:
    """White space in the file is one space, as in HTML."""
    if not text:
        return "", 0
    words = " ".join(text.split())
    before = " " if text[0].isspace() else ""
    after = " " if words and text[-1].isspace() else ""
    return read_symbols(f"{before}{words}{after}", style.font), style.level


def _position(value: str) -> int:
    """`super 58%`, `sub 58%`, or a percentage up or down."""
    place = value.split(" ")[0]
    if place in ("super", "sub"):
        return RAISED if place == "super" else LOWERED
    shift = place.removesuffix("%")
    if not shift.lstrip("-").isdigit() or int(shift) == 0:
        return 0
    return RAISED if int(shift) > 0 else LOWERED


def _field_value(field: Element) -> str:
    """The state of a check box or a drop-down list of a form."""
    values: dict[str, list[str]] = {}
    for each in field.iter(f"{_FIELD}param"):
        values.setdefault(each.get(f"{_FIELD}name") or "", []).append(each.get(f"{_FIELD}value") or "")
    kind = field.get(f"{_FIELD}type") or ""
    if kind.endswith("FORMCHECKBOX"):
        return "☒" if values.get("Checkbox_Checked", [""])[0] == "true" else "☐"
    entries, chosen = values.get("Dropdown_ListEntry", []), number(values.get("Dropdown_Selected", [""])[0], 0)
    return entries[chosen] if kind.endswith("FORMDROPDOWN") and chosen < len(entries) else ""
