"""One service under a clock of the test's own."""

import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from kb.local.ports import HOST
from kb.local.service import Service
from kb.local.specs import ServiceSpec
from tests.kb.local.embedded_harness import HERE, is_gone, wait_until


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


Make = Callable[..., Service]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(tmp_path: Path, clock: Clock) -> Iterator[Make]:
    services: list[Service] = []

    def make(*command: str, **values: object) -> Service:
        spec = ServiceSpec("thing", (sys.executable, *command), tmp_path / "thing.log", **values)  # type: ignore[arg-type]
        services.append(Service(spec, clock))
        return services[-1]

    yield make
    for service in services:
        service.stop()


def run_to_end(service: Service) -> None:
    """Start the service, and wait until its end has been noticed."""
    assert service.tick()
    wait_until(lambda: service.tick() and not service.state.running)


def test_the_delay_doubles_up_to_ten_seconds(make: Make, clock: Clock) -> None:
    service = make("-c", "")
    delays = []
    for _ in range(8):
        run_to_end(service)
        delays.append(service.seconds_until_due)
        clock.now += service.seconds_until_due or 0.0
    assert delays == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10])
    assert service.state.restarts == 7


def test_it_is_not_started_before_it_is_due(make: Make, clock: Clock) -> None:
    service = make("-c", "")
    run_to_end(service)
    clock.now += 0.19
    assert not service.tick()
    clock.now += 0.02
    assert service.tick()


def test_a_long_life_resets_the_delay_and_the_detail(make: Make, clock: Clock) -> None:
    service = make("-c", "")
    for _ in range(4):
        run_to_end(service)
        clock.now += 60
    assert service.seconds_until_due == 0
    assert service.state.detail

    lasting = make("-c", "import sys; sys.stdin.read()")
    lasting._detail = "why it ended before"
    lasting.tick()
    assert lasting.state.detail
    clock.now += 11
    assert lasting.tick()
    assert lasting.state.detail == ""


def test_a_crash_at_start_tells_its_last_log_line(make: Make) -> None:
    service = make("-c", "import nowhere_to_be_found")
    run_to_end(service)
    detail = "ended with code 1: ModuleNotFoundError: No module named 'nowhere_to_be_found'"
    assert service.state.detail == detail


def test_a_command_that_is_not_there_is_a_detail(tmp_path: Path, clock: Clock) -> None:
    service = Service(ServiceSpec("thing", (str(tmp_path / "missing"),), tmp_path / "thing.log"), clock)
    service.tick()
    assert not service.state.running
    assert "No such file" in service.state.detail


def test_a_port_in_use_is_a_detail(make: Make) -> None:
    with socket.create_server((HOST, 0)) as server:
        service = make("-c", "", port=server.getsockname()[1])
        service.tick()
        assert "is in use by another program" in service.state.detail
    assert not service.state.running


def test_a_service_that_does_not_end_is_killed_with_its_children(make: Make) -> None:
    service = make(str(HERE / "stub_stubborn_worker.py"), grace_seconds=0.2)
    service.tick()
    wait_until(lambda: service.spec.log.read_text().strip())
    child = psutil.Process(int(service.spec.log.read_text()))
    service.stop()
    assert not service.state.running
    wait_until(lambda: is_gone(child))
