"""Chat: questions, answers, and the passages behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from kb.access import Permission
from kb.conversations import CONVERSATION
from kb.errors import KbError, NotFound
from kb.extracts import escape_markdown as escape
from kb.messages import Message
from kb.models import Conversation, KnowledgeBase, Mode, Role, Scope, User
from kb.suggestions import suggest
from pages.ui.chat_sidebar import connect_help, draw_sidebar, has_model, once_models_are_known
from pages.ui.composer import ask_or_keep, draw_composer, draw_refused
from pages.ui.feedback import TAIL, live_fragment, redraw, show_error
from pages.ui.i18n import _, join_list
from pages.ui.messages import draw_messages, draw_notice, draw_saving
from pages.ui.resources import current_principal, current_user, services
from pages.ui.saving import Saving, under_way
from pages.ui.scope import names_of, scope_label, show_lost
from pages.ui.state import FIRST_MESSAGES, MORE_MESSAGES, Draft, Refused, forget_id, query_id, settle_choices, state

REST_SECONDS = 0.7


def main() -> None:
    state().running = None
    try:
        user = current_user()
        conversation = open_conversation(user)
        knowledge_bases = services().knowledge_bases.list(user.principal)
        lost = settle_choices(user, knowledge_bases)
        draw_sidebar(knowledge_bases)
        saving = look_for_saving(conversation)
        messages = draw_conversation(user, conversation)
        draw_unsaved(conversation, messages, saving)
        has_note = bool(conversation and draw_other_choice(conversation, knowledge_bases))
        if lost and state().mode.uses_documents and not state().refused:
            show_lost(lost, knowledge_bases)
    except KbError as error:
        if refused := state().refused:
            state().refused = replace(refused, reason=error)
        else:
            show_error(error)
        draw_refused()
        return
    if not messages and not saving:
        draw_welcome(knowledge_bases)
    has_files = draw_composer(conversation, messages, knowledge_bases)
    # A note and a refused question stand below the conversation's end; only a run of the whole page takes them away.
    state().has_parts = bool(messages and knowledge_bases) and not has_note and not state().refused and not has_files


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
        conversation = services().conversations.get(user.principal, wanted)
    except NotFound as error:
        current.conversation_id = None
        forget_id("conversation")
        show_error(error)
        st.page_link("history.py", label=_("See all conversations"), icon=":material/history:")
        return None
    if current.conversation_id != conversation.id:
        current.conversation_id, current.mode = conversation.id, conversation.mode
        current.chosen = conversation.scope if conversation.scope.knowledge_base_ids else current.chosen
        current.shown_messages, current.switched, current.refused = FIRST_MESSAGES, False, None
    st.query_params["conversation"] = str(conversation.id)
    return conversation


def draw_conversation(user: User, conversation: Conversation | None) -> Sequence[Message]:
    """Draw the latest messages and a button for earlier ones."""
    current = state()
    if conversation is None:
        return []
    messages = services().messages.shown(user.principal, conversation.id, limit=current.shown_messages)
    if messages and messages[0].parent_id:
        with st.container(horizontal_alignment="center"):
            st.button(_("Load earlier messages"), key="load_earlier", type="tertiary", on_click=_show_more)
    # A line about a choice at the end is replaced by the next one.
    end = next((at for at in range(len(messages), 0, -1) if messages[at - 1].role is not Role.NOTICE), 0)
    draw_messages(messages[:end], user.principal)
    draw_tail(user, conversation, messages[end - 1].ordinal if end else -1, messages[end:])
    return messages


def look_for_saving(conversation: Conversation | None) -> Sequence[Saving]:
    """The questions that other tabs are saving now. One that was refused in the end is kept here, without its files."""
    current = state()
    for each in current.watched:
        if each.failure and not current.refused:
            current.refused = Refused(Draft(each.question), each.failure, current.mode, current.scope)
    current.watched = under_way(conversation.id) if conversation else ()
    return current.watched


def draw_unsaved(conversation: Conversation | None, messages: Sequence[Message], saving: Sequence[Saving]) -> None:
    """Draw the questions that SQL did not have yet when it was asked for `messages`."""
    stored = [message.content for message in messages[-2:]]
    for each in saving:
        if conversation and each.question not in stored:
            draw_saving(each, conversation.id)


def draw_tail(user: User, conversation: Conversation, drawn: int, messages: Sequence[Message]) -> None:
    """Draw the messages after the ordinal `drawn` as a fragment. A question adds to it; the others stay as they are."""
    is_whole_run = True

    @live_fragment(key=TAIL)
    def draw() -> None:
        nonlocal is_whole_run
        if is_whole_run:
            is_whole_run = False
            draw_messages(messages, user.principal)
            return
        later = services().messages.shown(user.principal, conversation.id, after=drawn)
        draw_messages(later, user.principal, has_last=False)
        if any(message.role is Role.ASSISTANT for message in later):
            draw_rest_later()

    draw()


def draw_rest_later() -> None:
    """Have the page drawn anew once the question is painted: the input field, and the answer if it is there already."""
    is_due = False

    @live_fragment(REST_SECONDS)
    def draw() -> None:
        nonlocal is_due
        if is_due:
            redraw()
        is_due = True

    draw()


def _show_more() -> None:
    state().shown_messages += MORE_MESSAGES


def draw_other_choice(conversation: Conversation, knowledge_bases: list[KnowledgeBase]) -> bool:
    """Note that the next question goes to other knowledge bases than the last one, if so.

    Another page chose it, or the last one was deleted. The note is stored with the question.
    """
    current, before = state(), conversation.scope
    is_deleted = not before.knowledge_base_ids and conversation.mode.uses_documents
    if not current.mode.uses_documents or not (before.knowledge_base_ids or is_deleted):
        return False
    if before == current.chosen:
        return False
    _draw_choice(current.mode, current.chosen, knowledge_bases)
    return True


def _draw_choice(mode: Mode, scope: Scope, knowledge_bases: list[KnowledgeBase]) -> None:
    draw_notice(mode, join_list(names_of(scope, knowledge_bases)), len(scope.document_ids))


def draw_welcome(knowledge_bases: list[KnowledgeBase]) -> None:
    """Say what can be done here, or what is missing; in the middle of the empty page."""
    current = state()
    chosen = [base for base in knowledge_bases if base.id in current.chosen.knowledge_base_ids]
    label = scope_label(current.chosen, knowledge_bases)
    with st.container(key="welcome", horizontal_alignment="center", vertical_alignment="center"):
        st.header(_("What would you like to know?"), anchor=False, text_alignment="center")
        if current.mode is Mode.LLM:
            once_models_are_known(draw_model_state)
        elif current.mode is Mode.WEB:
            _say(_("A search engine finds web pages, and the answer names the passages that it rests on."))
            _say(_("Put web addresses into your question to have those pages read instead."))
        elif not chosen:
            _say(_("Create a knowledge base, upload your files, then ask them here."))
            if current.mode is Mode.KNOWLEDGE:
                _say(_("Or attach files to a question: they belong to this conversation alone."))
            st.page_link("knowledge_bases.py", label=_("Create a knowledge base"), icon=":material/add:")
        elif not any(base.ready_count for base in chosen):
            _say(_("“{name}” has no document that is ready yet.").format(name=escape(label)))
            if chosen[0].permission.includes(Permission.EDIT):
                st.page_link(
                    "knowledge_bases.py",
                    label=_("Upload files"),
                    icon=":material/upload:",
                    query_params={"knowledge_base": str(chosen[0].id)},
                )
        elif current.mode is Mode.TEST:
            _say(
                _(
                    "A question shows the passages that “{name}” finds, with every score and time. No model is called."
                ).format(name=escape(label))
            )
        else:
            _say(
                _("Ask “{name}”. Every answer names its passages; open them to see why they were found.").format(
                    name=escape(label)
                )
            )
            if current.chosen == Scope.of(current.chosen.first_id):  # else they may be about other documents
                draw_suggestions(chosen[0])
        if current.switched:
            _draw_choice(current.mode, current.scope, knowledge_bases)


def draw_model_state() -> None:
    """Whether there is a language model to ask."""
    if error := services().chat_models.known(current_principal()).error:
        show_error(error)
    elif has_model():
        _say(_("Ask the language model anything. Your documents are not used in this mode."))
    else:
        st.info(connect_help(), icon=":material/power_off:")


def _say(text: str) -> None:
    st.markdown(text, text_alignment="center")


def draw_suggestions(base: KnowledgeBase) -> None:
    """Questions to begin with; a click asks one."""
    found = suggest(services().documents, current_principal(), base.id)
    questions = [_(suggestion.template).format(name=suggestion.name) for suggestion in found]
    with st.container(key="suggestions", horizontal=True, horizontal_alignment="center"):
        for index, question in enumerate(questions, 1):
            st.button(escape(question), key=f"suggestion-{index}", on_click=ask_or_keep, args=(question,))


main()
