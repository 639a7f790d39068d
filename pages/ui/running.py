"""An answer that is being written: how it begins, and how a page follows it."""

from __future__ import annotations

from uuid import UUID

import streamlit as st

from kb.answers import Answers
from kb.errors import KbError, NotFound, RedisUnavailable
from kb.extracts import escape_markdown as escape
from kb.message_store import MESSAGE
from kb.messages import ErrorPart, Message, Part
from kb.models import MessageState, Mode
from pages.ui import resources
from pages.ui.chat_sidebar import chosen_engine
from pages.ui.citations import safe_markdown
from pages.ui.feedback import errors_flashed, live_fragment, redraw
from pages.ui.i18n import _, ngettext
from pages.ui.state import LiveAnswer, state
from pages.ui.web_results import progress_text

POLL_SECONDS = 0.15
POLLS_PER_LOOK_AT_SQL = 15


def start_answer(user_id: UUID, message: Message, model: str, in_own_words: bool = False) -> None:
    """Start writing `message` in the background with the model of this id.

    A follow-up is searched for as it is meant, unless `in_own_words`. If the start fails, the message
    shows why and can be retried.
    """
    try:
        engine = chosen_engine() if message.mode is Mode.WEB else ""
        resources.answers().start(user_id, message.id, model, engine, in_own_words)
    except KbError as error:
        kept = [part for part in message.parts if not isinstance(part, ErrorPart)]
        parts: list[Part] = [*kept, ErrorPart(error.code, error.values)]
        with errors_flashed():  # if SQL fails too, the reaper closes the answer
            resources.services().conversations.finish(user_id, message.id, MessageState.FAILED, parts)


def draw_running(message: Message, user_id: UUID) -> None:
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
            draw_searched_for(live.searched_for)
            draw_thoughts(live.reasoning, message)
            if live.text:
                st.markdown(safe_markdown(live.text, live.retrieval) + (" ▌" if not live.has_ended else ""))
            elif live.progress and not live.retrieval:
                st.markdown(f":shimmer[{progress_text(live.progress)}]")
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
    live.retrieval = update.retrieval or update.web or live.retrieval
    live.progress = update.progress or live.progress
    live.searched_for = update.searched_for or live.searched_for
    # Redis may have lost the end.
    return update.ended or (live.polls % POLLS_PER_LOOK_AT_SQL == 0 and _has_ended(run_id, user_id))


def _has_ended(run_id: UUID, user_id: UUID) -> bool:
    return resources.services().conversations.state(user_id, run_id) is not MessageState.STREAMING


def _stop(answers: Answers, user_id: UUID, run_id: UUID) -> None:
    with errors_flashed():
        answers.stop(user_id, run_id)


def draw_searched_for(question: str) -> None:
    """Say what a follow-up was taken to mean."""
    if question:
        st.caption(_("Searched for: {question}").format(question=escape(question)))


def draw_thoughts(reasoning: str, message: Message) -> None:
    """Draw the model's reasoning, folded. It cites nothing."""
    if reasoning:
        with st.expander(
            _("Thoughts"), icon=":material/psychology:", key=f"thoughts-{message.id}", on_change="rerun"
        ) as body:
            if body.open:
                st.markdown(safe_markdown(reasoning))
