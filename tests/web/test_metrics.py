"""/metrics: who may read it, what requests count, and that Prometheus can read it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from kb.errors import DatabaseUnavailable, SetupError
from kb.metrics import PROCESS, WORKERS, Publisher, note_ingested
from kb.progress import WorkerInfo
from pages.ui import resources
from tests.base_path import below
from tests.conftest import Core, MakeSettings, open_core
from tests.fakes.embedding import HashedWords
from web.app import build_web
from web.base_path import BASE_PATH
from web.metrics import RequestCounts
from web.metrics.route import MetricsRoute, refusal
from web.metrics.state import KEPT_SECONDS, State

TOKEN = "a-token-of-24-characters"
LOOPBACK, FOREIGN = "127.0.0.1", "192.0.2.7"
# The labels there may be. None of them names a person, a document or an address.
LABELS = {
    *("route", "method", "status", "mode", "state", "error", "model", "direction", "outcome", "step", "stage"),
    *("service", "version", "python", "queue_name", "actor_name", "le"),
}


def connection(client: str | None, **headers: str) -> HTTPConnection:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return HTTPConnection({"type": "http", "headers": raw, "client": (client, 1) if client is not None else None})


# --- who may read it -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", [LOOPBACK, "127.8.0.1", "::1", "::ffff:127.0.0.1"])
def test_this_machine_needs_no_token(client: str, make_settings: MakeSettings) -> None:
    assert refusal(connection(client), make_settings()) is None


@pytest.mark.parametrize("client", [FOREIGN, "::ffff:192.0.2.7", "2001:db8::1", "10.0.0.5", "", "testclient", None])
def test_others_find_nothing_without_a_token(client: str | None, make_settings: MakeSettings) -> None:
    assert refusal(connection(client), make_settings()) == 404


@pytest.mark.parametrize("name", ["x_forwarded_for", "x_forwarded_proto", "x_real_ip", "forwarded", "via"])
def test_what_a_proxy_hands_on_is_not_from_this_machine(name: str, make_settings: MakeSettings) -> None:
    assert refusal(connection(LOOPBACK, **{name: "127.0.0.1"}), make_settings()) == 404


def test_behind_an_address_of_its_own_a_token_is_needed(make_settings: MakeSettings) -> None:
    """A proxy on this machine need not say that it hands on a request."""
    assert refusal(connection(LOOPBACK), make_settings(public_urls="https://zhiwen.example")) == 404


@pytest.mark.parametrize("client", [LOOPBACK, FOREIGN])
@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (f"Bearer {TOKEN}", None),
        (f"bearer {TOKEN}", None),
        (f"Bearer {TOKEN}x", 401),
        ("Bearer ", 401),
        ("Bearer é", 401),
        (f"Basic {TOKEN}", 401),
        (TOKEN, 401),
        (None, 401),
    ],
)
def test_token_counts_from_everywhere(
    client: str, authorization: str | None, expected: int | None, make_settings: MakeSettings
) -> None:
    given = {"authorization": authorization} if authorization else {}
    settings = make_settings(metrics_token=TOKEN, public_urls="https://zhiwen.example")
    assert refusal(connection(client, **given), settings) == expected


@pytest.mark.parametrize("token", ["short", "two words that are long", "with-a-ü-that-no-header-has"])
def test_token_that_is_easily_guessed_or_cannot_be_sent_is_refused(token: str, make_settings: MakeSettings) -> None:
    with pytest.raises(SetupError, match="METRICS_TOKEN"):
        make_settings(metrics_token=token)


# --- what is counted -------------------------------------------------------------------------------------------


async def page(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("page")


async def defect(_request: Request) -> PlainTextResponse:
    raise ZeroDivisionError


async def session(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive_text()


async def refuse(websocket: WebSocket) -> None:
    await websocket.close()


def reader(settings: Any) -> Route:
    return Route("/metrics", MetricsRoute(lambda: settings).reply)


@pytest.fixture
def client(make_settings: MakeSettings) -> TestClient:
    with below("kb"):
        ours = [
            Route(f"{BASE_PATH}api/files/{{id:uuid}}", page),
            Mount(f"{BASE_PATH}api/v1", routes=[Route("/search/{id}", page)]),
            Mount(f"{BASE_PATH}mcp", routes=[Route("/{name:path}", page)]),
            Route(f"{BASE_PATH}defect", defect),
        ]
    routes = [
        *ours,
        reader(make_settings()),
        WebSocketRoute("/_stcore/stream", session),
        WebSocketRoute("/closed", refuse),
        Route("/_stcore/health", page),
        Mount("/", app=page_app),
    ]
    app = Starlette(routes=routes, middleware=[Middleware(RequestCounts)])
    return TestClient(app, raise_server_exceptions=False, client=(LOOPBACK, 50000))


async def page_app(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse("app", 200 if scope["path"] == "/testing" else 404)(scope, receive, send)


def requests_of(client: TestClient) -> dict[tuple[str, str, str], float]:
    families = read(client)
    return {
        (sample.labels["route"], sample.labels["method"], sample.labels["status"]): sample.value
        for sample in families["zhiwen_http_requests"].samples
    }


def read(client: TestClient, **headers: str) -> dict[str, Metric]:
    reply = client.get("/metrics", headers=headers)
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {family.name: family for family in text_string_to_metric_families(reply.text)}


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/api/files/00000000-0000-0000-0000-000000000001", ("/api/files/{id}", "GET", "200")),
        ("GET", "/kb/api/files/00000000-0000-0000-0000-000000000002", ("/api/files/{id}", "GET", "200")),
        ("GET", "/api/v1/search/7", ("/api/v1/search/{id}", "GET", "200")),
        ("GET", "/kb/api/v1/search/7", ("/api/v1/search/{id}", "GET", "200")),
        ("GET", "/api/v1/unknown/7", ("/api/v1", "GET", "404")),
        ("GET", "/kb/mcp/anything", ("/mcp/{name}", "GET", "200")),
        ("GET", "/mcp/anything", ("/mcp/{name}", "GET", "200")),
        ("GET", "/defect", ("/defect", "GET", "500")),
        ("GET", "/testing", ("/testing", "GET", "200")),
        ("GET", "/_stcore/health", ("/_stcore/health", "GET", "200")),
        ("GET", "/static/index.1234.js", ("/static/", "GET", "404")),
        ("GET", "/wp-login.php?user=anna", ("other", "GET", "404")),
        ("BREW", "/coffee", ("other", "other", "404")),
    ],
)
def test_requests_are_counted_by_route(
    method: str, path: str, expected: tuple[str, str, str], client: TestClient
) -> None:
    before = requests_of(client)
    client.request(method, path)
    after = requests_of(client)
    grown = {key for key in after if after[key] != before.get(key)} - {("/metrics", "GET", "200")}
    assert grown == {expected}
    assert after[expected] == before.get(expected, 0) + 1


def test_pages_are_counted_while_they_are_open(client: TestClient) -> None:
    def open_sessions() -> float:
        (sample,) = read(client)["zhiwen_open_sessions"].samples
        return sample.value

    with client.websocket_connect("/_stcore/stream") as websocket:
        assert open_sessions() == 1
        websocket.send_text("end")
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/closed"):
        pass
    assert open_sessions() == 0


# --- what is told ----------------------------------------------------------------------------------------------


def test_route_answers_before_the_services_are_there(client: TestClient) -> None:
    resources.close()
    families = read(client)
    assert "zhiwen_service_up" not in families
    (build,) = families["zhiwen_build_info"].samples
    assert re.fullmatch(r"\d+\.\d+\.\d+", build.labels["python"])
    assert "process_resident_memory_bytes" in families


@pytest.mark.parametrize(
    ("settings", "given", "expected"),
    [
        ({}, {}, 404),
        ({"metrics_token": TOKEN}, {}, 401),
        ({"metrics_token": TOKEN}, {"Authorization": "Bearer x"}, 401),
    ],
)
def test_foreign_address_and_wrong_token_are_refused(
    settings: dict[str, str], given: dict[str, str], expected: int, make_settings: MakeSettings
) -> None:
    app = Starlette(routes=[reader(make_settings(**settings))])
    reply = TestClient(app, client=(FOREIGN, 50000)).get("/metrics", headers=given)
    assert (reply.status_code, reply.content) == (expected, b"")
    assert reply.headers.get("www-authenticate") == ("Bearer" if expected == 401 else None)


def test_settings_that_cannot_be_read_let_nobody_in() -> None:
    def load() -> Any:
        raise SetupError("METRICS_TOKEN is not valid.")

    app = Starlette(routes=[Route("/metrics", MetricsRoute(load).reply)])
    assert TestClient(app, client=(LOOPBACK, 50000)).get("/metrics").status_code == 404


@pytest.fixture
def started(core: Core, embedding: HashedWords) -> Iterator[Core]:
    """The web process's parts, built as the app builds them, on the services of the tests."""
    resources.close()
    resources.provide(lambda: build_web(core.services.settings))
    resources.web()
    yield core
    resources.close()


def test_metrics_tell_the_queue_the_workers_and_what_they_counted(started: Core, client: TestClient) -> None:
    base = started.knowledge_base()
    started.upload(base, "a.md", "text")
    info = WorkerInfo("host:1:a", "host", 1, threads=3, busy=2)
    started.services.board.announce_worker(info)
    publisher = Publisher(started.services.quick_redis)
    note_ingested("ready")
    publisher.publish()
    found = read(client, authorization="")
    values = {family.name: family.samples[0].value for family in found.values() if len(family.samples) == 1}
    assert values["zhiwen_documents_waiting"] == 1
    assert 0 <= values["zhiwen_oldest_waiting_document_age_seconds"] < 60
    assert (values["zhiwen_workers"], values["zhiwen_worker_threads"], values["zhiwen_worker_threads_busy"]) == (
        1,
        3,
        2,
    )
    assert values["zhiwen_answers_running"] == 0
    (ready,) = found["zhiwen_ingestion_documents"].samples
    assert (ready.labels, ready.value) == ({"outcome": "ready", "error": ""}, 1)


def test_names_follow_prometheus_and_labels_tell_nobody(started: Core, client: TestClient) -> None:
    families = read(client)
    declared = {metric.name for registry in (PROCESS, WORKERS) for metric in registry.collect()}
    assert declared <= families.keys()
    for family in families.values():
        assert family.name.startswith(("zhiwen_", "dramatiq_", "process_"))
        assert {label for sample in family.samples for label in sample.labels} <= LABELS
        if family.type == "histogram" and family.name.startswith("zhiwen_"):
            assert family.name.endswith("_seconds")


def test_state_is_asked_once_in_a_few_seconds(make_settings: MakeSettings, core: Core) -> None:
    now, asked = [0.0], []

    def workers() -> list[WorkerInfo]:
        asked.append(now[0])
        return []

    services: Any = core.services
    board: Any = SimpleNamespace(workers=workers)
    state = State(services.database, services.quick_redis, board, dict, lambda: 0, lambda: now[0])
    for moment in (0.0, KEPT_SECONDS / 2, KEPT_SECONDS):
        now[0] = moment
        list(state.collect())
    assert asked == [0.0, KEPT_SECONDS]


def test_what_cannot_be_asked_is_left_out(make_settings: MakeSettings, embedding: HashedWords) -> None:
    away = make_settings(redis_url="redis://127.0.0.1:1", milvus_uri="http://127.0.0.1:1")
    with open_core(away, embedding) as without_redis:
        services = without_redis.services
        state = State(services.database, services.quick_redis, services.board, lambda: {"redis": False}, lambda: 0)
        found = {metric.name: metric for metric in state.collect()}
        assert "zhiwen_documents_waiting" in found
        assert "zhiwen_workers" not in found
        (up,) = found["zhiwen_service_up"].samples
        assert (up.labels, up.value) == ({"service": "redis"}, 0)


def test_database_that_is_away_leaves_the_workers(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_database: object) -> None:
        raise DatabaseUnavailable(detail="away")

    monkeypatch.setattr("web.metrics.state.queue_depth", fail)
    services = core.services
    state = State(services.database, services.quick_redis, services.board, dict, lambda: 3)
    found = {metric.name: metric.samples[0].value for metric in state.collect() if metric.samples}
    assert "zhiwen_documents_waiting" not in found
    assert (found["zhiwen_workers"], found["zhiwen_answers_running"]) == (0, 3)
