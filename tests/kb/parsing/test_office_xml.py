"""Office documents in one XML file, and those with macros or of templates."""

from __future__ import annotations

import io
import re
import zipfile
from base64 import b64encode
from pathlib import Path

import pytest

from kb.parsing import parse_file
from tests.kb.parsing import parsing_samples as samples

_WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
_W = "http://schemas.microsoft.com/office/word/2003/wordml"


def text(folder: Path, name: str, content: str | bytes) -> str:
    return parse_file(samples.write(folder, "stored", content), name).text


def unzipped(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("name", ["a.xml", "a.xls"])
def test_xml_spreadsheet_2003(name: str, tmp_path: Path) -> None:
    def cell(value: str, kind: str = "String", more: str = "") -> str:
        return f'<Cell {more}><Data ss:Type="{kind}">{value}</Data></Cell>'

    rows = (
        f'<Row>{cell("Stock", more="""ss:MergeAcross="2" """)}</Row>'
        f'<Row ss:Index="3">{cell("Region")}{cell("Share")}{cell("Date")}</Row>'
        f'<Row>{cell("North", more="""ss:MergeDown="1" """)}{cell("0.1275", "Number", """ss:StyleID="s2" """)}'
        f"{cell('2024-03-05T00:00:00.000', 'DateTime')}</Row>"
        f'<Row>{cell("1234.5", "Number", """ss:Index="2" """)}</Row>'
    )
    namespace = "urn:schemas-microsoft-com:office:spreadsheet"
    content = (
        f'<?xml version="1.0"?><Workbook xmlns="{namespace}" xmlns:ss="{namespace}"><Styles><Style ss:ID="s1">'
        '<NumberFormat ss:Format="Percent"/></Style><Style ss:ID="s2" ss:Parent="s1"/></Styles>'
        f'<Worksheet ss:Name="S"><Table>{rows}</Table></Worksheet></Workbook>'
    )
    assert text(tmp_path, name, content).split("\n") == [
        "S",
        "Stock",
        "Region: North; Share: 12.75%; Date: 2024-03-05",
        "Region: North; Share: 1234.5",
    ]


def test_word_2003_xml(tmp_path: Path) -> None:
    number = '<w:pPr><w:listPr><w:ilvl w:val="0"/><x:t x:val="1)"/></w:listPr></w:pPr>'
    content = (
        f'<?xml version="1.0"?><w:wordDocument xmlns:w="{_W}" xmlns:x="urn:x"><w:styles><w:style w:styleId="a">'
        '<w:name w:val="heading 1"/></w:style></w:styles><w:body><x:sect><w:p><w:pPr><w:pStyle w:val="a"/></w:pPr>'
        f"<w:r><w:t>Scope</w:t></w:r></w:p><w:p>{number}<w:r><w:t>first</w:t></w:r></w:p></x:sect></w:body>"
        "</w:wordDocument>"
    )
    assert text(tmp_path, "a.doc", content) == "Scope\n\n1) first"


def test_flat_open_document(tmp_path: Path) -> None:
    content = unzipped(samples.make_odf("text", "<text:p>Rent is due.</text:p>"))["content.xml"].decode()
    kind = 'office:mimetype="application/vnd.oasis.opendocument.text"'
    flat = content.replace("<office:document-content ", f"<office:document {kind} ").replace(
        "document-content", "document"
    )
    assert text(tmp_path, "a.fodt", '<?xml version="1.0"?>' + flat) == "Rent is due."


def test_flat_open_xml(tmp_path: Path) -> None:
    parts = unzipped(samples.make_docx_with("", endnote="Smith 2019."))
    types = dict(re.findall(r'PartName="/([^"]+)" ContentType="([^"]+)"', parts["[Content_Types].xml"].decode()))
    relations = "application/vnd.openxmlformats-package.relationships+xml"

    def content_of(name: str, data: bytes) -> str:
        if name.endswith((".xml", ".rels")):
            return f"<pkg:xmlData>{re.sub('<[?].*?[?]>', '', data.decode())}</pkg:xmlData>"
        return f"<pkg:binaryData>{b64encode(data).decode()}</pkg:binaryData>"

    flat = "".join(
        f'<pkg:part pkg:name="/{name}" pkg:contentType="{types.get(name, relations)}">'
        f"{content_of(name, data)}</pkg:part>"
        for name, data in parts.items()
        if not name.startswith("[")
    )
    package = "http://schemas.microsoft.com/office/2006/xmlPackage"
    content = f'<?xml version="1.0"?><pkg:package xmlns:pkg="{package}">{flat}</pkg:package>'
    assert "Smith 2019." in text(tmp_path, "a.xml", content)


@pytest.mark.parametrize(
    ("name", "usual", "kind"),
    [
        ("a.docx", _WORD, "application/vnd.ms-word.document.macroEnabled.main+xml"),
        ("a.docx", _WORD, _WORD.replace("document.main", "template.main")),
        ("a.pptx", "presentation.main+xml", "slideshow.main+xml"),
    ],
)
def test_documents_with_macros_templates_and_slide_shows(name: str, usual: str, kind: str, tmp_path: Path) -> None:
    content = samples.make_docx() if name == "a.docx" else samples.make_pptx()
    parts = unzipped(content)
    types = parts.pop("[Content_Types].xml").decode()
    assert usual in types
    stored = samples.make_zip({"[Content_Types].xml": types.replace(usual, kind), **parts})
    assert text(tmp_path, "a.other", stored) == text(tmp_path, name, content)
