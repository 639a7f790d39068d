"""Requests with JSON are small: a larger body is refused before it is read, as nobody has asked for a key by then."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

JSON_BYTES = 1 << 20
REFUSAL = (
    b'{"type":"urn:zhiwen:content_too_large","title":"The body has more than 1 MB.","status":413,'
    b'"detail":"Send less text in one request.","code":"content_too_large","errors":[]}'
)


class _TooLarge(Exception):
    """More came than was declared."""


class LimitedBodies:
    """ASGI middleware. `uploads` end the paths at which files are put: they stream to disk, with a limit of their own.

    The connection is closed where a reply leaves a part of the body unread: else all of it would still be sent.
    """

    def __init__(
        self,
        app: ASGIApp,
        most_bytes: int = JSON_BYTES,
        refusal: bytes = REFUSAL,
        media_type: str = "application/problem+json",
        uploads: tuple[str, ...] = (),
    ) -> None:
        self._app = app
        self._most_bytes = most_bytes
        self._refusal = refusal
        self._media_type = media_type
        self._uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        is_upload = scope["method"] == "PUT" and scope["path"].endswith(self._uploads)
        declared = headers.get("content-length", "0")
        if not is_upload and declared.isdigit() and int(declared) > self._most_bytes:
            await self._refuse(send)
            return
        total, is_read = 0, declared == "0" and "transfer-encoding" not in headers
        is_refused = False

        async def receive_some() -> Message:
            nonlocal total, is_read
            message = await receive()
            total += len(message.get("body", b""))
            is_read = not message.get("more_body", False)
            if not is_upload and total > self._most_bytes:
                raise _TooLarge  # whatever becomes of it, `send_or_refuse` answers
            return message

        async def send_or_refuse(message: Message) -> None:
            nonlocal is_refused
            if is_upload or total <= self._most_bytes:
                if message["type"] == "http.response.start" and not is_read:
                    MutableHeaders(scope=message)["Connection"] = "close"
                await send(message)
            elif message["type"] == "http.response.start":
                is_refused = True
                await self._refuse(send)

        try:
            await self._app(scope, receive_some, send_or_refuse)
        except Exception:
            if is_upload or total <= self._most_bytes:
                raise
            if not is_refused:  # MCP's app has no answer to what goes wrong
                await self._refuse(send)

    async def _refuse(self, send: Send) -> None:
        headers = [(b"content-type", self._media_type.encode()), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": self._refusal})
