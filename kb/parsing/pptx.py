"""PowerPoint: each slide is a page, its title a heading; then its text, tables, charts, diagrams and notes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pptx
from lxml.etree import XMLSyntaxError
from pptx.oxml import parse_xml
from pptx.oxml.ns import qn

from kb.models import ParsedDocument
from kb.parsing.builder import Source, TextBuilder
from kb.parsing.tables import join_cells, number_text

_PARAGRAPH, _TEXT = qn("a:p"), qn("a:t")
_FORMULA_TEXT = "{http://schemas.openxmlformats.org/officeDocument/2006/math}t"
_ALTERNATIVES = "{http://schemas.openxmlformats.org/markup-compatibility/2006}AlternateContent"
_DIAGRAM = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}relIds"
_DIAGRAM_DATA = qn("r:dm")
_MAX_POINTS = 500


def parse(source: Source) -> Iterator[ParsedDocument]:
    """Slides in order, including hidden ones."""
    presentation = pptx.Presentation(str(source.path))
    title = presentation.core_properties.title or ""
    builder = TextBuilder(source.name, title=title, has_whole_pages=True)
    slides = list(presentation.slides)
    for number, slide in enumerate(slides, start=1):
        builder.start_page(number)
        _add_slide(builder, slide)
        yield from builder.parts()
        source.report(number, len(slides))
    yield from builder.last_parts()


def _add_slide(builder: TextBuilder, slide: Any) -> None:
    title = slide.shapes.title
    if title is not None:
        builder.add_heading(1, title.text_frame.text)
    for shape in _leaves(slide.shapes):
        if isinstance(shape, str):
            builder.add(shape)
        elif title is None or shape.shape_id != title.shape_id:
            _add_shape(builder, shape)
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        builder.add(slide.notes_slide.notes_text_frame.text, gap=2)


def _leaves(shapes: Any) -> Iterator[Any]:
    """The shapes, with groups expanded; shapes that python-pptx does not know come as text."""
    known = {shape._element: shape for shape in shapes}
    for element in shapes._element.iterchildren():
        if element.tag == _ALTERNATIVES:  # for new and old programs; new ones write formulas this way
            yield _paragraphs(element[0]) if len(element) else ""
        elif (shape := known.get(element)) is None:
            continue
        elif hasattr(shape, "shapes"):
            yield from _leaves(shape.shapes)
        else:
            yield shape


def _add_shape(builder: TextBuilder, shape: Any) -> None:
    if shape.has_text_frame:
        builder.add(shape.text_frame.text)
    elif getattr(shape, "has_table", False):
        _add_rows(builder, ([cell.text for cell in row.cells] for row in shape.table.rows))
    else:
        try:
            _add_drawing(builder, shape)
        except (AttributeError, LookupError, NotImplementedError, TypeError, ValueError, XMLSyntaxError):
            return  # broken, or unknown to python-pptx; keep the rest of the slides


def _add_drawing(builder: TextBuilder, shape: Any) -> None:
    if getattr(shape, "has_chart", False):
        _add_chart(builder, shape.chart)
    elif (data := shape._element.find(f".//{_DIAGRAM}")) is not None and (part := data.get(_DIAGRAM_DATA)):
        builder.add(_paragraphs(parse_xml(shape.part.related_part(part).blob)))


def _add_chart(builder: TextBuilder, chart: Any) -> None:
    """The title and the numbers that the file contains, except for very long series."""
    if chart.has_title:
        builder.add(chart.chart_title.text_frame.text)
    counts = [int(count.get("val") or 0) for count in chart._chartSpace.iter(qn("c:ptCount"))]
    if max(counts, default=0) > _MAX_POINTS:  # reading them takes quadratic time
        return
    for plot in chart.plots:
        series = list(plot.series)
        rows = list(zip(plot.categories, *(one.values for one in series), strict=False))
        if rows:
            header = ["", *(one.name for one in series)]
            _add_rows(builder, [header, *([_text(value) for value in row] for row in rows)])


def _add_rows(builder: TextBuilder, rows: Iterable[list[str]]) -> None:
    builder.break_paragraph()
    for row in rows:
        builder.add(join_cells(row))
    builder.break_paragraph()


def _text(value: Any) -> str:
    if value is None:
        return ""
    return number_text(value) if isinstance(value, float) else str(value)


def _paragraphs(element: Any) -> str:
    """The text of all paragraphs under `element`, one per line."""
    return "\n".join(
        "".join(node.text or "" for node in paragraph.iter(_TEXT, _FORMULA_TEXT))
        for paragraph in element.iter(_PARAGRAPH)
    )
