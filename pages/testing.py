"""Retrieval testing: a question to a knowledge base, and every passage with its scores. No language model."""

from __future__ import annotations

from uuid import UUID

import streamlit as st

from kb.errors import KbError, NotFound
from kb.extracts import escape_markdown as escape
from kb.library import KNOWLEDGE_BASE
from kb.models import KnowledgeBase, Scope, User
from pages.ui.feedback import show_error
from pages.ui.i18n import _
from pages.ui.passages import draw_passages
from pages.ui.resources import current_user, services
from pages.ui.state import settle_choices, state

CHOICE_KEY = "tested_knowledge_base"
QUESTION_KEY = "test_question"


def main() -> None:
    try:
        user = current_user()
        knowledge_bases = services().knowledge_bases.list(user.id)
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
    draw_form(user, knowledge_bases)
    draw_result()


def draw_form(user: User, knowledge_bases: list[KnowledgeBase]) -> None:
    names = {base.id: base.name for base in knowledge_bases}
    is_gone = settle_choices(knowledge_bases)
    if is_gone:
        show_error(NotFound(what=KNOWLEDGE_BASE))
    st.session_state[CHOICE_KEY] = state().knowledge_base_id
    st.selectbox(
        _("Knowledge base"),
        list(names),
        format_func=lambda key: names.get(key, "…"),
        key=CHOICE_KEY,
        on_change=_choose,
    )
    if (test := state().test) and QUESTION_KEY not in st.session_state:  # back from another page
        st.session_state[QUESTION_KEY] = test[1].question
    with st.form("test_form", border=False):
        st.text_input(_("Question"), key=QUESTION_KEY, placeholder=_("A question as your users would ask it"))
        # The question was meant for the knowledge base that is gone, not for the one that replaces it.
        if st.form_submit_button(_("Run the test"), key="run_test", type="primary") and not is_gone:
            run_test(user)


def _choose() -> None:
    if isinstance(chosen := st.session_state[CHOICE_KEY], UUID):  # else it is a former name, as the browser has it
        state().knowledge_base_id = chosen


def run_test(user: User) -> None:
    """Retrieve, and keep the result for later runs."""
    question = st.session_state[QUESTION_KEY].strip()
    state().test = None
    if not question:
        st.warning(_("Enter a question first."))
        return
    try:
        with st.spinner(_("Searching…")):
            chosen = st.session_state[CHOICE_KEY]
            state().test = chosen, services().retriever.retrieve(user.id, Scope((chosen,)), question)
    except KbError as error:
        show_error(error)


def draw_result() -> None:
    tested, retrieval = state().test or (None, None)
    if retrieval is None or tested != state().knowledge_base_id:
        return
    if retrieval.question != st.session_state[QUESTION_KEY].strip():  # the field holds another question by now
        st.caption(_("Results for “{question}”").format(question=escape(retrieval.question)))
    with st.container(key="passages"):
        draw_passages(retrieval)


main()
