"""PowerPoint: each slide is a page, its title a heading; then its text, tables, charts, diagrams and notes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lxml.etree import XMLSyntaxError
from pptx.exc import PythonPptxError
from pptx.opc.package import PartFactory
from pptx.oxml import parse_xml
from pptx.oxml.ns import qn
from pptx.package import Package
from pptx.parts.presentation import PresentationPart

from kb.models import ParsedDocument
from kb.parsing.alt_texts import alt_text
from kb.parsing.builder import Source, TextBuilder
from kb.parsing.elements import Element
from kb.parsing.formulas import omml_text
from kb.parsing.inline import LOWERED, RAISED, Run, join_runs
from kb.parsing.numerals import count
from kb.parsing.office.charts import chart_tables, chart_titles
from kb.parsing.office.slide_order import Box, Placed, in_reading_order
from kb.parsing.page_numbers import is_page_number
from kb.parsing.symbols import read_symbols
from kb.parsing.tables import table_lines
from kb.parsing.tables.rows import SPANNED, below

_PARAGRAPH, _RUN, _TEXT = qn("a:p"), qn("a:r"), qn("a:t")
_MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_ALTERNATIVES = "{http://schemas.openxmlformats.org/markup-compatibility/2006}AlternateContent"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_DIAGRAM = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}relIds"
_DIAGRAM_DATA = qn("r:dm")
_NUMBER_STYLES = {
    "alphaLc": "lowerLetter",
    "alphaUc": "upperLetter",
    "romanLc": "lowerRoman",
    "romanUc": "upperRoman",
    "arabic": "decimal",
    "circleNum": "decimalEnclosedCircle",
    "ea1": "chineseCounting",
}
_PLATES = (qn("p:sp"), qn("p:pic"))  # what other shapes may lie on
_FOOTERS = ("dt", "ftr", "sldNum")

# Slide shows and templates with macros, which python-pptx can read but does not know by name.
for _kind in ("slideshow", "template"):
    PartFactory.part_type_for[f"application/vnd.ms-powerpoint.{_kind}.macroEnabled.main+xml"] = PresentationPart


def parse(source: Source) -> Iterator[ParsedDocument]:
    """Slides in order, including hidden ones; on each, from the top to the bottom and from left to right."""
    presentation = Package.open(str(source.path)).main_document_part.presentation
    title = presentation.core_properties.title or ""
    builder = TextBuilder(source.name, title=title, has_whole_pages=True)
    slides = list(presentation.slides)
    footers: set[str] = set()
    for number, slide in enumerate(slides, start=1):
        builder.start_page(number)
        _add_slide(builder, slide, footers)
        yield from builder.parts()
        source.report(number, len(slides))
    yield from builder.last_parts()


def _add_slide(builder: TextBuilder, slide: Any, footers: set[str]) -> None:
    title = slide.shapes.title
    if title is not None:
        builder.add_heading(1, _text(title._element))
    for shape in _in_order(slide.shapes):
        if isinstance(shape, str):
            builder.add(shape)
        elif title is not None and shape.shape_id == title.shape_id:
            continue
        elif _is_footer(shape):  # the same on each slide
            text = _text(shape._element)
            if text not in footers and not is_page_number(text):
                builder.add(text)
            footers.add(text)
        else:
            _add_shape(builder, shape)
    for comment in _comments(slide):
        builder.add(f"[comment: {comment}]")
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        builder.add(_text(slide.notes_slide.notes_text_frame._txBody), gap=2)


def _comments(slide: Any) -> Iterator[str]:
    """What reviewers wrote on a slide, in the old and the new form."""
    for relation in slide.part.rels.values():
        if not relation.is_external and relation.reltype.endswith("/comments"):
            for comment in parse_xml(relation.target_part.blob).iter("{*}cm", "{*}reply"):
                text = comment.findtext("{*}text") or "".join(
                    each.text or "" for body in comment.iterchildren("{*}txBody") for each in body.iter(_TEXT)
                )
                if text.strip():
                    yield " ".join(text.split())


def _is_footer(shape: Any) -> bool:
    placeholder = shape._element.find(f".//{qn('p:nvPr')}/{qn('p:ph')}")
    return placeholder is not None and placeholder.get("type") in _FOOTERS


# --- the order of shapes ---


def _in_order(shapes: Any) -> list[Any]:
    """The shapes as people read them, with groups expanded; shapes that python-pptx does not know come as text."""
    known = {shape._element: shape for shape in shapes}
    placed: list[Placed[Any]] = []
    above = Box(0, 0, 0, 0)
    for element in shapes._element.iterchildren():
        text = ""
        if element.tag == _ALTERNATIVES:  # for new and old programs; new ones write formulas this way
            text = _text(element[0]) if len(element) else ""
            found: list[Any] = [text]
            box = _box_of_element(element) or above
        elif (shape := known.get(element)) is None:
            continue
        else:
            found = _in_order(shape.shapes) if hasattr(shape, "shapes") else [shape]
            text = _text(element)
            box = _box(shape) or above
        placed.append(Placed(box, found, text, not text and element.tag in _PLATES))
        above = box
    return list(in_reading_order(placed))


def _box(shape: Any) -> Box | None:
    """Where a shape is; None if neither the slide nor its layout says."""
    try:
        top, left, height, width = shape.top, shape.left, shape.height, shape.width
    except (AttributeError, KeyError, ValueError, PythonPptxError):
        return None
    if top is None or left is None:
        return None
    return Box(int(top), int(top) + int(height or 0), int(left), int(left) + int(width or 0))


def _box_of_element(element: Element) -> Box | None:
    offset, extent = element.find(f".//{qn('a:off')}"), element.find(f".//{qn('a:ext')}[@cy]")
    if offset is None:
        return None
    top, left = int(offset.get("y") or 0), int(offset.get("x") or 0)
    height, width = (int(extent.get(name) or 0) if extent is not None else 0 for name in ("cy", "cx"))
    return Box(top, top + height, left, left + width)


# --- what is in a shape ---


def _add_shape(builder: TextBuilder, shape: Any) -> None:
    if shape.has_text_frame:
        builder.add(_text(shape._element))
    elif getattr(shape, "has_table", False):
        builder.break_paragraph()
        builder.add_rows(table_lines(_grid(shape.table), is_assumed=True))
        builder.break_paragraph()
    else:
        builder.add(alt_text(next((each.get("descr") for each in shape._element.iter(qn("p:cNvPr"))), "")))
        try:
            _add_drawing(builder, shape)
        except (AttributeError, LookupError, NotImplementedError, TypeError, ValueError, XMLSyntaxError):
            return  # broken, or unknown to python-pptx; keep the rest of the slides


def _grid(table: Any) -> list[list[str]]:
    """The cells row by row, merged ones filled downwards."""
    rows: list[list[str]] = []
    for row in table._tbl.tr_lst:
        cells: list[str] = []
        for cell in row.tc_lst:
            if cell.hMerge:
                cells.append(SPANNED)
            else:
                cells.append(below(rows, len(cells)) if cell.vMerge else _text(cell))
        rows.append(cells)
    return rows


def _add_drawing(builder: TextBuilder, shape: Any) -> None:
    if getattr(shape, "has_chart", False):
        _add_chart(builder, shape.chart._chartSpace)
    elif (data := shape._element.find(f".//{_DIAGRAM}")) is not None and (part := data.get(_DIAGRAM_DATA)):
        builder.add(_text(parse_xml(shape.part.related_part(part).blob)))


def _add_chart(builder: TextBuilder, chart: Element) -> None:
    for title in chart_titles(chart):
        builder.add(title)
    for table in chart_tables(chart):
        builder.break_paragraph()
        builder.add_rows(table_lines(table, header=1))
        builder.break_paragraph()


# --- text ---


def _text(element: Element) -> str:
    """The text of all paragraphs under `element`, one per line, with the numbers of lists."""
    lines: list[str] = []
    counts: dict[int, tuple[str, int]] = {}  # by level: the style, and the last number
    for paragraph in element.iter(_PARAGRAPH):
        text = join_runs(_runs(paragraph)).strip()
        if text:
            lines.append(_number(paragraph, counts) + text)
    return "\n".join(lines)


def _runs(paragraph: Element) -> Iterator[Run]:
    for child in paragraph.iterchildren():
        if child.tag == _RUN:
            yield _run(child)
        elif child.tag == qn("a:br"):
            yield "\n", 0
        elif child.tag == qn("a:fld"):
            yield child.findtext(_TEXT) or "", 0
        elif isinstance(child.tag, str) and child.tag != _FALLBACK:
            formula = child if child.tag == f"{_MATH}oMath" else None
            if formula is None and not child.tag.startswith(_MATH):
                formula = child.find(f".//{_MATH}oMath")
            if formula is not None:
                yield omml_text(formula), 0
            elif child.tag != qn("a:pPr"):
                yield from _runs(child)


def _run(run: Element) -> Run:
    properties = run.find(qn("a:rPr"))
    raised, font = "", ""
    if properties is not None:
        raised = properties.get("baseline") or ""
        fonts = [properties.find(qn(f"a:{name}")) for name in ("sym", "latin")]
        font = next((each.get("typeface") or "" for each in fonts if each is not None), "")
    shift = int(raised) if raised.lstrip("-").isdigit() else 0
    level = RAISED if shift > 0 else LOWERED if shift < 0 else 0
    return read_symbols(run.findtext(_TEXT) or "", font).replace("_x000B_", "\n"), level


def _number(paragraph: Element, counts: dict[int, tuple[str, int]]) -> str:
    """The automatic number before a paragraph, with a space; `counts` holds the numbers before it."""
    properties = paragraph.find(qn("a:pPr"))
    level = int(properties.get("lvl") or 0) if properties is not None else 0
    for deeper in [each for each in counts if each > level]:
        del counts[deeper]
    numbered = properties.find(qn("a:buAutoNum")) if properties is not None else None
    if numbered is None:
        counts.pop(level, None)
        return ""
    style, first = numbered.get("type") or "", int(numbered.get("startAt") or 1)
    before = counts.get(level)
    number = before[1] + 1 if before and before[0] == style else first
    counts[level] = (style, number)
    known = next((name for name in _NUMBER_STYLES if style.startswith(name)), "arabic")
    text = count(number, _NUMBER_STYLES[known])
    if style.endswith("ParenBoth"):
        return f"({text}) "
    if style.endswith("ParenR"):
        return f"{text}) "
    return f"{text}. " if style.endswith("Period") else f"{text} "
