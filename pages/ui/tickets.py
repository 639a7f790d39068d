"""Tickets: they let a plain HTTP request act for the page that sent it.

A page hands its browser a ticket; a route accepts it for the session, the action and the thing it was issued for (a
knowledge base, or all conversations of the user), and only while that session is open.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from enum import StrEnum
from urllib.parse import urlsplit
from uuid import UUID

import streamlit as st
from streamlit.runtime import Runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from kb.access import Principal
from kb.errors import PageClosed

CONVERSATIONS = UUID(int=0)  # the target of a ticket for all conversations of its user
_KEY = secrets.token_bytes(32)  # tickets end with the process, as its sessions do


class Action(StrEnum):
    UPLOAD = "upload"
    DOWNLOAD = "download"
    EXPORT = "export"


def issue(action: Action, principal: Principal, target_id: UUID) -> str:
    """A ticket for the session whose page is being drawn."""
    context = get_script_run_ctx()
    session_id = context.session_id if context else ""
    origin = _page_origin() if action is Action.UPLOAD else ""  # browsers follow a link without stating an origin
    return f"{principal.user_id.hex}.{session_id}.{_sign(action, principal, target_id, session_id, origin)}"


def _page_origin() -> str:
    """As the browser knows it: a proxy may have changed the scheme, the host and the port since."""
    address = urlsplit(st.context.url or "")
    return f"{address.scheme}://{address.netloc}"


def check(ticket: str, action: Action, target_id: UUID, origin: str = "") -> Principal:
    """The one for whom the ticket was issued. `origin` of an upload is the request's.

    Errors: `PageClosed`, whatever is wrong with the ticket.
    """
    user, _, rest = ticket.partition(".")
    session_id, _, signature = rest.rpartition(".")
    try:
        principal = Principal(UUID(hex=user))
    except ValueError:
        raise PageClosed from None
    expected = _sign(action, principal, target_id, session_id, origin)
    if not hmac.compare_digest(signature.encode(errors="replace"), expected.encode()):
        raise PageClosed
    if not (Runtime.exists() and Runtime.instance().is_active_session(session_id)):
        raise PageClosed
    return principal


def _sign(action: Action, principal: Principal, target_id: UUID, session_id: str, origin: str) -> str:
    claim = "\n".join((action, principal.user_id.hex, target_id.hex, session_id, origin))
    return hmac.new(_KEY, claim.encode(errors="replace"), hashlib.sha256).hexdigest()
