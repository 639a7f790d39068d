"""Chat: questions, answers, and the passages behind them."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from kb.conversations import CONVERSATION
from kb.errors import KbError, NotFound
from kb.extracts import escape_markdown as escape
from kb.models import Conversation, KnowledgeBase, Message, MessageState, Mode, User
from pages.ui.chat_sidebar import connect_help, draw_sidebar, has_model
from pages.ui.feedback import show_error
from pages.ui.i18n import _
from pages.ui.messages import draw_messages, draw_notice, start_answer
from pages.ui.resources import current_user, services, warm_up
from pages.ui.state import Refused, forget_id, query_id, settle_choices, state

MORE_MESSAGES = 20
QUESTION_KEY = "question"
ASK_REFUSED_KEY = "ask_refused"


def main() -> None:
    try:
        user = current_user()
        conversation = open_conversation(user)
        knowledge_bases = services().knowledge_bases.list(user.id)
        is_gone = settle_choices(knowledge_bases)
        draw_sidebar(knowledge_bases)
        messages = draw_conversation(user, conversation)
        if conversation and not is_gone:
            draw_other_choice(conversation, knowledge_bases)
        if state().mode is not Mode.TEST and has_model() and any(base.ready_count for base in knowledge_bases):
            warm_up()
    except KbError as error:
        if refused := state().refused:
            state().refused = replace(refused, reason=error)
        else:
            show_error(error)
        draw_refused()
        return
    if not messages:
        draw_welcome(knowledge_bases)
    draw_question(messages, knowledge_bases)


def open_conversation(user: User) -> Conversation | None:
    """The conversation in the address, else the one this session had open."""
    current = state()
    wanted = query_id("conversation")
    if wanted is None and "conversation" not in st.query_params:
        wanted = current.conversation_id
        if wanted is None:
            return None
    try:
        if wanted is None:  # what stands in the address is no id
            raise NotFound(what=CONVERSATION)
        conversation = services().conversations.get(user.id, wanted)
    except NotFound as error:
        current.conversation_id = None
        forget_id("conversation")
        show_error(error)
        st.page_link("history.py", label=_("See all conversations"), icon=":material/history:")
        return None
    if current.conversation_id != conversation.id:
        current.conversation_id, current.mode = conversation.id, conversation.mode
        current.knowledge_base_id = conversation.knowledge_base_id or current.knowledge_base_id
        current.shown_messages, current.switched, current.refused = MORE_MESSAGES, False, None
    st.query_params["conversation"] = str(conversation.id)
    return conversation


def draw_conversation(user: User, conversation: Conversation | None) -> list[Message]:
    """Draw the latest messages and a button for earlier ones."""
    current = state()
    if conversation is None:
        return []
    messages = services().conversations.messages(user.id, conversation.id, limit=current.shown_messages)
    if messages and messages[0].ordinal > 0:
        with st.container(horizontal_alignment="center"):
            st.button(_("Load earlier messages"), key="load_earlier", type="tertiary", on_click=_show_more)
    draw_messages(messages, user.id)
    return list(messages)


def _show_more() -> None:
    state().shown_messages += MORE_MESSAGES


def draw_other_choice(conversation: Conversation, knowledge_bases: list[KnowledgeBase]) -> None:
    """Note that another page chose another knowledge base. The note is stored with the next question."""
    current = state()
    if current.mode is Mode.LLM or conversation.knowledge_base_id in (None, current.knowledge_base_id):
        return
    for base in knowledge_bases:
        if base.id == current.knowledge_base_id:
            draw_notice(current.mode, base.name)


def draw_welcome(knowledge_bases: list[KnowledgeBase]) -> None:
    """Say what can be done here, or what is missing."""
    current = state()
    base = next((base for base in knowledge_bases if base.id == current.knowledge_base_id), None)
    st.header(_("What would you like to know?"), anchor=False)
    if current.mode is Mode.LLM:
        known = services().chat_models.known()
        if known.error:
            show_error(known.error)
        elif known.seen_at is None:
            st.write(_("Looking for language models…"))
        elif not has_model():
            st.info(connect_help(), icon=":material/power_off:")
        else:
            st.write(_("Ask the language model anything. Your documents are not used in this mode."))
    elif base is None:
        st.write(_("Create a knowledge base, upload your files, then ask them here."))
        st.page_link("knowledge_bases.py", label=_("Create a knowledge base"), icon=":material/add:")
    elif base.ready_count == 0:
        st.write(_("“{name}” has no document that is ready yet.").format(name=escape(base.name)))
        st.page_link(
            "knowledge_bases.py",
            label=_("Upload files"),
            icon=":material/upload:",
            query_params={"knowledge_base": str(base.id)},
        )
    elif current.mode is Mode.TEST:
        st.write(
            _(
                "A question shows the passages that “{name}” finds, with every score and time. No model is called."
            ).format(name=escape(base.name))
        )
    else:
        st.write(
            _("Ask “{name}”. Every answer names its passages; open them to see why they were found.").format(
                name=escape(base.name)
            )
        )
    if current.switched:
        draw_notice(current.mode, base.name if base and current.mode is not Mode.LLM else "")


def draw_question(messages: list[Message], knowledge_bases: list[KnowledgeBase]) -> None:
    """Draw the input field, and the last question if it was refused."""
    running = any(message.state is MessageState.STREAMING for message in messages)
    lacks_base = state().mode is not Mode.LLM and not knowledge_bases
    placeholder = _("The answer is being written…") if running else _("Your question")
    if lacks_base:
        placeholder = _("Create a knowledge base first")
    # The callback asks before the page is drawn; otherwise each question would draw the page twice.
    st.chat_input(placeholder, key=QUESTION_KEY, disabled=running or lacks_base, on_submit=_ask_written)
    draw_refused()


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
    is_same_base = current.mode is Mode.LLM or current.knowledge_base_id == refused.knowledge_base_id
    return current.mode is refused.mode and is_same_base


# --- asking, in callbacks ---


def _ask_written() -> None:
    question = st.session_state[QUESTION_KEY]
    if question and question.strip():
        _ask(question.strip())


def _ask_refused() -> None:
    refused = state().refused
    if refused and _may_try_again(refused):
        _ask(refused.question)


def _ask(question: str) -> None:
    """Ask, or keep the question with the reason for the refusal."""
    current = state()
    try:
        ask(current_user(), question)
    except KbError as error:
        # A question whose knowledge base was deleted must not go to another one.
        base_id = None if isinstance(error, NotFound) else current.knowledge_base_id
        current.refused = Refused(question, error, current.mode, base_id)
    else:
        current.refused = None


def ask(user: User, question: str) -> None:
    """Add the question to the open conversation, or to a new one, and start its answer."""
    current = state()
    knowledge_base_id = None if current.mode is Mode.LLM else current.knowledge_base_id
    conversations = services().conversations
    if knowledge_base_id:
        services().knowledge_bases.get(user.id, knowledge_base_id)  # raises `NotFound` if it was deleted
    if current.conversation_id is None:
        conversation = conversations.create(user.id, question, current.mode, knowledge_base_id)
        current.conversation_id = conversation.id
        if current.switched:
            conversations.note_choice(user.id, conversation.id)
            current.switched = False
    else:
        conversations.choose(user.id, current.conversation_id, current.mode, knowledge_base_id)
    message = conversations.ask(user.id, current.conversation_id, question)
    st.query_params["conversation"] = str(current.conversation_id)
    start_answer(user.id, message)


main()
