"""Probes: what they answer while the web process starts, and while a service is away."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from kb.errors import DatabaseUnavailable, MilvusUnavailable
from kb.services import Services
from pages.ui import resources
from tests.base_path import below
from tests.conftest import MakeSettings
from tests.fakes.embedding import HashedWords
from tests.real_services import wait_until
from web.app import Web, build_web
from web.probes import KEPT_SECONDS, ServiceCheck, probe_routes

AWAY = {"redis_url": "redis://127.0.0.1:1", "milvus_uri": "http://127.0.0.1:1"}


@pytest.fixture
def client() -> Iterator[TestClient]:
    resources.close()
    with below("kb"), TestClient(Starlette(routes=probe_routes())) as client:
        yield client
    resources.close()


@pytest.fixture
def web(make_settings: MakeSettings, embedding: HashedWords) -> Web:
    web = build_web(make_settings(**AWAY))
    resources.provide(lambda: web)
    return web


def answers() -> str:
    return "1"


def is_away() -> str:
    raise MilvusUnavailable(detail="connection refused")


def ping(monkeypatch: pytest.MonkeyPatch, **pings: Callable[[], str]) -> None:
    monkeypatch.setattr(Services, "pings", lambda _services: pings)


@pytest.mark.parametrize("path", ["/livez", "/kb/livez"])
def test_process_lives_before_anything_is_built(path: str, client: TestClient) -> None:
    assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/readyz", "/kb/readyz"])
def test_process_is_ready_without_milvus(
    path: str, client: TestClient, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    ping(monkeypatch, sql=answers, redis=answers, milvus=is_away)
    resources.web()
    expected = {"ready": True, "degraded": ["milvus"]}
    wait_until(lambda: client.get(path).json() == expected, what="the first results")
    assert client.get(path).status_code == 200


def test_process_is_not_ready_without_sql(client: TestClient, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    ping(monkeypatch, sql=is_away, redis=answers)
    resources.web()
    reply = client.get("/readyz")
    assert (reply.status_code, reply.json()) == (503, {"ready": False, "reason": "sql"})


def test_sql_that_never_answered_is_waited_for_a_moment(
    client: TestClient, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.probes.FIRST_REPLY_SECONDS", 0.05)
    monkeypatch.setattr("kb.health.CLOSE_SECONDS", 0.0)
    end = threading.Event()
    ping(monkeypatch, sql=lambda: str(end.wait(20)))
    resources.web()
    assert client.get("/readyz").status_code == 503
    end.set()
    wait_until(lambda: client.get("/readyz").status_code == 200, what="the first reply")


def test_start_that_failed_is_repeated_by_the_probe(
    client: TestClient, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    ping(monkeypatch, sql=answers)
    failures = [DatabaseUnavailable(detail="away")]

    def open_web() -> Web:
        if failures:
            raise failures.pop()
        return web

    resources.provide(open_web)
    reply = client.get("/readyz")
    assert (reply.status_code, reply.json()["ready"]) == (503, False)
    seen = set[str]()

    def is_ready() -> bool:
        reply = client.get("/readyz")
        seen.add(reply.json().get("reason", ""))
        return reply.status_code == 200

    wait_until(is_ready, what="the second attempt")
    assert seen <= {"starting", "database_unavailable", ""}
    web.close()
    assert client.get("/readyz").status_code == 503


def test_body_tells_no_detail(client: TestClient, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors name hosts and ports; whoever may ask a probe need not know them."""
    ping(monkeypatch, sql=answers, milvus=is_away)
    resources.web()
    wait_until(lambda: "milvus" in client.get("/readyz").text, what="the first results")
    assert "refused" not in client.get("/readyz").text


@pytest.mark.usefixtures("web")
def test_one_check_of_the_services_runs_at_a_time(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask while a service is silent; its result is kept for a moment."""
    now, began, end = [0.0], list[str](), threading.Event()

    def is_silent() -> str:
        began.append("")
        end.wait(20)
        return "1"

    ping(monkeypatch, milvus=is_silent)
    check = ServiceCheck(clock=lambda: now[0])

    async def ask() -> None:
        asked = [asyncio.create_task(check.reply(None)) for _ in range(20)]  # type: ignore[arg-type]
        while not began:
            await asyncio.sleep(0.01)
        asked.pop().cancel()
        end.set()
        assert {(await each).status_code for each in asked} == {200}
        await check.reply(None)  # type: ignore[arg-type]
        assert len(began) == 1
        now[0] = KEPT_SECONDS
        await check.reply(None)  # type: ignore[arg-type]
        assert len(began) == 2

    asyncio.run(ask())
