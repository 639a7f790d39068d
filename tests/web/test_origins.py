"""Hosts and origins: a table over every route that the app has, and its websocket."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import BaseRoute, Match, Mount
from starlette.testclient import TestClient
from starlette.types import Scope
from starlette.websockets import WebSocketDisconnect
from streamlit import config
from streamlit.web.server.starlette.starlette_app import create_streamlit_middleware, create_streamlit_routes

import webui_st
from kb.config import load_settings
from pages.ui import resources
from tests.base_path import below
from web.app import build_middleware, build_routes
from web.base_path import BASE_PATH
from web.origins import OwnAddresses, OwnPagesOnly, allow_public_hosts, own_addresses, public_address

HERE = "127.0.0.1:8501"
PUBLIC = "https://zhiwen.example https://知问.example:8443/kb http://[fd00::1]:80"
REFUSALS = ("is not an address of this app", "Pages from other addresses")
VALUES = {"uuid": "00000000-0000-0000-0000-000000000001", "int": "1"}

ACCEPTED: list[dict[str, str]] = [
    {"host": HERE},  # curl, a health check, a download that is saved, an image in a page
    {"host": "localhost:8501"},
    {"host": "LocalHost.:8501"},
    {"host": "[::1]:8501"},
    {"host": "[0:0:0:0:0:0:0:1]:8501", "sec-fetch-mode": "navigate", "sec-fetch-site": "none"},
    {"host": HERE, "origin": "http://127.0.0.1:8501"},
    {"host": "localhost:8501", "origin": "http://localhost:8501"},
    {"host": "[::1]:8501", "origin": "http://[::1]:8501"},
    {"host": "zhiwen.example", "origin": "https://zhiwen.example"},
    {"host": "zhiwen.example:443", "origin": "https://zhiwen.example:443"},
    {"host": HERE, "origin": "https://zhiwen.example"},  # the proxy put its own Host
    {"host": "xn--k7ys45d.example:8443", "origin": "https://xn--k7ys45d.example:8443"},
    {"host": "[fd00::1]", "origin": "http://[fd00::1]"},
    {"host": HERE, "sec-fetch-site": "same-origin", "sec-fetch-mode": "no-cors"},
    {"host": HERE, "sec-fetch-site": "none", "sec-fetch-mode": "navigate"},
    {"host": HERE, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},  # a link elsewhere
]
REFUSED: list[dict[str, str]] = [
    {"host": "evil.example"},
    {"host": "evil.example:8501"},  # a name bound to this machine
    {"host": "localhost"},
    {"host": "localhost:8502"},
    {"host": "localhost:8501:8501"},
    {"host": "localhost:99999"},
    {"host": "localhost:"},
    {"host": "a@localhost:8501"},
    {"host": "localhost:8501/x"},
    {"host": "2130706433:8501"},
    {"host": "[::1"},
    {"host": ""},
    {"host": "zhiwen.example:80"},
    {"host": "zhiwen.example.evil.example"},
    {"host": HERE, "origin": "http://127.0.0.1:8502"},
    {"host": HERE, "origin": "http://localhost:3000"},
    {"host": HERE, "origin": "http://localhost"},
    {"host": HERE, "origin": "https://127.0.0.1:8501"},
    {"host": HERE, "origin": "http://zhiwen.example"},
    {"host": HERE, "origin": "https://zhiwen.example:8501"},
    {"host": HERE, "origin": "https://evil.example"},
    {"host": "evil.example:8501", "origin": "http://evil.example:8501"},
    {"host": HERE, "origin": "null"},
    {"host": HERE, "origin": ""},
    {"host": HERE, "origin": "file://"},
    {"host": HERE, "origin": "http://[::1"},
    {"host": HERE, "origin": "chrome-extension://abc"},
    {"host": HERE, "sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"},  # an image in a page of another port
    {"host": HERE, "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
]


def all_routes(base_path: str = "") -> list[BaseRoute]:
    with below(base_path):
        return [*build_routes(), *create_streamlit_routes(MagicMock())]


def example(route: Any) -> str:
    """An address that the route answers, or what is mounted there."""
    path = re.sub(r"\{\w+:(uuid|int)\}", lambda match: VALUES[match[1]], route.path.replace(BASE_PATH, "/"))
    path += "/x" if isinstance(route, Mount) else ""
    return re.sub(r"/?\{[^}]*\}", lambda match: "/x" if match[0][0] == "/" else "x", path) or "/"


OURS = sorted({example(route) for route in build_routes()})
PATHS = sorted({"/", *(f"/kb{path}" for path in OURS), *map(example, [*all_routes(), *all_routes("kb")])})


@pytest.fixture(autouse=True)
def look_ups(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What was asked for this machine's address: nothing may be."""
    monkeypatch.setenv("PUBLIC_URLS", PUBLIC)
    names = ("server.allowedHosts", "server.port")
    before = {name: config.get_option(name) for name in names}
    config.set_option("server.allowedHosts", ["localhost", "127.0.0.1", "[::1]"])
    config.set_option("server.port", 8501)
    found: list[str] = []
    for name in ("get_external_ip", "get_internal_ip"):
        monkeypatch.setattr(f"streamlit.net_util.{name}", partial(found.append, name))
    yield found
    for name, value in before.items():
        config.set_option(name, value)


@pytest.fixture
def client() -> TestClient:
    routes = all_routes()
    app = Starlette(routes=routes, middleware=[*build_middleware(routes), *create_streamlit_middleware()])
    allow_public_hosts()
    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture
def client_of_all_paths() -> TestClient:
    """Answers every path with what reached it."""

    async def reached(scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"reached"})

    return TestClient(OwnPagesOnly(reached))


def test_the_app_checks_every_request_first() -> None:
    classes: list[object] = [middleware.cls for middleware in webui_st.app._user_middleware]
    assert OwnPagesOnly in classes[:6]  # after those that read nothing
    assert "/_stcore/stream" in PATHS
    assert any("healthz" in path for path in PATHS)
    assert any("api/uploads" in path for path in PATHS)


@pytest.mark.parametrize("headers", REFUSED, ids=str)
def test_foreign_requests_are_refused_on_every_route(
    headers: dict[str, str], client_of_all_paths: TestClient, look_ups: list[str]
) -> None:
    paths = [path for path in PATHS if not path.startswith("/v1/")]  # see the programs below
    for method, path in [*(("GET", path) for path in paths), ("PUT", "/"), ("POST", "/"), ("OPTIONS", "/")]:
        reply = client_of_all_paths.request(method, path, headers=headers)
        assert reply.status_code == 403, (method, path)
        assert any(refusal in reply.text for refusal in REFUSALS)
    assert look_ups == []


@pytest.mark.parametrize("headers", ACCEPTED, ids=str)
def test_own_requests_reach_every_route(headers: dict[str, str], client_of_all_paths: TestClient) -> None:
    for path in PATHS:
        expected = 404 if path == "/_stcore/metrics" else 200
        assert client_of_all_paths.get(path, headers=headers).status_code == expected, path


@pytest.mark.parametrize("headers", [case for case in REFUSED if "sec-fetch-site" not in case], ids=str)
def test_websocket_refuses_foreign_pages_without_a_look_up(
    headers: dict[str, str], client: TestClient, look_ups: list[str]
) -> None:
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/_stcore/stream", headers=headers):
        pass
    assert look_ups == []


@pytest.mark.parametrize("headers", [case for case in ACCEPTED if "sec-fetch-site" not in case], ids=str)
def test_websocket_accepts_own_pages_without_a_look_up(
    headers: dict[str, str], client: TestClient, look_ups: list[str]
) -> None:
    with client.websocket_connect("/_stcore/stream", headers=headers):
        pass
    assert look_ups == []


@pytest.mark.parametrize("origin", ["file://", "null", "app://obj", "http://localhost:3000", "https://chat.example"])
def test_programs_with_a_key_may_be_pages_of_their_own(origin: str, client: TestClient) -> None:
    """Desktop chat apps. Those of the web cannot send a key, as no reply allows them to."""
    headers = {"host": HERE, "origin": origin}
    preflight = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    for reply in (
        client.get("/v1/nowhere", headers=headers),
        client.get("/v1/models/knowledge-base/rest-api/guide", headers=headers),
        client.options("/v1/chat/completions", headers=headers | preflight),
    ):
        assert reply.status_code not in (200, 403)
        assert not any(name.startswith("access-control") for name in reply.headers)
    assert client.get("/v1/nowhere", headers=headers | {"host": "evil.example:8501"}).status_code == 403
    for path in ("/api/v1/nowhere", "/v1"):
        assert client.get(path, headers=headers).status_code == 403


@pytest.mark.parametrize("path", OURS)
def test_routes_answer_at_the_root_and_below_the_base_path_only(path: str) -> None:
    with below("a.b/kb"):
        routes = build_routes()
    for folder, is_there in (("", True), ("/a.b/kb", True), ("/a.b", False), ("/axb/kb", False)):
        assert bool(serving(routes, f"{folder}{path}")) is is_there, folder
    # Scripts need no session, and programs with a key come from anywhere: they may call a model “metrics”.
    for folder in ("/static", "/v1", "/v1/models/x", "/api/v1", "/api/v1/x", "/a.b/kb/v1"):
        assert all(isinstance(route, Mount) for route in serving(routes, f"{folder}{path}")), folder


def serving(routes: Sequence[BaseRoute], path: str) -> list[BaseRoute]:
    scope: Scope = {"type": "http", "method": "GET", "path": path, "headers": []}
    return [route for route in routes if route.matches(scope)[0] is not Match.NONE]


def test_several_hosts_or_origins_are_refused(client: TestClient) -> None:
    own = ("origin", "http://127.0.0.1:8501")
    for extra in ([own, own], [("host", HERE), ("host", HERE)]):
        assert client.get("/_stcore/health", headers=[("host", HERE), *extra]).status_code == 403


@pytest.mark.parametrize(
    "path", ["/_stcore/metrics", "/_stcore/metrics/", "/_stcore/metrics?families=cache_memory_bytes"]
)
def test_metrics_are_closed(path: str, client: TestClient) -> None:
    assert client.get(path, headers={"host": HERE}).status_code == 404


def test_refusal_says_what_to_do_in_the_readers_language(client: TestClient) -> None:
    reply = client.get("/", headers={"host": "box.lan:9000", "accept-language": "zh-CN"})
    assert "box.lan:9000 不是本应用的地址" in reply.text
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_patterns_of_hosts_may_use_only_themselves() -> None:
    own = OwnAddresses.build(["*.example.com", "localhost"], [], "http", 8501)
    app = TestClient(OwnPagesOnly(Starlette(), own))
    for host, origin, status in [
        ("a.example.com:8501", "http://a.example.com:8501", 404),
        ("a.example.com:8501", "http://b.example.com:8501", 403),
        ("a.example.com:9000", "http://a.example.com:9000", 403),
        ("example.com.evil:8501", "http://example.com.evil:8501", 403),
    ]:
        assert app.get("/", headers={"host": host, "origin": origin}).status_code == status, (host, origin)


def test_invalid_hosts_are_left_out() -> None:
    config.set_option("server.allowedHosts", ["localhost:8501", "box.lan"])
    app = TestClient(OwnPagesOnly(Starlette(), own_addresses()))
    assert app.get("/", headers={"host": "box.lan:8501"}).status_code == 404
    assert app.get("/", headers={"host": "localhost:8501"}).status_code == 403
    config.set_option("server.allowedHosts", ["localhost:8501"])
    app = TestClient(OwnPagesOnly(Starlette(), own_addresses()))
    assert app.get("/", headers={"host": "evil.example:8501"}).status_code == 403


def test_tls_and_the_port_come_from_streamlits_options(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"server.allowedHosts": ["localhost"], "server.sslCertFile": "cert.pem", "server.port": 443}
    monkeypatch.setattr(config, "get_option", options.get)
    monkeypatch.setenv("PUBLIC_URLS", "")
    app = TestClient(OwnPagesOnly(Starlette(), own_addresses()))
    assert app.get("/", headers={"host": "localhost", "origin": "https://localhost"}).status_code == 404
    assert app.get("/", headers={"host": "localhost", "origin": "http://localhost"}).status_code == 403


def test_form_pages_read_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which takes milliseconds of the event loop, for whoever asks for the login."""
    settings = load_settings(public_urls="https://zhiwen.example")
    monkeypatch.setattr(resources, "started", lambda: SimpleNamespace(settings=settings))
    monkeypatch.setattr("web.origins.load_settings", MagicMock(side_effect=AssertionError))
    scope = {"type": "http", "scheme": "http", "path": "/", "headers": [(b"host", b"zhiwen.example")]}
    assert public_address(Request(scope)) == "https://zhiwen.example"
