"""What can be done where nothing relevant was found: search wider, ask the model alone, look closer in testing."""

from __future__ import annotations

import streamlit as st

from kb.access import Principal
from kb.messages import Message
from kb.models import Mode, Trace
from pages.ui.actions import remember_test
from pages.ui.chat_sidebar import has_model
from pages.ui.feedback import errors_flashed
from pages.ui.i18n import _
from pages.ui.resources import services
from pages.ui.running import HowToAnswer, start_answer

MOST_WIDENED = 2  # then there is no threshold any more


def draw_next_steps(message: Message, principal: Principal, trace: Trace) -> None:
    """Offer them below the latest answer. Each answers the same question again, beside this answer."""
    if not trace.documents:
        return
    of = (message, principal)
    with st.container(horizontal=True, key="next_steps"):
        if message.widened < MOST_WIDENED:
            st.button(_("Search wider"), key="search_wider", icon=":material/zoom_out_map:", on_click=_widen, args=of)
        if message.mode is not Mode.TEST and has_model():
            label = _("Ask without the web") if message.mode is Mode.WEB else _("Ask without documents")
            st.button(label, key="ask_without", icon=":material/network_intelligence:", on_click=_ask_model, args=of)
        if message.scope.first_id:
            label = _("Open in retrieval testing")
            if st.button(label, key="open_test", icon=":material/experiment:", on_click=_remember_test, args=of):
                st.switch_page("testing.py")


def _widen(message: Message, principal: Principal) -> None:
    how = HowToAnswer.chosen(message.mode)
    with errors_flashed():
        services().request_limits.count_answer(principal)
        if answer := services().messages.regenerate(principal, message.id, message.run_id, is_beside=True):
            start_answer(principal, answer, how, widened=message.widened + 1)
    st.rerun()  # the whole page, not the answer's fragment alone


def _ask_model(message: Message, principal: Principal) -> None:
    """For this question alone: the conversation stays in its mode."""
    how = HowToAnswer.chosen(Mode.LLM)
    with errors_flashed():
        services().request_limits.count_answer(principal)
        answer = services().messages.regenerate(principal, message.id, message.run_id, is_beside=True, mode=Mode.LLM)
        if answer:
            start_answer(principal, answer, how)
    st.rerun()


def _remember_test(message: Message, principal: Principal) -> None:
    with errors_flashed():
        remember_test(message, principal)
        return
    st.rerun()  # the chat with the error, not the testing page
