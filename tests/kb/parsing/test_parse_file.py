"""Each format gives text with positions; unreadable files say why."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kb.errors import (
    BlankFile,
    DamagedFile,
    DocumentError,
    EmptyFile,
    FileTooLarge,
    NoText,
    PasswordProtected,
    UnsupportedFormat,
    WrongFormat,
)
from kb.models import ParsedDocument
from kb.notes import Note, NoteKind
from kb.parsing import SUPPORTED_EXTENSIONS, detect_media_type, joined, kinds, parse_file, parse_source
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
    ("raw", "typed"),
    [
        ("⼈⼯智能 ⻓期", "人工智能长期"),
        ("中 文 PDF 文 本，ｆｉｎａｌ ﬁx", "中文 PDF 文本，final fix"),
        ("exam\ufffe\r\nple", "example"),
        ("exam\x02ple", "example"),
        ("同比\x0264.9%", "同比-64.9%"),
        ("INTRODUC\x02\r\nTION", "INTRODUCTION"),
        ("COVID\x02\r\n19, Tie\x02Yan", "COVID-19, Tie-Yan"),
        ("一" * 30 + "重大\n遗漏" + "二" * 28 + "\n后", "一" * 30 + "重大遗漏" + "二" * 28 + "后"),
        ("姓名\n年龄", "姓名\n年龄"),
        ("费用 1,234,567,890.00 增加所致" * 2 + "\n收入", "费用 1,234,567,890.00 增加所致" * 2 + "\n收入"),
    ],
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


def test_deeply_nested_html(tmp_path: Path) -> None:
    assert parse(tmp_path, "a.htm", "<div>" * 20_000 + "hello").text == "hello"


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
        " | 2025 | 2026\nNorth | 1234567.25 | 3\nSouth |  | 4",
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
        ("Report", samples.make_pdf(["Hello"]), kinds.PDF),
        ("letter", samples.make_docx(), kinds.WORD),
        ("slides.", samples.make_pptx(), kinds.POWERPOINT),
        ("page", b"<!DOCTYPE html><p>Hello", kinds.HTML),
        ("page.xhtml", b"<html><body>a</body></html>", kinds.HTML),
        ("notes.mdx", b"# Hi", kinds.MARKDOWN),
        ("table.TSV", b"a\tb", kinds.TAB_SEPARATED),
        ("photo.jpg", b"\xff\xd8\xff\xe0" + bytes(100), kinds.BINARY),
        ("a.zip", b"PK", "application/zip"),
    ],
)
def test_media_type_follows_a_known_extension_else_the_content(
    tmp_path: Path, name: str, content: bytes, media_type: str
) -> None:
    assert detect_media_type(samples.write(tmp_path, "a", content), name) == media_type


@pytest.mark.parametrize(
    "name", ["a.doc", "a.xls", "a.odt", "a.rtf", "a.epub", "a.png", "a.ipynb", "a", "a.exe", ".pdf"]
)
def test_unsupported_format(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnsupportedFormat) as caught:
        parse(tmp_path, name, b"\x89PNG\r\n\x1a\n" + bytes(100))
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
    with pytest.raises(FileTooLarge):
        parse(tmp_path, "a.docx", samples.make_zip({"word/document.xml": "x" * 20_000}))


def test_xml_entities_are_not_expanded(tmp_path: Path) -> None:
    secret = samples.write(tmp_path, "secret", "do not read")
    bomb = f'<!DOCTYPE x [<!ENTITY e SYSTEM "{secret.as_uri()}">]><x>&e; text</x>'
    assert "do not read" not in parse(tmp_path, "a.html", bomb).text


# --- parts -----------------------------------------------------------------------------------------------------


def test_each_page_of_a_pdf_is_a_part(tmp_path: Path) -> None:
    path = samples.write(tmp_path, "a", samples.make_pdf(["One", "", "Three"], [("One", 0), ("Three", 2)]))
    parts = list(parse_source(Source(path, "a.pdf", kinds.PDF)))
    assert [part.text.strip() for part in parts] == ["One", "Three"]
    assert [[page.number for page in part.pages] for part in parts] == [[1], [2, 3]]
    rest = joined(parse_source(Source(path, "a.pdf", kinds.PDF, first_page=2)))
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
