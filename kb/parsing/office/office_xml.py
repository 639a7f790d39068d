"""Documents that are one XML file: XML Spreadsheet 2003, Word 2003 XML, flat OpenDocument, and flat Open XML."""

from __future__ import annotations

import re
import tempfile
import zipfile
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from xml.sax.saxutils import quoteattr

from lxml import etree

from kb.models import ParsedDocument
from kb.parsing.builder import Source
from kb.parsing.media_types import OPEN_SHEETS, OPEN_SLIDES, OPEN_TEXT, WORD

_HEAD = 20_000  # characters, with all declarations of namespaces
_EXCEL = re.compile(r"<(?:\w+:)?Workbook\s[^>]*urn:schemas-microsoft-com:office:spreadsheet")
_OPEN_DOCUMENT = re.compile(r"<office:document\s[^>]*office:mimetype\s*=\s*[\"']([^\"']*)")
_WORD = re.compile(r"<w:wordDocument\s")
_OPEN_XML = re.compile(r"<pkg:package\s")
_PACKAGE = "{http://schemas.microsoft.com/office/2006/xmlPackage}"
_W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_PARTS = "http://schemas.openxmlformats.org/package/2006"
_RELATIONS_TYPE = "application/vnd.openxmlformats-package.relationships+xml"
_Parser = Callable[[Source], Iterator[ParsedDocument]]


def office_parser(text: str) -> _Parser | None:
    """What reads a file that begins with this text; None for other XML."""
    head = text[:_HEAD]
    if _EXCEL.search(head):
        from kb.parsing.office import xml_spreadsheet

        return xml_spreadsheet.parse
    kind = _OPEN_DOCUMENT.search(head)
    if kind and kind[1] in (OPEN_TEXT, OPEN_SHEETS, OPEN_SLIDES):
        from kb.parsing.office import opendocument

        return lambda source: opendocument.parse(replace(source, media_type=kind[1]))
    if _WORD.search(head):
        return _parse_word
    return _parse_open_xml if _OPEN_XML.search(head) else None


def _parse_open_xml(source: Source) -> Iterator[ParsedDocument]:
    """The parts are put into a ZIP, as other programs store them."""
    root = etree.parse(str(source.path), etree.XMLParser(resolve_entities=False, no_network=True)).getroot()
    parts: dict[str, tuple[str, bytes]] = {}
    for part in root.iterchildren(f"{_PACKAGE}part"):
        name, media_type = (part.get(f"{_PACKAGE}{each}", "") for each in ("name", "contentType"))
        content = part.find(f"{_PACKAGE}xmlData")
        has_xml = content is not None and len(content)
        data = etree.tostring(content[0]) if has_xml else b64decode(part.findtext(f"{_PACKAGE}binaryData") or "")
        parts[name] = media_type, data
    yield from _parse_zipped(source, parts)


def _parse_word(source: Source) -> Iterator[ParsedDocument]:
    """Word 2003's names are those of today in another namespace, but for merged cells and numbers of lists."""
    data = source.path.read_bytes().replace(b"http://schemas.microsoft.com/office/word/2003/wordml", _W.encode())
    root = etree.fromstring(data, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True))
    for merged in root.iter(f"{{{_W}}}vmerge"):
        merged.tag = f"{{{_W}}}vMerge"
    for number in root.iter("{*}listPr"):  # holds the number as it is shown
        shown = next((each.get(name) for each in number.iter("{*}t") for name in each.attrib), "")
        paragraph = number.getparent().getparent()
        if shown and any(map(str.isalnum, shown)) and paragraph is not None and paragraph.tag == f"{{{_W}}}p":
            run = etree.Element(f"{{{_W}}}r")
            etree.SubElement(run, f"{{{_W}}}t").text = f"{shown} "
            paragraph.insert(paragraph.index(number.getparent()) + 1, run)
    body, styles = root.find(f"{{{_W}}}body"), root.find(f"{{{_W}}}styles")
    document = etree.Element(f"{{{_W}}}document")
    document.append(body if body is not None else etree.Element(f"{{{_W}}}body"))
    styles = styles if styles is not None else etree.Element(f"{{{_W}}}styles")
    yield from _parse_zipped(
        source,
        {
            "/_rels/.rels": (_RELATIONS_TYPE, _relation("officeDocument", "word/document.xml")),
            "/word/_rels/document.xml.rels": (_RELATIONS_TYPE, _relation("styles", "styles.xml")),
            "/word/document.xml": (f"{WORD}.main+xml", etree.tostring(document)),
            "/word/styles.xml": (f"{WORD.removesuffix('document')}styles+xml", etree.tostring(styles)),
        },
    )


def _relation(kind: str, target: str) -> bytes:
    return (
        f'<Relationships xmlns="{_PARTS}/relationships"><Relationship Id="r1" '
        f'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/{kind}" Target="{target}"/>'
        "</Relationships>"
    ).encode()


def _parse_zipped(source: Source, parts: Mapping[str, tuple[str, bytes]]) -> Iterator[ParsedDocument]:
    """The document with these parts: their media types and contents by name."""
    from kb.parsing.office import docx, pptx

    with tempfile.TemporaryDirectory(prefix="zhiwen-") as folder:
        path = Path(folder) / "zipped"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            types = ""
            for name, (media_type, content) in parts.items():
                types += f"<Override PartName={quoteattr(name)} ContentType={quoteattr(media_type)}/>"
                archive.writestr(name.lstrip("/"), content)
            archive.writestr("[Content_Types].xml", f'<Types xmlns="{_PARTS}/content-types">{types}</Types>')
        parser = pptx if "/ppt/presentation.xml" in parts else docx
        yield from parser.parse(replace(source, path=path))
