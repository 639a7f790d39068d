"""Requests with JSON are small: a larger body is refused before it is read."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

JSON_BYTES = 1 << 20
REFUSAL = (
    b'{"type":"urn:zhiwen:content_too_large","title":"The body has more than 1 MB.","status":413,'
    b'"detail":"Send less text in one request.","code":"content_too_large","errors":[]}'
)


class _TooLarge(Exception):
    """More came than was declared."""


class LimitedBodies:
    """ASGI middleware. Uploads (PUT) stream to disk and have a limit of their own."""

    def __init__(
        self,
        app: ASGIApp,
        most_bytes: int = JSON_BYTES,
        refusal: bytes = REFUSAL,
        media_type: str = "application/problem+json",
    ) -> None:
        self._app = app
        self._most_bytes = most_bytes
        self._refusal = refusal
        self._media_type = media_type

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] == "PUT":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdigit() and int(declared) > self._most_bytes:
            await self._refuse(send)
            return
        total = 0

        async def receive_some() -> Message:
            nonlocal total
            message = await receive()
            total += len(message.get("body", b""))
            if total > self._most_bytes:
                raise _TooLarge  # whatever becomes of it, `send_or_refuse` answers
            return message

        async def send_or_refuse(message: Message) -> None:
            if total <= self._most_bytes:
                await send(message)
            elif message["type"] == "http.response.start":
                await self._refuse(send)

        await self._app(scope, receive_some, send_or_refuse)

    async def _refuse(self, send: Send) -> None:
        # What is left of the body is not read, so the connection cannot serve another request.
        headers = [(b"content-type", self._media_type.encode()), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": self._refusal})
