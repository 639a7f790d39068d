"""What the browser of a page sent: the cookie of a login session, which `web` sets, as scripts cannot; its address."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any
from uuid import UUID

import streamlit as st
from streamlit import config
from streamlit.runtime.scriptrunner import get_script_run_ctx

from kb.models import Account

LOCAL = "127.0.0.1"
_FOUND = "_zhiwen_account"  # on the context of a script's thread: the run, and who has signed in
_PAGE_OF = "signed_in_as"
_public_port: int | None = None


def use_public_port(port: int | None) -> None:
    """Name the cookies for the port that browsers see: all web processes behind one address know one session."""
    global _public_port
    _public_port = port


def cookie_name() -> str:
    """With the port: browsers send cookies to all ports of a host, and another installation may be on one."""
    return f"zhiwen_session_{_public_port or config.get_option('server.port')}"


def home_path() -> str:
    """The chat's path, below which the login's pages are."""
    path = str(config.get_option("server.baseUrlPath")).strip("/")
    return f"/{path}/" if path else "/"


def session_token() -> str:
    """As the browser sent it when it opened the page."""
    return str(st.context.cookies.get(cookie_name(), ""))


def page_address() -> str | None:
    """Where the browser is; None where no page is being drawn."""
    if get_script_run_ctx(suppress_warning=True) is None:
        return None
    address = st.context.ip_address
    return address if isinstance(address, str) else LOCAL  # Streamlit has none for this machine


def form_token(secret: str) -> str:
    """What a form carries for the cookie `secret`, which other sites can neither read nor set."""
    return hashlib.sha256(f"form {secret}".encode(errors="replace")).hexdigest()


def remembered_in_run(find: Callable[[], Account | None]) -> Account | None:
    """What `find` returns, asked once in each run of the script, with its fragments, or of fragments alone."""
    context: Any = get_script_run_ctx()
    if context is None:
        return find()
    known = getattr(context, _FOUND, None)
    if known is None or known[0] is not context.parallel_coordinator:  # each run has its own
        known = context.parallel_coordinator, find()
        setattr(context, _FOUND, known)
    account: Account | None = known[1]
    return account


def page_owner() -> UUID | None:
    """Whose the open page is; None without a login."""
    owner: UUID | None = st.session_state.get(_PAGE_OF)
    return owner


def belongs_to_page(user_id: UUID) -> bool:
    """Whether the open page is this user's: a browser connects to it again with the cookie of whoever is there now."""
    return bool(st.session_state.setdefault(_PAGE_OF, user_id) == user_id)
