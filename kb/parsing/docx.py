"""Word documents: paragraphs and tables in order, headings by style or outline level."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import docx
from docx.oxml import parse_xml
from docx.oxml.ns import qn

from kb.models import ParsedDocument
from kb.parsing.builder import Source, TextBuilder
from kb.parsing.tables import join_cells

_P, _TBL, _TR, _TC, _STYLE = qn("w:p"), qn("w:tbl"), qn("w:tr"), qn("w:tc"), qn("w:pStyle")
_OUTLINE, _VAL, _NOTES = qn("w:outlineLvl"), qn("w:val"), (qn("w:footnote"), qn("w:endnote"))
_TEXT = {qn("w:t"), "{http://schemas.openxmlformats.org/officeDocument/2006/math}t"}
_SPACING = {qn("w:tab"): "\t", qn("w:br"): "\n", qn("w:cr"): "\n", qn("w:noBreakHyphen"): "-"}
# A text box occurs twice, for new and for old programs. Properties contain tab stops, not tabs.
_SKIPPED = {
    "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback",
    *(qn("w:pPr"), qn("w:rPr"), qn("w:tblPr"), qn("w:del"), qn("w:moveFrom"), qn("w:sectPr")),
}
_BODY_LEVEL = 9  # Word's outline level for body text
_MAX_STYLE_CHAIN = 20

Element = Any  # lxml gives no types


def parse(source: Source) -> Iterator[ParsedDocument]:
    """Without headers and footers; footnotes and endnotes come last."""
    document = docx.Document(str(source.path))
    builder = TextBuilder(source.name, title=document.core_properties.title or "")
    levels = _style_levels(document)
    for block in _blocks(document.element.body):
        if block.tag == _TBL:
            _add_table(builder, block)
        elif level := _level(block, levels):
            builder.add_heading(level, _text(block))
        else:
            builder.add(_text(block), gap=1 if _is_list_item(block) else 2)
        yield from builder.full_parts()
    _add_notes(builder, document)
    yield from builder.last_parts()


def _blocks(parent: Element) -> Iterator[Element]:
    """Paragraphs and tables, including those inside content controls and similar elements."""
    for child in parent.iterchildren():
        if child.tag in (_P, _TBL):
            yield child
        elif isinstance(child.tag, str) and child.tag not in _SKIPPED:
            yield from _blocks(child)


def _text(element: Element) -> str:
    """All text under `element`, with each paragraph of a text box on its own line."""
    pieces: list[str] = []
    _collect(element, pieces)
    return "".join(pieces).strip()


def _collect(element: Element, pieces: list[str]) -> None:
    for child in element.iterchildren():
        if child.tag in _TEXT:
            pieces.append(child.text or "")
        elif child.tag in _SPACING:
            pieces.append(_SPACING[child.tag])
        elif child.tag not in _SKIPPED:
            if child.tag == _P and pieces:
                pieces.append("\n")
            _collect(child, pieces)


def _add_table(builder: TextBuilder, table: Element) -> None:
    builder.break_paragraph()
    for row in _inside(table, _TR):
        builder.add(join_cells(_text(cell) for cell in _inside(row, _TC)))
    builder.break_paragraph()


def _inside(parent: Element, tag: str) -> Iterator[Element]:
    """The `tag` elements of this table or row, but not those of tables inside its cells."""
    for child in parent.iterchildren():
        if child.tag == tag:
            yield child
        elif child.tag == qn("w:sdt") or child.tag == qn("w:sdtContent"):
            yield from _inside(child, tag)


def _level(paragraph: Element, levels: dict[str, int]) -> int:
    """The paragraph's own outline level, else its style's; 0 for body text."""
    properties = paragraph.pPr
    if properties is None:
        return 0
    own = properties.find(_OUTLINE)
    if own is not None:
        return _outline_level(own)
    style = properties.find(_STYLE)
    return levels.get(style.get(_VAL), 0) if style is not None else 0


def _outline_level(element: Element) -> int:
    value = element.get(_VAL) or ""
    return int(value) + 1 if value.isdigit() and int(value) < _BODY_LEVEL else 0


def _style_levels(document: Any) -> dict[str, int]:
    """Heading level by style id. In the file, Word's built-in styles have English names in every language."""
    styles = {style.get(qn("w:styleId")): style for style in document.styles.element.iterchildren(qn("w:style"))}
    return {style_id: level for style_id, style in styles.items() if (level := _style_level(style, styles))}


def _style_level(style: Element, styles: dict[str, Element]) -> int:
    for _ in range(_MAX_STYLE_CHAIN):
        name = style.find(qn("w:name"))
        words = (name.get(_VAL) or "").lower().split() if name is not None else []
        if words == ["title"]:
            return 1
        if len(words) == 2 and words[0] in ("heading", "标题", "標題") and words[1].isdigit():
            return max(1, int(words[1]))
        outline = style.find(f"{qn('w:pPr')}/{_OUTLINE}")
        if outline is not None:
            return _outline_level(outline)
        parent = style.find(qn("w:basedOn"))
        if parent is None or parent.get(_VAL) not in styles:
            return 0
        style = styles[parent.get(_VAL)]
    return 0


def _is_list_item(paragraph: Element) -> bool:
    return paragraph.pPr is not None and paragraph.pPr.numPr is not None


def _add_notes(builder: TextBuilder, document: Any) -> None:
    builder.break_paragraph()
    for relation in document.part.rels.values():
        if relation.reltype.endswith(("/footnotes", "/endnotes")) and not relation.is_external:
            for note in parse_xml(relation.target_part.blob).iterchildren(*_NOTES):
                builder.add(_text(note))
