"""Addresses without a page, over the middleware alone."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, Router
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from pages.ui.frame import PAGES
from web.missing import MissingPages

BROWSER = {"Accept": "text/html,application/xhtml+xml"}


@pytest.fixture
def client() -> TestClient:
    def serve(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("served")

    paths = "/healthz", "/files/{id}", "/api/files/{id}"
    ours = [*(Route(path, serve) for path in paths), Mount("/api/v1", Router(default=_served))]
    everything = Route("/{path:path}", serve)
    return TestClient(Starlette(routes=[everything], middleware=[Middleware(MissingPages, routes=ours)]))


async def _served(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("served")(scope, receive, send)


@pytest.mark.parametrize(
    "path", ["/nowhere", "/api", "/api/v1", "/api/v2/bases", "/v1", "/a/b", "/testing/more", "/<script>", "/files"]
)
def test_unknown_address_gets_a_page_of_ours(path: str, client: TestClient) -> None:
    reply = client.get(path, headers=BROWSER | {"Accept-Language": "fr, en;q=0.8"})
    assert reply.status_code == 404
    assert "Page not found" in reply.text
    assert 'href="/"' in reply.text
    assert reply.text.count("<script>") == 1  # ours; none from the address


@pytest.mark.parametrize(
    ("accepted", "tag", "title"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh-Hans", "没有这个页面"),
        ("zh-TW,zh;q=0.9,en;q=0.8", "zh-Hant", "找不到這個頁面"),
        ("fr,en;q=0.8", "en", "Page not found"),
    ],
)
def test_page_is_in_the_browsers_language(accepted: str, tag: str, title: str, client: TestClient) -> None:
    reply = client.get("/nowhere", headers=BROWSER | {"Accept-Language": accepted})
    assert title in reply.text
    assert f'lang="{tag}"' in reply.text


@pytest.mark.parametrize(
    "path",
    [
        *(f"/{path}" for path in PAGES),
        "/healthz",
        "/files/7",
        "/api/files/7",
        "/api/v1/",
        "/api/v1/x",
        "/static/js/a.js",
        "/favicon.png",
    ],
)
def test_known_addresses_are_served(path: str, client: TestClient) -> None:
    assert client.get(path, headers=BROWSER).text == "served"


@pytest.mark.parametrize("path", ["/api", "/api/v1", "/api/v2/bases", "/v1", "/v1/models", "/api/v2.1/bases"])
def test_programs_get_no_page_for_an_answer(path: str, client: TestClient) -> None:
    for method in ("GET", "POST"):
        reply = client.request(method, path, headers={"Accept": "*/*"})
        assert (reply.status_code, reply.text) == (404, "")


def test_programs_find_no_page_where_they_look_for_a_way_to_sign_in(client: TestClient) -> None:
    for accepted in ("application/json", "*/*", "text/html"):
        reply = client.get("/.well-known/oauth-protected-resource/mcp", headers={"Accept": accepted})
        assert (reply.status_code, reply.text) == (404, "")


def test_requests_for_other_content_pass_unchanged(client: TestClient) -> None:
    assert client.get("/nowhere", headers={"Accept": "*/*"}).text == "served"
    assert client.post("/nowhere", headers=BROWSER).status_code == 405
