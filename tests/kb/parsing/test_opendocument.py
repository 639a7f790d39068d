"""OpenDocument texts, spreadsheets and presentations."""

from __future__ import annotations

from pathlib import Path

import pytest

from kb.errors import NoText, PasswordProtected, WrongFormat
from kb.models import ParsedDocument
from kb.parsing import detect_media_type, media_types, parse_file
from tests.kb.parsing import parsing_samples as samples


def parse(folder: Path, name: str, content: bytes) -> ParsedDocument:
    return parse_file(samples.write(folder, "stored", content), name)


def text(folder: Path, body: str, styles: str = "") -> str:
    return parse(folder, "a.odt", samples.make_odf("text", body, styles)).text


def cell(content: str, more: str = "") -> str:
    return f"<table:table-cell {more}><text:p>{content}</text:p></table:table-cell>"


def row(*cells: str, more: str = "") -> str:
    return f"<table:table-row {more}>{''.join(cells)}</table:table-row>"


SUPER = (
    '<style:style style:name="T1" style:family="text"><style:text-properties style:text-position="super 58%"/>'
    "</style:style>"
)
HIDDEN = '<style:style style:name="T2" style:family="text"><style:text-properties text:display="none"/></style:style>'
CLAUSES = (
    '<text:list-style style:name="L"><text:list-level-style-number text:level="1" style:num-format="一, 二, 三, ..." '
    'style:num-prefix="第" style:num-suffix="条"/><text:list-level-style-number text:level="2" style:num-format="1" '
    'style:num-suffix="." text:display-levels="1"/></text:list-style>'
)
COVERED = "<table:covered-table-cell/>"


def test_marks_notes_and_comments_of_a_text(tmp_path: Path) -> None:
    body = (
        "<text:tracked-changes><text:p>deleted</text:p></text:tracked-changes>"
        '<text:p text:style-name="Title">Rent</text:p>'
        '<text:h text:outline-level="2">Sums</text:h>'
        '<text:p>Revenue   was 4,512<text:span text:style-name="T1">1</text:span> million;<text:s text:c="2"/>25 m'
        '<text:span text:style-name="T1">2</text:span><text:span text:style-name="T2"> secret</text:span>.'
        "<text:line-break/>東<text:ruby><text:ruby-base>京</text:ruby-base><text:ruby-text>きょう</text:ruby-text></text:ruby>"
        "<text:note><text:note-citation>3</text:note-citation><text:note-body><text:p>A note.</text:p></text:note-body>"
        "</text:note><office:annotation><dc:creator>L</dc:creator><text:p>Check.</text:p></office:annotation></text:p>"
        "<draw:frame><draw:text-box><text:p>In a box</text:p></draw:text-box></draw:frame>"
    )
    document = parse(tmp_path, "a.odt", samples.make_odf("text", body, SUPER + HIDDEN))
    assert document.text == (
        "Rent\n\nSums\n\nRevenue was 4,512 [1] million;  25 m².\n東京 [3] [comment: Check.]\n\nIn a box\n\n[3] A note."
    )
    assert [(heading.level, heading.title) for heading in document.headings] == [(1, "Rent"), (2, "Sums")]


def test_lists_have_their_numbers(tmp_path: Path) -> None:
    item = "<text:list-item><text:p>{}</text:p>{}</text:list-item>"
    inner = f"<text:list>{item.format('Oil', '')}{item.format('Seals', '')}</text:list>"
    body = (
        f'<text:list text:style-name="L">{item.format("三年", "")}{item.format("检查", inner)}</text:list>'
        "<text:p>x</text:p>"
        f'<text:list text:style-name="L" text:continue-numbering="true">{item.format("工资", inner)}</text:list>'
        f'<text:list text:style-name="L">{item.format("新", "")}</text:list>'
        f"<text:list>{item.format('bullet', '')}</text:list>"
    )
    lines = text(tmp_path, body, CLAUSES).split("\n")
    assert [line for line in lines if line] == [
        *("第一条 三年", "第二条 检查", "1. Oil", "2. Seals", "x"),
        *("第三条 工资", "1. Oil", "2. Seals", "第一条 新", "bullet"),
    ]


def test_formulas_and_margins(tmp_path: Path) -> None:
    math = '<math xmlns="http://www.w3.org/1998/Math/MathML"><mfrac><mn>3</mn><mn>4</mn></mfrac></math>'
    styles = (
        "<office:document-styles SPACES><style:header><text:p>QP-7 <text:page-number>1</text:page-number></text:p>"
        "</style:header><style:footer><text:p>Owner: Anna</text:p></style:footer></office:document-styles>"
    )
    body = '<text:p>It is <draw:frame><draw:object xlink:href="./Object 1"/></draw:frame>.</text:p>'
    parts = {"styles": styles, "Object 1/content": math}
    found = parse(tmp_path, "a.odt", samples.make_odf("text", body, parts=parts)).text
    assert found == "QP-7\n\nIt is 3/4.\n\nOwner: Anna"


def test_tables_of_a_text_fill_merged_cells(tmp_path: Path) -> None:
    body = "<table:table><table:table-header-rows>{}</table:table-header-rows>{}</table:table>".format(
        row(cell("地区"), cell("职级"), cell("标准")),
        row(cell("一线城市", 'table:number-rows-spanned="2"'), cell("经理"), cell("600"))
        + row(COVERED, cell("主管"), cell("500")),
    )
    assert text(tmp_path, body) == "地区: 一线城市; 职级: 经理; 标准: 600\n地区: 一线城市; 职级: 主管; 标准: 500"


def test_sheets_show_what_people_see(tmp_path: Path) -> None:
    shown = cell("12.75%", 'office:value-type="percentage" office:value="0.1275"')
    plain = '<table:table-cell office:value="7"/>'
    note = cell("A").replace("<text:p>", "<office:annotation><text:p>From July</text:p></office:annotation><text:p>")
    empty = '<table:table-cell table:number-columns-repeated="16380"/>'
    sheet = (
        row(cell("Item"), cell("Share"), cell("Count"), empty)
        + row(note, shown, plain)
        + row(cell("B"), cell("2%"), cell("8"), more='table:number-rows-repeated="2"')
        + row('<table:table-cell table:number-columns-repeated="16384"/>', more='table:number-rows-repeated="1048571"')
        + row(empty, cell("far"))
    )
    content = samples.make_odf(
        "spreadsheet", f'<table:table table:name="Rates">{sheet}</table:table><table:table table:name="Empty"/>'
    )
    document = parse(tmp_path, "a.ods", content)
    assert document.text == (
        "Rates\nItem: A [comment: From July]; Share: 12.75%; Count: 7\n"
        "Item: B; Share: 2%; Count: 8\nItem: B; Share: 2%; Count: 8\nfar"
    )
    assert [page.number for page in document.pages] == [1, 2]
    assert detect_media_type(tmp_path / "stored", "sheet") == media_types.OPEN_SHEETS


def test_cells_that_are_repeated_without_end_are_bounded(tmp_path: Path) -> None:
    wide = '<table:table-cell table:number-columns-repeated="999999"><text:p>x</text:p></table:table-cell>'
    sheet = row(wide) + row(cell("y"), more='table:number-rows-repeated="1048576"')
    spanned = row(cell("z", 'table:number-columns-spanned="99999999" table:number-rows-spanned="99999999"'))
    content = samples.make_odf("spreadsheet", f"<table:table>{sheet}{spanned}</table:table>")
    assert len(parse(tmp_path, "a.ods", content).text) < 20_000


def test_slides_read_from_top_to_bottom(tmp_path: Path) -> None:
    frame = '<draw:frame svg:x="{}" svg:y="{}" {}><draw:text-box><text:p>{}</text:p></draw:text-box></draw:frame>'
    notes = frame.format("1cm", "1cm", 'presentation:class="notes"', "Say it slowly.")
    slide = (
        frame.format("1cm", "9cm", "", "Third") + frame.format("12cm", "5.1cm", "", "Second")
        + frame.format("1cm", "5.2cm", "", "First") + frame.format("1cm", "7cm", 'presentation:class="title"', "Steps")
        + f"<presentation:notes>{notes}"
        "</presentation:notes>"
    )  # fmt: skip
    content = samples.make_odf("presentation", f"<draw:page>{slide}</draw:page><draw:page/>")
    document = parse(tmp_path, "a.odp", content)
    assert document.text == "Steps\n\nFirst\n\nSecond\n\nThird\n\nSay it slowly."
    assert [page.number for page in document.pages] == [1, 2]


def test_protected_empty_and_other_files(tmp_path: Path) -> None:
    manifest = "<manifest><encryption-data/></manifest>"
    with pytest.raises(PasswordProtected):
        parse(tmp_path, "a.odt", samples.make_odf("text", "", parts={"META-INF/manifest": manifest}))
    with pytest.raises(NoText):
        parse(tmp_path, "a.odt", samples.make_odf("text", ""))
    with pytest.raises(WrongFormat, match="OpenDocument spreadsheet"):
        parse(tmp_path, "a.odt", samples.make_odf("spreadsheet", ""))


def test_charts_images_and_boxes(tmp_path: Path) -> None:
    body = (
        "<text:p>Anchor<draw:custom-shape><text:p>In a box</text:p></draw:custom-shape></text:p>"
        "<text:p><draw:frame><draw:image/><svg:desc>A red valve</svg:desc></draw:frame></text:p>"
        '<text:p><draw:frame><draw:object xlink:href="./Object 1"/><draw:image/></draw:frame></text:p>'
    )
    chart = (
        '<office:document-content SPACES xmlns:chart="urn:oasis:names:tc:opendocument:xmlns:chart:1.0"><chart:chart>'
        "<chart:title><text:p>Sales</text:p></chart:title><table:table>"
        f"<table:table-header-rows>{row(cell(''), cell('2024'))}</table:table-header-rows>"
        f"{row(cell('North'), cell('5'))}{row(cell('South'), cell('NaN'))}</table:table></chart:chart>"
        "</office:document-content>"
    )
    content = samples.make_odf("text", body, parts={"Object 1/content": chart})
    assert parse(tmp_path, "a.odt", content).text == "Anchor\nIn a box\n\nA red valve\n\nSales\nNorth; 2024: 5\nSouth"
