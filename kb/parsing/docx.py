"""Word documents: paragraphs and tables in order, with their automatic numbers; headings by style or outline level."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from docx.opc.part import PartFactory
from docx.oxml import parse_xml
from docx.oxml.ns import qn
from docx.package import Package
from docx.parts.document import DocumentPart
from lxml.etree import XMLSyntaxError

from kb.models import ParsedDocument
from kb.parsing.alt_texts import alt_text
from kb.parsing.boilerplate import is_page_number
from kb.parsing.builder import Source, TextBuilder
from kb.parsing.charts import chart_tables, chart_titles
from kb.parsing.equation_fields import equation_text
from kb.parsing.formulas import omml_text
from kb.parsing.inline import LOWERED, RAISED, Run, join_runs
from kb.parsing.media_types import WORD
from kb.parsing.numerals import roman
from kb.parsing.symbols import read_symbols
from kb.parsing.table_rows import SPANNED, below
from kb.parsing.tables import table_lines
from kb.parsing.word_lists import WordNumbers

_MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_P, _R, _TBL, _TR, _TC = (qn(f"w:{name}") for name in ("p", "r", "tbl", "tr", "tc"))
_PPR, _RPR, _STYLE, _OUTLINE, _VAL = (qn(f"w:{name}") for name in ("pPr", "rPr", "pStyle", "outlineLvl", "val"))
_WRAPPERS = (qn("w:sdt"), qn("w:sdtContent"))
_SPACING = {qn("w:tab"): "\t", qn("w:ptab"): "\t", qn("w:br"): "\n", qn("w:cr"): "\n", qn("w:noBreakHyphen"): "-"}
# A text box occurs twice, for new and for old programs. Properties contain tab stops, not tabs.
_SKIPPED = {
    "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback",
    *(qn(f"w:{name}") for name in ("pPr", "rPr", "tblPr", "tcPr", "del", "moveFrom", "sectPr", "rt")),
}
_BODY_LEVEL = 9  # Word's outline level for body text
_MAX_STYLE_CHAIN = 20
_MAX_SPAN = 1_000  # columns
_RAISED_BY = 4  # half-points
_BOX = qn("w:txbxContent")
_CHART, _DIAGRAM = qn("c:chart"), qn("dgm:relIds")
_ID, _DIAGRAM_DATA = qn("r:id"), qn("r:dm")
_DRAWN = qn("wp:docPr")
_NOTES = {qn("w:footnoteReference"): "footnotes", qn("w:endnoteReference"): "endnotes"}

for _kind in (
    "document.macroEnabled",
    "template.macroEnabledTemplate",
):  # python-docx reads them, but does not ask for it
    PartFactory.part_type_for[f"application/vnd.ms-word.{_kind}.main+xml"] = DocumentPart
PartFactory.part_type_for[f"{WORD.removesuffix('document')}template.main+xml"] = DocumentPart

Element = Any  # lxml gives no types


def parse(source: Source) -> Iterator[ParsedDocument]:
    """Headers come first, then the body; footers, footnotes and endnotes come last. Hidden text is left out."""
    document = Package.open(str(source.path)).main_document_part.document
    builder = TextBuilder(source.name, title=document.core_properties.title or "")
    reader = _Reader(document)
    levels = _style_levels(reader.styles)
    margins = list(reader.margin_lines("/header"))
    builder.add("\n".join(margins))
    builder.break_paragraph()
    for block in _blocks(document.element.body):
        if block.tag == _TBL:
            builder.break_paragraph()
            builder.add_rows(reader.table_lines(block))
            builder.break_paragraph()
        elif level := _level(block, levels):
            builder.add_heading(level, reader.paragraph_text(block))
        else:
            builder.add(reader.paragraph_text(block), gap=1 if _is_list_item(block) else 2)
        yield from builder.full_parts()
    for lines in (reader.margin_lines("/footer"), reader.notes()):
        builder.break_paragraph()
        for line in lines:
            if line not in margins:
                builder.add(line)
    yield from builder.last_parts()


class _Reader:
    """Reads paragraphs and tables, which must come in order: they are numbered as they are read."""

    def __init__(self, document: Any) -> None:
        self._parts = [
            (relation.reltype, relation.target_part)
            for relation in document.part.rels.values()
            if not relation.is_external
        ]
        styles = document.styles.element.iterchildren(qn("w:style"))
        self.styles: dict[str, Element] = {style.get(qn("w:styleId")): style for style in styles}
        numbering = next(self._roots("/numbering"), None)
        self._numbers = WordNumbers(numbering, self.styles)
        comments = next(self._roots("/comments"), None)
        self._comments = {each.get(qn("w:id")): each for each in comments} if comments is not None else {}
        self._charts = {
            id_: relation.target_part for id_, relation in document.part.rels.items() if not relation.is_external
        }
        self._instruction = ""  # of the field that is read
        self._references: dict[str, dict[str, str]] = {"footnotes": {}, "endnotes": {}}  # marks by id

    def paragraph_text(self, paragraph: Element, *, is_in_cell: bool = False) -> str:
        """The text with its number before it and comments behind it. A number alone is text only in a table."""
        number, text = self._numbers.next(paragraph), self._text(paragraph)
        number = number if text or is_in_cell else ""
        comments = [
            f"[comment: {comment}]"
            for mark in paragraph.iter(qn("w:commentReference"))
            if (comment := self._plain(self._comments.get(mark.get(qn("w:id")))))
        ]
        return " ".join([f"{number}{text}".rstrip(), *comments]).strip()

    def table_lines(self, table: Element) -> Iterator[str]:
        """The rows of a table, its merged cells filled."""
        rows, header = self._grid(table)
        return table_lines(rows, header=header, is_assumed=True)

    def margin_lines(self, kind: str) -> Iterator[str]:
        """The lines of headers or footers, each once, without page numbers."""
        lines = dict.fromkeys(
            " ".join(line.split())
            for root in self._roots(kind)
            for block in _blocks(root)
            for line in self._block_lines(block)
        )
        return (line for line in lines if line and not is_page_number(line))

    def notes(self) -> Iterator[str]:
        """Footnotes and endnotes, with the marks that stand for them in the text."""
        for kind, marks in self._references.items():
            for root in self._roots(f"/{kind}"):
                for note in root:
                    if note.get(qn("w:type")) in ("separator", "continuationSeparator", "continuationNotice"):
                        continue
                    mark = marks.get(note.get(qn("w:id")), "")
                    text = self._plain(note)
                    if text:
                        yield f"{mark} {text}".strip()

    def _roots(self, kind: str) -> Iterator[Element]:
        return (parse_xml(part.blob) for reltype, part in self._parts if reltype.endswith(kind))

    def _plain(self, element: Element | None) -> str:
        """All paragraphs of a note or a comment as one line."""
        if element is None:
            return ""
        return " ".join(filter(None, (self._text(block) for block in _blocks(element))))

    def _block_lines(self, block: Element) -> Iterator[str]:
        if block.tag == _TBL:
            for row in self._grid(block)[0]:
                yield " ".join(cell for cell in row if cell != SPANNED)
        else:
            yield from self._text(block).split("\n")

    # --- tables ---

    def _grid(self, table: Element) -> tuple[list[list[str]], int | None]:
        """The cells row by row, merged ones filled downwards, and how many rows Word repeats as the header."""
        rows: list[list[str]] = []
        repeated = 0
        for row in _inside(table, _TR):
            properties = row.find(qn("w:trPr"))
            if properties is not None and properties.find(qn("w:del")) is not None:
                continue
            cells: list[str] = [""] * _count(properties, "w:gridBefore", 0)
            for cell in _inside(row, _TC):
                of_cell = cell.find(qn("w:tcPr"))
                merge = of_cell.find(qn("w:vMerge")) if of_cell is not None else None
                if merge is not None and merge.get(_VAL) in (None, "continue"):
                    text = below(rows, len(cells))
                else:
                    text = self._cell_text(cell)
                cells += [text, *[SPANNED] * (_count(of_cell, "w:gridSpan", 1) - 1)]
            if properties is not None and properties.find(qn("w:tblHeader")) is not None and repeated == len(rows):
                repeated += 1
            rows.append(cells)
        return rows, repeated if 0 < repeated < len(rows) else None

    def _cell_text(self, cell: Element) -> str:
        """Paragraphs one after another; a table inside as its rows."""
        pieces: list[str] = []
        for block in _blocks(cell):
            if block.tag == _TBL:
                pieces.append("; ".join(self.table_lines(block)))
            else:
                pieces.append(self.paragraph_text(block, is_in_cell=True))
        return "\n".join(filter(None, pieces))

    # --- text ---

    def _text(self, element: Element) -> str:
        """All text under `element`, with each paragraph of a text box on its own line."""
        return join_runs(self._runs(element, 0)).strip()

    def _runs(self, element: Element, level: int) -> Iterator[Run]:
        for child in element.iterchildren():
            if child.tag in _SKIPPED or not isinstance(child.tag, str):
                continue
            if child.tag == _R:
                runs = self._run(child)
            elif child.tag in (f"{_MATH}oMath", f"{_MATH}oMathPara"):
                runs = iter([(omml_text(child), 0)])
            elif child.tag == _BOX:
                runs = iter([(f"\n{self._cell_text(child)}\n", 0)])
            elif child.tag in _WRAPPERS and _is_placeholder(child):
                continue
            else:
                runs = self._runs(child, level)
            yield from runs

    def _run(self, run: Element) -> Iterator[Run]:
        properties = run.find(_RPR)
        if _is_on(properties, "w:vanish"):
            return
        level, font = self._position(properties), _font(properties)
        for child in run.iterchildren():
            if child.tag == qn("w:t"):
                yield read_symbols(child.text or "", font), level
            elif child.tag in _SPACING:
                yield _SPACING[child.tag], 0
            elif child.tag == qn("w:sym"):
                yield _symbol(child), level
            elif child.tag == qn("w:fldChar"):
                yield _field_value(child) or self._equation(child), 0
            elif child.tag == qn("w:instrText"):
                self._instruction += child.text or ""
            elif child.tag == qn("w:drawing"):
                yield _image_text(child), 0
                yield self._chart_text(child), 0
                yield from self._runs(child, level)
            elif child.tag in _NOTES:
                yield self._reference(child), 0
            elif child.tag not in _SKIPPED:
                yield from self._runs(child, level)

    def _chart_text(self, drawing: Element) -> str:
        """The titles and numbers of a chart, or the texts of a diagram, each on lines of their own."""
        lines: list[str] = []
        for each in drawing.iter(_CHART, _DIAGRAM):
            part = self._charts.get(each.get(_DIAGRAM_DATA if each.tag == _DIAGRAM else _ID))
            try:
                root = parse_xml(part.blob if part is not None else "<none/>")
            except XMLSyntaxError:
                continue
            if each.tag == _DIAGRAM:
                lines += ("".join(text.text or "" for text in line.iter("{*}t")) for line in root.iter("{*}p"))
            else:
                lines += chart_titles(root)
                lines += chain.from_iterable(table_lines(table, header=1) for table in chart_tables(root))
        return "\n".join(["", *filter(None, lines), ""]) if lines else ""

    def _equation(self, mark: Element) -> str:
        """The formula of an EQ field, where it ends without a result that the file holds."""
        instruction, self._instruction = self._instruction, ""
        return equation_text(instruction) if mark.get(qn("w:fldCharType")) == "end" else ""

    def _position(self, properties: Element | None) -> int:
        """Whether a run is raised or lowered, by itself or by its style."""
        level = _raised(properties)
        named = properties.find(qn("w:rStyle")) if properties is not None else None
        for _ in range(_MAX_STYLE_CHAIN):
            style = self.styles.get(named.get(_VAL)) if named is not None else None
            if level is not None or style is None:
                break
            level, named = _raised(style.find(_RPR)), style.find(qn("w:basedOn"))
        return level or 0

    def _reference(self, mark: Element) -> str:
        """The mark of a footnote or an endnote, numbered in order of appearance."""
        kind = _NOTES[mark.tag]
        marks = self._references[kind]
        number = len(marks) + 1
        known = marks.setdefault(mark.get(qn("w:id")), f"[{number if kind == 'footnotes' else roman(number).lower()}]")
        return f" {known}"


def _blocks(parent: Element) -> Iterator[Element]:
    """Paragraphs and tables, including those inside content controls and similar elements."""
    for child in parent.iterchildren():
        if child.tag in (_P, _TBL):
            yield child
        elif isinstance(child.tag, str) and child.tag not in _SKIPPED:
            yield from _blocks(child)


def _inside(parent: Element, tag: str) -> Iterator[Element]:
    """The `tag` elements of this table or row, but not those of tables inside its cells."""
    for child in parent.iterchildren():
        if child.tag == tag:
            yield child
        elif child.tag in _WRAPPERS:
            yield from _inside(child, tag)


def _count(properties: Element | None, name: str, default: int) -> int:
    found = properties.find(qn(name)) if properties is not None else None
    value = found.get(_VAL) if found is not None else None
    return min(int(value), _MAX_SPAN) if value and value.isdigit() else default


# --- what a run looks like ---


def _is_on(properties: Element | None, name: str) -> bool:
    found = properties.find(qn(name)) if properties is not None else None
    return found is not None and found.get(_VAL) not in ("0", "false", "none")


def _raised(properties: Element | None) -> int | None:
    """Whether these properties raise or lower a run, by its kind or by hand; None if they say nothing."""
    if properties is None:
        return None
    align, position = properties.find(qn("w:vertAlign")), properties.find(qn("w:position"))
    value = align.get(_VAL) if align is not None else ""
    if value in ("superscript", "subscript"):
        return RAISED if value == "superscript" else LOWERED
    moved = (position.get(_VAL) or "").lstrip("+") if position is not None else ""
    if moved.lstrip("-").isdigit() and abs(int(moved)) >= _RAISED_BY:
        return RAISED if int(moved) > 0 else LOWERED
    return None if align is None and position is None else 0


def _font(properties: Element | None) -> str:
    fonts = properties.find(qn("w:rFonts")) if properties is not None else None
    return (fonts.get(qn("w:ascii")) or "") if fonts is not None else ""


def _image_text(drawing: Element) -> str:
    """What the author describes an image with."""
    if next(drawing.iter(_BOX), None) is not None:
        return ""
    described = next((text for each in drawing.iter(_DRAWN) if (text := alt_text(each.get("descr")))), "")
    return f" {described} " if described else ""


def _symbol(symbol: Element) -> str:
    code = symbol.get(qn("w:char")) or ""
    try:
        char = chr(int(code, 16))
    except ValueError:
        return ""
    return read_symbols(char, symbol.get(qn("w:font")) or "")


def _field_value(field: Element) -> str:
    """The state of a check box or a drop-down list of an old form."""
    data = field.find(qn("w:ffData"))
    box = data.find(qn("w:checkBox")) if data is not None else None
    if box is not None:
        state = box.find(qn("w:checked"))
        state = box.find(qn("w:default")) if state is None else state
        return "☒" if state is not None and state.get(_VAL) not in ("0", "false") else "☐"
    choices = data.find(qn("w:ddList")) if data is not None else None
    if choices is None:
        return ""
    entries = [entry.get(_VAL) or "" for entry in choices.iterchildren(qn("w:listEntry"))]
    chosen = _count(choices, "w:result", _count(choices, "w:default", 0))
    return entries[chosen] if chosen < len(entries) else ""


def _is_placeholder(control: Element) -> bool:
    """Whether a content control shows only its prompt, such as "Click here to enter text"."""
    return _is_on(control.find(qn("w:sdtPr")), "w:showingPlcHdr")


# --- headings ---


def _level(paragraph: Element, levels: Mapping[str, int]) -> int:
    """The paragraph's own outline level, else its style's; 0 for body text."""
    properties = paragraph.find(_PPR)
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


def _style_levels(styles: Mapping[str, Element]) -> dict[str, int]:
    """Heading level by style id. In the file, Word's built-in styles have English names in every language."""
    return {style_id: level for style_id, style in styles.items() if (level := _style_level(style, styles))}


def _style_level(style: Element, styles: Mapping[str, Element]) -> int:
    for _ in range(_MAX_STYLE_CHAIN):
        name = style.find(qn("w:name"))
        words = (name.get(_VAL) or "").lower().split() if name is not None else []
        if words == ["title"]:
            return 1
        if len(words) == 2 and words[0] in ("heading", "标题", "標題") and words[1].isdigit():
            return max(1, int(words[1]))
        outline = style.find(f"{_PPR}/{_OUTLINE}")
        if outline is not None:
            return _outline_level(outline)
        parent = style.find(qn("w:basedOn"))
        if parent is None or parent.get(_VAL) not in styles:
            return 0
        style = styles[parent.get(_VAL)]
    return 0


def _is_list_item(paragraph: Element) -> bool:
    properties = paragraph.find(_PPR)
    return properties is not None and properties.find(qn("w:numPr")) is not None
