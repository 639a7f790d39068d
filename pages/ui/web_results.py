"""What a search of the web found: its passages with their pages, the pages that could not be read, and its progress."""

from __future__ import annotations

import html
from collections.abc import Sequence

import streamlit as st
from babel.dates import format_date

from kb.extracts import escape_markdown as escape
from kb.web_search.passages import ReadPage, WebPassage, WebProgress, WebRetrieval, WebStage
from pages.ui.feedback import dialog
from pages.ui.i18n import _, error_text, language, moment, ngettext, number, place_label
from pages.ui.passages import marked, nearest_shown, scores_line, titles_above
from pages.ui.trace import draw_reasons, draw_trace


def draw_web_results(retrieval: WebRetrieval, key_suffix: str = "") -> None:
    """Draw all passages, the best first, then the pages and the trace."""
    if not retrieval.passages:
        st.info(_("Nothing relevant to this question was found on these web pages."), icon=":material/search_off:")
        draw_reasons(retrieval.trace)
        with nearest_shown(len(retrieval.nearest), key_suffix) as is_open:
            for each in retrieval.nearest if is_open else ():
                with st.container(border=True, key=f"nearest-{each.rank}{key_suffix}"):
                    draw_web_passage(each, retrieval.trace.terms)
    for each in retrieval.passages:
        with st.container(border=True, key=f"passage-{each.rank}{key_suffix}"):
            draw_web_passage(each, retrieval.trace.terms)
    draw_pages(retrieval, f"pages{key_suffix}")
    draw_trace(retrieval.trace, f"trace{key_suffix}")


def draw_web_passage(found: WebPassage, terms: Sequence[str]) -> None:
    """Draw a passage: its page with a link, its scores, and its text with the matching sentences marked."""
    passage = found.passage
    link = f"<a href='{html.escape(found.place)}' target='_blank' rel='noopener noreferrer'>"
    text = marked(passage.chunk.text, terms, passage.chunk.heading)
    st.html(
        f"<div class='zw-passage'><div class='zw-place'><span class='zw-rank'>{found.rank}</span>"
        f"{link}{html.escape(found.title)}</a></div><div class='zw-heading'>{html.escape(facts_line(found))}</div>"
        f"{scores_line(passage)}<div class='zw-text'>{text}</div></div>"
    )


def facts_line(found: WebPassage) -> str:
    """Whose page it is, how old, and where the passage stands in it; its title is the link above."""
    chunk, facts = found.passage.chunk, [found.host]
    if found.published:
        facts.append(_("published {date}").format(date=format_date(found.published, "medium", locale=language())))
    if found.is_snippet:
        facts.append(_("summary by the search engine, because the page could not be read"))
    elif found.fetched_at:
        facts.append(_("read {moment}").format(moment=moment(found.fetched_at)))
    titles = [title for title in titles_above("", chunk) if title != found.title]
    return " · ".join(filter(None, [*facts, place_label(found.title, chunk.page), " > ".join(titles)]))


def open_web_passage(retrieval: WebRetrieval, rank: int) -> None:
    """Show a passage in a drawer, with its context."""
    found = next(each for each in retrieval.passages if each.rank == rank)

    @dialog(_("Passage {rank}").format(rank=rank), width="medium", position="right")
    def drawer() -> None:
        with st.container(key="drawer"):
            draw_web_passage(found, retrieval.trace.terms)
        st.link_button(_("Open the web page"), found.place, icon=":material/open_in_new:")
        if found.passage.context and found.passage.context != found.passage.chunk.text:
            label = _("The context sent to the model")
            with st.expander(label, type="compact", key="drawer_context", on_change="rerun") as context:
                if context.open:
                    st.text(found.passage.context)

    drawer()


def draw_pages(retrieval: WebRetrieval, key: str) -> None:
    """Draw the pages that the engine found, once they are opened; how many could not be read is told at once."""
    unread, pages = len(retrieval.unread), len(retrieval.pages)
    label = ngettext("{count} web page read", "{count} web pages read", pages - unread)
    if unread:
        label += " · " + ngettext("{count} could not be read", "{count} could not be read", unread)
    with st.expander(label, icon=":material/language:", key=key, on_change="rerun") as body:
        if body.open:
            st.markdown("\n".join(_page_line(page) for page in retrieval.pages))


def _page_line(page: ReadPage) -> str:
    """Markdown: a page with a link, and why it could not be read."""
    line = f"- [{escape(page.title)}](<{page.address}>) · {escape(page.host)}"
    if not page.is_read:
        return f"{line}  \n  :red[{escape(error_text(page.reason)[0])}]"
    if page.is_cut:
        return f"{line}  \n  " + _("Only its beginning was searched, because it is very long.")
    return line


def progress_text(progress: WebProgress) -> str:
    """What a search of the web is doing now."""
    match progress.stage:
        case WebStage.SEARCHING:
            text = _("Searching the web with {engine}…") if progress.name else _("Searching the web…")
            return text.format(engine=_(progress.name))
        case WebStage.READING if progress.total == 1:
            return _("Reading the page…")
        case WebStage.READING:
            done, total = number(progress.done), number(progress.total)
            return _("Reading web pages: {done} of {total}…").format(done=done, total=total)
        case WebStage.RANKING:
            return _("Choosing passages…")
