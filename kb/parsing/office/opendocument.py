"""OpenDocument: texts (.odt), spreadsheets (.ods) and presentations (.odp)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from kb.models import ParsedDocument
from kb.parsing.builder import Source, TextBuilder
from kb.parsing.elements import Element
from kb.parsing.media_types import OPEN_SHEETS, OPEN_SLIDES
from kb.parsing.numerals import count
from kb.parsing.office.odf import (
    A_TABLE,
    DRAW,
    LIST,
    OFFICE,
    PRESENTATION,
    ROW,
    STYLE,
    SVG,
    TABLE,
    TEXT,
    Grid,
    H,
    P,
    Package,
    Texts,
    image_text,
    number,
)
from kb.parsing.office.slide_order import Box, Placed, in_reading_order
from kb.parsing.page_numbers import is_page_number
from kb.parsing.tables import table_lines
from kb.parsing.tables.budget import CellBudget

_BATCH = 1_000  # rows
_MAX_LEVEL = 9
_FORMATS = {
    "1": "decimal",
    "a": "lowerLetter",
    "A": "upperLetter",
    "i": "lowerRoman",
    "I": "upperRoman",
    "一": "chineseCounting",
    "壹": "chineseLegalSimplified",
    "甲": "ideographTraditional",
    "①": "decimalEnclosedCircle",
}
_UNITS = {"cm": 1.0, "mm": 0.1, "in": 2.54, "pt": 2.54 / 72, "px": 2.54 / 96}
_LINE = 1.0  # centimetres
_TITLES = ("title", "subtitle")


def parse(source: Source) -> Iterator[ParsedDocument]:
    """Paragraphs and tables in order; each sheet and each slide is a page. Hidden text is left out."""
    with Package(source.path, source.name) as package:
        if source.media_type == OPEN_SHEETS:
            yield from _parse_sheets(source, package)
        elif source.media_type == OPEN_SLIDES:
            yield from _parse_slides(source, package)
        else:
            yield from _parse_text(source, package)


def _parse_text(source: Source, package: Package) -> Iterator[ParsedDocument]:
    builder = TextBuilder(source.name, title=package.title())
    content, styles = package.parse("content.xml"), package.parse("styles.xml")
    writer = _Writer(builder, Texts(package, CellBudget(source.name)), content, styles)
    body = content.find(f".//{OFFICE}text") if content is not None else None
    if styles is not None:
        writer.add_margins(styles, "header")
    if body is not None:
        for block in body.iterchildren():
            writer.add(block)
            yield from builder.full_parts()
    builder.break_paragraph()
    if styles is not None:
        writer.add_margins(styles, "footer")
    for note in writer.texts.notes:
        builder.add(note)
    yield from builder.last_parts()


def _parse_slides(source: Source, package: Package) -> Iterator[ParsedDocument]:
    """On each slide its title first, then from the top to the bottom and from left to right; then the notes."""
    builder = TextBuilder(source.name, title=package.title(), has_whole_pages=True)
    content = package.parse("content.xml")
    writer = _Writer(builder, Texts(package, CellBudget(source.name)), content, package.parse("styles.xml"))
    slides = list(content.iter(f"{DRAW}page")) if content is not None else []
    for index, slide in enumerate(slides, start=1):
        builder.start_page(index)
        shapes = [each for each in slide.iterchildren() if isinstance(each.tag, str)]
        notes = [each for each in shapes if each.tag == f"{PRESENTATION}notes"]
        for shape in _in_order(writer.texts, [each for each in shapes if each not in notes]):
            if shape.get(f"{PRESENTATION}class") == "title":
                builder.add_heading(1, writer.texts.paragraph(shape))
            else:
                writer.add(shape)
        for frame in notes[0].iter(f"{DRAW}frame") if notes else ():
            if frame.get(f"{PRESENTATION}class") == "notes":
                builder.add(writer.texts.paragraph(frame), gap=2)
        yield from builder.parts()
        source.report(index, len(slides))
    yield from builder.last_parts()


def _parse_sheets(source: Source, package: Package) -> Iterator[ParsedDocument]:
    """Row by row, so that a long sheet takes no more memory than a short one."""
    builder = TextBuilder(source.name, title=package.title(), has_whole_pages=True)
    texts = Texts(package, CellBudget(source.name), reads_charts=False)
    texts.learn(package.parse("styles.xml"))
    elements = package.rows("content.xml")
    element = next(elements, None)
    sheets = 0
    while element is not None:
        tag, found = element
        if tag != A_TABLE:
            texts.learn(found)
            element = next(elements, None)
            continue
        sheets += 1
        builder.start_page(sheets)
        name = found.get(f"{TABLE}name") or ""
        sheet = _Sheet(texts, name, elements)
        lines = table_lines(sheet.rows())
        if (first := next(lines, None)) is not None:
            builder.add_heading(1, name)
            builder.add_rows([first])
        while batch := list(islice(lines, _BATCH)):
            builder.add_rows(batch)
            yield from builder.full_parts()
        for text in sheet.boxes:
            builder.add(text, gap=2)
        yield from builder.parts()
        source.report(sheets, sheets)
        element = sheet.next
    yield from builder.last_parts()


class _Sheet:
    """The rows of a sheet, from the stream of all."""

    def __init__(self, texts: Texts, name: str, elements: Iterator[tuple[str, Element]]) -> None:
        self._texts = texts
        self._name = name
        self._elements = elements
        self.boxes: list[str] = []
        self.next: tuple[str, Element] | None = None  # where another sheet begins

    def rows(self) -> Iterator[list[str]]:
        """The rows with anything in them, and an empty one for each gap."""
        grid = Grid(self._texts, self._name)
        is_gap = False
        for tag, element in self._elements:
            if tag == A_TABLE:
                self.next = (tag, element)
                return
            self.boxes += filter(None, self._texts.charts(element))
            if tag != ROW:
                self.boxes += [text for each in element.iterchildren() if (text := self._texts.paragraph(each))]
                continue
            for cells in grid.rows(element):
                if cells and is_gap:
                    yield []
                is_gap = not cells
                if cells:
                    yield cells


class _Writer:
    """Passes blocks to the builder. They must come in order: lists are numbered as they are read."""

    def __init__(self, builder: TextBuilder, texts: Texts, *roots: Element | None) -> None:
        self._builder = builder
        self.texts = texts
        self._lists: dict[str, dict[int, Element]] = {}  # the levels of each list's style
        self._counts: dict[str, dict[int, int]] = {}
        for root in roots:
            texts.learn(root)
            if root is not None:
                for style in (*root.iter(f"{TEXT}list-style"), *root.iter(f"{TEXT}outline-style")):
                    self._lists[style.get(f"{STYLE}name") or ""] = {
                        number(each.get(f"{TEXT}level"), 1): each for each in style.iterchildren()
                    }

    def add(self, block: Element) -> None:
        if not isinstance(block.tag, str):
            return
        if block.tag in (P, H):
            self._add_paragraph(block, "")
        elif block.tag == LIST:
            self._builder.break_paragraph()
            self._add_list(block, block.get(f"{TEXT}style-name") or "", 1)
            self._builder.break_paragraph()
        elif block.tag == A_TABLE:
            self._builder.break_paragraph()
            self._builder.add_rows(self._table_lines(block))
            self._builder.break_paragraph()
        elif block.tag in (f"{TEXT}tracked-changes", f"{TEXT}table-of-content", f"{OFFICE}forms"):
            return
        elif block.tag == f"{DRAW}object":
            self._builder.add(self.texts.paragraph(block.getparent()))
        else:  # sections, frames, groups, text boxes
            for child in block.iterchildren():
                self.add(child)
            self._builder.add(image_text(block).strip())

    def add_margins(self, styles: Element, kind: str) -> None:
        """The lines of headers or footers, each once, without page numbers."""
        lines = dict.fromkeys(
            " ".join(self.texts.paragraph(paragraph).split())
            for margin in styles.iter(f"{STYLE}{kind}", f"{STYLE}{kind}-first", f"{STYLE}{kind}-left")
            for paragraph in margin.iter(P)
        )
        self._builder.add("\n".join(line for line in lines if line and not is_page_number(line)))
        self._builder.break_paragraph()

    def _add_paragraph(self, paragraph: Element, label: str, gap: int = 2) -> None:
        text = self.texts.paragraph(paragraph)
        if not text:
            return
        if paragraph.tag == H:
            level = number(paragraph.get(f"{TEXT}outline-level"), 1)
            if not label and paragraph.get(f"{TEXT}is-list-header") != "true":
                label = self._label("Outline", level, paragraph)
            self._builder.add_heading(min(level, _MAX_LEVEL), label + text)
        elif self.texts.style(paragraph.get(f"{TEXT}style-name")).is_title:
            self._builder.add_heading(1, text)
        else:
            self._builder.add(label + text, gap=gap)

    def _add_list(self, entries: Element, style: str, level: int) -> None:
        if level == 1 and not (
            entries.get(f"{TEXT}continue-numbering") == "true" or entries.get(f"{TEXT}continue-list")
        ):
            self._counts.pop(style, None)
        for entry in entries.iterchildren():
            is_first = entry.tag == f"{TEXT}list-item"
            for block in entry.iterchildren():
                if block.tag == LIST:
                    self._add_list(block, block.get(f"{TEXT}style-name") or style, level + 1)
                elif block.tag in (P, H):
                    self._add_paragraph(block, self._label(style, level, entry) if is_first else "", gap=1)
                    is_first = False
                else:
                    self.add(block)

    def _label(self, style: str, level: int, entry: Element) -> str:
        """The number before an entry of a list, or a heading; empty for a bullet."""
        levels = self._lists.get(style, {})
        definition = levels.get(level)
        form = definition.get(f"{STYLE}num-format") if definition is not None else None
        if definition is None or not form:
            return ""
        counts = self._counts.setdefault(style, {})
        start = number(definition.get(f"{TEXT}start-value"), 1)
        given = number(entry.get(f"{TEXT}start-value"), -1)
        counts[level] = given if given >= 0 else counts.get(level, start - 1) + 1
        for deeper in [each for each in counts if each > level]:
            del counts[deeper]
        shown = min(number(definition.get(f"{TEXT}display-levels"), 1), level)
        numbers = [
            count(counts.get(each, 1), _format(levels[each].get(f"{STYLE}num-format")))
            for each in range(level - shown + 1, level + 1)
            if each in levels and levels[each].get(f"{STYLE}num-format")
        ]
        label = ".".join(numbers)
        before, after = definition.get(f"{STYLE}num-prefix") or "", definition.get(f"{STYLE}num-suffix") or ""
        return f"{before}{label}{after}".rstrip() + " "

    def _table_lines(self, table: Element) -> Iterator[str]:
        grid = Grid(self.texts, table.get(f"{TABLE}name") or "")
        rows = [cells for row in _rows(table) for cells in grid.rows(row)]
        header = sum(1 for each in table.iterchildren(f"{TABLE}table-header-rows") for _row in each.iterchildren(ROW))
        return table_lines(rows, header=header if 0 < header < len(rows) else None, is_assumed=True)


def _rows(table: Element) -> Iterator[Element]:
    """The rows of this table, but not those of tables inside its cells."""
    for child in table.iterchildren():
        if child.tag == ROW:
            yield child
        elif child.tag in (f"{TABLE}table-header-rows", f"{TABLE}table-rows", f"{TABLE}table-row-group"):
            yield from _rows(child)


def _format(form: str | None) -> str:
    return _FORMATS.get((form or "1")[0], "decimal")


def _in_order(texts: Texts, shapes: list[Element]) -> Iterator[Element]:
    """Titles first, then the other shapes as people read them, with groups taken apart."""
    titles = [each for each in shapes if each.get(f"{PRESENTATION}class") in _TITLES]
    yield from titles
    placed = []
    for shape in shapes:
        if shape in titles:
            continue
        inside = list(_in_order(texts, list(shape))) if shape.tag == f"{DRAW}g" else [shape]
        text = texts.paragraph(shape)
        is_plate = not text and (shape.tag != f"{DRAW}frame" or shape.find(f"{DRAW}image") is not None)
        placed.append(Placed(_box(shape), inside, text, is_plate))
    yield from in_reading_order(placed)


def _box(shape: Element) -> Box:
    """Where a shape is, or all that a group holds."""
    boxes = []
    for each in (shape, *shape.iter()):
        if each.get(f"{SVG}y"):
            top, left = _length(each.get(f"{SVG}y")), _length(each.get(f"{SVG}x"))
            height, width = (_length(each.get(f"{SVG}{name}")) or _LINE for name in ("height", "width"))
            boxes.append(Box(top, top + height, left, left + width))
            if each is shape:
                break
    if not boxes:
        return Box(0, 0, 0, 0)
    return Box(
        min(box.top for box in boxes),
        max(box.bottom for box in boxes),
        min(box.left for box in boxes),
        max(box.right for box in boxes),
    )


def _length(value: str | None) -> float:
    """A length in centimetres."""
    value = value or ""
    try:
        return float(value[:-2]) * _UNITS.get(value[-2:], 1.0)
    except ValueError:
        return 0.0
