"""Defects of ours, as programs are told of them."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kb.errors import InternalError, KbError
from web.metrics.requests import route_of

log = structlog.get_logger()


class Defects:
    """ASGI middleware: what was not foreseen is in the log, with its traceback, and its details nowhere else.

    `problem` gives the reply the form of the API. Once a reply has begun, the server breaks it off, and logs why.
    """

    def __init__(self, app: ASGIApp, problem: Callable[[Request, KbError], Response]) -> None:
        self._app = app
        self._problem = problem

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def note_begun(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, note_begun)
        except ClientDisconnect:
            raise  # see `web.gone`
        except Exception:
            if has_begun:
                raise
            log.exception("api.defect", method=scope["method"], route=route_of(scope))
            reply = self._problem(Request(scope), InternalError())
            reply.headers["Connection"] = "close"  # what comes of its body is not read
            await reply(scope, receive, send)
