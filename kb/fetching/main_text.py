"""What a fetched page says: its title, and its text without menus, advertisements and footers."""

from __future__ import annotations

from kb.errors import PageBroken, PageWithoutText
from kb.fetching.addresses import show_address
from kb.fetching.client import FetchedPage
from kb.models import ParsedDocument
from kb.parsing.builder import TextBuilder, joined
from kb.parsing.web.html import add_page, decode_page


def main_text(page: FetchedPage) -> ParsedDocument:
    """The main text with its headings and tables, and the title.

    trafilatura finds the main part. Where it finds none, the whole page is read as an uploaded one is. Raises
    `PageWithoutText`, or `PageBroken` for a page that cannot be read.
    """
    shown = show_address(page.address)
    text = decode_page(page.data, page.charset)
    try:
        document = _plain(text) if page.media_type == "text/plain" else _main_part(text) or _read(text)
    except Exception as error:  # the libraries raise all kinds of exceptions for broken pages
        raise PageBroken(address=shown, detail=type(error).__name__) from error
    if not document.text.strip():
        raise PageWithoutText(address=shown)
    return document


def _main_part(text: str) -> ParsedDocument | None:
    """What trafilatura takes for the main part of a page, read as HTML; None where that is nothing."""
    from trafilatura import extract, extract_metadata  # half a second

    html = extract(text, output_format="html", include_comments=False, include_formatting=True)
    if not html:
        return None
    metadata = extract_metadata(text, extensive=False)
    document = _read(html, (metadata.title if metadata else "") or "")
    return document if document.text.strip() else None


def _read(html: str, title: str = "") -> ParsedDocument:
    builder = TextBuilder("", title=title)
    add_page(builder, html)
    return joined(builder.last_parts())


def _plain(text: str) -> ParsedDocument:
    builder = TextBuilder("")
    builder.add(text)
    return joined(builder.last_parts())
