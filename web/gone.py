"""Clients that close their connection before their request has arrived: no defect, however often it happens."""

from __future__ import annotations

from http import HTTPStatus

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class GoneClients:
    """ASGI middleware. Without it, each of them is in the log with a traceback, and counts as a failure of ours."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def note_begun(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, note_begun)
        except ClientDisconnect:
            if not has_begun:
                await Response(status_code=HTTPStatus.BAD_REQUEST)(scope, receive, send)  # nobody reads it
