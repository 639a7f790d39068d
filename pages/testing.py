"""Retrieval testing: a question to a knowledge base, and every passage with its scores. No language model."""

from __future__ import annotations

from functools import partial

import streamlit as st

from kb.errors import KbError
from kb.extracts import escape_markdown as escape
from kb.models import KnowledgeBase, Scope, User
from kb.questions import check_question
from pages.ui.feedback import show_error, wait_for
from pages.ui.i18n import _
from pages.ui.passages import draw_passages, draw_widened
from pages.ui.resources import current_user, services, warm_up
from pages.ui.scope import draw_scope, show_lost
from pages.ui.state import TestSettings, settle_choices, state
from pages.ui.trace import profile_changes

CHOICE_KEY = "tested_knowledge_base"
QUESTION_KEY = "test_question"


def main() -> None:
    try:
        user = current_user()
        knowledge_bases = services().knowledge_bases.list(user.principal)
    except KbError as error:
        show_error(error)
        return
    st.header(_("Retrieval testing"), anchor=False)
    st.caption(
        _("See which passages a question finds, with every score and time. The chat retrieves in the same way."),
        help=_("Documents are stored in pieces, the chunks. The chunks that a question finds are its passages."),
    )
    if not knowledge_bases:
        st.write(_("There is no knowledge base yet."))
        st.page_link("knowledge_bases.py", label=_("Create a knowledge base"), icon=":material/add:")
        return
    if any(base.ready_count for base in knowledge_bases):
        warm_up()
    draw_form(user, knowledge_bases)
    draw_result(user)


def draw_form(user: User, knowledge_bases: list[KnowledgeBase]) -> None:
    lost = settle_choices(user, knowledge_bases)
    if lost:
        show_lost(lost, knowledge_bases)
    draw_scope(knowledge_bases, CHOICE_KEY, _choose)
    draw_settings(knowledge_bases)
    if (test := state().test) and QUESTION_KEY not in st.session_state:  # back from another page
        st.session_state[QUESTION_KEY] = test[1].question
    with st.form("test_form", border=False):
        st.text_input(_("Question"), key=QUESTION_KEY, placeholder=_("A question as your users would ask it"))
        # The question was meant for what is gone, not for what replaces it.
        if st.form_submit_button(_("Run the test"), key="run_test", type="primary") and not lost:
            state().test = None
            run_test(user)


def _choose(scope: Scope) -> None:
    state().chosen = scope


def draw_settings(knowledge_bases: list[KnowledgeBase]) -> None:
    """Say that tests use the settings of the answer that was opened here, what differs, and offer the own ones."""
    current = state()
    asked = set(current.chosen.knowledge_base_ids)
    if not asked <= current.test_settings.profiles.keys():  # another knowledge base was chosen since
        current.test_settings = TestSettings()
    settings = current.test_settings
    if not settings.profiles:
        return
    changes = [_widened(settings.widened)] if settings.widened else []
    for base in knowledge_bases:
        if base.id in asked:
            home = f"{base.name}: " if len(asked) > 1 else ""
            changes += [home + change for change in profile_changes(settings.profiles[base.id], base.profile)]
    with st.container(key="test_settings", horizontal=True, vertical_alignment="center"):
        if not changes:
            st.caption(_("With the settings of the answer, which are the knowledge base's own."))
            return
        text = _("With the settings of the answer: {changes}").format(changes=" · ".join(changes))
        st.caption(escape(text), width="content")
        label = _("Use the knowledge base's own")
        st.button(label, key="own_settings", type="tertiary", icon=":material/undo:", on_click=_use_own_settings)


def _widened(times: int) -> str:
    return _("searched wider, with half the threshold") if times == 1 else _("searched wider, without a threshold")


def _use_own_settings() -> None:
    state().test_settings = TestSettings()


def run_test(user: User, widened: int | None = None) -> bool:
    """Retrieve, and keep the result for later runs. `widened`: how often the search is made wider than usual.

    Returns False if that failed, which has been said.
    """
    question = st.session_state[QUESTION_KEY].strip()
    if not question:
        st.warning(_("Enter a question first."))
        return False
    chosen, settings = state().chosen, state().test_settings
    times = settings.widened if widened is None else widened
    retrieve = partial(services().retriever.retrieve, user.principal, chosen, question, settings.profiles, times)
    try:
        check_question(question)
        state().test = chosen, wait_for(_("Searching…"), retrieve)
    except KbError as error:
        show_error(error)
        return False
    return True


def draw_result(user: User) -> None:
    tested, retrieval = state().test or (None, None)
    if retrieval is None or tested != state().chosen:
        return
    if retrieval.question != st.session_state[QUESTION_KEY].strip():  # the field holds another question by now
        st.caption(_("Results for “{question}”").format(question=escape(retrieval.question)))
    with st.container(key="passages"):
        draw_widened(retrieval.widened)
        draw_passages(retrieval, are_nearest_open=True)
    if not retrieval.nearest:
        return
    is_wider = st.button(_("Search wider"), key="search_wider", icon=":material/zoom_out_map:")
    if is_wider and run_test(user, retrieval.widened + 1):
        st.rerun()


main()
