"""Word documents: paragraphs and tables in order, with their automatic numbers; headings by style or outline level."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from docx.opc.part import PartFactory
from docx.oxml import parse_xml
from docx.oxml.ns import qn
from docx.package import Package
from docx.parts.document import DocumentPart
from lxml.etree import XMLSyntaxError

from kb.models import ParsedDocument
from kb.parsing.builder import Source, TextBuilder
from kb.parsing.elements import Element
from kb.parsing.formulas import omml_text
from kb.parsing.inline import Run, join_runs
from kb.parsing.media_types import WORD
from kb.parsing.numerals import roman
from kb.parsing.office.charts import chart_tables, chart_titles
from kb.parsing.office.equation_fields import equation_text
from kb.parsing.office.word_headings import heading_level, style_levels
from kb.parsing.office.word_lists import WordNumbers
from kb.parsing.office.word_marks import (
    field_value,
    font_of,
    image_text,
    is_on,
    is_placeholder,
    number_of,
    raised_level,
    symbol_text,
)
from kb.parsing.page_numbers import is_page_number
from kb.parsing.symbols import read_symbols
from kb.parsing.tables import table_lines
from kb.parsing.tables.budget import CellBudget
from kb.parsing.tables.rows import SPANNED, below

_MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_P, _R, _TBL, _TR, _TC = (qn(f"w:{name}") for name in ("p", "r", "tbl", "tr", "tc"))
_PPR, _RPR, _VAL = (qn(f"w:{name}") for name in ("pPr", "rPr", "val"))
_WRAPPERS = (qn("w:sdt"), qn("w:sdtContent"))
_SPACING = {qn("w:tab"): "\t", qn("w:ptab"): "\t", qn("w:br"): "\n", qn("w:cr"): "\n", qn("w:noBreakHyphen"): "-"}
# A text box occurs twice, for new and for old programs. Properties contain tab stops, not tabs.
_SKIPPED = {
    "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback",
    *(qn(f"w:{name}") for name in ("pPr", "rPr", "tblPr", "tcPr", "del", "moveFrom", "sectPr", "rt")),
}
_MAX_STYLE_CHAIN = 20
_BOX = qn("w:txbxContent")
_CHART, _DIAGRAM = qn("c:chart"), qn("dgm:relIds")
_ID, _DIAGRAM_DATA = qn("r:id"), qn("r:dm")
_NOTES = {qn("w:footnoteReference"): "footnotes", qn("w:endnoteReference"): "endnotes"}

# Documents with macros and templates, which python-docx can read but does not know by name.
for _kind in ("document.macroEnabled", "template.macroEnabledTemplate"):
    PartFactory.part_type_for[f"application/vnd.ms-word.{_kind}.main+xml"] = DocumentPart
PartFactory.part_type_for[f"{WORD.removesuffix('document')}template.main+xml"] = DocumentPart


def parse(source: Source) -> Iterator[ParsedDocument]:
    """Headers come first, then the body; footers, footnotes and endnotes come last. Hidden text is left out."""
    document = Package.open(str(source.path)).main_document_part.document
    builder = TextBuilder(source.name, title=document.core_properties.title or "")
    reader = _Reader(document, CellBudget(source.name))
    levels = style_levels(reader.styles)
    margins = list(reader.margin_lines("/header"))
    builder.add("\n".join(margins))
    builder.break_paragraph()
    for block in _blocks(document.element.body):
        if block.tag == _TBL:
            builder.break_paragraph()
            builder.add_rows(reader.table_lines(block))
            builder.break_paragraph()
        elif level := heading_level(block, levels):
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

    def __init__(self, document: Any, budget: CellBudget) -> None:
        self._budget = budget
        self._tables = 0
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
        self._instruction: list[str] = []  # of the field that is read
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
        """The cells row by row, merged ones filled downwards, and how many rows Word repeats as the header.

        Errors: `TableTooLarge`.
        """
        self._tables += 1
        name = f"#{self._tables}"  # Word's have none
        rows: list[list[str]] = []
        repeated = 0
        for row in _inside(table, _TR):
            properties = row.find(qn("w:trPr"))
            if properties is not None and properties.find(qn("w:del")) is not None:
                continue
            before = number_of(properties, "w:gridBefore", 0)
            self._budget.take(before, name)
            cells = [""] * before
            for cell in _inside(row, _TC):
                of_cell = cell.find(qn("w:tcPr"))
                merge = of_cell.find(qn("w:vMerge")) if of_cell is not None else None
                if merge is not None and merge.get(_VAL) in (None, "continue"):
                    text = below(rows, len(cells))
                else:
                    text = self._cell_text(cell)
                covered = max(number_of(of_cell, "w:gridSpan", 1) - 1, 0)
                self._budget.take(covered, name)
                cells += [text, *[SPANNED] * covered]
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
            elif child.tag in _WRAPPERS and is_placeholder(child):
                continue
            else:
                runs = self._runs(child, level)
            yield from runs

    def _run(self, run: Element) -> Iterator[Run]:
        properties = run.find(_RPR)
        if is_on(properties, "w:vanish"):
            return
        level, font = self._position(properties), font_of(properties)
        for child in run.iterchildren():
            if child.tag == qn("w:t"):
                yield read_symbols(child.text or "", font), level
            elif child.tag in _SPACING:
                yield _SPACING[child.tag], 0
            elif child.tag == qn("w:sym"):
                yield symbol_text(child), level
            elif child.tag == qn("w:fldChar"):
                yield field_value(child) or self._equation(child), 0
            elif child.tag == qn("w:instrText"):
                self._instruction.append(child.text or "")
            elif child.tag == qn("w:drawing"):
                yield image_text(child), 0
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
        instruction = "".join(self._instruction)
        self._instruction.clear()
        return equation_text(instruction) if mark.get(qn("w:fldCharType")) == "end" else ""

    def _position(self, properties: Element | None) -> int:
        """Whether a run is raised or lowered, by itself or by its style."""
        level = raised_level(properties)
        named = properties.find(qn("w:rStyle")) if properties is not None else None
        for _ in range(_MAX_STYLE_CHAIN):
            style = self.styles.get(named.get(_VAL)) if named is not None else None
            if level is not None or style is None:
                break
            level, named = raised_level(style.find(_RPR)), style.find(qn("w:basedOn"))
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


def _is_list_item(paragraph: Element) -> bool:
    properties = paragraph.find(_PPR)
    return properties is not None and properties.find(qn("w:numPr")) is not None
