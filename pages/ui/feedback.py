"""Errors and confirmations, drawn alike everywhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from functools import wraps
from typing import Any, Literal, NoReturn, TypeVar

import streamlit as st

from kb.deadlines import begin
from kb.errors import KbError, SignedOut
from kb.extracts import escape_markdown as escape
from pages.ui.i18n import _, error_text
from pages.ui.resources import is_signed_out, local_services
from pages.ui.state import state

Result = TypeVar("Result")

FLASH_KEY = "flash"
TOASTS_KEY = "toasts"
LOOK_SECONDS = 0.1
FEW_RESTARTS = 2  # of the embedded worker; from then on something is wrong with it
TOLD_SECONDS = 10  # an error stays at least as long, unless the user goes on
# The parts of the chat that a choice or a question changes, by the keys of their fragments. All else stays as it is,
# however long the conversation is (`redraw_parts`).
FRAME, SIDEBAR, TALKS, TAIL, CHOICE = "part_frame", "part_sidebar", "part_talks", "part_tail", "part_choice"


def show_error(error: KbError) -> None:
    """What happened and what to do next."""
    addresses = [value for key, value in error.values.items() if key in ("address", "url")]
    message, remedy = (escape(text, addresses) for text in error_text(error))
    st.error(f"**{message}**  \n{remedy}" if remedy else f"**{message}**", icon=":material/error:")


def show_defect(error: Exception) -> bool:
    """Streamlit's `on_script_error`: say in the page's language what it would say in English.

    Streamlit has logged the error before.
    """
    if isinstance(error, KbError):
        show_error(error)
        return True
    text = _("This page has an error")
    remedy = _("Reload the page. If the error comes back, report it with the last lines of Zhiwen's log.")
    st.error(f"**{text}**  \n{remedy}", icon=":material/bug_report:")
    return True


def missing_worker() -> str:
    """Why nothing is processed, and what to do."""
    embedded = next((service for service in local_services().states() if service.name == "worker"), None)
    if embedded is None:
        return _("No worker is running, so nothing is processed. Start one with: dramatiq workers -p 1 -t 3")
    if embedded.detail and embedded.restarts < FEW_RESTARTS:
        return _("The worker exited ({detail}) and is restarting.").format(detail=escape(embedded.detail))
    if embedded.detail or not embedded.running:
        return _("The worker keeps exiting: {detail}").format(detail=escape(embedded.detail))
    if embedded.had_time_to_start:
        return _("The worker is not responding. If it stays so, restart Zhiwen: what is being processed is kept.")
    return _("The worker is starting…")


@contextmanager
def errors_shown() -> Iterator[None]:
    """Show a `KbError` in place of what could not be drawn."""
    try:
        yield
    except SignedOut:
        st.rerun()  # the whole page says so (pages/app.py)
    except KbError as error:
        show_error(error)


@contextmanager
def errors_flashed() -> Iterator[None]:
    """For callbacks: a `KbError` is shown at the top of the next run.

    Nothing is done for a session that has ended since the page was drawn, for whose user the callback was made.
    """
    if is_signed_out():
        st.rerun()  # which says so
    try:
        yield
    except SignedOut:
        return  # the next run says so
    except KbError as error:
        flash(error)


def flash(error: KbError) -> None:
    """Show the error at the top of the next run."""
    st.session_state.setdefault(FLASH_KEY, []).append(error)


def announce(text: str, icon: str, duration: Literal["short", "long"] = "short") -> None:
    """Show a toast with the next run of the whole page: one that a fragment shows goes away with that run."""
    st.session_state.setdefault(TOASTS_KEY, []).append((text, icon, duration))


def show_flash() -> None:
    """What the last run, or a callback, left to say."""
    for text, icon, duration in st.session_state.pop(TOASTS_KEY, []):
        st.toast(text, icon=icon, duration=duration)
    errors = st.session_state.pop(FLASH_KEY, [])
    if state().told != tuple(errors):
        state().told, state().told_at = tuple(errors), time.monotonic()
    for error in errors:
        show_error(error)


def wait_for(text: str, work: Callable[[], Result]) -> Result:
    """What `work` returns or raises, which must not use Streamlit. Below a spinner that says `text`.

    Streamlit draws nothing else in a session before its run has ended. So the work has a thread of its own, and whoever
    goes on meanwhile does not wait for it.
    """
    future = begin(work)
    with st.spinner(text):
        while not future.done():
            wait([future], LOOK_SECONDS)
            _ = FLASH_KEY in st.session_state  # here Streamlit ends the run if another one is due
    return future.result()


def live_fragment(
    run_every: float | None = None, key: str | None = None, is_frequent: bool = False
) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """`st.fragment` that shows its errors; for what its callbacks left to say, it has the whole page drawn.

    So it has if nobody is signed in any more. One that `is_frequent` asks SQL about that by itself, now and then.
    """

    def decorate(draw: Callable[[], None]) -> Callable[[], None]:
        @st.fragment(run_every=run_every, key=key)
        @errors_shown()
        @wraps(draw)
        def draw_it() -> None:
            if FLASH_KEY in st.session_state or TOASTS_KEY in st.session_state:
                redraw()
            if not is_frequent and is_signed_out():
                st.rerun()
            draw()

        return draw_it

    return decorate


def dialog(
    title: str, is_page_older: bool = False, **options: Any
) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """`st.dialog` that is noted while it is open: a run of the whole page would close it (see `redraw`).

    `is_page_older`: something has changed before it opened, so the page is drawn anew once it is dismissed.
    """
    on_dismiss = _redraw_after_dismissal if is_page_older else _note_dismissal

    def decorate(draw: Callable[[], None]) -> Callable[[], None]:
        @wraps(draw)
        def draw_it() -> None:
            if is_signed_out():
                st.rerun()
            draw()

        opened = st.dialog(title, on_dismiss=on_dismiss, **options)(draw_it)

        def open_it() -> None:
            state().has_dialog = True
            opened()

        return open_it

    return decorate


def _note_dismissal() -> None:
    state().has_dialog = False  # what runs next may be a fragment alone


def _redraw_after_dismissal() -> None:
    _note_dismissal()
    redraw()


def redraw() -> None:
    """Run the whole page, unless a dialog is open: that one is finished first.

    Nobody asked for that run, so it says again what has just been said.
    """
    if not state().has_dialog:
        if state().told and time.monotonic() - state().told_at < TOLD_SECONDS:
            st.session_state.setdefault(FLASH_KEY, list(state().told))
        st.rerun()


def redraw_parts(*parts: str) -> NoReturn:
    """Draw only the changing parts of the chat, or the whole page if it is not there or has an error to show.

    For callbacks, as their last statement. `parts`: those that cannot wait for the whole page, which follows; all
    without any.
    """
    if state().has_parts and FLASH_KEY not in st.session_state:
        st.rerun(list(parts) or [FRAME, TAIL, CHOICE, SIDEBAR, TALKS])
    st.rerun()


def confirm(title: str, question: str, action: str, act: Callable[[], None], key: str) -> None:
    """Ask before something is lost. `act` runs as a callback, before the next run."""

    @dialog(title)
    def ask() -> None:
        st.write(question)
        with st.container(horizontal=True, horizontal_alignment="right"):
            if st.button(_("Keep"), key=f"{key}_keep"):
                st.rerun()
            # A callback runs before the page does, so the page that follows shows the result at once.
            done = st.button(action, key=key, type="primary", on_click=act)
        close_dialog_if(done)

    ask()


def close_dialog_if(acted: bool) -> None:
    """In a dialog whose button's callback has run: close it, or stay open with what went wrong."""
    if acted and FLASH_KEY not in st.session_state:
        st.rerun()
    show_flash()
