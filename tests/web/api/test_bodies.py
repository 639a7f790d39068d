"""The limit on bodies, at apps that answer early, late or not at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kb.errors import DatabaseUnavailable
from web.api import build_api
from web.api.bodies import LimitedBodies
from web.api.parties import Parties
from web.api.problems import problem
from web.openai_api import build_openai_api

LONG = [b"x" * 6, b"x" * 6]
STALLED = [b"x", None]  # and nothing more comes


def asked(app: ASGIApp, parts: Sequence[bytes | None], path: str = "/search", method: str = "POST") -> tuple[int, bool]:
    """The status of the reply to a body of these parts, and whether it closes the connection."""
    waiting, sent = list(parts), []

    async def receive() -> Message:
        if not waiting:
            await asyncio.sleep(0.2)
            return {"type": "http.disconnect"}
        part = waiting.pop(0)
        if part is None:
            await asyncio.sleep(0.2 if waiting else 20)
        return {"type": "http.request", "body": part or b"", "more_body": bool(waiting)}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": [(b"transfer-encoding", b"chunked")]}
    limited = LimitedBodies(app, problem, most_bytes=10, uploads=("/documents",))
    asyncio.run(limited(scope, receive, send))
    start, *_rest = sent
    return start["status"], (b"connection", b"close") in start["headers"]


async def reads_first(_scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive())["more_body"]:
        pass
    await answers_at_once(_scope, receive, send)


async def waits_for_the_end(_scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive())["type"] != "http.disconnect":
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


@pytest.mark.parametrize(
    ("app", "parts", "given", "expected"),
    [
        (reads_first, STALLED, {}, (408, True)),
        (answers_at_once, STALLED, {}, (200, True)),
        (waits_for_the_end, LONG[:1], {}, (200, False)),  # the body has come
        (reads_first, [b"x", None, b"x"], {"method": "PUT", "path": "/documents"}, (200, False)),
    ],
)
def test_body_that_stalls_ends_the_connection(
    monkeypatch: pytest.MonkeyPatch,
    app: ASGIApp,
    parts: list[bytes | None],
    given: dict[str, str],
    expected: tuple[int, bool],
) -> None:
    monkeypatch.setattr("web.api.bodies.BODY_SECONDS", 0.05)
    assert asked(app, parts, **given) == expected


def unavailable() -> Parties:
    raise DatabaseUnavailable(detail="away")


@pytest.mark.parametrize(
    ("app", "path", "code"),
    [
        (build_api(unavailable), "/search", lambda body: body["code"]),
        (build_openai_api(unavailable), "/chat/completions", lambda body: body["error"]["code"]),
    ],
    ids=["api", "openai"],
)
def test_stalled_body_is_told_in_the_form_of_the_api(
    monkeypatch: pytest.MonkeyPatch, app: ASGIApp, path: str, code: Callable[[Any], str]
) -> None:
    monkeypatch.setattr("web.api.bodies.BODY_SECONDS", 0.05)
    sent = list[Message]()

    async def receive() -> Message:
        await asyncio.sleep(20)
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json"), (b"content-length", b"10")]
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b""}
    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    start, body = sent
    assert start["status"] == 408
    assert code(json.loads(body["body"])) == "request_stalled"
