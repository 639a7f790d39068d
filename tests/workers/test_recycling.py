"""A worker process that has done much is replaced, and no task is put back for it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import dramatiq
import psutil
import pytest
from dramatiq.brokers.stub import StubBroker

from kb.ingestion import Ingestion
from tests.conftest import Clock, MakeSettings
from tests.real_services import wait_until
from workers.recycling import AGAIN_SECONDS, Recycling, ask_master_for_another


@dataclass
class Place:
    """A worker on a broker in memory, whose tasks wait until they may end."""

    recycling: Recycling
    send: Any
    clock: Clock
    ingestion: SimpleNamespace
    memory_mb: float = 100.0
    replaced: int = 0
    begun: list[int] = field(default_factory=list)
    may_end: threading.Event = field(default_factory=threading.Event)

    def replace(self) -> None:
        self.replaced += 1
        self.recycling.stopping.set()


@pytest.fixture
def place(make_settings: MakeSettings, clock: Clock) -> Iterator[Place]:
    broker = StubBroker()
    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=10)
    ingestion = SimpleNamespace(finished=0, is_draining=False)

    @dramatiq.actor(broker=broker)
    def work(number: int) -> None:
        made.begun.append(number)
        made.may_end.wait(30)
        ingestion.finished += 1

    recycling = Recycling(
        make_settings(worker_recycle_documents=2, worker_recycle_memory_mb=1_000),
        worker,
        cast(Ingestion, ingestion),
        replace=lambda: made.replace(),
        stopping=threading.Event(),
        memory_mb=lambda: made.memory_mb,
        clock=lambda: clock().timestamp(),
        patience_seconds=0,
    )
    made = Place(recycling, work.send, clock, ingestion)
    worker.start()
    yield made
    made.may_end.set()
    worker.stop()


def test_documents_are_counted(place: Place) -> None:
    place.recycling.look()
    place.ingestion.finished = 1
    place.recycling.look()
    assert place.replaced == 0
    place.ingestion.finished = 2
    place.recycling.patience_seconds = 30
    threading.Timer(0.05, place.may_end.set).start()
    place.recycling.look()
    assert place.replaced == 1


def test_large_process_is_replaced_unless_it_is_new(place: Place) -> None:
    place.memory_mb, place.recycling.patience_seconds = 1_000, 30
    place.recycling.look()
    assert place.replaced == 0
    place.clock.advance(AGAIN_SECONDS)
    place.recycling.look()
    assert place.replaced == 1


def test_running_task_is_waited_for_and_the_next_one_is_not_begun(place: Place) -> None:
    place.send(1)
    place.send(2)
    wait_until(lambda: place.begun == [1])
    place.ingestion.finished, place.recycling.patience_seconds = 2, 30
    looking = threading.Thread(target=place.recycling.look)
    looking.start()
    wait_until(lambda: place.ingestion.is_draining)
    assert place.replaced == 0
    place.may_end.set()
    looking.join(30)
    assert (place.replaced, place.begun, place.ingestion.finished) == (1, [1], 3)


def test_long_task_is_not_waited_for(place: Place) -> None:
    place.send(1)
    wait_until(lambda: place.begun == [1])
    place.ingestion.finished = 2
    place.recycling.look()
    assert (place.replaced, place.ingestion.is_draining) == (0, False)
    place.may_end.set()
    place.send(2)
    wait_until(lambda: place.begun == [1, 2])  # it goes on
    place.recycling.patience_seconds = 30
    place.recycling.look()
    assert place.replaced == 0  # not so soon again
    place.clock.advance(AGAIN_SECONDS)
    place.recycling.look()
    assert place.replaced == 1


@pytest.mark.parametrize("failure", [None, ProcessLookupError()])
def test_worker_that_nobody_replaces_goes_on(place: Place, failure: Exception | None) -> None:
    place.ingestion.finished, place.recycling.patience_seconds = 2, 0.1
    place.recycling.replace = lambda: fail_with(failure)
    with pytest.raises(type(failure)) if failure else nullcontext():
        place.recycling.look()
    assert not place.ingestion.is_draining
    place.send(1)
    wait_until(lambda: place.begun == [1])
    place.recycling.look()  # and it is not drained again at once
    assert not place.ingestion.is_draining


def fail_with(failure: Exception | None) -> None:
    if failure:
        raise failure


BROKER = """
import os, pathlib
import dramatiq
from dramatiq.brokers.stub import StubBroker

dramatiq.set_broker(StubBroker())
pathlib.Path(os.environ["PIDS"]).open("a").write(f"{os.getpid()} ")
"""


def test_master_starts_itself_anew(tmp_path: Path) -> None:
    """As `zhiwen worker` starts it, with a PATH on which this Python is not."""
    (tmp_path / "own_broker.py").write_text(BROKER)
    pids = tmp_path / "pids"
    pids.touch()
    options = ["own_broker", "--path", str(tmp_path), "--processes", "1", "--threads", "1"]
    command = [sys.executable, "-P", str(Path(sys.executable).with_name("dramatiq")), *options]
    values = {"PATH": "/usr/bin:/bin", "PIDS": str(pids)}
    with subprocess.Popen(command, env=os.environ | values, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as master:
        try:
            wait_until(lambda: pids.read_text().endswith(" "), 30, "a worker process")
            children = psutil.Process(master.pid).children()
            assert int(pids.read_text()) in {child.pid for child in children}
            master.send_signal(signal.SIGHUP)
            wait_until(lambda: len(pids.read_text().split()) == 2, 30, "another one")
        finally:
            master.send_signal(signal.SIGTERM)
            output, _ = master.communicate(timeout=30)
    assert master.returncode == 0, output


def test_worker_process_asks_its_master(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    ask_master_for_another()
    assert sent == []  # it is no worker process
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: SimpleNamespace(pid=7))
    ask_master_for_another()
    assert sent == [(7, signal.SIGHUP)]
