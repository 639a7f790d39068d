"""The style in Streamlit's page."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from web.page_style import STYLES, TRADITIONAL, PageStyle

PAGE = "<html><head></head><body><div></div></body></html>"
BROWSER = {"Accept": "text/html,application/xhtml+xml", "Accept-Encoding": "gzip"}


def serve(request: Request) -> Response:
    if "if-none-match" in request.headers:
        return Response(status_code=304)
    return HTMLResponse(PAGE, headers={"ETag": "1"})


@pytest.fixture
def client() -> TestClient:
    routes = [Route("/system", lambda _request: PlainTextResponse(PAGE)), Route("/{path:path}", serve)]
    middleware = [Middleware(PageStyle), Middleware(GZipMiddleware, minimum_size=10)]
    return TestClient(Starlette(routes=routes, middleware=middleware))


@pytest.mark.parametrize("path", ["/", "/history"])
def test_page_holds_the_style_at_its_end(path: str, client: TestClient) -> None:
    style = "\n".join(path.read_text("utf-8") for path in STYLES)
    assert "stChatMessageAvatarAssistant" in style
    assert ".zw-act" in style
    reply = client.get(path, headers=BROWSER)
    assert f"<div></div><style>{style}</style><style" in reply.text
    assert reply.text.endswith(f'media="not all">{TRADITIONAL.read_text("utf-8")}</style></body></html>')


def test_stored_page_without_the_style_is_replaced(client: TestClient) -> None:
    reply = client.get("/", headers=BROWSER | {"If-None-Match": "1"})
    assert reply.status_code == 200
    assert "etag" not in reply.headers


@pytest.mark.parametrize("path", ["/system", "/api/files/7"])  # a text, and a document that is a web page
def test_other_content_passes_unchanged(path: str, client: TestClient) -> None:
    assert client.get(path, headers=BROWSER).text == PAGE
