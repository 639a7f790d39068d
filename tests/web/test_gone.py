"""Clients that go away while they send are no failures of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message

from kb.errors import RedisUnavailable
from web.api import build_api
from web.api.parties import Parties
from web.app import build_middleware
from web.form_pages import read_form
from web.gone import GoneClients


async def read(request: Request) -> Response:
    await read_form(request)
    return PlainTextResponse("It has arrived.")


def site() -> ASGIApp:
    ours = [each for each in build_middleware([]) if getattr(each.cls, "__name__", "") == GoneClients.__name__]
    return Starlette(routes=[Route("/file", read, methods=["PUT"])], middleware=ours)


def api() -> ASGIApp:
    def parties() -> Parties:
        raise RedisUnavailable

    app = build_api(parties)
    app.add_route("/file", read, methods=["PUT"])
    return app


@pytest.mark.parametrize("build", [site, api])
def test_request_that_breaks_off_is_no_failure(build: Callable[[], ASGIApp]) -> None:
    sent: list[Message] = []
    parts: list[Message] = [{"type": "http.request", "body": b"name=", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Message:
        return parts.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    async def ask() -> None:
        headers = [(b"transfer-encoding", b"chunked")]
        scope = {"type": "http", "method": "PUT", "path": "/file", "query_string": b"", "headers": headers}
        await build()(scope, receive, send)

    asyncio.run(ask())
    assert sent[0]["status"] == 400
