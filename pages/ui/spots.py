"""Where a passage stands in its document: the images of its pages with its lines marked, and the original file."""

from __future__ import annotations

import html
from collections.abc import Sequence
from urllib.parse import urlencode

import streamlit as st

from kb.access.tickets import Action
from kb.models import LineBox, Passage, User
from kb.spots import MarkedPage, SourceState
from pages.ui import tickets
from pages.ui.i18n import _, language, place_label
from pages.ui.resources import services

_HISTORY = ":material/history:"
_MOST_PAGES = 4  # of a passage; a longer one is a table of many short pages
Span = tuple[int, int]


def draw_spot(user: User, passage: Passage, sentences: Sequence[Span]) -> None:
    """Draw the pages that show a passage. `sentences` are what matches in its text, and are marked most clearly.

    Browsers load the images by themselves, so nothing here waits for them.
    """
    chunk = passage.chunk
    spot = services().spots.find(user.principal, chunk)
    if spot.source is SourceState.CHANGED:
        _draw_older(_("The document has changed since. The passage above is what the answer was given from."))
        return
    if spot.source is SourceState.GONE or spot.knowledge_base_id is None:
        _draw_older(_("The document has been deleted. The passage above is what the answer was given from."))
        return
    query = urlencode(
        {"ticket": tickets.issue(Action.DOWNLOAD, user.principal, spot.knowledge_base_id), "language": language()}
    )
    file = f"{spot.knowledge_base_id}/{spot.version_id}"
    name, address = html.escape(passage.document_name), html.escape(f"api/originals/{file}?{query}")
    label = html.escape(_("Open the document"))
    st.html(f"<a class='zw-open' href='{address}' download='{name}' title='{name}'>{label}</a>")
    if spot.pages:
        spans = [(chunk.start + start, chunk.start + end) for start, end in sentences]
        # The page with the sentence first: a passage may begin at the end of the page before.
        ordered = sorted(spot.pages, key=lambda page: not any(_is_matching(line, spans) for line in page.lines))
        pages = [
            _page(page, f"api/pages/{file}/{page.number}?{query}", spans, passage.document_name)
            for page in ordered[:_MOST_PAGES]
        ]
        with st.container(key="drawer_pages"):
            st.html("".join(pages))
    if not spot.has_marks:
        st.caption(_("An earlier version of Zhiwen read this document. To see passages marked, upload it again."))


def _draw_older(text: str) -> None:
    # No box: the first one of a page brings styles of its own, for which browsers go through the whole conversation.
    st.caption(f"{_HISTORY} {text}")


def _page(page: MarkedPage, address: str, spans: Sequence[Span], document_name: str) -> str:
    label = html.escape(place_label(document_name, page.number))
    missing = html.escape(_("This page cannot be shown. Open the document to see it."))
    marks = "".join(_mark(line, _is_matching(line, spans)) for line in page.lines)
    return (
        f"<figure class='zw-page'><figcaption>{label}</figcaption>"
        f"<div><img src='{html.escape(address)}' alt='{missing}' loading='lazy'>{marks}</div></figure>"
    )


def _is_matching(line: LineBox, spans: Sequence[Span]) -> bool:
    return any(line.start < end and line.end > start for start, end in spans)


def _mark(line: LineBox, is_matching: bool) -> str:
    left, top, width, height = (
        f"{100 * side:.2f}%" for side in (line.left, line.top, line.right - line.left, line.bottom - line.top)
    )
    kind = "zw-mark zw-match" if is_matching else "zw-mark"
    return f"<i class='{kind}' style='left:{left};top:{top};width:{width};height:{height}'></i>"
