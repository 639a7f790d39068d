"""PowerPoint: each slide is a page, its title a heading; then its text, tables and notes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pptx

from kb.models import ParsedDocument
from kb.parsing.builder import TextBuilder
from kb.parsing.source import Source
from kb.parsing.tables import join_cells


def parse(source: Source) -> ParsedDocument:
    """Slides in their order, hidden ones too."""
    presentation = pptx.Presentation(str(source.path))
    builder = TextBuilder(source.name)
    slides = list(presentation.slides)
    for number, slide in enumerate(slides, start=1):
        builder.start_page(number)
        _add_slide(builder, slide)
        source.report(number, len(slides))
    return builder.build(presentation.core_properties.title or "")


def _add_slide(builder: TextBuilder, slide: Any) -> None:
    title = slide.shapes.title
    if title is not None:
        builder.add_heading(1, title.text_frame.text)
    for shape in _leaves(slide.shapes):
        if title is None or shape.shape_id != title.shape_id:
            _add_shape(builder, shape)
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        builder.add(slide.notes_slide.notes_text_frame.text, gap=2)


def _leaves(shapes: Iterable[Any]) -> Iterator[Any]:
    """The shapes, those inside groups in place of the groups."""
    for shape in shapes:
        if hasattr(shape, "shapes"):
            yield from _leaves(shape.shapes)
        else:
            yield shape


def _add_shape(builder: TextBuilder, shape: Any) -> None:
    if shape.has_text_frame:
        builder.add(shape.text_frame.text)
    elif getattr(shape, "has_table", False):
        builder.break_paragraph()
        for row in shape.table.rows:
            builder.add(join_cells(cell.text for cell in row.cells))
        builder.break_paragraph()
