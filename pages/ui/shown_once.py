"""Secrets that were just made, an API key or that of a webhook: the page shows each once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st
from pydantic import SecretStr

from pages.ui.feedback import dialog
from pages.ui.i18n import _

MADE_KEY = "made_secret"  # until the next run of the whole page


@dataclass(slots=True)
class Making:
    """What one dialog has made, and how to show it. A second click on the dialog's button makes no other."""

    title: Callable[[], str]
    note: Callable[[], str]
    secret: SecretStr | None = None


def note_made(making: Making) -> None:
    st.session_state[MADE_KEY] = making


def take_made() -> Making | None:
    """What has just been made, for the one run that shows it; also for pages that do not."""
    made: Making | None = st.session_state.pop(MADE_KEY, None)
    return made


def show_once(made: Making) -> None:
    left = [made.secret]

    @dialog(made.title())
    def show() -> None:
        if not left:  # it was shown: whatever was clicked, close
            st.rerun()
        secret = left.pop()
        with st.container(key="shown_secret"):
            st.code(secret.get_secret_value() if secret else "", language=None, wrap_lines=True)
        st.caption(made.note())
        st.button(_("Done"), key="secret_copied", type="primary")

    show()
