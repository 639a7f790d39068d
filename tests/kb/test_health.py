"""The health monitor, without services."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from kb.errors import RedisUnavailable
from kb.health import HealthMonitor
from tests.real_services import wait_until


class Service:
    """Answers pings with `version`; fails without one; is silent while `answering` is not set."""

    def __init__(self, version: str = "1") -> None:
        self.version = version
        self.pings = 0
        self.answering = threading.Event()
        self.answering.set()

    def __call__(self) -> str:
        self.pings += 1
        assert self.answering.wait(20)
        if not self.version:
            raise RedisUnavailable(detail="connection refused")
        return self.version


@pytest.fixture
def fast() -> Service:
    return Service()


@pytest.fixture
def silent() -> Iterator[Service]:
    service = Service()
    service.answering.clear()
    yield service
    service.answering.set()


@pytest.fixture
def monitor(fast: Service, silent: Service) -> Iterator[HealthMonitor]:
    monitor = HealthMonitor({"fast": fast, "silent": silent})
    monitor.start()
    yield monitor
    monitor.close()


def seen(monitor: HealthMonitor) -> dict[str, tuple[bool, str]]:
    return {health.name: (health.ok, health.detail) for health in monitor.last()}


def test_silent_service_delays_neither_page_nor_other_services(monitor: HealthMonitor, silent: Service) -> None:
    wait_until(lambda: seen(monitor) == {"fast": (True, "1")}, what="the first result")
    silent.answering.set()
    wait_until(lambda: seen(monitor) == {"fast": (True, "1"), "silent": (True, "1")}, what="the second result")


def test_results_are_renewed_only_while_somebody_looks(
    monitor: HealthMonitor, fast: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_until(monitor.last, what="the first result")
    for _ in range(20):
        monitor.last()
    assert fast.pings == 1
    monkeypatch.setattr("kb.health.FRESH_SECONDS", 0.0)
    fast.version = ""
    wait_until(lambda: not seen(monitor)["fast"][0], what="the failure")
    (health,) = [health for health in monitor.last() if health.name == "fast"]
    assert isinstance(health.error, RedisUnavailable)
    assert health.checked_at.tzinfo is not None


def test_defect_in_a_ping_is_a_failed_service() -> None:
    def fail() -> str:
        raise ZeroDivisionError

    monitor = HealthMonitor({"odd": fail})
    monitor.start()
    wait_until(lambda: seen(monitor) == {"odd": (False, "ZeroDivisionError")}, what="the failure")
    monitor.close()


def test_closed_monitor_ends_its_threads() -> None:
    monitor = HealthMonitor({"closed": Service()})
    monitor.start()
    monitor.close()
    assert "health-closed" not in [thread.name for thread in threading.enumerate()]


def test_service_that_falls_silent_does_not_respond(
    monitor: HealthMonitor, silent: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent.answering.set()
    wait_until(lambda: monitor.responding() == {"fast": True, "silent": True}, what="the first results")
    silent.answering.clear()
    monkeypatch.setattr("kb.health.FRESH_SECONDS", 0.0)
    monkeypatch.setattr("kb.health.SILENT_SECONDS", 0.05)
    wait_until(lambda: monitor.responding() == {"fast": True, "silent": False}, what="the silence")


def test_first_check_may_take_longer(monitor: HealthMonitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kb.health.SILENT_SECONDS", 0.0)
    wait_until(lambda: monitor.responding() == {"fast": True}, what="the first result")
    monkeypatch.setattr("kb.health.FIRST_SECONDS", 0.0)
    assert monitor.responding()["silent"] is False
