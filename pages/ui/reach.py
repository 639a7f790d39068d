"""The choice of what an API key or a webhook is for: all knowledge bases that its user sees, or chosen ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

import streamlit as st

from kb.errors import NoKnowledgeBaseChosen
from kb.extracts import escape_markdown as escape
from pages.ui.i18n import _, join_list, ngettext

ALL, CHOSEN = "all", "chosen"


def fill_reach(key: str, knowledge_base_ids: Iterable[UUID] | None = None) -> None:
    """What the fields show when their dialog opens; None: all."""
    st.session_state[_reach(key)] = ALL if knowledge_base_ids is None else CHOSEN
    st.session_state[_bases(key)] = list(knowledge_base_ids or ())


def draw_reach(key: str, names: Mapping[UUID, str]) -> None:
    reaches = {ALL: _("All that you can see, now or later"), CHOSEN: _("Only these:")}
    reach = st.radio(_("Knowledge bases"), list(reaches), format_func=reaches.__getitem__, key=_reach(key))
    if reach == CHOSEN:
        st.pills(
            _("Knowledge bases"),
            list(names),
            selection_mode="multi",
            format_func=lambda each: escape(names[each]),
            key=_bases(key),
            label_visibility="collapsed",
        )


def chosen_reach(key: str) -> list[UUID] | None:
    """The chosen knowledge bases; None: all. Errors: `NoKnowledgeBaseChosen`."""
    if st.session_state.get(_reach(key)) != CHOSEN:
        return None
    chosen: list[UUID] = st.session_state.get(_bases(key)) or []
    if not chosen:
        raise NoKnowledgeBaseChosen
    return chosen


def reach_text(knowledge_base_ids: Sequence[UUID] | None, labels: Mapping[UUID, str]) -> str:
    """Of those that the user no longer sees, only their number is told."""
    if knowledge_base_ids is None:
        return _("All knowledge bases")
    known = [labels[each] for each in knowledge_base_ids if each in labels]
    gone = len(knowledge_base_ids) - len(known)
    if gone:
        known.append(ngettext("{count} that you no longer see", "{count} that you no longer see", gone))
    return join_list(known)


def _reach(key: str) -> str:
    return f"{key}_reach"


def _bases(key: str) -> str:
    return f"{key}_bases"
