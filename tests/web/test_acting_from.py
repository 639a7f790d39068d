"""From where a request comes is known to what it does, in the event loop and in threads."""

from __future__ import annotations

import anyio.to_thread
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from kb.audit import recording
from web.acting_from import ActingFrom


async def tell(_request: Request) -> Response:
    return PlainTextResponse(await anyio.to_thread.run_sync(recording._address.get))


def test_address_of_the_request_is_known_in_a_thread() -> None:
    app = Starlette(routes=[Route("/", tell)], middleware=[Middleware(ActingFrom)])
    for address in ("192.0.2.7", "2001:db8::7"):
        assert TestClient(app, client=(address, 50000)).get("/").text == address
    assert recording._address.get() == ""
