"""The chunks of a document, in a drawer."""

from __future__ import annotations

import html

import streamlit as st

from kb.extracts import escape_markdown as escape
from kb.models import Chunk, Document, User
from pages.ui.feedback import dialog, errors_shown
from pages.ui.i18n import _, ngettext, place_label
from pages.ui.resources import services

PAGE_CHUNKS = 20


def open_chunks(user: User, document: Document) -> None:
    """The chunks in order, as retrieval sees them."""

    @dialog(_("Chunks"), width="medium", position="right")
    def drawer() -> None:
        total = document.latest.chunks
        st.caption(" · ".join([escape(document.name), ngettext("{count} chunk", "{count} chunks", total)]))
        pages = -(-total // PAGE_CHUNKS)
        page = st.pagination(pages, key=f"chunks_page-{document.id}") if pages > 1 else 1
        with errors_shown():
            for chunk in services().documents.chunks(user.id, document.id, (page - 1) * PAGE_CHUNKS, PAGE_CHUNKS):
                with st.container(border=True):
                    draw_chunk(document.name, chunk)

    drawer()


def draw_chunk(document_name: str, chunk: Chunk) -> None:
    place = filter(None, [f"#{chunk.ordinal + 1}", place_label(document_name, chunk.page, chunk.heading)])
    heading = f"<div class='zw-heading'>{html.escape(chunk.heading)}</div>" if chunk.heading else ""
    st.html(
        f"<div class='zw-passage'><div class='zw-place'>{html.escape(' · '.join(place))}</div>{heading}"
        f"<div class='zw-text'>{html.escape(chunk.text)}</div></div>"
    )
