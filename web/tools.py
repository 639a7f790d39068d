"""The tools of `kb.tools` at /mcp: MCP's streamable HTTP, for programs with a key.

Each request is complete in itself, so that any of several web processes can answer it: there are no sessions and no
streams, and nothing that a client would have to come back for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from kb.access import Principal
from kb.errors import KbError
from kb.services import Services
from kb.tools.server import ToolServer
from pages.ui.i18n import error_text, join_sentences
from web.api.bodies import LimitedBodies
from web.api.parties import Parties, principal_of
from web.api.problems import language_of, problem
from web.api.rates import RateLimits
from web.base_path import BASE_PATH
from web.defects import Defects

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

PATH = "/mcp"
_PARTIES, _PRINCIPAL = "tool_parties", "tool_principal"  # in the state of a request


def tool_routes(parties: Callable[[], Parties]) -> list[Route]:
    """`parties` may raise a `KbError` while the process cannot serve yet."""
    limited = LimitedBodies(_Door(parties), problem=problem)
    door: ASGIApp = Defects(RateLimits(limited, parties=parties, problem=problem, questions=()), problem=problem)
    # For all methods: else Streamlit would answer GET with its page.
    return [Route(f"{BASE_PATH}{PATH.strip('/')}", _PostOnly(door))]


class _PostOnly:
    """ASGI middleware: who opens a stream (GET) or ends a session (DELETE) gets 405, as the protocol has it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app if scope["method"] == "POST" else Response(status_code=405, headers={"Allow": "POST"})
        await app(scope, receive, send)


class _Door:
    """ASGI app: lets those in who have a key, and hands their request to the protocol."""

    def __init__(self, parties: Callable[[], Parties]) -> None:
        self._parties = parties
        self._server = ToolServer(_services, _principal, _text)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        try:
            manager = await anyio.to_thread.run_sync(self._let_in, request)
        except KbError as error:
            await problem(request, error)(scope, receive, send)
            return
        async with manager.run():
            await manager.handle_request(scope, receive, send)

    def _let_in(self, request: Request) -> StreamableHTTPSessionManager:
        """What answers this request alone: without sessions, there is nothing to keep.

        In a thread, for the key is looked up, and the first import of `mcp` takes a while.
        Errors: `KeyRefused`, and why the process cannot serve.
        """
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

        parties = self._parties()
        setattr(request.state, _PARTIES, parties)
        setattr(request.state, _PRINCIPAL, principal_of(request, parties))
        return StreamableHTTPSessionManager(self._server.built, json_response=True, stateless=True)


def _services(request: Any) -> Services:
    parties: Parties = getattr(request.state, _PARTIES)
    return parties.services


def _principal(request: Any) -> Principal:
    principal: Principal = getattr(request.state, _PRINCIPAL)
    return principal


def _text(error: KbError, request: Any) -> str:
    return join_sentences(*error_text(error, language_of(request)))
