"""Tickets (`kb.access.tickets`) for the page that is being drawn."""

from __future__ import annotations

from urllib.parse import urlsplit
from uuid import UUID

import streamlit as st

from kb.access import Principal
from kb.access.tickets import Action
from pages.ui.resources import services


def issue(action: Action, principal: Principal, target_id: UUID) -> str:
    origin = _page_origin() if action is Action.UPLOAD else ""  # browsers follow a link without stating an origin
    return services().tickets.issue(action, principal, target_id, origin)


def _page_origin() -> str:
    """As the browser knows it: a proxy may have changed the scheme, the host and the port since."""
    address = urlsplit(st.context.url or "")
    return f"{address.scheme}://{address.netloc}"
