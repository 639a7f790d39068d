"""The messages of a conversation: finished ones, and the answer that is being written."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import streamlit as st

from kb.answers import Answers
from kb.conversations import MESSAGE
from kb.errors import KbError, NoChatModel, NotFound, RedisUnavailable, from_code
from kb.extracts import escape_markdown as escape
from kb.messages import ErrorPart, Message
from kb.models import MessageState, Mode, Retrieval, Role
from pages.ui import resources
from pages.ui.chat_sidebar import chosen_model, connect_help, mode_names
from pages.ui.citations import cited, safe_markdown
from pages.ui.feedback import errors_flashed, live_fragment, redraw, show_error
from pages.ui.i18n import _, ngettext
from pages.ui.passages import draw_citations, draw_passages, open_passage
from pages.ui.state import LiveAnswer, state

POLL_SECONDS = 0.15
POLLS_PER_LOOK_AT_SQL = 15


def draw_messages(messages: Sequence[Message], user_id: UUID, has_last: bool = True) -> None:
    """Draw messages. A running answer follows its stream. `has_last`: the latest answer is the conversation's last."""
    answers = [message for message in messages if has_last and message.role is Role.ASSISTANT]
    for message in messages:
        is_last = bool(answers) and message is answers[-1]
        with st.container(key=f"message-{message.id}"):
            if message.role is Role.NOTICE:
                draw_notice(message.mode, message.content)
            elif message.role is Role.USER:
                _draw_question(message)
            elif message.state is MessageState.STREAMING:
                _draw_running(message, user_id)
            else:
                _draw_finished(message, user_id, is_last)


def draw_notice(mode: Mode, knowledge_base: str) -> None:
    """Draw the note that a switch of mode or knowledge base leaves."""
    if knowledge_base:
        text = _("Now: {mode} · {knowledge_base}").format(
            mode=mode_names()[mode], knowledge_base=escape(knowledge_base)
        )
    else:
        text = _("Now: {mode}").format(mode=mode_names()[mode])
    st.caption(f"— {text} —", text_alignment="center")


def _draw_question(message: Message) -> None:
    with st.chat_message("user"):
        st.text(message.content)


def _draw_finished(message: Message, user_id: UUID, is_last: bool) -> None:
    """Draw an answer as a fragment, so that opening a part of it redraws nothing else."""
    # Only the latest answer's citations and passages have the plain keys; keys are unique in a page.
    suffix = "" if is_last else f"-{message.id}"

    @live_fragment()
    def draw() -> None:
        with st.chat_message("assistant"):
            _draw_answer(message, user_id, suffix)
            _draw_ending(message)
            if is_last and message.state is not MessageState.DONE:
                st.button(
                    _("Try again"),
                    key="regenerate",
                    icon=":material/refresh:",
                    on_click=answer_again,
                    args=(user_id, message.id),
                )

    draw()


def _draw_answer(message: Message, user_id: UUID, suffix: str) -> None:
    sources = message.sources
    _draw_thoughts(message.reasoning, message)
    if message.content:
        is_quoted = message.mode is Mode.KNOWLEDGE and not message.model and message.content.startswith(">")
        if is_quoted and message.state is MessageState.DONE:
            st.caption(_("No language model is connected: these are the best passages."), help=connect_help())
        st.markdown(safe_markdown(message.content, sources, has_formulas=not is_quoted))
    if message.has_lost_passages:
        st.caption(_("The passages of this answer were saved by another version of Zhiwen and cannot be shown."))
    if sources is None:
        return
    if not sources.passages:
        if message.state is MessageState.DONE:
            draw_passages(_retrieval_of(message, user_id), suffix, are_files_told=bool(message.content))
        return
    if message.mode is Mode.TEST and not suffix:
        draw_passages(_retrieval_of(message, user_id), suffix)
        return
    if rank := draw_citations(cited(message.content, sources), suffix):
        open_passage(_retrieval_of(message, user_id), rank)
    label = ngettext("{count} passage with its scores", "{count} passages with their scores", len(sources.passages))
    with st.expander(label, icon=":material/plagiarism:", key=f"passages-of-{message.id}", on_change="rerun") as body:
        if body.open:
            draw_passages(_retrieval_of(message, user_id), suffix)


def _draw_thoughts(reasoning: str, message: Message) -> None:
    """Draw the model's reasoning, folded. It cites nothing."""
    if reasoning:
        with st.expander(
            _("Thoughts"), icon=":material/psychology:", key=f"thoughts-{message.id}", on_change="rerun"
        ) as body:
            if body.open:
                st.markdown(safe_markdown(reasoning))


def _retrieval_of(message: Message, user_id: UUID) -> Retrieval:
    """Load a retrieval where it is shown. Errors: `NotFound` if the message was deleted."""
    retrieval = resources.services().conversations.message(user_id, message.id).retrieval
    if retrieval is None:
        raise NotFound(what=MESSAGE)
    return retrieval


def _draw_ending(message: Message) -> None:
    match message.state:
        case MessageState.STOPPED:
            st.caption(_("You stopped this answer."))
        case MessageState.INTERRUPTED:
            st.warning(_("This answer was interrupted because the server stopped."))
        case MessageState.FAILED if message.error.code == NoChatModel.code:
            st.info(connect_help(), icon=":material/power_off:")
        case MessageState.FAILED:
            show_error(from_code(message.error.code, message.error.values))


# --- a running answer ---


def _draw_running(message: Message, user_id: UUID) -> None:
    run_id = _run_of(message)
    live = state().live.setdefault(run_id, LiveAnswer())
    answers = resources.answers()

    # Poll in a fragment; a loop would block the page and its stop button.
    @live_fragment(POLL_SECONDS)
    def follow() -> None:
        live.has_ended = live.has_ended or _poll(answers, run_id, user_id, live)
        if live.has_ended:
            state().live.pop(run_id, None)
            redraw()
        with st.chat_message("assistant"):
            _draw_thoughts(live.reasoning, message)
            if live.text:
                st.markdown(safe_markdown(live.text, live.retrieval) + (" ▌" if not live.has_ended else ""))
            elif live.retrieval:
                found = len(live.retrieval.passages)
                text = ngettext("{count} passage found. Writing…", "{count} passages found. Writing…", found)
                text = text if found else _("Writing…")
                st.markdown(f":shimmer[{text}]")
            else:
                text = _("Thinking…") if message.mode is Mode.LLM else _("Searching…")
                st.markdown(f":shimmer[{text}]")
            if live.is_cut_off:
                text = _("Redis is not responding. The answer is still being written and appears here when complete.")
                st.warning(text)
            st.button(
                _("Stop"),
                key="stop",
                icon=":material/stop_circle:",
                on_click=_stop,
                args=(answers, user_id, run_id),
            )

    follow()


def _run_of(message: Message) -> UUID:
    if message.run_id is None:
        raise NotFound(what=MESSAGE)
    return message.run_id


def _poll(answers: Answers, run_id: UUID, user_id: UUID, live: LiveAnswer) -> bool:
    """Read what has arrived; True once the answer has ended."""
    live.polls += 1
    try:
        update = answers.read(user_id, run_id, live.position)
    except RedisUnavailable:
        live.is_cut_off = True
        return _has_ended(run_id, user_id)
    live.is_cut_off = False
    if update.restarts:
        live.text = live.reasoning = ""
    live.position = update.position
    live.text, live.reasoning = live.text + update.text, live.reasoning + update.reasoning
    live.retrieval = update.retrieval or live.retrieval
    # Redis may have lost the end.
    return update.ended or (live.polls % POLLS_PER_LOOK_AT_SQL == 0 and _has_ended(run_id, user_id))


def _has_ended(run_id: UUID, user_id: UUID) -> bool:
    return resources.services().conversations.state(user_id, run_id) is not MessageState.STREAMING


def _stop(answers: Answers, user_id: UUID, run_id: UUID) -> None:
    with errors_flashed():
        answers.stop(user_id, run_id)


# --- starting an answer ---


def answer_again(user_id: UUID, message_id: UUID) -> None:
    """Regenerate, unless another tab already did. For callbacks."""
    with errors_flashed():
        if message := resources.services().conversations.regenerate(user_id, message_id):
            start_answer(user_id, message)
    st.rerun()  # the whole page, not the answer's fragment alone


def start_answer(user_id: UUID, message: Message) -> None:
    """Start writing `message` in the background. If that fails, the message shows why and can be retried."""
    try:
        resources.answers().start(user_id, message.id, chosen_model())
    except KbError as error:
        parts = [part for part in message.parts if not isinstance(part, ErrorPart)]
        parts.append(ErrorPart(error.code, error.values))
        with errors_flashed():  # if SQL fails too, the reaper closes the answer
            resources.services().conversations.finish(user_id, message.id, MessageState.FAILED, parts)
