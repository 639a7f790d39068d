"""HTML: the visible text, with h1–h6 as headings and table rows as lines."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator

from bs4 import BeautifulSoup, Tag, XMLParsedAsHTMLWarning
from bs4.element import NavigableString, PreformattedString

from kb.models import ParsedDocument
from kb.parsing.builder import Source, TextBuilder
from kb.parsing.decoding import decode
from kb.parsing.tables import join_cells

# fmt: off
_HIDDEN = frozenset((
    "head", "script", "style", "noscript", "template", "svg", "nav", "iframe", "object", "canvas", "audio", "video",
    "select", "button", "textarea",
))
_BLOCKS = frozenset((
    "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "dialog", "dir", "div",
    "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "header", "hgroup", "hr", "html", "legend", "li",
    "main", "menu", "ol", "p", "pre", "section", "summary", "table", "tbody", "tfoot", "thead", "tr", "ul",
))
# fmt: on
_HIDDEN_INSIDE = _HIDDEN - {"button"}  # collapsible questions and sortable columns are buttons
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_CHARSET = re.compile(
    rb"""<(?:meta\b[^>]{0,200}?charset|\?xml\b[^>]{0,100}?encoding)\s*=\s*["']?\s*([\w-]{2,40})""", re.I
)
_SPACES = re.compile(r"[ \t\r\n\f\u00a0]+")


def parse(source: Source) -> Iterator[ParsedDocument]:
    """The page's text; nothing that the page refers to is loaded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XMLParsedAsHTMLWarning)
        soup = BeautifulSoup(_decode(source.path.read_bytes()), "lxml")
    walker = _Walker(TextBuilder(source.name, title=soup.title.get_text() if soup.title else ""))
    walker.walk(soup)
    yield from walker.builder.last_parts()


def _decode(data: bytes) -> str:
    """Decode as the page declares if its bytes agree, else detect the encoding."""
    declared = _CHARSET.search(data[:4096])
    encoding = declared.group(1).decode("ascii").lower() if declared else ""
    # A declaration that we can read byte by byte is not in UTF-16 or UTF-32. Pages from .NET say so anyway.
    is_wide = encoding.startswith(("utf-16", "utf16", "utf-32", "utf32", "ucs", "unicode"))
    if encoding and not is_wide and not data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        try:
            return data.decode({"gb2312": "gb18030", "gbk": "gb18030", "iso-8859-1": "cp1252"}.get(encoding, encoding))
        except (LookupError, ValueError):
            return decode(data)
    return decode(data)


class _Walker:
    """Walks the tree in document order and passes lines to the builder."""

    def __init__(self, builder: TextBuilder) -> None:
        self.builder = builder
        self._line: list[str] = []

    def walk(self, root: Tag) -> None:
        """Visit every node once. Uses its own stack, because pages nest deeper than Python allows."""
        stack: list[object] = [root]
        while stack:
            node = stack.pop()
            if node is None:
                self._end_line()
            elif isinstance(node, Tag):
                stack.extend(self._enter(node))
            elif isinstance(node, NavigableString) and not isinstance(node, PreformattedString):
                self._line.append(str(node))
        self._end_line()

    def _enter(self, tag: Tag) -> list[object]:
        """The nodes to visit next for `tag`, in reverse; None ends a line."""
        name = tag.name.lower()
        if name in _HIDDEN or _is_hidden(tag):
            return []
        if name in _HEADINGS:
            self._end_line()
            self.builder.add_heading(_HEADINGS[name], _inline_text(tag, " "))
            return []
        if name == "pre":
            self._end_line()
            self.builder.add(_inline_text(tag, "\n"), gap=2)
            return []
        if name == "tr" and not tag.find("table") and not tag.find(list(_HEADINGS)):
            self._end_line()
            self.builder.add(join_cells(_cells(tag)))
            return []
        children: list[object] = list(reversed(tag.contents))
        if name == "br":
            return [None]
        if name not in _BLOCKS:
            return children
        self._end_line()
        if name in ("p", "table", "ul", "ol", "section", "blockquote"):
            self.builder.break_paragraph()
        return [None, *children]

    def _end_line(self) -> None:
        self.builder.add(_SPACES.sub(" ", "".join(self._line)).strip())
        self._line.clear()


def _is_hidden(tag: Tag) -> bool:
    if tag.has_attr("hidden") or tag.get("role") == "navigation":
        return True
    return "display:none" in str(tag.get("style", "")).replace(" ", "").lower()


def _cells(row: Tag) -> Iterable[str]:
    return (_inline_text(cell, " ") for cell in row.find_all(["td", "th"], recursive=False))


def _inline_text(root: Tag, gap: str) -> str:
    """The text inside `root` as written; `gap` replaces line breaks and separates blocks."""
    pieces: list[str] = []
    stack: list[object] = list(reversed(root.contents))
    while stack:
        node = stack.pop()
        if node is None:
            if pieces and not pieces[-1].endswith(gap):
                pieces.append(gap)
        elif isinstance(node, Tag):
            name = node.name.lower()
            if name == "br":
                pieces.append(gap)
            elif name not in _HIDDEN_INSIDE and not _is_hidden(node):
                children = reversed(node.contents)
                stack.extend([None, *children, None] if name in _BLOCKS or name in ("td", "th") else children)
        elif isinstance(node, NavigableString) and not isinstance(node, PreformattedString):
            pieces.append(str(node))
    return "".join(pieces)
