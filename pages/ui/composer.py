"""The composer: where a question goes, the field for it, and what became of one that could not be asked."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from kb.errors import KbError, NotFound
from kb.extracts import escape_markdown as escape
from kb.messages import Message
from kb.models import KnowledgeBase, MessageState, User
from pages.ui.chat_sidebar import chosen_model, mode_names
from pages.ui.feedback import CHOICE, live_fragment, redraw_parts, show_error
from pages.ui.i18n import _
from pages.ui.resources import current_user, services
from pages.ui.running import start_answer
from pages.ui.state import Refused, state

QUESTION_KEY = "question"
ASK_REFUSED_KEY = "ask_refused"


def draw_composer(messages: Sequence[Message], knowledge_bases: list[KnowledgeBase]) -> None:
    draw_refused()
    draw_choice(knowledge_bases)
    draw_question(messages, knowledge_bases)


def draw_choice(knowledge_bases: list[KnowledgeBase]) -> None:
    """Say above the input field where a question goes, for when the sidebar is closed (style.css); a click opens it."""

    @live_fragment(key=CHOICE)
    def draw() -> None:
        current = state()
        chosen = [mode_names()[current.mode]]
        if current.mode.uses_documents:
            chosen += [base.name for base in knowledge_bases if base.id == current.knowledge_base_id]
        st.button(escape(" · ".join(chosen)), key="choice", type="tertiary", icon=":material/tune:", wrap=False)

    with st.bottom:
        draw()


def draw_question(messages: Sequence[Message], knowledge_bases: list[KnowledgeBase]) -> None:
    """Draw the input field. It is no part of a fragment: there, Streamlit would not scroll to what is new."""
    running = any(message.state is MessageState.STREAMING for message in messages)
    lacks_base = state().mode.uses_documents and not knowledge_bases
    placeholder = _("The answer is being written…") if running else _("Your question")
    if lacks_base:
        placeholder = _("Create a knowledge base first")
    # The callback asks before the page is drawn; otherwise each question would draw the page twice.
    st.chat_input(placeholder, key=QUESTION_KEY, disabled=running or lacks_base, on_submit=_ask_written)


def draw_refused() -> None:
    """Show a refused question with its reason, so that its text is not lost."""
    if refused := state().refused:
        show_error(refused.reason)
        st.text(refused.question)
        if _may_try_again(refused):
            st.button(_("Try again"), key=ASK_REFUSED_KEY, icon=":material/refresh:", on_click=_ask_refused)


def _may_try_again(refused: Refused) -> bool:
    """Whether a retry would go to the mode and knowledge base that the question was meant for."""
    current = state()
    is_same_base = not current.mode.uses_documents or current.knowledge_base_id == refused.knowledge_base_id
    return current.mode is refused.mode and is_same_base


# --- asking, in callbacks ---


def _ask_written() -> None:
    question = st.session_state[QUESTION_KEY]
    if question and question.strip():
        ask_or_keep(question.strip())
        redraw_parts()


def _ask_refused() -> None:
    refused = state().refused
    if refused and _may_try_again(refused):
        ask_or_keep(refused.question)


def ask_or_keep(question: str) -> None:
    """Ask, or keep the question with the reason for the refusal."""
    current = state()
    try:
        ask(current_user(), question)
    except KbError as error:
        # A question whose knowledge base was deleted must not go to another one.
        base_id = None if isinstance(error, NotFound) else current.knowledge_base_id
        current.refused = Refused(question, error, current.mode, base_id)
        current.has_parts = False
    else:
        current.refused = None


def ask(user: User, question: str) -> None:
    """Add the question to the open conversation, or to a new one, and start its answer."""
    current = state()
    scope = current.scope
    conversations = services().conversations
    for knowledge_base_id in scope.knowledge_base_ids:
        services().knowledge_bases.get(user.id, knowledge_base_id)  # raises `NotFound` if it was deleted
    if current.conversation_id is None:
        conversation = conversations.create(user.id, question, current.mode, scope)
        current.conversation_id = current.begun = conversation.id
        if current.switched:
            conversations.note_choice(user.id, conversation.id)
            current.switched = False
    else:
        conversations.choose(user.id, current.conversation_id, current.mode, scope)
    message = conversations.ask(user.id, current.conversation_id, question)
    st.query_params["conversation"] = str(current.conversation_id)
    start_answer(user.id, message, chosen_model())
