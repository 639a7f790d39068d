"""Notes where each request comes from, for the audit log."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from kb.audit import acting_from


class ActingFrom:
    """ASGI middleware. Pages, which answer no request, say it for themselves (`pages.ui.resources.services`)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            client = scope.get("client")
            acting_from(client[0] if client else "")
        await self._app(scope, receive, send)
