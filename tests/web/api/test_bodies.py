"""The limit on bodies, at apps that answer early, late or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.api.bodies import LimitedBodies

LONG = [b"x" * 6, b"x" * 6]


def asked(app: ASGIApp, parts: Sequence[bytes], path: str = "/search", method: str = "POST") -> tuple[int, bool]:
    """The status of the reply to a body of these parts, and whether it closes the connection."""
    waiting, sent = list(parts), []

    async def receive() -> Message:
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": [(b"transfer-encoding", b"chunked")]}
    limited = LimitedBodies(app, most_bytes=10, uploads=("/documents",))
    asyncio.run(limited(scope, receive, send))
    start, *_rest = sent
    return start["status"], (b"connection", b"close") in start["headers"]


async def reads_first(_scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive())["more_body"]:
        pass
    await answers_at_once(_scope, receive, send)


async def answers_at_once(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize(
    ("app", "parts", "given", "expected"),
    [
        (reads_first, LONG, {}, (413, True)),  # it fails, and has no answer to that
        (reads_first, LONG, {"method": "PUT"}, (413, True)),
        (reads_first, LONG, {"method": "PUT", "path": "/documents"}, (200, False)),
        (reads_first, LONG[:1], {}, (200, False)),
        (answers_at_once, LONG, {}, (200, True)),
        (answers_at_once, LONG, {"method": "PUT", "path": "/documents"}, (200, True)),
    ],
)
def test_what_is_too_large_or_unread_ends_the_connection(
    app: ASGIApp, parts: list[bytes], given: dict[str, str], expected: tuple[int, bool]
) -> None:
    assert asked(app, parts, **given) == expected
