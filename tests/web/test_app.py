"""The web process's parts: built once, and again after a failure."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog
from starlette.routing import Match, Route

from kb import tracing
from kb.embedding.openai import OpenAIModel
from kb.errors import DatabaseUnavailable
from kb.local import ServiceState
from pages.ui import resources
from tests.base_path import below
from tests.conftest import MakeSettings
from tests.fakes.collector import need_packages
from tests.fakes.embedding import HashedWords
from tests.fakes.model_server import EMBEDDINGS, ModelServer
from tests.real_services import free_port
from web import app
from web.app import Web, build_routes, build_web
from web.probes import healthz


@pytest.fixture
def closed_afterwards() -> Iterator[None]:
    resources.close()
    yield
    resources.close()


def test_nothing_is_started_before_start(make_settings: MakeSettings, tmp_path: Path) -> None:
    build_web(make_settings())
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("path", ["/healthz", "/kb/healthz"])
def test_health_is_told_also_below_the_base_path(path: str) -> None:
    """Streamlit would answer with its page, and 200, whatever is wrong."""
    scope = {"type": "http", "method": "GET", "path": path, "headers": []}
    with below("kb"):
        routes = build_routes()
    (endpoint,) = [
        route.endpoint for route in routes if isinstance(route, Route) and route.matches(scope)[0] is Match.FULL
    ]
    assert endpoint is healthz


def test_failed_start_can_be_repeated(
    make_settings: MakeSettings, embedding: HashedWords, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = build_web(make_settings(redis_url=f"redis://127.0.0.1:{free_port()}", milvus_uri="http://127.0.0.1:1"))
    failures = [DatabaseUnavailable(detail="away")]

    def migrate(_database: object, _backups: object) -> None:
        if failures:
            raise failures.pop()

    monkeypatch.setattr("kb.database.Database.migrate", migrate)
    with pytest.raises(DatabaseUnavailable):
        web.start()
    web.start()
    assert web.services is web.services
    web.close()


@pytest.mark.parametrize(
    ("seconds", "heard", "expected"),
    [(5, False, (True, "running")), (300, True, (True, "running")), (300, False, (False, "not responding"))],
)
def test_worker_that_hangs_is_not_healthy(
    make_settings: MakeSettings,
    embedding: HashedWords,
    monkeypatch: pytest.MonkeyPatch,
    seconds: int,
    heard: bool,
    expected: tuple[bool, str],
) -> None:
    web = build_web(make_settings(redis_url="redis://127.0.0.1:1", milvus_uri="http://127.0.0.1:1"))
    state = ServiceState("worker", 2, True, 0, datetime.now(UTC) - timedelta(seconds=seconds))
    monkeypatch.setattr(web.local, "states", lambda: [state])
    monkeypatch.setattr(type(web.services), "pings", lambda _services: {"sql": lambda: ""})
    monkeypatch.setattr(web.services.board, "workers", lambda: ["a worker"] if heard else [])
    worker = web.health()[-1]
    assert (worker.name, worker.ok, worker.detail) == ("worker", *expected)
    web.close()


def test_warm_up_sends_a_remote_model_one_text(make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gc.freeze", lambda: None)
    with ModelServer() as server:
        named = {"embedding_model": "openai:fake-embedding", "openai_base_url": server.base_url}
        web = build_web(make_settings(redis_url="redis://127.0.0.1:1", milvus_uri="http://127.0.0.1:1", **named))
        web.warm_up()
        for thread in threading.enumerate():
            if thread.name == "warm-up":
                thread.join()
        sent = [request.body["input"] for request in server.requests if request.path == EMBEDDINGS]
        model = web.services.embeddings.default
        assert isinstance(model, OpenAIModel)
        model.close()
        web.close()
    assert sent == [["warm up"]]


def test_process_is_traced_from_its_start_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it starts and ends besides left out."""
    need_packages()
    logs, was_on = structlog.get_config(), list[bool]()
    for name in ("allow_public_hosts", "use_public_port", "log_accept_errors_seldom", "build_web"):
        monkeypatch.setattr(app, name, lambda *_: None)
    monkeypatch.setattr(app, "drain", SimpleNamespace(listen=lambda _seconds: None, wait=lambda _count: None))
    monkeypatch.setattr(gc, "freeze", lambda: None)
    monkeypatch.setattr(resources, "provide", lambda _open: None)  # later tests have parts of their own
    monkeypatch.setattr(resources, "web", app._open_web)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")

    async def live() -> None:
        async with app.lifespan(None):
            was_on.append(tracing.is_on())

    asyncio.run(live())
    structlog.configure(**logs)
    assert was_on == [True]
    assert not tracing.is_on()


@pytest.mark.usefixtures("closed_afterwards")
def test_pages_open_the_parts_once_and_again_after_a_failure(
    make_settings: MakeSettings, embedding: HashedWords
) -> None:
    opened: list[Web] = []

    def open_web() -> Web:
        if not opened:
            opened.append(build_web(make_settings()))
            raise DatabaseUnavailable(detail="away")
        opened.append(build_web(make_settings(redis_url="redis://127.0.0.1:1", milvus_uri="http://127.0.0.1:1")))
        return opened[-1]

    resources.provide(open_web)
    with pytest.raises(DatabaseUnavailable):
        resources.services()
    assert resources.services() is resources.services()
    assert len(opened) == 2
