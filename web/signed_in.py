"""The gate: where there is a login, only who has signed in gets to pages, their websockets and the other routes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import quote
from uuid import UUID

import anyio
import anyio.to_thread
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from kb.access import Principal
from kb.access.tickets import Action, Tickets
from kb.errors import N_, KbError, PageClosed, SignedOut
from kb.models import Account
from pages.ui import resources
from pages.ui.i18n import accepted_language, error_text, join_sentences
from pages.ui.session_cookie import home_path
from web.base_path import page_path
from web.cookies import session_of
from web.missing import WELL_KNOWN, notice_page

# The login itself, probes, and Streamlit's own scripts, which hold nothing of this installation; and what asks by
# itself who it is: /metrics for its token, the APIs and /mcp for a key. Below WELL_KNOWN, there is nothing.
OPEN = ("login", "signup", "session", "healthz", "livez", "readyz", "metrics", "mcp")
OPEN_FOLDERS = ("static/", "api/v1/", "v1/", WELL_KNOWN)
OF_PROVIDER = re.compile(r"login/[a-z][a-z0-9]*(/callback)?")
TRY_AGAIN = N_("Try again")
# At SQL, in threads that nothing else uses: a service that hangs holds up nobody at the gate, or at the login.
LOOKS_AT_ONCE = 4
Result = TypeVar("Result")
_at_login = anyio.CapacityLimiter(LOOKS_AT_ONCE)  # apart from the gate's, for anybody may ask there
_USER = "zhiwen.user"  # in the scope of a request
NOT_READY = N_("Zhiwen cannot serve pages at the moment")


class SignedInOnly:
    """ASGI middleware. Scripts of pages ask again for themselves (`pages.ui.resources.current_account`)."""

    def __init__(
        self,
        app: ASGIApp,
        has_login: Callable[[], bool] = resources.has_login,
        find: Callable[[str], Account | None] = lambda token: resources.services().accounts.sessions.find(token),
    ) -> None:
        self._app = app
        self._has_login = has_login
        self._find = find
        self._looking = anyio.CapacityLimiter(LOOKS_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or not self._has_login() or _is_open(scope):
            await self._app(scope, receive, send)
            return
        failure: KbError = SignedOut()
        token = session_of(HTTPConnection(scope))
        try:
            account = await self._look_up(token) if token else None
            if account is not None:
                await self._app({**scope, _USER: account.id}, receive, send)
                return
        except KbError as error:
            failure = error
        if scope["type"] == "websocket":
            await WebSocketClose(code=1008)(scope, receive, send)
        else:
            await _refusal(scope, failure)(scope, receive, send)

    async def _look_up(self, token: str) -> Account | None:
        return await anyio.to_thread.run_sync(self._find, token, limiter=self._looking)


async def at_login(work: Callable[[], Result]) -> Result:
    """What `work` returns or raises, in a thread of the login's own."""
    return await anyio.to_thread.run_sync(work, limiter=_at_login)


def ticket_holder(
    request: Request, tickets: Tickets, ticket: str, action: Action, target_id: UUID, origin: str = ""
) -> Principal:
    """For whom a page's ticket was issued: where there is a login, nobody else may use it. Errors: `PageClosed`."""
    principal = tickets.check(ticket, action, target_id, origin)
    if request.scope.get(_USER, principal.user_id) != principal.user_id:
        raise PageClosed
    return principal


def require_signed_in(request: Request, find: Callable[[str], Account | None]) -> None:
    """Errors: `SignedOut` once the session has ended that a request, which takes long, came with."""
    user_id = request.scope.get(_USER)
    account = find(session_of(request)) if user_id else None
    if user_id and (account is None or account.id != user_id):
        raise SignedOut


def _is_open(scope: Scope) -> bool:
    path = page_path(scope)
    return path in OPEN or path.startswith(OPEN_FOLDERS) or OF_PROVIDER.fullmatch(path) is not None


def _refusal(scope: Scope, failure: KbError) -> Response:
    headers = Headers(scope=scope)
    is_page = scope["method"] == "GET" and "text/html" in headers.get("accept", "")
    message, remedy = error_text(failure, accepted_language(headers.get("accept-language", "")))
    if not isinstance(failure, SignedOut):
        if is_page:
            return notice_page(scope, 503, NOT_READY, "{reason}", TRY_AGAIN, reason=join_sentences(message, remedy))
        return PlainTextResponse(f"{message}\n{remedy}\n", 503)
    if is_page:
        query = scope["query_string"].decode("latin-1")
        wanted = scope["path"] + (f"?{query}" if query else "")
        address = f"{home_path()}login?next={quote(wanted, safe='')}"
        return RedirectResponse(address, 303, {"Cache-Control": "no-store"})
    return PlainTextResponse(f"{message}\n{remedy}\n", 401)
