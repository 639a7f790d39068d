"""One supervised process: delays, ends, logs, and processes by pid."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from kb.local import service as service_module
from kb.local.plan import REPLACE, ServiceSpec
from kb.local.service import Service, bound_log, end_process, is_running, last_line, open_log, start_time
from tests.kb.local.embedded_harness import HERE, is_gone
from tests.real_services import wait_until


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
    """Start the service, and wait until it has noticed its end."""
    assert service.tick()
    wait_until(lambda: service.tick() and not service.state.running)


def test_restart_delay_doubles_up_to_ten_seconds(make: Make, clock: Clock) -> None:
    service = make("-c", "")
    delays = []
    for _ in range(8):
        run_to_end(service)
        delays.append(service.seconds_until_due)
        clock.now += service.seconds_until_due or 0.0
    assert delays == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10])
    assert service.state.restarts == 7


def test_service_that_asks_to_be_replaced_is_started_at_once_and_not_counted(make: Make, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    script = f"import pathlib, sys, time; mark = pathlib.Path({str(mark)!r})\n"
    script += f"if not mark.exists():\n    mark.touch(); sys.exit({REPLACE})\ntime.sleep(60)"
    service = make("-c", script)
    assert service.tick()
    first = service.state.pid
    wait_until(service.tick)
    assert service.state.pid not in (None, first)
    assert (service.state.restarts, service.state.detail, service.ended_by_itself) == (0, "", False)


def test_service_does_not_start_before_it_is_due(make: Make, clock: Clock) -> None:
    service = make("-c", "")
    run_to_end(service)
    clock.now += 0.19
    assert not service.tick()
    clock.now += 0.02
    assert service.tick()


def test_long_life_resets_the_delay_and_the_detail(make: Make, clock: Clock) -> None:
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


def test_crash_at_start_shows_the_last_log_line(make: Make) -> None:
    service = make("-c", "import nowhere_to_be_found")
    run_to_end(service)
    detail = "ended with code 1: ModuleNotFoundError: No module named 'nowhere_to_be_found'"
    assert service.state.detail == detail


def test_missing_command_is_shown(tmp_path: Path, clock: Clock) -> None:
    service = Service(ServiceSpec("thing", (str(tmp_path / "missing"),), tmp_path / "thing.log"), clock)
    service.tick()
    assert not service.state.running
    assert "No such file" in service.state.detail


def test_stubborn_service_is_killed_with_its_children(make: Make) -> None:
    service = make(str(HERE / "stub_stubborn_worker.py"), grace_seconds=0.2)
    service.tick()

    def pids() -> list[int]:
        # gRPC, which other tests of this process use, may write a line of its own between fork and exec.
        return [int(line) for line in service.spec.log.read_text().splitlines() if line.isdigit()]

    wait_until(pids)
    child = psutil.Process(*pids())
    service.stop()
    assert not service.state.running
    wait_until(lambda: is_gone(child))


# --- processes by pid ------------------------------------------------------------------------------------------


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_process_counts_as_running_until_it_ends(sleeper: subprocess.Popen[bytes]) -> None:
    started = start_time(sleeper.pid)
    assert is_running(sleeper.pid, started)
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # a zombie now
    assert not is_running(sleeper.pid, started)
    sleeper.wait()
    assert not is_running(sleeper.pid, started)


def test_process_without_a_known_start_does_not_count_as_running(sleeper: subprocess.Popen[bytes]) -> None:
    assert start_time(2**22 + 1) == 0
    assert not is_running(sleeper.pid, 0.0)


def test_leftover_is_ended(sleeper: subprocess.Popen[bytes]) -> None:
    end_process(sleeper.pid, start_time(sleeper.pid), grace_seconds=2)
    assert sleeper.wait(timeout=10) < 0


def test_leftover_that_ignores_sigterm_is_killed() -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout
        process.stdout.readline()
        end_process(process.pid, start_time(process.pid), grace_seconds=0.2)
        assert process.wait(timeout=10) == -9


def test_later_process_with_the_pid_of_a_leftover_is_left_alone(sleeper: subprocess.Popen[bytes]) -> None:
    end_process(sleeper.pid, start_time(sleeper.pid) - 60, grace_seconds=0.1)
    assert sleeper.poll() is None


# --- logs ------------------------------------------------------------------------------------------------------


def test_last_line_skips_blank_and_earlier_lines(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("old\n")
    assert last_line(log, since=4) == ""
    log.write_text("old\nnew\n  \n\n")
    assert last_line(log, since=4) == "new"
    assert last_line(tmp_path / "missing.log") == ""


def test_log_over_the_limit_is_moved_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "LOG_LIMIT_BYTES", 10)
    path = tmp_path / "logs" / "x.log"
    with open_log(path) as log:
        log.write(b"more than ten bytes\n")
        bound_log(path)
        log.write(b"next\n")
    assert path.read_text() == "next\n"
    assert path.with_name("x.log.1").read_text() == "more than ten bytes\n"


def test_last_line_is_found_after_the_log_was_moved(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("short\n")
    assert last_line(log, since=5_000) == "short"
