"""An answer that is being written: how it begins, and how a page follows it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from uuid import UUID

import streamlit as st

from kb.access import Principal
from kb.answers import Answers
from kb.answers.streams import Arrived, Stage
from kb.conversations import MESSAGE
from kb.errors import KbError, NotFound, RedisUnavailable
from kb.extracts import escape_markdown as escape
from kb.messages import ErrorPart, Message, Part, SourcesPart, WidenedPart
from kb.models import MessageState, Mode, Retrieval
from kb.web_search.passages import WebRetrieval
from pages.ui import resources
from pages.ui.chat_sidebar import chosen_engine, chosen_model
from pages.ui.citations import safe_markdown
from pages.ui.feedback import errors_flashed, live_fragment, redraw
from pages.ui.i18n import _, language, ngettext, number
from pages.ui.passages import draw_passages
from pages.ui.state import LiveAnswer, state
from pages.ui.steps import draw_found, draw_searched_for, draw_thoughts
from pages.ui.web_results import draw_web_results, progress_text

POLL_SECONDS = 0.15
# Of all pages together. Each poll is a run of the script: more of them would take the time of the answers themselves.
POLLS_PER_SECOND = 100
FIRST_WAIT_SECONDS = 0.1  # so that the first words need not wait for the next poll; a click waits so long
POLLS_PER_LOOK_AT_SQL = 15
# Of a text that is being written: each poll draws them anew. Nobody reads along with a very long one, and a browser
# that is busy drawing takes long to show that it was stopped.
SHOWN_CHARACTERS = 20_000
VERY_LONG, SHOWN_OF_VERY_LONG = 60_000, 4_000
FAST = 2_000  # characters between two polls: nobody reads along with such a text, either
STUCK_SECONDS = 5  # a model that has begun to write, and writes no more
HELP_SECONDS = 20


@dataclass(frozen=True, slots=True)
class HowToAnswer:
    """What this tab has chosen for an answer, by ids.

    To be read before the message is stored. Reading the session ends the script if the user reloads the page, and a
    message would be left that nobody writes.
    """

    model: str
    engine: str
    language: str

    @classmethod
    def chosen(cls, mode: Mode, model: str | None = None) -> HowToAnswer:
        """`model`: another one than that of the tab."""
        engine = chosen_engine() if mode is Mode.WEB else ""
        return cls(chosen_model() if model is None else model, engine, language())


def start_answer(
    principal: Principal, message: Message, how: HowToAnswer, in_own_words: bool = False, widened: int = 0
) -> None:
    """Start writing `message` in the background.

    A follow-up is searched for as it is meant, unless `in_own_words`. `widened` is how often the search is made wider.
    If the start fails, the message shows why and can be retried.
    """
    try:
        resources.answers().start(
            principal, message.id, how.model, how.engine, in_own_words, page_language=how.language, widened=widened
        )
    except KbError as error:
        kept = [part for part in message.parts if not isinstance(part, ErrorPart)]
        parts: list[Part] = [*kept, *([WidenedPart(widened)] if widened else []), ErrorPart(error.code, error.values)]
        with errors_flashed():  # if SQL fails too, the reaper closes the answer
            resources.services().messages.finish(principal, message.id, MessageState.FAILED, parts)


def draw_running(message: Message, principal: Principal) -> None:
    run_id = _run_of(message)
    state().running = run_id
    live = state().live.setdefault(run_id, LiveAnswer())
    answers = resources.answers()

    # Poll in a fragment; a loop would block the page and its stop button.
    @live_fragment(poll_seconds(answers.running), is_frequent=True)
    def follow() -> None:
        live.has_ended = live.has_ended or _poll(answers, run_id, principal, live)
        if live.has_ended and live.is_drawn:
            state().live.pop(run_id, None)
            state().running = None
            redraw()
        live.is_drawn = True  # an answer that was there at once: the browser paints the question before the whole page
        with st.chat_message("assistant"):
            with st.container(key=f"steps-{message.id}"):
                _draw_steps(message, live.arrived)
            if live.arrived.text:
                _draw_text(live)
            if not live.has_ended and not is_all_there(message.mode, live.arrived):
                with st.container(key=f"stage-{message.id}"):
                    _draw_stage(message, live.arrived)
            if live.is_cut_off:
                st.warning(_cut_off_text(message, principal, live.arrived.stage))

    follow()


def poll_seconds(running: int) -> float:
    """How long to wait between two polls while so many answers are followed."""
    return max(POLL_SECONDS, running / POLLS_PER_SECOND)


def _cut_off_text(message: Message, principal: Principal, stage: Stage | None) -> str:
    """What becomes of an answer while Redis is away, which the workers that read files need, too.

    `stage` is the last one that was told; None: the page was loaded after that.
    """
    if message.mode.uses_files and stage in (None, Stage.FILES):
        files = resources.services().attachments.list(principal, message.conversation_id)
        if any(document.latest.state.is_pending for document in files):
            return _(
                "Redis is not responding, so attached files cannot be read. Your question is kept: it is answered once "
                "Redis is back and the files are read. You can also stop, or remove the files."
            )
    return _("Redis is not responding. The answer is still being written and appears here when complete.")


def _draw_steps(message: Message, arrived: Arrived) -> None:
    """Draw what is done, as the finished message shows it, so that nothing moves when the answer is complete."""
    draw_searched_for(arrived.searched_for)
    found = arrived.retrieval
    if isinstance(found, WebRetrieval) and found.passages:
        draw_found(SourcesPart.of_web(found), message.id, partial(draw_web_results, found))
    elif isinstance(found, Retrieval) and found.passages:
        draw_found(SourcesPart.of(found), message.id, partial(draw_passages, found))
    draw_thoughts(arrived.reasoning, message.id, arrived.thought_ms)


def _draw_text(live: LiveAnswer) -> None:
    text = shown_end(live.arrived.text, live.grown)
    if len(text) < len(live.arrived.text):
        st.caption(_("Only the end is shown while the answer is written, because it is very long."))
    st.markdown(safe_markdown(text, live.arrived.retrieval) + (" ▌" if not live.has_ended else ""))


def shown_end(text: str, grown: int = 0) -> str:
    """What is drawn of a text that is being written: all, or its last lines. `grown`: since the last poll."""
    most = SHOWN_CHARACTERS if len(text) <= VERY_LONG and grown <= FAST else SHOWN_OF_VERY_LONG
    if len(text) <= most:
        return text
    start = len(text) - most
    line = text.find("\n", start) + 1
    return text[max(line, start) :]


def is_all_there(mode: Mode, arrived: Arrived) -> bool:
    """Whether nothing is left to wait for but the end: retrieval testing asks no model."""
    return mode is Mode.TEST and arrived.retrieval is not None


def _draw_stage(message: Message, arrived: Arrived) -> None:
    """Say what is being done, for how long, and after a while what can be done about it."""
    seconds = arrived.stage_seconds
    is_stuck = arrived.stage is Stage.WRITING and arrived.silent_seconds >= STUCK_SECONDS
    seconds = arrived.silent_seconds if is_stuck else seconds
    label = _stage_text(message, arrived, is_stuck)
    if seconds >= 1:
        label += " " + _("{seconds} s").format(seconds=number(int(seconds)))
    st.expander(label, type="step", icon="spinner")
    if arrived.silent_seconds >= HELP_SECONDS:
        timeout = number(resources.services().settings.llm_timeout_seconds)
        st.caption(
            _(
                "A model that is still being loaded, or that runs without a graphics card, can take this long. You can "
                "stop and try another model. Zhiwen gives up when nothing has come for {seconds} s "
                "(LLM_TIMEOUT_SECONDS)."
            ).format(seconds=timeout)
        )


def _stage_text(message: Message, arrived: Arrived, is_stuck: bool) -> str:
    match arrived.stage:
        case Stage.FILES:
            return ngettext("Waiting for {count} file…", "Waiting for {count} files…", arrived.awaited)
        case Stage.UNDERSTANDING:
            return _("Reading the question in its context…")
        case Stage.SEARCHING:
            if message.mode is Mode.WEB:
                return progress_text(arrived.progress) if arrived.progress else _("Searching the web…")
            return _("Searching the documents…")
        case Stage.THINKING:
            return _("Thinking…")
        case Stage.WRITING if not is_stuck:
            return _("Writing…")
        case Stage.CHECKING:
            return _("Comparing the answer with its passages…")
        case None:
            return _("Starting…")
    if arrived.model:
        return _("Waiting for {model}…").format(model=escape(arrived.model))
    return _("Waiting for the model…")


def _run_of(message: Message) -> UUID:
    if message.run_id is None:
        raise NotFound(what=MESSAGE)
    return message.run_id


def _poll(answers: Answers, run_id: UUID, principal: Principal, live: LiveAnswer) -> bool:
    """Read what has arrived; True once the answer has ended. Errors: `SignedOut`, within seconds."""
    live.polls += 1
    if live.polls % POLLS_PER_LOOK_AT_SQL == 0:
        resources.current_account()
    arrived, before = live.arrived, len(live.arrived.text)
    if live.is_cut_off and has_ended(run_id, principal):  # asked first: a Redis that hangs takes seconds to say nothing
        return True
    try:
        update = answers.read(principal, run_id, arrived.position)
        arrived.take(update)
        is_shown = live.polls > 1  # the question is painted with the first poll
        if is_shown and not (arrived.text or arrived.reasoning or update.ended):
            update = answers.read(principal, run_id, arrived.position, FIRST_WAIT_SECONDS)
            arrived.take(update)
    except RedisUnavailable:
        live.is_cut_off = True
        return False
    live.is_cut_off = False
    live.grown = len(arrived.text) - before if before else 0  # a page that was just opened gets all at once
    # Redis may have lost the end.
    return update.ended or (live.polls % POLLS_PER_LOOK_AT_SQL == 0 and has_ended(run_id, principal))


def has_ended(run_id: UUID, principal: Principal) -> bool:
    """Also if the conversation was deleted elsewhere: the whole page says so."""
    try:
        return resources.services().messages.state(principal, run_id) is not MessageState.STREAMING
    except NotFound:
        return True
