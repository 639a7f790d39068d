"""What is said at the top of a page, and for how long."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest


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
