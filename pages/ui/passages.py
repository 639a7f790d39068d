"""Passages with their scores and times, for the chat, the testing page and a citation's drawer; a document's chunks."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import streamlit as st

from kb.columns import columns
from kb.errors import from_code
from kb.extracts import Sentence, split_sentences
from kb.extracts import escape_markdown as escape
from kb.messages import Source
from kb.models import (
    Chunk,
    Document,
    FileList,
    Passage,
    Place,
    Retrieval,
    RouteHit,
    Unread,
    User,
    VersionState,
)
from kb.places import headings_below
from pages.ui.feedback import dialog, errors_shown
from pages.ui.i18n import _, error_text, join_list, join_sentences, ngettext, number, place_label
from pages.ui.notes import note_text
from pages.ui.resources import current_user, services
from pages.ui.spots import draw_spot
from pages.ui.trace import draw_reasons, draw_trace
from pages.ui.unsearchable import draw_not_searched, draw_unsearchable

_LABEL_CHARACTERS = 40
_PAGE_CHUNKS = 20
_NAMED_PLACES = 5
# Lines below each other with tabs between their texts, other than items of a list with a tab behind their signs.
_ROWS = re.compile(r"(?>^(?!(?:<mark>)?(?:[-*+•·▪◦‣–]|\(?\w{1,3}[.)])\t[^\t\n]*$).*\S\t.*(?:\n|\Z)){2,}", re.MULTILINE)
_PADDED_CELLS = 50  # a short row gets as many at most, since one long row could ask for millions
_FOLDED_COLUMNS = 500  # above a match; less than the box shows, also on a phone


def place(document_name: str, page: int, heading: str = "") -> str:
    """A passage's document and page, as a label."""
    return " · ".join(filter(None, [document_name, place_label(document_name, page, heading)]))


def draw_nothing_found(retrieval: Retrieval, key_suffix: str = "", are_nearest_open: bool = False) -> None:
    """Say why there are no passages: nothing to search, or nothing relevant, with what came closest."""
    if retrieval.trace.documents:
        text = _("Nothing relevant to this question was found in the knowledge base.")
        if retrieval.are_attached:
            text = _("Nothing relevant to this question was found in the files of this conversation.")
        elif len(retrieval.trace.profiles) > 1:  # several knowledge bases, or attached files beside one
            text = _("Nothing relevant to this question was found.")
        st.info(text, icon=":material/search_off:")
        draw_reasons(retrieval.trace)
        with nearest_shown(len(retrieval.nearest), key_suffix, are_nearest_open) as is_open:
            for passage in retrieval.nearest if is_open else ():
                with st.container(border=True, key=f"nearest-{passage.rank}{key_suffix}"):
                    draw_passage(passage, retrieval.trace.terms)
        return
    if retrieval.are_attached:
        st.info(_("No file of this conversation has text that can be searched."), icon=":material/search_off:")
        return
    st.info(_("No document of this knowledge base is ready yet."), icon=":material/hourglass_empty:")
    st.page_link("knowledge_bases.py", label=_("Upload files or check their progress"), icon=":material/upload:")


@contextmanager
def nearest_shown(count: int, key_suffix: str = "", is_open_at_first: bool = False) -> Iterator[bool]:
    """The place of the best candidates below the threshold, and whether it is open.

    In the chat it is closed at first, because it would push the message that nothing was found out of view.
    """
    if not count:
        yield False
        return
    label = ngettext(
        "{count} closest candidate, below the threshold", "{count} closest candidates, below the threshold", count
    )
    with st.expander(
        label, icon=":material/rule:", expanded=is_open_at_first, key=f"nearest{key_suffix}", on_change="rerun"
    ) as body:
        yield bool(body.open)


def draw_widened(times: int) -> None:
    """Say that a search was made wider."""
    if times == 1:
        st.caption(_("Searched wider: with half the threshold, and with more candidates."))
    elif times:
        st.caption(_("Searched wider: without a threshold, and with more candidates."))


def draw_passages(
    retrieval: Retrieval, key_suffix: str = "", is_answered: bool = False, are_nearest_open: bool = False
) -> None:
    """Draw all passages, the best first, and the trace.

    `is_answered`: there is an answer, which lists the files, or was given without passages, such as from a picture.
    `are_nearest_open`: if nothing is found, what came closest is.
    """
    for file in retrieval.unread:
        draw_unread(file, retrieval.are_attached)
    if retrieval.unsearchable:
        draw_unsearchable(retrieval.unsearchable, retrieval.are_attached)
    elif not (retrieval.passages or retrieval.files or retrieval.unread or is_answered):
        draw_nothing_found(retrieval, key_suffix, are_nearest_open)
    if retrieval.passages:
        draw_not_searched(retrieval.not_searched)
    if retrieval.files and not is_answered:
        draw_files(retrieval.files, f"files{key_suffix}", retrieval.are_attached)
    for beginning in retrieval.beginnings:
        st.caption(
            _("“{name}” from its beginning: {chunks} of {total} chunks").format(
                name=escape(beginning.name), chunks=number(beginning.chunks), total=number(beginning.total)
            )
        )
    for passage in retrieval.passages:
        with st.container(border=True, key=f"passage-{passage.rank}{key_suffix}"):
            draw_passage(passage, retrieval.trace.terms)
    draw_trace(retrieval.trace, f"trace{key_suffix}")


def draw_unread(file: Unread, is_attached: bool = False) -> None:
    """Say why a file that the question names has no text. A file of the conversation stands above the field, too."""
    name = escape(file.name)
    if file.state == VersionState.FAILED:
        reason = join_sentences(*error_text(from_code(file.error, file.error_values)))
        text = _("“{name}” is in the knowledge base, but it could not be read.").format(name=name)
        if is_attached:
            text = _("“{name}” is attached, but it could not be read.").format(name=name)
        st.warning(f"**{text}**  \n{escape(reason)}", icon=":material/error:")
    elif file.state == VersionState.CANCELLED:
        text = _("“{name}” is in the knowledge base, but it was cancelled before it was read.").format(name=name)
        if is_attached:
            text = _("“{name}” is attached, but it was cancelled before it was read.").format(name=name)
        st.warning(text, icon=":material/cancel:")
    else:
        text = _("“{name}” is in the knowledge base, but it is not ready yet. Ask again once it is.").format(name=name)
        if is_attached:
            text = _("“{name}” is attached, but it is not ready yet. Ask again once it is.").format(name=name)
        st.info(text, icon=":material/hourglass_empty:")
    if not is_attached:
        st.page_link("knowledge_bases.py", label=_("Upload files or check their progress"), icon=":material/upload:")


def draw_files(files: FileList, key: str, are_attached: bool = False) -> None:
    """Draw the names of files, once they are opened."""
    label = ngettext("{count} file in the knowledge base", "{count} files in the knowledge base", files.total)
    if are_attached:
        label = ngettext("{count} file in this conversation", "{count} files in this conversation", files.total)
    with st.expander(label, icon=":material/folder_open:", key=key, on_change="rerun") as body:
        if body.open:
            names = [f"- {escape(name)}" for name in files.names]
            st.markdown("\n".join([*names, "- …"] if len(names) < files.total else names))


def draw_passage(passage: Passage, terms: Sequence[str]) -> None:
    """Draw a passage: its place, its scores, and its text with the matching sentences marked and in view."""
    chunk = passage.chunk
    parts = [passage.knowledge_base, place(passage.document_name, chunk.page, chunk.heading)]
    title = html.escape(" · ".join(filter(None, parts)))
    heading = _heading(passage.document_name, chunk)
    if passage.also_in:
        heading += f"<div class='zw-heading'>{html.escape(_also_in(passage.also_in))}</div>"
    st.html(
        f"<div class='zw-passage'><div class='zw-place'><span class='zw-rank'>{passage.rank}</span>{title}</div>"
        f"{heading}{scores_line(passage)}"
        f"<div class='zw-text'>{marked(chunk.text, terms, chunk.heading)}</div></div>"
    )


def titles_above(document_name: str, chunk: Chunk) -> Sequence[str]:
    """The headings above a chunk, without what its place or its first line says already."""
    titles = headings_below(document_name, chunk.page, chunk.heading)
    first = chunk.text.lstrip("# \n").partition("\n")[0].strip()
    return titles[:-1] if titles and titles[-1].strip() == first else titles


def _heading(document_name: str, chunk: Chunk) -> str:
    titles = titles_above(document_name, chunk)
    return f"<div class='zw-heading'>{html.escape(' > '.join(titles))}</div>" if titles else ""


def _also_in(places: Sequence[Place]) -> str:
    """The other places of a passage's text: the first ones by name, and how many more there are."""
    names = join_list(place(each.document_name, each.page, each.heading) for each in places[:_NAMED_PLACES])
    more = len(places) - _NAMED_PLACES
    if more <= 0:
        return _("Also in: {places}").format(places=names)
    return ngettext("Also in: {places} and {count} more", "Also in: {places} and {count} more", more, places=names)


def marked(text: str, terms: Sequence[str], heading: str = "") -> str:
    """`text` as HTML; sentences with more than half as many of the terms as the best one are marked.

    Text far above the best sentence is folded, so that the sentence is in view.
    """
    sentences = split_sentences(text, terms, heading)
    most = _most_matches(sentences)
    first = next((index for index, sentence in enumerate(sentences) if most and sentence.matches == most), 0)
    is_far = first and columns(text[: sentences[first].start]) > _FOLDED_COLUMNS
    fold = sentences[first - 1].start if is_far else 0
    before: list[str] = []
    after: list[str] = []
    folded = ""
    end = 0
    for sentence in sentences:
        parts = before if sentence.start < fold else after
        piece = html.escape(sentence.text)
        if sentence.matches * 2 > most:
            words = piece.rstrip()
            piece = f"<mark>{words}</mark>{piece[len(words) :]}"
        parts += [html.escape(text[end : sentence.start]), piece]
        end = sentence.start + len(sentence.text)
    if before:
        above = html.escape(_("The text above"))
        folded = f"<details><summary>{above}</summary>{_with_tables(''.join(before))}</details>"
    return folded + _with_tables("".join(after) + html.escape(text[end:]))


def matching_spans(text: str, terms: Sequence[str], heading: str = "") -> list[tuple[int, int]]:
    """From where to where the sentences go that `marked` marks."""
    sentences = split_sentences(text, terms, heading)
    most = _most_matches(sentences)
    return [(each.start, each.start + len(each.text)) for each in sentences if each.matches * 2 > most]


def _most_matches(sentences: Sequence[Sentence]) -> int:
    return max((sentence.matches for sentence in sentences), default=0)


def _with_tables(text: str) -> str:
    """`text`, which is HTML, with a table of each stretch of rows as the parser of PDFs writes them: cells and tabs."""
    return _ROWS.sub(lambda rows: _table(rows[0].splitlines()), text)


def _table(rows: Sequence[str]) -> str:
    width = min(max(row.count("\t") for row in rows), _PADDED_CELLS)
    lines = []
    for row in rows:
        cells = row.replace("<mark>", "").replace("</mark>", "").split("\t")
        cells = [f"<mark>{cell}</mark>" if "<mark>" in row and cell else cell for cell in cells]
        lines.append("".join(f"<td>{cell}</td>" for cell in cells) + "<td></td>" * (width + 1 - len(cells)))
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def citation_label(source: Source) -> str:
    """The name of a cited passage: its rank, its document, and its place there."""
    label = place(source.document_name, source.page, source.heading)
    if len(label) > _LABEL_CHARACTERS:
        label = label[: _LABEL_CHARACTERS - 12] + "…" + label[-11:]
    return f"{source.rank} · {label}"


def open_passage(retrieval: Retrieval, rank: int, has_document: bool = True) -> None:
    """Show a passage in a drawer: where it stands in its document, and its context.

    Without `has_document`, only what the answer was given from: whoever reads it may not be allowed to see more.
    """
    terms = retrieval.trace.terms
    passage = next(passage for passage in retrieval.passages if passage.rank == rank)

    @dialog(_("Passage {rank}").format(rank=rank), width="medium", position="right")
    def drawer() -> None:
        with st.container(key="drawer"):
            draw_passage(passage, terms)
        if has_document:
            with errors_shown():
                draw_spot(current_user(), passage, matching_spans(passage.chunk.text, terms, passage.chunk.heading))
        if passage.context and passage.context != passage.chunk.text:
            label = _("The context sent to the model")
            with st.expander(label, type="compact", key="drawer_context", on_change="rerun") as context:
                if context.open:
                    st.text(passage.context)

    drawer()


def scores_line(passage: Passage) -> str:
    """The passage's scores as HTML."""
    scores = "".join(f"<span><b>{html.escape(name)}</b> {value}</span>" for name, value in _scores(passage))
    return f"<div class='zw-scores'>{scores}</div>"


def _scores(passage: Passage) -> list[tuple[str, str]]:
    """Every score by its name; “–” for a route that did not find the passage. None if it was not searched for."""
    if not passage.dense and not passage.lexical:
        return []
    reranked = [] if passage.rerank is None else [(_("Rerank"), number(passage.rerank, 3))]
    return [
        *reranked,
        (_("Fused"), number(passage.fused, 3)),
        (_("Cosine"), _route(passage.dense)),
        ("BM25", _route(passage.lexical)),
        (_("Shared terms"), f"{number(passage.overlap * 100)}%"),
        (_("Relevance"), number(passage.relevance, 3)),
    ]


def _route(hit: RouteHit | None) -> str:
    return f"{number(hit.score, 3)} (#{hit.rank})" if hit else "–"


# --- a document's chunks ---


def open_chunks(user: User, document: Document) -> None:
    """The chunks in order, as retrieval sees them."""

    @dialog(_("Chunks"), width="medium", position="right")
    def drawer() -> None:
        total = document.latest.chunks
        st.caption(" · ".join([escape(document.name), ngettext("{count} chunk", "{count} chunks", total)]))
        if document.latest.notes:
            with st.container(key="document-notes"):
                st.caption("\n".join(f"- {escape(note_text(note))}" for note in document.latest.notes))
        pages = -(-total // _PAGE_CHUNKS)
        page = st.pagination(pages, key=f"chunks_page-{document.id}") if pages > 1 else 1
        with errors_shown():
            for chunk in services().documents.chunks(
                user.principal, document.id, (page - 1) * _PAGE_CHUNKS, _PAGE_CHUNKS
            ):
                with st.container(border=True):
                    draw_chunk(document.name, chunk)

    drawer()


def draw_chunk(document_name: str, chunk: Chunk) -> None:
    place = filter(None, [f"#{chunk.ordinal + 1}", place_label(document_name, chunk.page, chunk.heading)])
    heading = _heading(document_name, chunk)
    st.html(
        f"<div class='zw-passage'><div class='zw-place'>{html.escape(' · '.join(place))}</div>{heading}"
        f"<div class='zw-text'>{_with_tables(html.escape(chunk.text))}</div></div>"
    )
