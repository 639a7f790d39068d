"""The trace of a retrieval: what each step left, how long it took, and why something was left out."""

from __future__ import annotations

import html
from dataclasses import fields

import streamlit as st

from kb.errors import N_, fill
from kb.extracts import escape_markdown as escape
from kb.models import RetrievalProfile, Step, Trace
from kb.retrieval.corpora import ATTACHED
from pages.ui.i18n import _, ngettext, number

STEP_NAMES = {
    "documents": N_("Documents that are ready"),
    "search": N_("Search the web"),
    "read_pages": N_("Read the pages"),
    "chunks": N_("Cut them into chunks"),
    "meant": N_("Find the files that are meant"),
    "files": N_("List the files"),
    "beginnings": N_("Read from the beginning"),
    "analyze": N_("Analyse the question"),
    "embed": N_("Embed the question"),
    "dense": N_("Dense route (HNSW)"),
    "dense_exact": N_("Dense route (exact)"),
    "lexical": N_("Lexical route (BM25)"),
    "live": N_("Keep live versions"),
    "gate": N_("Weigh the routes"),
    "fuse": N_("Fuse the scores"),
    "rerank": N_("Rerank"),
    "threshold": N_("Threshold"),
    "left_out": N_("Knowledge base left out"),
    "merge": N_("Merge the knowledge bases"),
    "distinct": N_("Merge identical texts"),
    "spread": N_("A few of each page"),
    "top_k": N_("Top k"),
    "partly_read": N_("Files read only in part"),
    "neighbours": N_("Neighbouring chunks"),
    "budget": N_("Context budget"),
}


SETTING_NAMES = {
    "dense_weight": N_("dense weight"),
    "lexical_weight": N_("lexical weight"),
    "candidates": N_("candidates per route"),
    "ef": N_("ef"),
    "threshold": N_("threshold"),
    "top_k": N_("top k"),
    "neighbours": N_("neighbours"),
    "context_tokens": N_("context tokens"),
}


def draw_reasons(trace: Trace) -> None:
    """Say which steps left something out, and why: what explains that nothing was found."""
    for step in trace.steps:
        if step.note and step.name in ("analyze", "partly_read"):
            st.caption(escape(note_of(step)))
        elif step.note and step.name in ("documents", "dense", "dense_exact", "lexical", "left_out", "threshold"):
            st.caption(escape(_("{step}: {reason}").format(step=step_name(step), reason=note_of(step))))


def draw_trace(trace: Trace, key: str) -> None:
    """Draw what each step left and how long it took, once it is opened."""
    label = _("Search steps · {milliseconds} ms").format(milliseconds=number(trace.milliseconds))
    with st.expander(label, icon=":material/timeline:", key=key, on_change="rerun") as body:
        if body.open:
            _draw_steps(trace)


def _draw_steps(trace: Trace) -> None:
    rows = "".join(
        f"<tr><td>{html.escape(step_name(step))}</td>"
        f"<td class='zw-number'>{number(step.milliseconds, 1)} ms</td>"
        f"<td class='zw-number'>{html.escape(_left(step))}</td></tr>"
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
            dense=_weight(profile.dense_weight),
            lexical=_weight(profile.lexical_weight),
            candidates=profile.candidates,
            ef=profile.ef,
            threshold=number(profile.threshold, 2),
            top_k=profile.top_k,
            neighbours=profile.neighbours,
            context=number(profile.context_tokens),
        )
    )


def profile_changes(profile: RetrievalProfile, own: RetrievalProfile) -> list[str]:
    """What a profile sets otherwise than a knowledge base's own: “top k: 3 (knowledge base: 5)”."""
    return [
        _("{setting}: {value} (knowledge base: {own})").format(
            setting=_(SETTING_NAMES[each.name]),
            value=_setting(getattr(profile, each.name)),
            own=_setting(getattr(own, each.name)),
        )
        for each in fields(RetrievalProfile)
        if getattr(profile, each.name) != getattr(own, each.name)
    ]


def _setting(value: float | None) -> str:
    if value is None:
        return _("automatic")
    return number(value) if isinstance(value, int) else number(value, 2)


def step_name(step: Step) -> str:
    """Below that of its knowledge base, if several were asked."""
    home = _(ATTACHED) if step.knowledge_base == ATTACHED else step.knowledge_base
    return " · ".join(filter(None, [home, _(STEP_NAMES.get(step.name, step.name))]))


def _weight(weight: float | None) -> str:
    """“–” if nothing was searched for, so that the model was not asked for what suits it."""
    return "–" if weight is None else number(weight, 2)


def _left(step: Step) -> str:
    if step.note:
        return note_of(step)
    match step.name:
        case "meant" | "files":
            return ngettext("{count} file", "{count} files", step.remaining)
        case "beginnings":
            return ngettext("{count} chunk", "{count} chunks", step.remaining)
    return ngettext("{count} left", "{count} left", step.remaining)


def note_of(step: Step) -> str:
    return fill(_(step.note), step.note_values)
