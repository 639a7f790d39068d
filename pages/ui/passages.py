"""Passages with their scores and times, alike in the chat, in testing and in the drawer of a citation."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

import streamlit as st

from kb.errors import N_
from kb.extracts import split_sentences
from kb.models import Passage, Retrieval, RouteHit, Trace
from pages.ui.citations import cited
from pages.ui.feedback import dialog
from pages.ui.i18n import _, ngettext, number

_LABEL_CHARACTERS = 40

STEP_NAMES = {
    "documents": N_("Documents that are ready"),
    "analyze": N_("Analyse the question"),
    "embed": N_("Embed the question"),
    "dense": N_("Dense route (HNSW)"),
    "lexical": N_("Lexical route (BM25)"),
    "live": N_("Keep live versions"),
    "fuse": N_("Fuse the scores"),
    "threshold": N_("Threshold"),
    "top_k": N_("Top k"),
    "neighbours": N_("Neighbouring chunks"),
    "budget": N_("Context budget"),
}


def place(passage: Passage) -> str:
    """Where the passage stands, for a label: document, page, heading."""
    parts = [passage.document_name]
    if passage.chunk.page:
        parts.append(_("p. {page}").format(page=passage.chunk.page))
    return " · ".join(parts)


def draw_nothing_found(retrieval: Retrieval) -> None:
    """Why there are no passages: nothing to search, or nothing relevant in it."""
    if retrieval.trace.documents:
        st.info(_("Nothing relevant to this question was found in the knowledge base."), icon=":material/search_off:")
        return
    st.info(_("No document of this knowledge base is ready yet."), icon=":material/hourglass_empty:")
    st.page_link("knowledge_bases.py", label=_("Upload files, or see how far they are"), icon=":material/upload:")


def draw_passages(retrieval: Retrieval, key_suffix: str = "") -> None:
    """All passages, the best first, then the trace."""
    if not retrieval.passages:
        draw_nothing_found(retrieval)
    for passage in retrieval.passages:
        with st.container(border=True, key=f"passage-{passage.rank}{key_suffix}"):
            draw_passage(passage, retrieval.trace.terms)
    draw_trace(retrieval.trace)


def draw_passage(passage: Passage, terms: Sequence[str]) -> None:
    """One passage: where it stands, its scores, its text with the sentences that match marked."""
    title = html.escape(place(passage))
    heading = f"<div class='zw-heading'>{html.escape(passage.chunk.heading)}</div>" if passage.chunk.heading else ""
    scores = "".join(f"<span><b>{html.escape(name)}</b> {value}</span>" for name, value in _scores(passage))
    st.html(
        f"<div class='zw-passage'><div class='zw-place'><span class='zw-rank'>{passage.rank}</span>{title}</div>"
        f"{heading}<div class='zw-scores'>{scores}</div>"
        f"<div class='zw-text'>{marked(passage.chunk.text, terms)}</div></div>"
    )


def marked(text: str, terms: Sequence[str]) -> str:
    """`text` as HTML, with the sentences that hold at least half as many of the terms as the best one marked."""
    sentences = split_sentences(text, terms)
    best = max((sentence.matches for sentence in sentences), default=0)
    parts, end = [], 0
    for sentence in sentences:
        parts.append(html.escape(text[end : sentence.start]))
        piece = html.escape(sentence.text)
        parts.append(f"<mark>{piece}</mark>" if best and sentence.matches * 2 >= best else piece)
        end = sentence.start + len(sentence.text)
    return "".join(parts) + html.escape(text[end:])


def draw_citations(content: str, retrieval: Retrieval, key_suffix: str = "") -> None:
    """A button for each cited passage; a click opens the chunk."""
    passages = cited(content, retrieval)
    if not passages:
        return
    with st.container(horizontal=True, gap="small", key=f"cited{key_suffix}"):
        for passage in passages:
            label = place(passage)
            if len(label) > _LABEL_CHARACTERS:
                label = label[: _LABEL_CHARACTERS - 12] + "…" + label[-11:]
            text = f"{passage.rank} · {label}"
            if st.button(_escape_label(text), key=f"citation-{passage.rank}{key_suffix}", type="tertiary"):
                open_passage(passage, retrieval)


def open_passage(passage: Passage, retrieval: Retrieval) -> None:
    """The chunk in a drawer, with what surrounds it."""

    @dialog(_("Passage {rank}").format(rank=passage.rank), width="medium", position="right")
    def drawer() -> None:
        with st.container(key="drawer"):
            draw_passage(passage, retrieval.trace.terms)
        if passage.context and passage.context != passage.chunk.text:
            with st.expander(_("With the text around it, as the model saw it")):
                st.text(passage.context)

    drawer()


def _escape_label(text: str) -> str:
    return re.sub(r"([\\`*_\[\]~$:])", r"\\\1", text)


def draw_trace(trace: Trace) -> None:
    """What each step left and how long it took."""
    label = _("How these were found · {milliseconds} ms").format(milliseconds=number(trace.milliseconds))
    with st.expander(label, icon=":material/timeline:"):
        rows = "".join(
            f"<tr><td>{html.escape(_(STEP_NAMES.get(step.name, step.name)))}</td>"
            f"<td class='zw-number'>{number(step.milliseconds, 1)} ms</td>"
            f"<td class='zw-number'>{html.escape(_left(step.remaining, step.note))}</td></tr>"
            for step in trace.steps
        )
        st.html(f"<table class='zw-trace'>{rows}</table>")
        profile = trace.profile
        st.caption(
            _(
                "Settings: dense weight {dense}, lexical weight {lexical} · candidates per route: {candidates} · "
                "ef: {ef} · threshold: {threshold} · top k: {top_k} · neighbours: {neighbours} · "
                "context: {context} tokens"
            ).format(
                dense=number(profile.dense_weight, 2),
                lexical=number(profile.lexical_weight, 2),
                candidates=profile.candidates,
                ef=profile.ef,
                threshold=number(profile.threshold, 2),
                top_k=profile.top_k,
                neighbours=profile.neighbours,
                context=number(profile.context_tokens),
            )
        )


def _left(remaining: int, note: str) -> str:
    return _(note) if note else ngettext("{count} left", "{count} left", remaining)


def _scores(passage: Passage) -> list[tuple[str, str]]:
    """Every score with its name; a route that did not find the passage says so."""
    return [
        (_("Fused"), number(passage.fused, 3)),
        (_("Cosine"), _route(passage.dense)),
        ("BM25", _route(passage.lexical)),
        (_("Shared terms"), f"{number(passage.overlap * 100)} %"),
        (_("Relevance"), number(passage.relevance, 3)),
    ]


def _route(hit: RouteHit | None) -> str:
    return f"{number(hit.score, 3)} (#{hit.rank})" if hit else "–"
