"""Each format gives text with positions; unreadable files say why."""

from __future__ import annotations

import re
from pathlib import Path

import docx
import pytest
from docx.enum.style import WD_STYLE_TYPE
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls

from kb.errors import (
    BlankFile,
    DamagedFile,
    DocumentError,
    EmptyFile,
    GarbledText,
    NoText,
    PasswordProtected,
    TooManyParts,
    UnpacksTooLarge,
    UnsupportedFormat,
    WrongFormat,
)
from kb.models import ParsedDocument
from kb.notes import Note, NoteKind
from kb.parsing import SUPPORTED_EXTENSIONS, detect_media_type, joined, kinds, media_types, parse_file, parse_source
from kb.parsing.builder import PART_CHARACTERS, Source, TextBuilder, clean
from tests.kb.parsing import parsing_samples as samples

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)


def parse(folder: Path, name: str, content: bytes | str) -> ParsedDocument:
    return parse_file(samples.write(folder, "stored", content), name)


def headings(document: ParsedDocument) -> list[tuple[int, str]]:
    """The level and the line of each heading; the line comes from the text at its position."""
    return [(h.level, document.text[h.start :].split("\n", 1)[0]) for h in document.headings]


def pages(document: ParsedDocument) -> list[str]:
    starts = [page.start for page in document.pages]
    return [document.text[a:b].strip() for a, b in zip(starts, [*starts[1:], len(document.text)], strict=True)]


def test_pdf_has_pages_and_outline(tmp_path: Path) -> None:
    content = samples.make_pdf(["Leave policy", "", "Sick leave"], [("Leave policy", 0), ("Sick  leave", 2)])
    reports: list[tuple[int, int]] = []
    document = parse_file(samples.write(tmp_path, "a", content), "a.pdf", lambda *done: reports.append(done))
    assert [page.number for page in document.pages] == [1, 2, 3]
    assert pages(document)[0] == "Leave policy"
    assert headings(document) == [(1, "Leave policy"), (1, "Sick leave")]
    assert reports == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_pdf_outline_that_bites_its_tail(tmp_path: Path) -> None:
    # The second entry says that it is followed by itself.
    content = samples.make_pdf(["Leave policy", "Sick leave"], [("Leave policy", 0), ("Sick leave", 1)])
    second = re.search(rb"/Prev (\d+) 0 R", content)
    assert second
    last = re.search(rb"/Last (\d+ 0 R)", content)
    assert last
    circular = content.replace(second.group(), b"/Next " + last.group(1))
    assert headings(parse(tmp_path, "a.pdf", circular)) == [(1, "Leave policy"), (1, "Sick leave")]


@pytest.mark.parametrize("title", [b"<FEFFD8350041>", b"<FEFF0041D835>"])
def test_pdf_with_truncated_title_is_read(tmp_path: Path, title: bytes) -> None:
    content = samples.make_pdf(["Leave policy", "Sick leave"], [("Leave policy", 0), ("Sick leave", 1)])
    broken = re.sub(rb"/Title \(Sick leave\)", b"/Title " + title, content)
    assert broken != content
    document = parse(tmp_path, "a.pdf", broken)
    assert document.text == "Leave policy\n\nSick leave"
    assert headings(document) == [(1, "Leave policy")]


def test_pdf_with_an_empty_user_password_opens(tmp_path: Path) -> None:
    assert parse(tmp_path, "a.pdf", samples.make_pdf(["Open to all"], password="")).text == "Open to all"


@pytest.mark.parametrize(
    ("raw", "typed"), [("⼈⼯智能 ⻓期", "人工智能 长期"), ("ｆｉｎａｌ ﬁx，中文", "final fix，中文")]
)
def test_pdf_text_reads_as_typed(raw: str, typed: str) -> None:
    from kb.parsing.pdf import _clean_page

    assert _clean_page(raw) == typed


def test_markdown_headings_are_not_in_code(tmp_path: Path) -> None:
    text = "---\ntitle: 手册\n---\n\n# **A** [link](x)\n\n```\n# no heading\n```\n\nB\n---\ntext\n\n### C ###\n"
    document = parse(tmp_path, "a.md", text)
    assert document.text == text.strip("\n")
    assert [(h.level, h.title) for h in document.headings] == [(1, "A link"), (2, "B"), (3, "C")]
    assert [line for _, line in headings(document)] == ["# **A** [link](x)", "B", "### C ###"]
    assert document.title == "手册"


@pytest.mark.parametrize("padding", ["", "."])
@pytest.mark.parametrize(
    "declaration", ['<meta charset="utf-16">', '<meta http-equiv="Content-Type" content="text/html; charset=utf-16">']
)
def test_html_that_wrongly_declares_utf_16(tmp_path: Path, declaration: str, padding: str) -> None:
    page = f"<html><head>{declaration}</head><body>Revenue rose, 收入增长{padding}</body></html>"
    assert parse(tmp_path, "a.html", page.encode()).text == f"Revenue rose, 收入增长{padding}"
    assert parse(tmp_path, "a.html", page.encode("utf-16")).text == f"Revenue rose, 收入增长{padding}"


def test_html(tmp_path: Path) -> None:
    page = """<html><head><title>标题</title><meta charset="gbk"><style>p{}</style></head><body><nav>Home</nav>
      <h1>请假 <b>制度</b></h1><p>提前<b>三天</b>申请。<br>See below.</p><script>alert(1)</script>
      <table><tr><th>Kind</th><th>Days</th></tr><tr><td>Sick</td><td>15</td></tr></table>
      <pre>a\n  b</pre><ul><li>one</li><li>two</li></ul></body></html>"""
    document = parse(tmp_path, "a.html", page.encode("gb18030"))
    assert document.title == "标题"
    assert headings(document) == [(1, "请假 制度")]
    expected = ["请假 制度", "提前三天申请。", "See below.", "Kind: Sick; Days: 15", "a", "  b", "one", "two"]
    assert [line for line in document.text.split("\n") if line] == expected


def test_tables_nested_too_deeply_are_read_as_text(tmp_path: Path) -> None:
    page = "<table><tr><td>level</td><td>" * 200 + "innermost" + "</td></tr></table>" * 200
    text = parse(tmp_path, "a.html", page).text
    assert (text.count("level"), text.count("innermost")) == (200, 1)


def test_deeply_nested_html(tmp_path: Path) -> None:
    assert parse(tmp_path, "a.htm", "<div>" * 20_000 + "hello").text == "hello"
    page = "<div>" * 600 + "<p>one</p><script>x</script><table><tr><td>two<br>three</table>" + "</div>" * 600 + "four"
    assert parse(tmp_path, "a.htm", page).text.split() == ["one", "two", "three", "four"]


def test_docx(tmp_path: Path) -> None:
    document = parse(tmp_path, "a.docx", samples.make_docx())
    assert document.title == "员工手册"
    assert headings(document) == [(1, "第一章 请假"), (2, "病假")]
    lines = [line for line in document.text.split("\n") if line]
    assert lines[2:] == ["病假", "类别: 病假; 天数: 15", "After the table."]


def test_docx_endnotes_and_moved_text(tmp_path: Path) -> None:
    moved = "<w:moveFrom><w:r><w:t>Moved.</w:t></w:r></w:moveFrom><w:moveTo><w:r><w:t>Moved.</w:t></w:r></w:moveTo>"
    document = parse(tmp_path, "a.docx", samples.make_docx_with(moved, endnote="Smith 2019."))
    assert document.text == "Moved.\n\nSmith 2019."


@pytest.mark.parametrize("name", ["a.docx", "a.html", "a.pptx"])
def test_long_heading_is_kept_whole(name: str, tmp_path: Path) -> None:
    clause = "The contractor pays for each day of delay, " * 8 + "seven percent."
    content: bytes | str = f"<h2>{clause}</h2>"
    if name == "a.docx":
        content = samples.make_docx(clause)
    elif name == "a.pptx":
        content = samples.make_pptx(clause)
    document = parse(tmp_path, name, content)
    assert clause in document.text
    assert max(len(heading.title) for heading in document.headings) == 200


def test_html_inline_tags_do_not_split_words(tmp_path: Path) -> None:
    page = """<h2>知<em>文</em>系统<b>部</b>署</h2><table><tr><td>Data<b>base</b></td><td>1<span>,</span>234</td>
      <td><p>a</p><p>b</p></td></tr></table><pre>npm install<br>npm run <b>build</b></pre>
      <pre><div>x</div><div>y</div></pre>"""
    lines = parse(tmp_path, "a.html", page).text.split("\n")
    assert [line for line in lines if line] == [
        *("知文系统部署", "Database | 1,234 | a b"),
        *("npm install", "npm run build", "x", "y"),
    ]


def test_html_keeps_buttons_in_headings_and_columns(tmp_path: Path) -> None:
    page = """<h2><button>How do I return it?</button></h2><p>By post.</p>
      <table><tr><th><button>Name</button></th></tr></table>"""
    document = parse(tmp_path, "a.html", page)
    assert document.text.split() == ["How", "do", "I", "return", "it?", "By", "post.", "Name"]
    assert [heading.title for heading in document.headings] == ["How do I return it?"]


def test_markdown_drops_embedded_images(tmp_path: Path) -> None:
    data = "data:image/png;base64," + "iVBORw0KGgo" * 1000
    text = f'Before ![A cat]({data}) after.\n\n<img src="{data}">\n\n[1]: {data}\n'
    document = parse(tmp_path, "a.md", text)
    assert document.text == "Before ![A cat](data:…) after.\n\n[1]: data:…"


def test_pdf_form_values_are_read(tmp_path: Path) -> None:
    assert parse(tmp_path, "a.pdf", samples.make_form("Full name", "Ada Lovelace")).text == (
        "Application\n\nFull name: Ada Lovelace"
    )


@pytest.mark.parametrize("part", ["/chart", "/diagramData"])
def test_pptx_with_broken_drawing_keeps_the_rest(part: str, tmp_path: Path) -> None:
    text = parse(tmp_path, "a.pptx", samples.without_relation(samples.make_rich_pptx(), part)).text
    assert "The energy is 42 joules" in text
    assert ("first step" in text) == (part == "/chart")


@pytest.mark.parametrize(("flags", "is_read"), [(0, True), (1 << 13, False)])
def test_pdf_form_passwords_are_dropped(flags: int, is_read: bool, tmp_path: Path) -> None:
    assert ("1234" in parse(tmp_path, "a.pdf", samples.make_form("PIN", "1234", flags)).text) == is_read


def test_pptx_charts_diagrams_and_formulas(tmp_path: Path) -> None:
    text = parse(tmp_path, "a.pptx", samples.make_rich_pptx()).text
    assert text.split("\n\n") == [
        "Sales by region",
        "North; 2025: 1234567.25; 2026: 3\nSouth; 2026: 4",
        "The energy is 42 joules\nfirst step\nsecond step",
    ]


def test_pptx(tmp_path: Path) -> None:
    document = parse(tmp_path, "a.pptx", samples.make_pptx())
    assert headings(document) == [(1, "First slide"), (1, "第二页")]
    assert pages(document) == ["First slide\nPoint one", "第二页\n要点\n\nSpeak slowly"]


def test_xlsx_rows_are_labelled(tmp_path: Path) -> None:
    rows: list[list[str | float]] = [["报表"], ["姓名", "天数"], ["张三", 3.0], ["李四", 2.5], [], ["注"]]
    document = parse(tmp_path, "a.xlsx", samples.make_xlsx({"请假": rows, "空": [], "B": [["x"]]}))
    assert pages(document) == ["请假\n报表\n姓名: 张三; 天数: 3\n姓名: 李四; 天数: 2.5\n注", "", "B\nx"]
    assert headings(document) == [(1, "请假"), (1, "B")]


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        (170360448123.45, "170360448123.45"),
        (123456789.99, "123456789.99"),
        (1234567890123456, "1234567890123456"),
        (0.30000000000000004, "0.3"),
        (1.5e-7, "0.00000015"),
        (1e300, "1e+300"),
    ],
)
def test_xlsx_numbers_keep_their_digits(stored: float, shown: str, tmp_path: Path) -> None:
    assert parse(tmp_path, "a.xlsx", samples.make_xlsx({"S": [[stored]]})).text == f"S\n{shown}"


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        ([["负责人", "张三"], ["建设单位", "某公司"]], ["负责人 | 张三", "建设单位 | 某公司"]),
        ([["Name", "Age"], ["Ann", 3], ["Bob", 4]], ["Name: Ann; Age: 3", "Name: Bob; Age: 4"]),
        ([["产品", "1月", "12月"], ["茶", 3, 4]], ["产品: 茶; 1月: 3; 12月: 4"]),
        ([["Item", "2023Q1", "2023Q2"], ["Tea", 3, 4]], ["Item: Tea; 2023Q1: 3; 2023Q2: 4"]),
        (
            [["Name", "Dept", "City"], ["Ann", "IT", "Rome"], [], ["Bob", "HR", "Berlin"], ["Eve", "Legal", "Madrid"]],
            ["Name: Ann; Dept: IT; City: Rome", "Bob | HR | Berlin", "Eve | Legal | Madrid"],
        ),
        (
            [["A", "B", "C"], ["1", "2", "3"], [], ["Second table"], ["D", "E", "F"], ["4", "5", "6"]],
            ["A: 1; B: 2; C: 3", "Second table", "D: 4; E: 5; F: 6"],
        ),
    ],
)
def test_xlsx_data_rows_are_not_used_as_headers(
    rows: list[list[str | float]], lines: list[str], tmp_path: Path
) -> None:
    assert parse(tmp_path, "a.xlsx", samples.make_xlsx({"S": rows})).text.split("\n")[1:] == lines


def test_xlsx_cells_read_as_people_see_them(tmp_path: Path) -> None:
    formats = ["0.0%", "00000", 'yyyy"年"m"月"', "[h]:mm"]
    values = (0.1275, 1067, 45352, 1.09375)
    cells = "".join(f'<c s="{style}"><v>{value}</v></c>' for style, value in enumerate(values, 1))
    shared = '<c t="s"><v>0</v></c><c t="s"><v>1</v></c><c t="s"><v>2</v></c>'
    others = '<c t="b"><v>1</v></c><c t="str"><f>A1</f><v>text</v></c><c t="e"><v>#N/A</v></c><c s="99"><v>2.50</v></c>'
    content = samples.make_sheet(f"<row>{cells}</row><row>{shared}</row><row>{others}</row>", formats)
    lines = ["S", "12.8% | 01067 | 2024年3月 | 26:15", "plain | rich | 東京", "TRUE | text | #N/A | 2.5"]
    assert parse(tmp_path, "a.xlsx", content).text.split("\n") == lines


def test_xlsx_stray_cell_costs_nothing(tmp_path: Path) -> None:
    row = '<row r="{0}"><c r="A{0}"><v>1</v></c><c r="B{0}"><v>2</v></c></row>'
    far = '<row r="1048576"><c r="XFD1048576" t="inlineStr"><is><t>far</t></is></c></row>'
    blank = '<row r="1048575"><c r="A1048575" t="inlineStr"><is><t> </t></is></c></row>'
    content = samples.make_sheet(row.format(1) + row.format(2) + blank + far)
    assert parse(tmp_path, "a.xlsx", content).text == "S\n1 | 2\n1 | 2\nfar"


def test_xlsx_formulas_without_results_are_shown_and_noted(tmp_path: Path) -> None:
    cells = '<c><f>B2+C2</f><v></v></c><c><f>SUM(A1)</f></c><c><f>A1</f><v>7</v></c><c t="str"><f>""</f><v></v></c>'
    document = parse(tmp_path, "a.xlsx", samples.make_sheet(f"<row>{cells}</row>"))
    assert document.text == "S\n=B2+C2 | =SUM(A1) | 7"
    assert document.notes == (Note(NoteKind.UNSTORED_FORMULAS, 2, (), ("S",)),)


@pytest.mark.parametrize("value", ["2024-01-05", "+1 555 0100", "ann@mail.example", "https://a.example"])
def test_csv_without_a_header(value: str, tmp_path: Path) -> None:
    rows = f"Ann,Paris,{value}\nBob,Rome,{value}"
    assert parse(tmp_path, "a.csv", rows).text == rows.replace(",", " | ")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16"])
def test_csv(tmp_path: Path, delimiter: str, encoding: str) -> None:
    text = f'姓名{delimiter}备注\r\n张三{delimiter}"事假，\r\n""两天"""\r\n李四{delimiter}\r\n'
    document = parse(tmp_path, "a.csv", text.encode(encoding))
    assert document.text == '姓名: 张三; 备注: 事假， "两天"\n姓名: 李四'


@pytest.mark.parametrize("name", ['../../x" or 1==1 or ".pdf', "..\\a.PDF ", "文档\udcff.pdf", "a\0.pdf"])
def test_file_name_is_only_a_label(tmp_path: Path, name: str) -> None:
    assert parse(tmp_path, name, samples.make_pdf(["Hello"])).text == "Hello"


def test_text_is_cleaned(tmp_path: Path) -> None:
    assert parse(tmp_path, "a.txt", "a\0b\r\nc\rd\x07\n\n\n \n\n\ne\ufeff").text == "ab\nc\nd\n\n\ne"
    assert clean("x\ud800y") == "xy"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("so\u00adft hy\u00ad\n  phen, \u200bzero\u200bwidth", "soft hyphen, zerowidth"),
        ("end\u00ad\n\n- next", "end\n\n- next"),
        ("保\u200b修\u200d期\u2060限", "保修期限"),
        ("Auf\u200clage; \u202bhidden\u202c", "Auflage; hidden"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # Persian and emoji are spelt with joiners
        ("👩\u200d🔧", "👩\u200d🔧"),
        ("ผม\u200bรัก", "ผม\u200bรัก"),  # the only mark between Thai words
        ("\x1b[32mINFO\x1b[0m start \x1b[1;38;5;200mworker-7\x1b[K", "INFO start worker-7"),
        ("\x1b]0;a title\x07\x1b]8;;https://a.example\x1b\\link\x1b]8;;\x1b\\ \x1b(Bok\x1b=\x1bM", "link ok"),
        ("left [0m as it is", "left [0m as it is"),
    ],
)
def test_what_cannot_be_seen_is_removed(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@pytest.mark.parametrize("extension", SUPPORTED_EXTENSIONS)
def test_empty_file(tmp_path: Path, extension: str) -> None:
    with pytest.raises(EmptyFile):
        parse(tmp_path, f"a{extension}", b"")


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("a.txt", b" \n\t\r\n", BlankFile),
        ("a.html", b"<html><body><img src=x></body></html>", BlankFile),
        ("a.pdf", samples.make_pdf([""]), NoText),
        ("a.xlsx", samples.make_xlsx({"A": []}), NoText),
    ],
)
def test_file_without_text(tmp_path: Path, name: str, content: bytes, error: type[DocumentError]) -> None:
    with pytest.raises(error):
        parse(tmp_path, name, content)


@pytest.mark.parametrize("name", ["README", "a.conf", "data.json", "main.py", "x.unheard-of", ".env", "build.log"])
def test_text_by_any_name_is_read(tmp_path: Path, name: str) -> None:
    assert parse(tmp_path, name, "retention_days: 30").text == "retention_days: 30"
    assert parse(tmp_path, name, "保留天数：三十".encode("gb18030")).text == "保留天数：三十"


@pytest.mark.parametrize(
    ("name", "content", "media_type"),
    [
        ("Report", samples.make_pdf(["Hello"]), media_types.PDF),
        ("letter", samples.make_docx(), media_types.WORD),
        ("slides.", samples.make_pptx(), media_types.POWERPOINT),
        ("page", b"<!DOCTYPE html><p>Hello", media_types.HTML),
        ("page.xhtml", b"<html><body>a</body></html>", media_types.HTML),
        ("notes.mdx", b"# Hi", media_types.MARKDOWN),
        ("table.TSV", b"a\tb", media_types.TAB_SEPARATED),
        ("photo.jpg", b"\xff\xd8\xff\xe0" + bytes(100), media_types.JPEG),
        ("a.zip", b"PK", "application/zip"),
    ],
)
def test_media_type_follows_a_known_extension_else_the_content(
    tmp_path: Path, name: str, content: bytes, media_type: str
) -> None:
    assert detect_media_type(samples.write(tmp_path, "a", content), name) == media_type


@pytest.mark.parametrize("name", ["a.ppt", "a.mp4", "a", "a.exe", ".pdf"])
def test_unsupported_format(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnsupportedFormat) as caught:
        parse(tmp_path, name, b"MZ\x90\0" + bytes(100))
    assert ".docx" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "actual"),
    [
        ("a.pdf", samples.make_docx(), "Word (.docx)"),
        ("a.pdf", b"<!DOCTYPE html><html></html>", "HTML"),
        ("a.pdf", b"just words", "plain text"),
        ("a.docx", b"MZ\x90\0\x03" + bytes(range(256)) * 4, ""),
        ("a.docx", samples.make_pdf(["x"]), "PDF"),
        ("a.docx", samples.make_pptx(), "PowerPoint (.pptx)"),
        ("a.docx", OLE + "WordDocument".encode("utf-16-le") + bytes(100), "old Word, .doc"),
        ("a.xlsx", samples.make_zip({"readme.txt": "x"}), "ZIP archive"),
        ("a.pptx", b"id,name\n1,2\n", "plain text"),
        ("a.txt", samples.make_pdf(["x"]), "PDF"),
        ("a.txt", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 4, ""),
        ("a.md", samples.make_docx(), "Word (.docx)"),
        ("a.csv", b"<html><body>Not found</body></html>", "HTML"),
    ],
)
def test_content_that_contradicts_the_extension(tmp_path: Path, name: str, content: bytes, actual: str) -> None:
    with pytest.raises(WrongFormat) as caught:
        parse(tmp_path, name, content)
    assert actual.lower() in caught.value.values["actual"].lower()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.pdf", samples.make_pdf(["secret"], password="secret")),
        ("a.docx", OLE + "EncryptedPackage".encode("utf-16-le") + bytes(100)),
        ("a.xlsx", OLE + "EncryptedPackage".encode("utf-16-le") + bytes(100)),
    ],
)
def test_password_protected_file(tmp_path: Path, name: str, content: bytes) -> None:
    with pytest.raises(PasswordProtected):
        parse(tmp_path, name, content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.pdf", samples.make_pdf(["Some words"])[:-20]),
        ("a.pdf", b"%PDF-1.7\n1 0 obj << /Type /Catalog"),
        ("a.pdf", bytes(5000)),
        ("a.docx", samples.make_docx()[:-2000]),
        ("a.docx", samples.make_zip({"word/document.xml": "<w:document"})),
        ("a.pptx", samples.make_pptx()[:9000]),
        ("a.xlsx", samples.make_xlsx({"A": [["x"]]})[:-300]),
        ("a.xlsx", samples.make_zip({"xl/workbook.xml": "<workbook"})),
    ],
)
def test_damaged_file(tmp_path: Path, name: str, content: bytes) -> None:
    with pytest.raises(DamagedFile) as caught:
        parse(tmp_path, name, content)
    assert "\n" not in caught.value.values["detail"]


@pytest.mark.parametrize("tail", [b"\0" * 5_000, b"\n" * 5_000, b"% a comment of a web server\n" * 300])
def test_pdf_with_trailing_bytes(tmp_path: Path, tail: bytes) -> None:
    assert parse(tmp_path, "a.pdf", samples.make_pdf(["Some words"]) + tail).text == "Some words"


@pytest.mark.parametrize("order", ["/Linearized 1 /L %05d /N 1", "/L\n%05d /N 1 /Linearized 1"])
def test_truncated_linearized_pdf_is_damaged(tmp_path: Path, order: str) -> None:
    """The first page has its own end mark, so PDFium would read that page of an incomplete download."""
    begin, rest = samples.make_pdf(["Some words"]).split(b"\n", 1)

    def linearized(length: int) -> bytes:
        dictionary = (order % length).encode()
        return begin + b"\n999 0 obj\n<< " + dictionary + b" >>\nendobj\n" + rest

    size = len(linearized(10_000))
    assert size < 10_000
    with pytest.raises(DamagedFile, match="its end is missing"):
        parse(tmp_path, "a.pdf", linearized(10_000))
    assert parse(tmp_path, "a.pdf", linearized(size)).text == "Some words"
    assert parse(tmp_path, "a.pdf", linearized(10)).text == "Some words"  # a later change was appended


def test_damaged_middle_gives_text_or_a_document_error(tmp_path: Path) -> None:
    for content, name in ((samples.make_pdf(["Some words"] * 3), "a.pdf"), (samples.make_docx(), "a.docx")):
        for at in range(20, len(content) - 60, len(content) // 25):
            try:
                parse(tmp_path, name, content[:at] + bytes(40) + content[at + 40 :])
            except DocumentError:
                continue


def test_many_leading_comments_are_handled_quickly(tmp_path: Path) -> None:
    comments = "<!-- a -->\n" * 2_000
    assert parse(tmp_path, "a.csv", comments + "x,y\n1,2").text.endswith("2")
    with pytest.raises(WrongFormat):
        parse(tmp_path, "a.csv", comments + "<html><body>x</body></html>")


def test_zip_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "_MAX_UNPACKED_BYTES", 10_000)
    monkeypatch.setattr(kinds, "_size", str)
    parts = {"word/styles.xml": "y" * 100, "word/document.xml": "x" * 20_000}
    with pytest.raises(UnpacksTooLarge) as caught:
        parse(tmp_path, "a.docx", samples.make_zip(parts))
    message = "“a.docx” unpacks to 20100; at most 10000 is read. Its largest part is “word/document.xml” with 20000."
    assert message in str(caught.value)
    monkeypatch.setattr(kinds, "_MAX_UNPACKED_BYTES", 1 << 30)
    monkeypatch.setattr(kinds, "_MAX_MEMBERS", 1)
    with pytest.raises(TooManyParts, match="consists of 2 parts; at most 1 are read"):
        parse(tmp_path, "a.docx", samples.make_zip(parts))


@pytest.mark.parametrize(("size", "text"), [(1 << 30, "1 GB"), (5_583_457_484, "5.2 GB"), (300 << 20, "300 MB")])
def test_sizes_of_parts_are_written_for_people(size: int, text: str) -> None:
    assert kinds._size(size) == text


def test_xml_entities_are_not_expanded(tmp_path: Path) -> None:
    secret = samples.write(tmp_path, "secret", "do not read")
    bomb = f'<!DOCTYPE x [<!ENTITY e SYSTEM "{secret.as_uri()}">]><x>&e; text</x>'
    assert "do not read" not in parse(tmp_path, "a.html", bomb).text


# --- parts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "drawing",
    [
        "105 680 m 105 720 l S",  # a line
        "60 680 45 40 re 105 680 60 40 re S",  # frames
        "104.5 680 1 40 re f",  # a thin box
        "q 2 0 0 2 5 80 cm /Fm Do Q",
    ],
)
def test_lines_of_a_pdf_table_part_its_cells(drawing: str, tmp_path: Path) -> None:
    places = [(62.5, 710, 10, "Shareholder"), (106, 710, 10, "Legal form"), (83, 690, 10, "Ama"), (106, 690, 10, "AG")]
    ruled = samples.make_placed_pdf([places], drawing=drawing, form="50 300 m 50 320 l S")
    assert parse(tmp_path, "a.pdf", ruled).text == "Shareholder\tLegal form\nAma\tAG"
    above = samples.make_placed_pdf([places], drawing="105 730 m 105 760 l S")
    assert "\t" not in parse(tmp_path, "b.pdf", above).text


def test_lines_across_words_of_a_pdf_leave_them_whole(tmp_path: Path) -> None:
    crossed = samples.make_placed_pdf(
        [[(72, 700, 10, "Transformer")]], drawing="".join(f"{x} 680 m {x} 720 l S " for x in range(75, 120, 4))
    )
    assert parse(tmp_path, "a.pdf", crossed).text == "Transformer"


def test_pdf_fonts_that_misstate_their_widths(tmp_path: Path) -> None:
    font = f"/Type1 /BaseFont /Helvetica /FirstChar 32 /LastChar 122 /Widths [{'1000 ' * 91}]"
    text = "composition of titanium and of alloys"
    narrow = dict.fromkeys("il ", 2.5) | dict.fromkeys("ft", 3.0) | {"m": 8.4}
    lefts = [72 + sum(narrow.get(char, 5.4) for char in text[:n]) for n in range(len(text))]
    places = [(left, 700, 10, char) for left, char in zip(lefts, text, strict=True) if char != " "]
    assert parse(tmp_path, "a.pdf", samples.make_placed_pdf([places], font=font)).text == text


def test_turned_labels_stand_in_the_rows_of_pdf_tables(tmp_path: Path) -> None:
    places = [(100, 705, 10, "Leak"), (200, 705, 10, "0.2"), (100, 685, 10, "Noise"), (200, 685, 10, "68")]
    lines = "60 720 m 300 720 l 95 700 m 300 700 l 60 680 m 300 680 l "
    lines += "".join(f"{x} 720 m {x} 680 l " for x in (60, 95, 195, 300)) + "S BT 0 1 -1 0 80 688 Tm (Pump) Tj ET"
    content = samples.make_placed_pdf([places], drawing=lines)
    assert parse(tmp_path, "a.pdf", content).text == "Pump\tLeak\t0.2\nPump\tNoise\t68"


def test_turned_pdf_pages_keep_what_they_repeat(tmp_path: Path) -> None:
    rows = [(200 + 20 * n, 60, 10, f"row {n} of the table on each of the pages") for n in range(8)]
    text = parse(tmp_path, "a.pdf", samples.make_placed_pdf([rows, rows], angle=90)).text
    assert text.count("row 3 of") == text.count("row 5 of") == 2


def test_pdf_dot_leaders_are_short(tmp_path: Path) -> None:
    places = [(72, 700, 10, "1 Introduction " + ". " * 40), (500, 700, 10, "3"), (72, 680, 10, f"2 Use{'.' * 50}12")]
    assert parse(tmp_path, "a.pdf", samples.make_placed_pdf([places])).text == "1 Introduction …\t3\n2 Use … 12"


def test_each_page_of_a_pdf_is_a_part(tmp_path: Path) -> None:
    path = samples.write(tmp_path, "a", samples.make_pdf(["One", "", "Three"], [("One", 0), ("Three", 2)]))
    parts = list(parse_source(Source(path, "a.pdf", media_types.PDF)))
    assert [part.text.strip() for part in parts] == ["One", "Three"]
    assert [[page.number for page in part.pages] for part in parts] == [[1], [2, 3]]
    rest = joined(parse_source(Source(path, "a.pdf", media_types.PDF, first_page=2)))
    assert rest.text.strip() == "Three"
    assert [page.number for page in rest.pages] == [2, 3]


def test_parts_add_up_to_the_document() -> None:
    builder = TextBuilder("a", title="Title")
    parts: list[ParsedDocument] = []
    for number in range(200):
        if number % 5 == 0:
            builder.start_page(number // 5 + 1)
        builder.add_heading(1 + number % 2, f"Heading {number}")
        builder.add("Some words. " * 100)
        builder.note(NoteKind.UNREADABLE, page=number % 3 + 1)
        parts += builder.full_parts()
    parts += builder.last_parts()
    assert len(parts) > 3
    assert all(len(part.text) <= PART_CHARACTERS for part in parts)
    whole = joined(parts)
    assert headings(whole) == [(1 + number % 2, f"Heading {number}") for number in range(200)]
    assert [page.number for page in whole.pages] == list(range(1, 41))
    assert all(whole.text.startswith(f"Heading {5 * (page.number - 1)}", page.start) for page in whole.pages)
    assert [part.title for part in parts] == ["Title", *[""] * (len(parts) - 1)]
    assert whole.notes == (Note(NoteKind.UNREADABLE, 200, (1, 2, 3)),)


@pytest.mark.parametrize("text", ["字" * 3 * PART_CHARACTERS, "a line\n" * PART_CHARACTERS, "# A\n\nText.\n" * 20_000])
@pytest.mark.parametrize("name", ["a.txt", "a.md"])
def test_large_text_comes_in_parts(tmp_path: Path, name: str, text: str) -> None:
    path = samples.write(tmp_path, "a", text)
    parts = list(parse_source(Source(path, name, detect_media_type(path, name))))
    assert len(parts) > 1
    assert max(len(part.text) for part in parts) <= PART_CHARACTERS
    assert joined(parts).text == text.strip()


def test_pages_with_images_only_are_noted(tmp_path: Path) -> None:
    document = parse(tmp_path, "a.pdf", samples.make_pdf(["Contract", None, None, "Signed", ""]))
    assert document.notes == (Note(NoteKind.IMAGES_ONLY, 2, (2, 3)),)
    assert [page.number for page in document.pages] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("width", [500, 600, 1000])
def test_spaces_as_wide_as_the_letters_make_no_columns(tmp_path: Path, width: int) -> None:
    """Fonts that are not in the file and have no widths give each letter a whole em."""
    lines = [f"Night {hour}: thin clouds drift westward." for hour in range(9)]
    font = f"/Type1 /BaseFont /Courier /FirstChar 32 /LastChar 126 /Widths [{f'{width} ' * 95}]"
    pdf = samples.make_placed_pdf([[(30, 720 - 12 * n, 8, line) for n, line in enumerate(lines)]], font=font)
    assert parse(tmp_path, "a.pdf", pdf).text.split("\n") == lines


GARBLED = r"$#!xk%&+rq8*zz;[]{}=/w@q^q~"


def test_garbled_pages_are_left_out_and_noted(tmp_path: Path) -> None:
    """A font without a map to characters may still number its glyphs as characters are; then its text is kept."""
    pages = ["The quick brown fox jumps over the lazy dog.", GARBLED, "Revenue rose by 12.5% in 2024.", GARBLED]
    document = parse(tmp_path, "a.pdf", samples.make_unmapped_pdf(pages))
    assert document.text.split("\n") == [pages[0], "", pages[2]]
    assert document.notes == (Note(NoteKind.GARBLED, 2, (2, 4)),)


def test_text_that_is_garbled_throughout_fails(tmp_path: Path) -> None:
    with pytest.raises(GarbledText):
        parse(tmp_path, "a.pdf", samples.make_unmapped_pdf([GARBLED, "", GARBLED]))


# --- what people see, in every format ---------------------------------------------------------------------------


def test_docx_numbers_marks_and_notes(tmp_path: Path) -> None:
    document = parse(tmp_path, "a.docx", samples.make_contract())
    assert document.text.split("\n\n") == [
        "Doc no. QP-7 Valid from 2024",
        "1 Terms\n第一条 The rent is 4,512 [1] EUR for 25 m². [1] [comment: check this]\n"
        "第二条 5±0.2 mm, ☒ agreed, 東京 is high",
        "地区: 一线; 职级: 经理; 标准: 600\n地区: 一线; 职级: 员工; 标准: 400",
        "Owner: Purchasing",
        "[1] Since May.",
    ]
    assert headings(document) == [(1, "1 Terms")]
    assert [document.text[rows.start :][:6] for rows in document.tables] == ["地区: 一线"]


PAGE = """<html><body><header>Shop <a>Cart</a></header><div class="cookie-banner">Accept cookies?</div><main>
<h1>Pump</h1><div><span class="l">Weight</span><span class="v">12 kg</span><b>V</b>oltage</div>
<ol start="3"><li>Open<ol type="a"><li>slowly</li></ol></li><li value="7">Close</li></ol>
<p>10<sup>6</sup> cells, H<sub>2</sub>O, <ruby>東京<rt>とうきょう</rt></ruby>都,
<math><mfrac><mn>3</mn><mn>4</mn></mfrac></math> of <span class="katex"><span class="katex-mathml"><math><semantics>
<mi>E</mi><annotation encoding="application/x-tex">E=mc^2</annotation></semantics></math></span>
<span class="katex-html" aria-hidden="true">E=mc2</span></span>.
<input type="checkbox" checked> done</p>
<table><tr><th>Region</th><th>Grade</th><th>Rate</th></tr><tr><td rowspan="2">North</td><td>A</td><td>600</td></tr>
<tr><td>B</td><td>400</td></tr></table>
<table><tr><td class="linenos"><pre>1\n2</pre></td><td><pre>def f():\n    return 1</pre></td></tr></table>
</main><aside>Related</aside><footer>Imprint</footer></body></html>"""


def test_html_reads_as_people_see_it(tmp_path: Path) -> None:
    lines = [line for line in parse(tmp_path, "a.html", PAGE).text.split("\n") if line]
    assert lines == [
        "Pump",
        "Weight 12 kg Voltage",
        "3. Open",
        "a. slowly",
        "7. Close",
        "10^6 cells, H2O, 東京都, 3/4 of E=mc^2. ☑ done",
        "Region: North; Grade: A; Rate: 600",
        "Region: North; Grade: B; Rate: 400",
        "def f():",
        "    return 1",
    ]


def test_html_without_an_article_keeps_what_is_around(tmp_path: Path) -> None:
    page = '<header>Shop</header><div id="cookie-consent">Accept?</div><p>Text</p><footer>Imprint</footer>'
    assert parse(tmp_path, "a.html", page).text.split() == ["Shop", "Text", "Imprint"]


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<b>Height</b><i>30 cm</i>", "Height 30 cm"),
        ("<a>Buy now</a><a>Compare</a>", "Buy now Compare"),
        ("<span>Docu</span><span>ment</span>", "Document"),
        ("<b>W</b>ord <i>a</i>, <code><span>f</span><b>(x)</b></code>", "Word a, f(x)"),
        ("<span class='a'>重量</span><span class='b'>千克</span>", "重量 千克"),
        ("<i>so</i><b>, then</b>", "so, then"),
    ],
)
def test_neighbouring_elements(page: str, text: str, tmp_path: Path) -> None:
    assert parse(tmp_path, "a.html", f"<p>{page}</p>").text == text


def test_markdown_tables_and_html(tmp_path: Path) -> None:
    text = """<h1 align="center">Gateway</h1>

Text with <b>bold</b>, 10<sup>6</sup> and `<b>code</b>`.<!-- secret -->

<!-- TODO: secret -->

| Code | Remedy |
| --- | --- |
| E1 | Replace \\| mend |
| E2 | Wait<br>long |

##No space
#标题

```
#no heading
```
"""
    document = parse(tmp_path, "a.md", text)
    assert headings(document) == [(1, "Gateway"), (2, "##No space"), (1, "#标题")]
    assert [heading.title for heading in document.headings] == ["Gateway", "No space", "标题"]
    assert document.text.split("\n\n") == [
        "Gateway",
        "Text with bold, 10^6 and `<b>code</b>`.",
        "Code: E1; Remedy: Replace | mend\nCode: E2; Remedy: Wait long",
        "##No space\n#标题",
        "```\n#no heading\n```",
    ]


def test_pptx_shapes_are_read_from_top_to_bottom(tmp_path: Path) -> None:
    document = parse(tmp_path, "a.pptx", samples.make_steps())
    assert [line for line in document.text.split("\n") if line] == [
        *("01", "Open the valve", "02", "Fill with 10^6 ml", "1. one", "2. two"),
        *("Region: North; Rate: 5", "Region: North; Rate: 6"),
    ]


def test_docx_boxes_images_and_old_formulas(tmp_path: Path) -> None:
    document = docx.Document()
    drawn = nsdecls("w", "wp", "a")
    for inside in (
        "<w:t>Anchor</w:t><w:pict><v:textbox xmlns:v='urn:schemas-microsoft-com:vml'><w:txbxContent><w:p><w:r>"
        "<w:t>In a box</w:t></w:r></w:p></w:txbxContent></v:textbox></w:pict>",
        '<w:drawing><wp:inline><wp:docPr id="1" name="Picture 1" descr="A red valve"/></wp:inline></w:drawing>',
        '<w:drawing><wp:inline><wp:docPr id="2" name="Picture 2" descr="C:\\scan 1.png"/></wp:inline></w:drawing>',
        '<w:fldChar w:fldCharType="begin"/><w:instrText>EQ \\f(3,4)</w:instrText><w:fldChar w:fldCharType="end"/>',
    ):
        document.add_paragraph()._p.append(parse_xml(f"<w:r {drawn}>{inside}</w:r>"))
    document.save(str(tmp_path / "a"))
    assert parse_file(tmp_path / "a", "a.docx").text == "Anchor\nIn a box\n\nA red valve\n\n3/4"


def test_docx_text_that_a_style_raises(tmp_path: Path) -> None:
    document = docx.Document()
    document.styles.add_style("Mark", WD_STYLE_TYPE.CHARACTER).font.superscript = True
    document.styles.add_style("Note mark", WD_STYLE_TYPE.CHARACTER).base_style = document.styles["Mark"]
    paragraph = document.add_paragraph("Dose 10")
    paragraph.add_run("7", style="Mark")
    paragraph.add_run(" cells for 4,512")
    paragraph.add_run("1", style="Note mark")
    paragraph.add_run(" EUR")
    document.save(str(tmp_path / "a"))
    assert parse_file(tmp_path / "a", "a.docx").text == "Dose 10^7 cells for 4,512 [1] EUR"


def test_xlsx_merged_cells_and_raised_text(tmp_path: Path) -> None:
    def cell(place: str, text: str) -> str:
        return f'<c r="{place}" t="inlineStr"><is><t>{text}</t></is></c>'

    rich = '<r><t>4,512</t></r><r><rPr><vertAlign val="superscript"/></rPr><t>1</t></r>'
    rows = (
        f'<row r="1">{cell("A1", "地区")}{cell("B1", "职级")}{cell("C1", "标准")}</row>'
        f'<row r="2">{cell("A2", "一线")}{cell("B2", "经理")}<c r="C2" t="inlineStr"><is>{rich}</is></c></row>'
        f'<row r="3">{cell("B3", "员工")}{cell("C3", "400")}</row>'
    )
    content = samples.make_sheet(rows, merged=["A2:A3"])
    assert parse(tmp_path, "a.xlsx", content).text.split("\n")[1:] == [
        "地区: 一线; 职级: 经理; 标准: 4,512 [1]",
        "地区: 一线; 职级: 员工; 标准: 400",
    ]


def test_merged_cell_over_the_whole_sheet_costs_nothing(tmp_path: Path) -> None:
    content = samples.make_sheet('<row r="1"><c r="A1"><v>7</v></c></row>', merged=["A1:XFD1048576"])
    assert parse(tmp_path, "a.xlsx", content).text == "S\n7"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('id,note\n1,"open,closed\n2,fine', "id: 1; note: open; closed\nid: 2; note: fine"),
        ('id,note\n1,"two\nlines"\n2,fine', "id: 1; note: two lines\nid: 2; note: fine"),
        ('size,item\n5",pipe\n6",tube', 'size: 5"; item: pipe\nsize: 6"; item: tube'),
        ('name,qty\n"8, long" bolt,3\nnut,4', "name: 8, long bolt; qty: 3\nname: nut; qty: 4"),
        ("sep=;\nName;City\nAnna;Köln", "Name: Anna; City: Köln"),
        ("name,note\n'O''Neil','a, b'\n'Ann',ok", "name: O'Neil; note: a, b\nname: Ann; note: ok"),
        ("a,b\r\r\n1,2\r\r\n3,4\r\r\n5,6", "a: 1; b: 2\na: 3; b: 4\na: 5; b: 6"),
        ("name,note\nAnn,fine,extra\nBob,late", "name: Ann; note: fine; extra\nname: Bob; note: late"),
        ("Anna,Berlin,Engineer\nBob,Paris,Lawyer", "Anna | Berlin | Engineer\nBob | Paris | Lawyer"),
    ],
)
def test_csv_variants(content: str, text: str, tmp_path: Path) -> None:
    assert parse(tmp_path, "a.csv", content).text == text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "第一章 总则\n第一条 为规范，制定。\n第二条 适用。\n第二章 考勤\n第三条 打卡。\n第三条的规定适用。",
            [(1, "第一章 总则"), (2, "第一条"), (2, "第二条"), (1, "第二章 考勤"), (2, "第三条")],
        ),
        ("1 Scope\n\n1.1 Safety\nText\n1.2 Tools\n\n2 Care\n\n2.1 Oil", None),
        ("Chapter 1: Start\nText\nChapter 2: End\nText", [(1, "Chapter 1: Start"), (1, "Chapter 2: End")]),
        ("1.5 kg of flour\n2.5 l of milk\n3 eggs", []),
        ("Only one\n第一章 总则\nof them", []),
        ("I. DUTIES\n\nText\n\nII. TERM\n\nText", [(1, "I. DUTIES"), (1, "II. TERM")]),
        ("§ 1 Scope\nText\n§ 2 Term\nof § 1 and\n§ 2 of it", [(1, "§ 1 Scope"), (1, "§ 2 Term")]),
        (
            "一、范围\n全体员工。\n二、假期\n（一）年假\n五天。\n（二）病假\n按规定。",
            [(1, "一、范围"), (1, "二、假期"), (2, "（一）年假"), (2, "（二）病假")],
        ),
        ("제1장 총칙\n제1조 (목적) 적용한다.\n제2장 휴가", [(1, "제1장 총칙"), (1, "제2장 휴가")]),
        ("Глава 1. Срок\nТекст\nГлава 2. Цена\nТекст", [(1, "Глава 1. Срок"), (1, "Глава 2. Цена")]),
        (
            "1. TERM\n1.1 It runs two years.\n1.2 It costs 30 EUR.\n2. FEES\n2.1 Due monthly.",
            [(1, "1. TERM"), (1, "2. FEES")],
        ),
        ("1. Milk\n2. Bread\n\n3. Eggs", []),
        ("一、苹果\n二、香蕉\n三、梨", []),
        ("as set out in\nSection 2 of the deed and\nSection 3 of the annex", []),
        ("I. Newton\nC. Darwin\nL. Euler", []),
    ],
)
def test_chapters_of_plain_text(text: str, found: list[tuple[int, str]] | None, tmp_path: Path) -> None:
    document = parse(tmp_path, "a.txt", text)
    assert document.text == text
    expected = found
    if expected is None:
        expected = [(1, "1 Scope"), (2, "1.1 Safety"), (2, "1.2 Tools"), (1, "2 Care"), (2, "2.1 Oil")]
    assert [(heading.level, heading.title) for heading in document.headings] == expected


def test_pdf_is_read_by_the_places_of_its_text(tmp_path: Path) -> None:
    table = [
        (60 + 130 * column, 700 - 14 * row, 10, f"{'ABC'[column]}{row}") for column in range(3) for row in range(4)
    ]
    marks = [(60, 600, 10, "Revenue 4,512"), (126, 604, 6, "1"), (134, 600, 10, "million")]
    document = parse(tmp_path, "a.pdf", samples.make_placed_pdf([[*table, *marks]]))
    rows = [f"A{row}\tB{row}\tC{row}" for row in range(4)]
    assert document.text == "\n".join([*rows, "", "Revenue 4,512 [1] million"])
    assert len(document.tables) == 1
    turned = [(800 - y, x, size, text) for x, y, size, text in table]
    assert parse(tmp_path, "b.pdf", samples.make_placed_pdf([turned], angle=90)).text.split("\n") == rows


def test_pdf_running_headers_are_kept_once(tmp_path: Path) -> None:
    pages = [
        [
            (60, 780, 10, "ACME manual"),
            (60, 500, 10, f"Sentence {n} goes"),
            (60, 488, 10, "on"),
            (60, 20, 10, f"Page {n} of 3"),
        ]
        for n in (1, 2, 3)
    ]
    document = parse(tmp_path, "a.pdf", samples.make_placed_pdf(pages))
    body = " ".join(f"Sentence {n} goes on" for n in (1, 2, 3))
    assert " ".join(document.text.split()) == f"ACME manual {body}"


def test_xlsx_comments_and_boxes(tmp_path: Path) -> None:
    cells = (("A8", "Product"), ("B8", "Rate"), ("A9", "Basic"))
    texts = {place: f'<c r="{place}" t="inlineStr"><is><t>{text}</t></is></c>' for place, text in cells}
    rows = f'<row r="8">{texts["A8"]}{texts["B8"]}</row><row r="9">{texts["A9"]}<c r="B9"><v>12</v></c></row>'
    box = (
        "<a:p><a:r><a:t>Rates are </a:t></a:r><a:r><a:t>net.</a:t></a:r></a:p><a:p><a:r><a:t>Per day.</a:t></a:r></a:p>"
    )
    document = parse(tmp_path, "a.xlsx", samples.make_sheet(rows, box=box, comment="From July: 15"))
    assert document.text == "S\nProduct: Basic; Rate: 12 [comment: From July: 15]\n\nRates are net.\nPer day."
    alone = parse(tmp_path, "b.xlsx", samples.make_sheet("", box="<a:p><a:r><a:t>Only this</a:t></a:r></a:p>"))
    assert alone.text == "S\n\nOnly this"


@pytest.mark.parametrize("end", [b"", b"%%EO", b"%%EOF\n" + b"<p>page</p>" * 10_000])
def test_pdf_whose_cross_reference_is_whole_is_read(end: bytes, tmp_path: Path) -> None:
    content = samples.make_pdf(["Hello"]).removesuffix(b"%%EOF\n")
    assert parse(tmp_path, "a.pdf", content + end).text == "Hello"
    with pytest.raises(DamagedFile):
        parse(tmp_path, "b.pdf", content[: len(content) // 2] + end[:4])


@pytest.mark.parametrize(
    ("state", "flags", "text"),
    [("/Yes", 0, "Express: ☒"), ("/Off", 0, "Express: ☐"), ("/card", 1 << 15, "Express: card"), ("/Off", 1 << 15, "")],
)
def test_pdf_boxes_and_radio_buttons(state: str, flags: int, text: str, tmp_path: Path) -> None:
    document = parse(tmp_path, "a.pdf", samples.make_form("Express", state, flags, kind="/Btn"))
    assert document.text.removeprefix("Application").strip() == text


def test_pdf_comments(tmp_path: Path) -> None:
    content = samples.make_annotated_pdf([("FreeText", "The rent was raised"), ("Text", "check this"), ("Popup", "no")])
    assert parse(tmp_path, "a.pdf", content).text == "Draft\n\nThe rent was raised\n[comment: check this]"
