"""Small documents, made in code."""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.sax.saxutils import quoteattr

import docx
import pptx
from docx.opc.packuri import PackURI
from docx.opc.part import Part
from docx.oxml import parse_xml as parse_docx_xml
from docx.oxml.ns import nsdecls
from PIL import Image
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.opc.package import Part as PptxPart
from pptx.opc.packuri import PackURI as PptxPackURI
from pptx.oxml import parse_xml as parse_pptx_xml
from pptx.oxml.ns import nsdecls as nsdecls_pptx
from pypdf import PdfReader, PdfWriter
from pypdf.generic import ArrayObject, DictionaryObject, NameObject, NumberObject, TextStringObject

_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_MATH = "http://schemas.openxmlformats.org/officeDocument/2006/math"
_COMPATIBILITY = "http://schemas.openxmlformats.org/markup-compatibility/2006"
_DIAGRAM = "http://schemas.openxmlformats.org/drawingml/2006/diagram"
_DIAGRAM_DATA = "application/vnd.openxmlformats-officedocument.drawingml.diagramData+xml"
_IMAGE = "q 200 0 0 200 72 500 cm BI /W 1 /H 1 /CS /G /BPC 8 ID A EI Q"
_HELVETICA = "/Type1 /BaseFont /Helvetica"
SCAN = Path(__file__).with_name("scan.png")  # Chinese and English, drawn at 150 dpi
_ENDNOTES = "application/vnd.openxmlformats-officedocument.wordprocessingml.endnotes+xml"


def write(folder: Path, name: str, content: bytes | str) -> Path:
    """Write `content` to a file in `folder`, text as UTF-8."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def make_pdf(
    pages: Sequence[str | None], outline: Sequence[tuple[str, int]] = (), password: str | None = None
) -> bytes:
    """A PDF with one line of text per page (None: an image), bookmarks as (title, page index), and a user password."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(_plain_pdf(pages))))
    for title, page in outline:
        writer.add_outline_item(title=title, page_number=page)
    if password is not None:
        writer.encrypt(user_password=password, owner_password="owner", algorithm="AES-256")
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def make_unmapped_pdf(pages: Sequence[str]) -> bytes:
    """A PDF with one line of text per page in a font that does not tell which characters its glyphs are."""
    glyphs = " ".join(f"/g{code}" for code in range(33, 127))
    encoding = f"/Encoding << /Differences [33 {glyphs}] >>"
    return _plain_pdf(pages, f"/Type1 /BaseFont /ABCDEF+Own {encoding}")


def make_placed_pdf(
    pages: Sequence[Sequence[tuple[float, float, float, str]]],
    angle: int = 0,
    drawing: str = "",
    form: str = "",
    font: str = _HELVETICA,
) -> bytes:
    """A PDF whose pages hold texts at (x, y) in a size; with an angle of 90, they run from the bottom to the top.

    `drawing` is put on each page, where it may draw the `form` by the name Fm.
    """
    matrix = "0 1 -1 0" if angle == 90 else "1 0 0 1"
    streams = [
        "\n".join(f"BT /F1 {size} Tf {matrix} {x} {y} Tm ({text}) Tj ET" for x, y, size, text in page) + f"\n{drawing}"
        for page in pages
    ]
    return _pdf(streams, form, font)


def _plain_pdf(pages: Sequence[str | None], font: str = _HELVETICA) -> bytes:
    streams = [f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET" if text else "" if text == "" else _IMAGE for text in pages]
    return _pdf(streams, font=font)


def _pdf(
    streams: Sequence[str], form: str = "", font: str = _HELVETICA, box: tuple[float, float] = (612, 792)
) -> bytes:
    last = 4 + 2 * len(streams)
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(streams)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(streams)} >>",
        f"<< /Type /Font /Subtype {font} >>",
    ]
    for n, stream in enumerate(streams):
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {box[0]} {box[1]}] /Contents {5 + 2 * n} 0 R "
            f"/Resources << /Font << /F1 3 0 R >> /XObject << /Fm {last} 0 R >> >> >>",
            f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        ]
    objects.append(f"<< /Subtype /Form /BBox [-999 -999 999 999] /Length {len(form)} >>\nstream\n{form}\nendstream")
    out = bytearray(b"%PDF-1.7\n")
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    out += f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n<< /Size {size} /Root 1 0 R >>\n".encode()
    return bytes(out + f"startxref\n{out.index(b'xref')}\n%%EOF\n".encode())


def make_form(name: str, value: str, flags: int = 0, kind: str = "/Tx") -> bytes:
    """A PDF with a filled-in text field, or a button in the state `value`, and a widget without a field."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(_plain_pdf(["Application"]))))
    field = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Annot"),
            NameObject("/Subtype"): NameObject("/Widget"),
            NameObject("/FT"): NameObject(kind),
            NameObject("/T"): TextStringObject(name),
            NameObject("/V"): NameObject(value) if kind == "/Btn" else TextStringObject(value),
            NameObject("/Ff"): NumberObject(flags),
            NameObject("/Rect"): ArrayObject([NumberObject(n) for n in (72, 600, 300, 620)]),
        }
    )
    reference = writer._add_object(field)
    orphan = DictionaryObject({NameObject("/Subtype"): NameObject("/Widget")})
    writer.pages[0][NameObject("/Annots")] = ArrayObject([writer._add_object(orphan), reference])
    form = DictionaryObject({NameObject("/Fields"): ArrayObject([reference])})
    writer.root_object[NameObject("/AcroForm")] = writer._add_object(form)
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def make_annotated_pdf(annotations: Sequence[tuple[str, str]]) -> bytes:
    """A PDF with annotations of these kinds and texts."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(_plain_pdf(["Draft"]))))
    made = [
        DictionaryObject(
            {
                NameObject("/Type"): NameObject("/Annot"),
                NameObject("/Subtype"): NameObject(f"/{kind}"),
                NameObject("/Contents"): TextStringObject(text),
                NameObject("/Rect"): ArrayObject([NumberObject(n) for n in (72, 600, 300, 620)]),
            }
        )
        for kind, text in annotations
    ]
    writer.pages[0][NameObject("/Annots")] = ArrayObject([writer._add_object(each) for each in made])
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def make_docx_with(runs: str, endnote: str) -> bytes:
    """One paragraph of `runs`, and an endnote."""
    document = docx.Document()
    document.add_paragraph()._p.append(parse_docx_xml(f"<w:sdt {nsdecls('w')}>{runs}</w:sdt>"))
    notes = f"<w:endnotes {nsdecls('w')}><w:endnote><w:p><w:r><w:t>{endnote}</w:t></w:r></w:p></w:endnote></w:endnotes>"
    part = Part(PackURI("/word/endnotes.xml"), _ENDNOTES, notes.encode(), document.part.package)
    document.part.relate_to(part, f"{_OFFICE}/endnotes")
    return _saved(document)


def make_docx(heading: str = "第一章 请假") -> bytes:
    """Headings, a paragraph, a table and another paragraph."""
    document = docx.Document()
    document.core_properties.title = "员工手册"
    document.add_heading(heading, level=1)
    document.add_paragraph("请假须提前三天提交申请。")
    document.add_heading("病假", level=2)
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip(table._cells, ("类别", "天数", "病假", "15"), strict=True):
        cell.text = text
    document.add_paragraph("After the table.")
    return _saved(document)


_MAIN = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_TYPES = "application/vnd.openxmlformats-officedocument.wordprocessingml"


def make_contract() -> bytes:
    """Numbered clauses with a footnote, a comment, hidden text and a form; a header, a footer and merged cells."""

    def text(words: str, properties: str = "") -> str:
        return f'<w:r><w:rPr>{properties}</w:rPr><w:t xml:space="preserve">{words}</w:t></w:r>'

    def cell(words: str, properties: str = "") -> str:
        return f"<w:tc><w:tcPr>{properties}</w:tcPr><w:p>{text(words)}</w:p></w:tc>"

    def clause(content: str, list_id: int = 50, style: str = "") -> str:
        numbered = f'<w:numPr><w:ilvl w:val="0"/><w:numId w:val="{list_id}"/></w:numPr>'
        return f"<w:p><w:pPr>{style}{numbered}</w:pPr>{content}</w:p>"

    def box(checked: str) -> str:
        data = f"<w:ffData><w:checkBox>{checked}</w:checkBox></w:ffData>"
        return f'<w:r><w:fldChar w:fldCharType="begin">{data}</w:fldChar></w:r>'

    raised = '<w:vertAlign w:val="superscript"/>'
    document = docx.Document()
    document.sections[0].header.paragraphs[0].text = "Doc no. QP-7\tValid from 2024"
    document.sections[0].footer.paragraphs[0].text = "Page 1 of 4"
    document.sections[0].footer.add_paragraph("Owner: Purchasing")
    heading = clause(text("Terms"), 51, '<w:pStyle w:val="Heading1"/>')
    first = text("The rent is 4,512") + text("1", raised) + text(" EUR for 25 m") + text("2", raised) + text(".")
    first += '<w:r><w:footnoteReference w:id="2"/></w:r><w:r><w:commentReference w:id="0"/></w:r>'
    second = text("5") + '<w:r><w:sym w:font="Symbol" w:char="F0B1"/></w:r>' + text("0.2 mm, ") + box("<w:checked/>")
    second += (
        text(" agreed, ")
        + f"<w:r><w:ruby><w:rt>{text('とう')}</w:rt><w:rubyBase>{text('東京')}</w:rubyBase></w:ruby></w:r>"
    )
    second += text(" is low", "<w:vanish/>") + text(" is high")
    merge, begin = "<w:vMerge/>", '<w:vMerge w:val="restart"/>'
    table = "".join(
        f"<w:tr>{''.join(cells)}</w:tr>"
        for cells in (
            [cell("地区"), cell("职级"), cell("标准")],
            [cell("一线", begin), cell("经理"), cell("600")],
            [cell("", merge), cell("员工"), cell("400")],
        )
    )
    body = document.element.body
    parsed = parse_docx_xml(
        f'<w:body xmlns:w="{_MAIN}">{heading}{clause(first)}{clause(second)}<w:tbl>{table}</w:tbl></w:body>'
    )
    for child in reversed(list(parsed)):
        body.insert(0, child)
    numbering = document.part.numbering_part.element
    for number, pattern, style in ((50, "第%1条", "chineseCounting"), (51, "%1", "decimal")):
        level = f'<w:lvl w:ilvl="0"><w:numFmt w:val="{style}"/><w:lvlText w:val="{pattern}"/></w:lvl>'
        kind = f'<w:abstractNum xmlns:w="{_MAIN}" w:abstractNumId="{number}">{level}</w:abstractNum>'
        numbering.insert(0, parse_docx_xml(kind))
        reference = f'<w:abstractNumId w:val="{number}"/>'
        numbering.append(parse_docx_xml(f'<w:num xmlns:w="{_MAIN}" w:numId="{number}">{reference}</w:num>'))
    note = f'<w:footnote w:id="2"><w:p>{text("Since May.")}</w:p></w:footnote>'
    notes = f'<w:footnotes xmlns:w="{_MAIN}">{note}</w:footnotes>'
    comments = (
        f'<w:comments xmlns:w="{_MAIN}"><w:comment w:id="0"><w:p>{text("check this")}</w:p></w:comment></w:comments>'
    )
    for name, content in (("footnotes", notes), ("comments", comments)):
        part = Part(PackURI(f"/word/{name}.xml"), f"{_TYPES}.{name}+xml", content.encode(), document.part.package)
        document.part.relate_to(part, f"{_OFFICE}/{name}")
    return _saved(document)


def make_steps() -> bytes:
    """A slide whose boxes were made from the last to the first, with numbers beside them, a list and a table."""
    presentation = pptx.Presentation()
    shapes = presentation.slides.add_slide(presentation.slide_layouts[6]).shapes
    grid = shapes.add_table(3, 2, 0, 4_000_000, 3_000_000, 900_000).table
    for (row, column), words in {(0, 0): "Region", (0, 1): "Rate", (1, 0): "North", (1, 1): "5", (2, 1): "6"}.items():
        grid.cell(row, column).text = words
    grid.cell(1, 0).merge(grid.cell(2, 0))
    places = {(1_000_000, 2_000_000): "Fill with 10", (0, 2_100_000): "02", (1_000_000, 1_000_000): "Open the valve"}
    places |= {(0, 1_050_000): "01", (0, 3_000_000): "one"}
    for (left, top), words in places.items():
        frame = shapes.add_textbox(left, top, 900_000, 400_000).text_frame
        frame.text = words
        if words == "one":
            frame.add_paragraph().text = "two"
            for paragraph in frame.paragraphs:
                numbered = f'<a:buAutoNum {nsdecls_pptx("a")} type="arabicPeriod"/>'
                paragraph._p.get_or_add_pPr().append(parse_pptx_xml(numbered))
        if words.endswith("10"):
            run = frame.paragraphs[0].add_run()
            run.text = "6"
            run.font._element.set("baseline", "30000")
            frame.paragraphs[0].add_run().text = " ml"
    return _saved(presentation)


def make_rich_pptx() -> bytes:
    """A slide with a chart, a text box in an old and a new form, and a diagram."""
    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[6])
    data: Any = CategoryChartData()  # type: ignore[no-untyped-call]
    data.categories = ["North", "South"]
    data.add_series("2025", (1234567.25, None))
    data.add_series("2026", (3, 4))
    chart = slide.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, 0, 0, 100, 100, data).chart
    chart.has_title = True
    chart.chart_title.text_frame.text = "Sales by region"
    tree = slide.shapes._spTree
    box = f"<a:p><a:r><a:t>The energy is </a:t></a:r><m:oMath xmlns:m='{_MATH}'><m:t>42</m:t></m:oMath>"
    box += "<a:r><a:t> joules</a:t></a:r></a:p>"
    tree.append(
        parse_pptx_xml(
            f"<mc:AlternateContent xmlns:mc='{_COMPATIBILITY}' {nsdecls_pptx('a', 'p')}>"
            f"<mc:Choice Requires='a14'><p:sp><p:txBody>{box}</p:txBody></p:sp></mc:Choice>"
            "<mc:Fallback><p:sp><p:txBody><a:p><a:r><a:t>old</a:t></a:r></a:p></p:txBody></p:sp></mc:Fallback>"
            "</mc:AlternateContent>"
        )
    )
    points = "".join(
        f"<dgm:pt><dgm:t><a:p><a:r><a:t>{t} step</a:t></a:r></a:p></dgm:t></dgm:pt>" for t in ("first", "second")
    )
    blob = f"<dgm:dataModel xmlns:dgm='{_DIAGRAM}' {nsdecls_pptx('a')}><dgm:ptLst>{points}</dgm:ptLst></dgm:dataModel>"
    part = PptxPart(PptxPackURI("/ppt/diagrams/data1.xml"), _DIAGRAM_DATA, presentation.part.package, blob.encode())
    relation = slide.part.relate_to(part, f"{_OFFICE}/diagramData")
    tree.append(
        parse_pptx_xml(
            f"<p:graphicFrame {nsdecls_pptx('a', 'p', 'r')}><p:nvGraphicFramePr><p:cNvPr id='9' name='D'/>"
            "<p:cNvGraphicFramePr/><p:nvPr/></p:nvGraphicFramePr><a:graphic><a:graphicData "
            f"uri='{_DIAGRAM}'><dgm:relIds xmlns:dgm='{_DIAGRAM}' r:dm='{relation}'/></a:graphicData></a:graphic>"
            "</p:graphicFrame>"
        )
    )
    return _saved(presentation)


def without_relation(content: bytes, kind: str) -> bytes:
    """A PowerPoint file whose first slide lacks its relations of this kind."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    name = "ppt/slides/_rels/slide1.xml.rels"
    parts[name] = re.sub(rb"<Relationship [^>]*" + kind.encode() + rb'"[^>]*/>', b"", parts[name])
    return make_zip(dict(parts))


def make_pptx(first_title: str = "First slide") -> bytes:
    """Two slides with titles; the second has notes."""
    presentation = pptx.Presentation()
    for title, body in ((first_title, "Point one"), ("第二页", "要点")):
        slide = presentation.slides.add_slide(presentation.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = body
    slide.notes_slide.notes_text_frame.text = "Speak slowly"
    return _saved(presentation)


def _saved(document: object) -> bytes:
    buffer = io.BytesIO()
    document.save(buffer)  # type: ignore[attr-defined]
    return buffer.getvalue()


_SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"


def make_xlsx(sheets: dict[str, list[list[str | float]]]) -> bytes:
    """A workbook with inline strings and numbers."""
    names = "".join(f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, name in enumerate(sheets, 1))
    links = "".join(
        f'<Relationship Id="r{n}" Type="{_OFFICE}/worksheet" Target="worksheets/s{n}.xml"/>'
        for n in range(1, len(sheets) + 1)
    )
    parts = {
        "_rels/.rels": f'<Relationships xmlns="{_RELATIONS}"><Relationship Id="a" Type="{_OFFICE}/officeDocument" '
        'Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{_SHEET}" xmlns:r="{_OFFICE}"><sheets>{names}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_RELATIONS}">{links}</Relationships>',
    }
    for n, rows in enumerate(sheets.values(), 1):
        parts[f"xl/worksheets/s{n}.xml"] = (
            f'<worksheet xmlns="{_SHEET}"><sheetData>{_rows(rows)}</sheetData></worksheet>'
        )
    return make_zip(parts)


def make_sheet(
    cells: str, formats: Sequence[str] = (), merged: Sequence[str] = (), box: str = "", comment: str = ""
) -> bytes:
    """A workbook with these rows, perhaps with a comment on B9, and a cell style 1, 2, … for each number format."""
    ranges = "".join(f'<mergeCell ref="{each}"/>' for each in merged)
    codes = "".join(f'<numFmt numFmtId="{164 + n}" formatCode={quoteattr(code)}/>' for n, code in enumerate(formats))
    styles = "".join(f'<xf numFmtId="{164 + n}"/>' for n in range(len(formats)))
    parts = {
        "_rels/.rels": f'<Relationships xmlns="{_RELATIONS}"><Relationship Id="a" Type="{_OFFICE}/officeDocument" '
        'Target="/xl/workbook2.xml"/></Relationships>',
        "xl/workbook2.xml": f'<workbook xmlns="{_SHEET}" xmlns:r="{_OFFICE}"><sheets><sheet name="S" sheetId="1" '
        'r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook2.xml.rels": f'<Relationships xmlns="{_RELATIONS}">'
        f'<Relationship Id="r1" Type="{_OFFICE}/worksheet" Target="worksheets/s1.xml"/>'
        f'<Relationship Id="r2" Type="{_OFFICE}/styles" Target="../xl/styles.xml"/>'
        f'<Relationship Id="r3" Type="{_OFFICE}/sharedStrings" Target="/xl/sharedStrings.xml"/></Relationships>',
        "xl/styles.xml": f'<styleSheet xmlns="{_SHEET}"><numFmts>{codes}</numFmts>'
        f'<cellXfs><xf numFmtId="0"/>{styles}</cellXfs></styleSheet>',
        "xl/sharedStrings.xml": f'<sst xmlns="{_SHEET}"><si><t>plain</t></si><si><r><t>ri</t></r><r><t>ch</t></r></si>'
        "<si><t>東京</t><rPh><t>とうきょう</t></rPh></si></sst>",
        "xl/worksheets/_rels/s1.xml.rels": f'<Relationships xmlns="{_RELATIONS}">'
        f'<Relationship Id="r1" Type="{_OFFICE}/comments" Target="../comments1.xml"/>'
        f'<Relationship Id="r2" Type="{_OFFICE}/drawing" Target="/xl/drawing1.xml"/></Relationships>',
        "xl/comments1.xml": f'<comments xmlns="{_SHEET}"><commentList><comment ref="B9"><text>'
        f"<t>{comment}</t></text></comment></commentList></comments>",
        "xl/drawing1.xml": f'<d:wsDr xmlns:d="urn:d" xmlns:a="urn:a"><d:sp><d:txBody>{box}</d:txBody></d:sp></d:wsDr>',
        "xl/worksheets/s1.xml": f'<worksheet xmlns="{_SHEET}"><sheetData>{cells}</sheetData><mergeCells>{ranges}'
        "</mergeCells></worksheet>",
    }
    return make_zip(parts)


def _rows(rows: list[list[str | float]]) -> str:
    def cell(row: int, column: int, value: str | float) -> str:
        place = f'r="{chr(65 + column)}{row}"'
        if isinstance(value, str):
            return f'<c {place} t="inlineStr"><is><t>{value}</t></is></c>' if value else ""
        return f"<c {place}><v>{value}</v></c>"

    return "".join(
        f'<row r="{r}">{"".join(cell(r, c, value) for c, value in enumerate(row))}</row>'
        for r, row in enumerate(rows, 1)
    )


def make_zip(parts: Mapping[str, str | bytes]) -> bytes:
    """A ZIP of `parts`, named by their keys."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return buffer.getvalue()


Tree = Mapping[str, Any]  # streams, and folders that are trees


def make_ole(tree: Tree) -> bytes:
    """An OLE file (compound file binary, version 3) with these folders and streams."""
    entries: list[list[Any]] = [["Root Entry", 5, _NONE, _NONE, _NONE, 0]]  # name, kind, next, child, start, size
    contents: dict[int, bytes] = {}

    def add(parent: int, folder: Tree) -> None:
        before = 0
        for name, content in folder.items():
            number = len(entries)
            entries.append([name, 2 if isinstance(content, bytes) else 1, _NONE, _NONE, _NONE, 0])
            entries[before or parent][2 if before else 3] = number
            before = number
            if isinstance(content, bytes):
                contents[number] = content
            else:
                add(number, content)

    add(0, tree)
    mini, mini_fat = _chain({n: data for n, data in contents.items() if len(data) < 4096}, 64, entries, 0)
    streams = {n: data for n, data in contents.items() if len(data) >= 4096}
    sectors, fat = _chain({**streams, 0: mini}, 512, entries, 0)
    extra = [(b"".join(struct.pack("<I", each) for each in mini_fat), b"\xff"), (b"\0" * 128 * len(entries), b"\0")]
    starts = []
    for data, fill in extra:
        starts.append(len(fat))
        size = -(-len(data) // 512)
        fat += [*range(len(fat) + 1, len(fat) + size), 0xFFFFFFFE] if size else []
        sectors += data.ljust(512 * size, fill)
    directory = b"".join(map(_entry, entries)).ljust(len(sectors) - 512 * starts[1], b"\0")
    sectors = sectors[: 512 * starts[1]] + directory
    size = next(n for n in range(1, 110) if 128 * n >= len(fat) + n)
    first = len(fat)
    fat += [0xFFFFFFFD] * size
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    header += struct.pack("<IIIIIIIII", 0, size, starts[1], 0, 4096, starts[0], len(extra[0][0]) > 0, 0xFFFFFFFE, 0)
    header += struct.pack("<109I", *range(first, first + size), *[_NONE] * (109 - size))
    table = b"".join(struct.pack("<I", each) for each in fat).ljust(512 * size, b"\xff")
    return header + sectors + table


_NONE = 0xFFFFFFFF


def _chain(contents: Mapping[int, bytes], unit: int, entries: list[list[Any]], first: int) -> tuple[bytes, list[int]]:
    """Contents one after another in sectors of `unit` bytes, and the table of the next sector of each."""
    data = b""
    table: list[int] = []
    for number, content in contents.items():
        size = -(-len(content) // unit)
        entries[number][4:] = [first + len(table) if size else 0xFFFFFFFE, len(content)]
        table += [*range(first + len(table) + 1, first + len(table) + size), 0xFFFFFFFE] if size else []
        data += content.ljust(size * unit, b"\0")
    return data, table


def _entry(entry: list[Any]) -> bytes:
    name, kind, following, child, start, size = entry
    letters: bytes = name.encode("utf-16-le") + b"\0\0"
    head = letters.ljust(64, b"\0") + struct.pack("<HBBIII", len(letters), kind, 1, _NONE, following, child)
    return head + bytes(36) + struct.pack("<IQ", start, size)


def make_msg(texts: Mapping[int, str], numbers: Mapping[int, int], folders: Tree, header: int = 32) -> dict[str, Any]:
    """The streams of a mail of Outlook: texts and numbers by property, and the folders of what is attached."""
    fixed = b"".join(struct.pack("<HHIQ", 0x0003, name, 6, number) for name, number in numbers.items())
    streams = {f"__substg1.0_{name:04X}001F": text.encode("utf-16-le") for name, text in texts.items()}
    return {"__properties_version1.0": bytes(header) + fixed, **streams, **folders}


def make_doc(text: str) -> bytes:
    """A document of Word 97 in one piece: [MS-DOC] with nothing but its header, its text and where that is."""
    letters = text.replace("\n", "\r").encode("utf-16-le")
    start = 1024
    places = bytearray(93 * 8)
    pieces = b"\2" + struct.pack("<IIIHIH", 16, 0, len(text), 0, start, 0)
    struct.pack_into("<II", places, 33 * 8, 0, len(pieces))
    head = struct.pack(
        "<HHHHHHHIBBHHII", 0xA5EC, 0xC1, 0, 0x409, 0, 0x1200, 0xBF, 0, 0, 0, 0, 0, start, start + len(letters)
    )
    lengths = [0] * 22
    lengths[0], lengths[3] = start + len(letters), len(text)
    header = (
        head + struct.pack("<H", 14) + bytes(28) + struct.pack("<H22I", 22, *lengths) + struct.pack("<H", 93) + places
    )
    return make_ole(
        {"WordDocument": (header.ljust(start, b"\0") + letters).ljust(4096, b"\0"), "1Table": pieces.ljust(4096, b"\0")}
    )


def make_xls(rows: Sequence[Sequence[str | float]], formats: Sequence[str], merged: Sequence[int] = ()) -> bytes:
    """A sheet of Excel 97: [MS-XLS]. Each column has a number format; `merged` is first and last row, and columns."""

    def record(kind: int, data: bytes) -> bytes:
        return struct.pack("<HH", kind, len(data)) + data

    def letters(text: str, count: str = "H") -> bytes:
        return struct.pack(f"<{count}B", len(text), 1) + text.encode("utf-16-le")

    font = record(0x31, struct.pack("<HHHHHBBBB", 200, 0, 0, 400, 0, 0, 0, 0, 0) + letters("Arial", "B"))
    body = record(0x809, struct.pack("<HHHHII", 0x600, 0x10, 0, 0, 0, 0))
    for row, cells in enumerate(rows):
        for column, cell in enumerate(cells):
            place = struct.pack("<HHH", row, column, column)
            if isinstance(cell, str):
                body += record(0x204, place + letters(cell))
            else:
                body += record(0x203, place + struct.pack("<d", cell))
    if merged:
        body += record(0xE5, struct.pack("<HHHHH", 1, *merged))
    body += record(0x0A, b"")
    head = record(0x809, struct.pack("<HHHHII", 0x600, 5, 0, 0, 0, 0)) + record(0x42, b"\xb0\x04") + 4 * font
    head += b"".join(record(0x41E, struct.pack("<H", 164 + n) + letters(code)) for n, code in enumerate(formats))
    head += b"".join(record(0xE0, struct.pack("<HHH", 0, 164 + n, 0) + bytes(14)) for n in range(len(formats)))
    start = len(head) + len(record(0x85, struct.pack("<IBB", 0, 0, 0) + letters("Rates", "B"))) + 4
    head += record(0x85, struct.pack("<IBB", start, 0, 0) + letters("Rates", "B")) + record(0x0A, b"")
    return make_ole({"Workbook": (head + body).ljust(4096, b"\0")})


def make_odf(kind: str, body: str, styles: str = "", parts: Mapping[str, str] | None = None) -> bytes:
    """An OpenDocument file: `kind` is text, spreadsheet or presentation, `styles` are the automatic ones."""
    names = {name: name for name in ("office", "text", "table", "style", "presentation")}
    names |= {"draw": "drawing", "svg": "svg-compatible"}
    spaces = " ".join(f'xmlns:{k}="urn:oasis:names:tc:opendocument:xmlns:{v}:1.0"' for k, v in names.items())
    spaces += ' xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:dc="http://purl.org/dc/elements/1.1/"'
    content = (
        f"<office:document-content {spaces}><office:automatic-styles>{styles}</office:automatic-styles>"
        f"<office:body><office:{kind}>{body}</office:{kind}></office:body></office:document-content>"
    )
    found = {f"{name}.xml": text.replace("SPACES", spaces) for name, text in (parts or {}).items()}
    return make_zip({"mimetype": f"application/vnd.oasis.opendocument.{kind}", "content.xml": content, **found})


def make_epub(chapters: Mapping[str, str], contents: Mapping[str, str], more: Mapping[str, str] | None = None) -> bytes:
    """An e-book: pages by file name, titles in its table of contents by file name, and other parts."""
    items = "".join(
        f'<item id="{n}" href="{name}" media-type="application/xhtml+xml"/>' for n, name in enumerate(chapters)
    )
    order = "".join(f'<itemref idref="{n}"/>' for n in range(len(chapters)))
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>'
        f"<dc:title>规章</dc:title></metadata><manifest>{items}"
        '<item id="toc" href="toc.ncx" media-type="application/x-dtbncx+xml"/></manifest>'
        f"<spine>{order}</spine></package>"
    )
    targets = {name if "#" in name else f"{name}#a": title for name, title in contents.items()}
    points = "".join(
        f'<navPoint><navLabel><text>{title}</text></navLabel><content src="{target}"/></navPoint>'
        for target, title in targets.items()
    )
    parts = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": '<container><rootfiles><rootfile full-path="OEBPS/a.opf"/></rootfiles></container>',
        "OEBPS/a.opf": package,
        "OEBPS/toc.ncx": f'<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/"><navMap>{points}</navMap></ncx>',
        **{f"OEBPS/{unquote(name)}": page for name, page in chapters.items()},
    }
    return make_zip(parts | dict(more or {}))


def make_xlsb(
    rows: Sequence[Sequence[str | float | bool]], formats: Sequence[str], merged: Sequence[int] = (), comment: str = ""
) -> bytes:
    """A binary workbook with one sheet, perhaps with a comment on B2.

    Each column has a number format; `merged` is as for `make_xls`.
    """

    def number(value: int) -> bytes:
        return bytes([value]) if value < 0x80 else bytes([value & 0x7F | 0x80]) + number(value >> 7)

    def record(kind: int, data: bytes = b"") -> bytes:
        return number(kind) + number(len(data)) + data

    def wide(text: str) -> bytes:
        return struct.pack("<I", len(text.encode("utf-16-le")) // 2) + text.encode("utf-16-le")

    strings = [cell for cells in rows for cell in cells if isinstance(cell, str)]
    sheet = record(129) + record(148, struct.pack("<IIII", 0, len(rows), 0, len(formats))) + record(145)
    for row, cells in enumerate(rows):
        sheet += record(0, struct.pack("<IIHHBI", row, 0, 0, 0, 0, 0))
        for column, cell in enumerate(cells):
            head = struct.pack("<II", column, column)
            if isinstance(cell, bool):
                sheet += record(4, head + bytes([cell]))
            elif isinstance(cell, str):
                sheet += record(7, head + struct.pack("<I", strings.index(cell))) if cell else b""
            elif cell == int(cell):
                sheet += record(2, head + struct.pack("<i", int(cell) << 2 | 2))
            else:
                sheet += record(5, head + struct.pack("<d", cell))
    sheet += record(146) + (record(176, struct.pack("<IIII", *merged)) if merged else b"") + record(130)
    items = b"".join(record(19, b"\0" + wide(text)) for text in strings)
    codes = b"".join(record(44, struct.pack("<H", 164 + n) + wide(code)) for n, code in enumerate(formats))
    styles = b"".join(record(47, struct.pack("<HHHHH", 0, 164 + n, 0, 0, 0) + bytes(6)) for n in range(len(formats)))
    relation = f'<Relationship Id="rId1" Type="{_OFFICE}/worksheet" Target="worksheets/sheet1.bin"/>'
    book = (
        record(131)
        + record(153, bytes(12))
        + record(143)
        + record(156, struct.pack("<II", 0, 1) + wide("rId1") + wide("Rates"))
    )
    parts: dict[str, str | bytes] = {
        "[Content_Types].xml": "<Types/>",
        "xl/workbook.bin": book + record(144) + record(157, bytes(26)) + record(132),
        "xl/_rels/workbook.bin.rels": f'<Relationships xmlns="{_RELATIONS}">{relation}</Relationships>',
        "xl/worksheets/sheet1.bin": sheet,
        "xl/worksheets/_rels/sheet1.bin.rels": f'<Relationships xmlns="{_RELATIONS}"><Relationship Id="r1" '
        f'Type="{_OFFICE}/comments" Target="../comments1.bin"/></Relationships>',
        "xl/comments1.bin": record(635, struct.pack("<IIIII", 0, 1, 1, 1, 1) + bytes(16))
        + record(637, b"\0" + wide(comment)),
        "xl/sharedStrings.bin": record(159, struct.pack("<II", len(strings), len(strings))) + items + record(160),
        "xl/styles.bin": record(615, struct.pack("<I", len(formats))) + codes + record(616)
        + record(617, struct.pack("<I", len(formats))) + styles + record(618),
    }  # fmt: skip
    return make_zip(parts)


_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"


def make_scan(text: str = "", angle: int = 0) -> bytes:
    """A PDF of one page that is an image, turned by `angle`, with `text` of its own at the bottom."""
    with Image.open(SCAN) as image:
        turned = image.convert("L").rotate(angle, expand=True)
    width, height = (72 / 150 * side for side in turned.size)
    pixels = zlib.compress(turned.tobytes()).hex()
    image_stream = (
        f"q {width} 0 0 {height} 0 0 cm BI /W {turned.width} /H {turned.height} /CS /G /BPC 8 /F [/AHx /Fl] ID\n"
        f"{pixels}>\nEI Q"
    )
    stamp = f"BT /F1 8 Tf 5 5 Td ({text}) Tj ET" if text else ""
    return _pdf([f"{image_stream}\n{stamp}"], box=(width, height))
