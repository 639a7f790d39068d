"""The messages of a conversation: finished ones, and the answer that is being written."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from uuid import UUID

import streamlit as st

from kb.access import Principal
from kb.conversations import MESSAGE
from kb.errors import NoChatModel, NotFound, from_code
from kb.extracts import escape_markdown as escape
from kb.messages import Message
from kb.models import MessageState, Mode, Retrieval, Role
from kb.web_search.passages import WebRetrieval
from pages.ui import resources
from pages.ui.actions import draw_answer_actions, draw_question_actions
from pages.ui.chat_sidebar import connect_help, mode_names
from pages.ui.citations import dangling_text, safe_markdown
from pages.ui.feedback import live_fragment, redraw, show_error
from pages.ui.i18n import _, error_text, join_list, join_sentences, ngettext, number
from pages.ui.next_steps import draw_next_steps
from pages.ui.passages import draw_passages, draw_widened, open_passage
from pages.ui.running import draw_running
from pages.ui.saving import Saving, under_way
from pages.ui.steps import draw_found, draw_searched_for, draw_thoughts
from pages.ui.support import draw_support
from pages.ui.unsearchable import draw_not_searched, draw_unsearchable
from pages.ui.web_results import draw_web_results, open_web_passage

SAVING_POLL_SECONDS = 0.4
SHOWN_CHARACTERS = 60_000  # a finished answer that is no longer is drawn whole
SHOWN_OF_LONGER = 10_000  # at first; one that was stopped shall be seen to have stopped at once


def draw_messages(messages: Sequence[Message], principal: Principal, has_last: bool = True) -> None:
    """Draw messages. A running answer follows its stream. `has_last`: the latest answer is the conversation's last."""
    answers = [message for message in messages if has_last and message.role is Role.ASSISTANT]
    is_running = any(message.state is MessageState.STREAMING for message in messages)
    asked_in: Mode | None = None  # the mode of the question before
    for message in messages:
        is_last = bool(answers) and message is answers[-1]
        with st.container(key=f"message-{message.id}"):
            if message.role is Role.NOTICE:
                draw_notice(message.mode, message.content, len(message.scope.document_ids))
            elif message.role is Role.USER:
                asked_in = message.mode
                _draw_question(message, principal, not is_running)
            elif message.state is MessageState.STREAMING:
                draw_running(message, principal)
            else:
                is_aside = message.mode is Mode.LLM and asked_in not in (None, Mode.LLM)
                _draw_finished(message, principal, is_last, is_aside)


def draw_notice(mode: Mode, knowledge_bases: str, files: int = 0) -> None:
    """Draw the note that a switch leaves: the mode, the names of the knowledge bases, and to how many files of them."""
    text = _("Now: {mode}").format(mode=mode_names()[mode])
    if knowledge_bases:
        text = _("Now: {mode} · {knowledge_base}").format(
            mode=mode_names()[mode], knowledge_base=escape(knowledge_bases)
        )
    if files:
        text += " · " + ngettext("{count} file", "{count} files", files)
    st.caption(f"— {text} —", text_alignment="center")


def _draw_question(message: Message, principal: Principal, may_change: bool) -> None:
    draw_asked(message.content, [each.name for each in message.attached])
    draw_question_actions(message, principal, may_change)


def draw_asked(question: str, names: Sequence[str]) -> None:
    with st.chat_message("user"):
        if names:
            badges = " ".join(f":gray-badge[:material/attach_file: {escape(name)}]" for name in names)
            st.markdown(badges, text_alignment="right")
        st.text(question)


def draw_saving(saving: Saving, conversation_id: UUID) -> None:
    """Draw a question whose files another tab is saving, or this one before it was reloaded, until SQL has it."""

    @live_fragment(SAVING_POLL_SECONDS)
    def draw() -> None:
        if saving not in under_way(conversation_id):
            redraw()
        draw_asked(saving.question, saving.names)
        with st.chat_message("assistant"):
            st.expander(_("Saving the files…"), type="step", icon="spinner")

    draw()


def _draw_finished(message: Message, principal: Principal, is_last: bool, is_aside: bool) -> None:
    """Draw an answer as a fragment, so that opening a part of it redraws no other.

    `is_aside`: the model alone answered a question that was meant for documents or the web.
    """
    # Only the latest answer's passages have the plain keys; keys are unique in a page.
    suffix = "" if is_last else f"-{message.id}"

    @live_fragment()
    def draw() -> None:
        with st.chat_message("assistant"):
            if is_aside:
                st.caption(_("Answered by the language model alone, without documents or the web."))
            _draw_answer(message, principal, suffix)
            draw_ending(message)

    draw()
    draw_answer_actions(message, principal, is_last, partial(_open_passage, message, principal))


def _draw_answer(message: Message, principal: Principal, suffix: str) -> None:
    """Draw what was done for it, what it says, and what it rests on."""
    sources = message.sources
    with st.container(key=f"steps-{message.id}"):
        _draw_steps(message, principal, suffix)
    draw_widened(message.widened)
    if message.content:
        is_quoted = message.mode in (Mode.KNOWLEDGE, Mode.WEB) and not message.model and message.content.startswith(">")
        if is_quoted and message.state is MessageState.DONE:
            st.caption(_("No language model is connected: these are the best passages."), help=connect_help())
        draw_text(message, has_formulas=not is_quoted)
    draw_support(message, principal)
    if dangling := message.dangling_citations:
        st.caption(dangling_text(dangling))
    for each in message.left_out:
        text, remedy = error_text(from_code(each.code, each.values))
        st.warning(escape(join_sentences(text, remedy)), icon=":material/attach_file_off:")
    if message.has_lost_passages:
        st.caption(_("The passages of this answer were saved by another version of Zhiwen and cannot be shown."))
    if sources is None:
        return
    if sources.unsearchable and sources.passages and message.mode is not Mode.TEST:
        draw_unsearchable(sources.unsearchable)
    if message.mode is not Mode.TEST:
        draw_not_searched(sources.not_searched)
    if message.mode is Mode.WEB:
        if message.model and sources.unread_hosts:  # without a model, the answer itself names them
            hosts = join_list(map(escape, sources.unread_hosts))
            st.caption(_("Web pages that could not be read: {hosts}").format(hosts=hosts))
        if not sources.passages and message.state is MessageState.DONE:
            web = _web_of(message, principal)
            draw_web_results(web, suffix)
            if not suffix:
                draw_next_steps(message, principal, web.trace)
    elif not sources.passages:
        if message.state is MessageState.DONE:
            retrieval = _retrieval_of(message, principal)
            is_answered = bool(message.content)
            draw_passages(retrieval, suffix, is_answered)
            if not (suffix or is_answered or retrieval.files or retrieval.unread or retrieval.unsearchable):
                draw_next_steps(message, principal, retrieval.trace)
    elif message.mode is Mode.TEST and not suffix:
        draw_passages(_retrieval_of(message, principal), suffix)


def draw_text(message: Message, has_formulas: bool) -> None:
    """Draw what it says; of a very long text the beginning, until all is wanted."""
    text, key = message.content, f"whole-{message.id}"
    is_cut = len(text) > SHOWN_CHARACTERS and not st.session_state.get(key)
    if is_cut:
        text = text[: text.rfind("\n", SHOWN_OF_LONGER // 2, SHOWN_OF_LONGER) + 1 or SHOWN_OF_LONGER]
    st.markdown(safe_markdown(text, message.sources, has_formulas=has_formulas))
    if is_cut:
        count = number(len(message.content))
        st.button(
            _("Show all {count} characters").format(count=count),
            key=f"show-{key}",
            icon=":material/unfold_more:",
            on_click=_note_wanted,
            args=(key,),
        )


def _note_wanted(key: str) -> None:
    st.session_state[key] = True


def _draw_steps(message: Message, principal: Principal, suffix: str) -> None:
    """Draw what was done for the answer, as it was drawn while it was written (see `running`)."""

    def draw_sources() -> None:
        if message.mode is Mode.WEB:
            draw_web_results(_web_of(message, principal), suffix)
        else:
            draw_passages(_retrieval_of(message, principal), suffix)

    draw_searched_for(message.searched_for)
    if message.sources and message.sources.passages and not (message.mode is Mode.TEST and not suffix):
        draw_found(message.sources, message.id, draw_sources)
    draw_thoughts(message.reasoning, message.id, message.thought_ms)


def _open_passage(message: Message, principal: Principal, rank: int) -> None:
    if message.mode is Mode.WEB:
        open_web_passage(_web_of(message, principal), rank)
    else:
        open_passage(_retrieval_of(message, principal), rank)


def _web_of(message: Message, principal: Principal) -> WebRetrieval:
    """As `_retrieval_of`, for an answer that was given from the web."""
    retrieval = resources.services().messages.get(principal, message.id).web
    if retrieval is None:
        raise NotFound(what=MESSAGE)
    return retrieval


def _retrieval_of(message: Message, principal: Principal) -> Retrieval:
    """Load a retrieval where it is shown. Errors: `NotFound` if the message was deleted."""
    retrieval = resources.services().messages.get(principal, message.id).retrieval
    if retrieval is None:
        raise NotFound(what=MESSAGE)
    return retrieval


def draw_ending(message: Message) -> None:
    """Say how an answer ended, if it is not complete."""
    match message.state:
        case MessageState.STOPPED:
            st.caption(_("You stopped this answer."))
        case MessageState.INTERRUPTED:
            st.warning(_("This answer was interrupted because the server stopped."))
        case MessageState.FAILED if message.error.code == NoChatModel.code:
            st.info(connect_help(), icon=":material/power_off:")
        case MessageState.FAILED:
            show_error(from_code(message.error.code, message.error.values))
