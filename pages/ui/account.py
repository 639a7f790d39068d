"""Who is signed in, and the way out and back in. The forms are of the browser: scripts cannot set cookies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from kb.errors import AdministratorsOnly, SignedOut
from kb.models import Account
from pages.ui.feedback import errors_shown, show_error
from pages.ui.i18n import _
from pages.ui.resources import current_account
from pages.ui.session_cookie import form_token, home_path, session_token
from pages.ui.state import state

HERE = Path(__file__).parent

_component = st.components.v2.component(
    "zhiwen.account",
    html='<div class="zw-account"></div>',
    css=(HERE / "account.css").read_text(encoding="utf-8"),
    js=(HERE / "account.js").read_text(encoding="utf-8"),
    isolate_styles=False,
)


def draw_account() -> None:
    """In the sidebar: the name, which leads to the account's page, and "Sign out". Nothing where there is no login."""
    account = current_account()
    if account is None:
        return
    data = {"name": account.name, "form": form_token(session_token()), "account": _("Your account")}
    with st.sidebar:
        _component(key="account", data=[{"base": home_path()} | data | {"signOut": _("Sign out")}])


def draw_for_administrators(draw: Callable[[Account], None]) -> None:
    """Draw a page that others may not see, or say why it is not there."""
    with errors_shown():
        account = current_account()
        if account is None:
            st.write(_("There is no login here. Set AUTH=local in .env and restart to have accounts."))
            return
        if not account.is_administrator:
            raise AdministratorsOnly
        draw(account)


def draw_signed_out() -> None:
    """Instead of a page: the way to sign in, which leads back here."""
    show_error(SignedOut())
    if state().running and not state().page:
        st.write(_("The answer is still being written. It is here when you have signed in."))
    _component(key="sign_in", data=[{"base": home_path(), "signIn": _("Sign in")}])
