"""Requests with JSON are small: a larger body is refused before it is read, as nobody has asked for a key by then.

They also arrive soon, or not at all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kb.errors import ContentTooLarge, KbError, RequestStalled

JSON_BYTES = 1 << 20
BODY_SECONDS = 60.0  # that a small body may be waited for in all: its connection is one that others could have


class _CutOff(Exception):
    """More came than was declared, or it came too slowly. Whatever becomes of it, the middleware answers."""


class LimitedBodies:
    """ASGI middleware. `uploads` end the paths at which files are put: they stream to disk, with limits of their own.

    The connection is closed where a reply leaves a part of the body unread: else all of it would still be sent.
    `problem` gives a refusal the form of the API.
    """

    def __init__(
        self,
        app: ASGIApp,
        problem: Callable[[Request, KbError], Response],
        most_bytes: int = JSON_BYTES,
        uploads: tuple[str, ...] = (),
    ) -> None:
        self._app = app
        self._problem = problem
        self._most_bytes = most_bytes
        self._uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        is_upload = scope["method"] == "PUT" and scope["path"].endswith(self._uploads)
        declared = headers.get("content-length", "0")
        if not is_upload and declared.isdigit() and int(declared) > self._most_bytes:
            await self._refuse(scope, receive, send)
            return
        total, waited, is_read = 0, 0.0, declared == "0" and "transfer-encoding" not in headers
        is_stalled = is_refused = False

        def is_cut_off() -> bool:
            return is_stalled or (not is_upload and total > self._most_bytes)

        async def receive_some() -> Message:
            nonlocal total, waited, is_read, is_stalled
            if is_upload or is_read:  # what comes after the body is the end of the connection
                message = await receive()
            else:
                began = time.monotonic()
                try:
                    message = await asyncio.wait_for(receive(), BODY_SECONDS - waited)
                except TimeoutError:
                    is_stalled = True
                    raise _CutOff from None
                waited += time.monotonic() - began
            total += len(message.get("body", b""))
            is_read = not message.get("more_body", False)
            if is_cut_off():
                raise _CutOff
            return message

        async def send_or_refuse(message: Message) -> None:
            nonlocal is_refused
            if not is_cut_off():
                if message["type"] == "http.response.start" and not is_read:
                    MutableHeaders(scope=message)["Connection"] = "close"
                await send(message)
            elif message["type"] == "http.response.start":
                is_refused = True
                await self._refuse(scope, receive, send, is_stalled)

        try:
            await self._app(scope, receive_some, send_or_refuse)
        except Exception:
            if not is_cut_off():
                raise
            if not is_refused:  # MCP's app has no answer to what goes wrong
                await self._refuse(scope, receive, send, is_stalled)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, is_stalled: bool = False) -> None:
        error = (
            RequestStalled(seconds=round(BODY_SECONDS)) if is_stalled else ContentTooLarge(most=self._most_bytes >> 20)
        )
        reply = self._problem(Request(scope), error)
        reply.headers["Connection"] = "close"
        await reply(scope, receive, send)
