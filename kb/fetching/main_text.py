"""What a page says: its title, and its text without menus, advertisements and footers."""

from __future__ import annotations

from kb.models import ParsedDocument
from kb.parsing.builder import TextBuilder, joined
from kb.parsing.web.html import add_page, decode_page
from kb.parsing.web.html_body import with_body


def main_text(data: bytes, media_type: str, charset: str = "") -> ParsedDocument:
    """The main text with its headings and tables, and the title; without text, if the page has none.

    trafilatura finds the main part. Where it finds none, the whole page is read as an uploaded one is. Both may raise
    any exception, and take seconds for a page of a megabyte: `PageReader` runs this where it does no harm.
    """
    text = decode_page(data, charset)
    if media_type == "text/plain":
        return _plain(text)
    page = with_body(text)
    return _main_part(page) or _read(page)


def _main_part(text: str) -> ParsedDocument | None:
    """What trafilatura takes for the main part of a page, read as HTML; None where that is nothing."""
    from trafilatura import extract, extract_metadata  # half a second

    html = extract(text, output_format="html", include_comments=False, include_formatting=True)
    if not html:
        return None
    document = _read(html, extract_metadata(text, extensive=False).title or "")
    return document if document.text.strip() else None


def _read(html: str, title: str = "") -> ParsedDocument:
    builder = TextBuilder("", title=title)
    add_page(builder, html)
    return joined(builder.last_parts())


def _plain(text: str) -> ParsedDocument:
    builder = TextBuilder("")
    builder.add(text)
    return joined(builder.last_parts())
