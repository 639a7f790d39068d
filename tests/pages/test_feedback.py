"""What is said at the top of a page, and for how long."""

from __future__ import annotations

import runpy
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.local_script_runner import LocalScriptRunner

from kb.local.run_state import ServiceState
from pages.ui.feedback import missing_worker
from tests.real_services import ROOT


def page() -> None:
    import streamlit as st

    from kb.errors import RedisUnavailable
    from pages.ui.feedback import errors_flashed, redraw, show_flash

    def fail() -> None:
        with errors_flashed():
            raise RedisUnavailable(detail="asleep")

    if st.session_state.pop("is_due", False):  # as a fragment that polls
        redraw()
    show_flash()
    st.button("Stop", key="stop", on_click=fail)
    st.button("Go on", key="go_on")


def run_by_itself(app: AppTest) -> None:
    app.session_state["is_due"] = True
    app.run()


def test_error_outlasts_a_run_that_nobody_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    app = AppTest.from_function(page).run()
    app.button(key="stop").click().run()
    assert len(app.error) == 1
    run_by_itself(app)
    assert "asleep" in app.error[0].value
    monkeypatch.setattr("pages.ui.feedback.TOLD_SECONDS", 0)
    run_by_itself(app)
    assert len(app.error) == 0


def test_error_goes_when_the_user_goes_on() -> None:
    app = AppTest.from_function(page).run()
    app.button(key="stop").click().run()
    app.button(key="go_on").click().run()
    run_by_itself(app)
    assert len(app.error) == 0


def announcing_page() -> None:
    import streamlit as st

    from pages.ui.feedback import announce, live_fragment, show_flash

    @live_fragment(is_frequent=True)
    def draw() -> None:
        st.text("drawn")

    show_flash()
    if st.session_state.pop("is_pressed", False):  # as a button of the fragment, whose callback runs without the page
        announce("Queued.", ":material/check:")
    draw()


def test_toast_of_a_fragment_is_shown_at_once() -> None:
    app = AppTest.from_function(announcing_page)
    app.session_state["is_pressed"] = True
    app.run()
    assert [toast.value for toast in app.toast] == ["Queued."]
    assert [text.value for text in app.text] == ["drawn"]


def searching_page() -> None:
    from threading import Event

    import streamlit as st
    from streamlit.runtime.scriptrunner_utils.script_requests import RerunData
    from streamlit.runtime.scriptrunner_utils.script_run_context import get_script_run_ctx

    from pages.ui.feedback import wait_for

    context = get_script_run_ctx()
    assert context is not None
    assert context.script_requests is not None
    requests = context.script_requests

    def search() -> None:
        requests.request_rerun(RerunData())  # somebody clicks elsewhere
        Event().wait()

    if st.session_state.setdefault("is_due", True):
        st.session_state["is_due"] = False
        wait_for("Searching…", search)
    st.text("Another page")


def test_whoever_goes_on_does_not_wait_for_a_search() -> None:
    app = AppTest.from_function(searching_page).run()
    assert [text.value for text in app.text] == ["Another page"]


def defective_page() -> None:
    import streamlit as st

    def fail() -> None:
        raise ZeroDivisionError("secret")

    st.button("Break", key="break", on_click=fail)
    if st.session_state.get("is_broken"):
        fail()
    st.fragment(fail)()


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> None:
    """`AppTest` runs scripts with the launcher's handler, as the server does."""
    handler = runpy.run_path(str(ROOT / "webui_st.py"))["app"]._on_script_error
    start = LocalScriptRunner.__init__

    def begin(self: LocalScriptRunner, *args: Any, **values: Any) -> None:
        start(self, *args, **values)
        self._on_script_error = handler

    monkeypatch.setattr(LocalScriptRunner, "__init__", begin)


@pytest.mark.usefixtures("launched")
@pytest.mark.parametrize(("locale", "text"), [("en-US", "This page has an error"), ("zh-CN", "页面出错")])
def test_defects_are_told_in_our_own_words(locale: str, text: str) -> None:
    app = AppTest.from_function(defective_page)
    app.context = {"locale": locale}
    app.run()  # in a fragment
    assert [error.value.split("**")[1] for error in app.error] == [text]
    app.session_state["is_broken"] = True
    app.run()  # in the script
    assert [error.value.split("**")[1] for error in app.error] == [text]
    app.button(key="break").click().run()  # in a callback
    assert text in app.error[0].value
    assert [*app.exception] == []
    assert "secret" not in app.error[0].value


@pytest.mark.parametrize(
    ("seconds", "running", "restarts", "detail", "words"),
    [
        (5, True, 0, "", "is starting"),
        (300, True, 0, "", "is not responding"),
        (5, False, 0, "ended by SIGKILL", "exited (ended by SIGKILL) and is restarting"),
        (5, True, 1, "ended by SIGKILL", "exited (ended by SIGKILL) and is restarting"),
        (5, True, 2, "ended with code 1", "keeps exiting: ended with code 1"),
        (5, True, 1, "", "is starting"),  # for longer than a process that crashes lives
    ],
)
def test_what_became_of_the_embedded_worker(
    monkeypatch: pytest.MonkeyPatch, seconds: int, running: bool, restarts: int, detail: str, words: str
) -> None:
    since = datetime.now(UTC) - timedelta(seconds=seconds)
    states = [ServiceState("redis", 1, True, 0, since), ServiceState("worker", 2, running, restarts, since, detail)]
    monkeypatch.setattr("pages.ui.feedback.local_services", lambda: SimpleNamespace(states=lambda: states))
    assert words in missing_worker()
