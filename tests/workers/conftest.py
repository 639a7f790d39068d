"""Workers for the tests: in threads of this process, or as child processes that can be killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
import structlog
from dramatiq import Worker
from dramatiq.middleware import ShutdownNotifications
from pydantic import SecretStr

from kb.config import Settings
from kb.database.tables import versions
from kb.effort import LARGE
from kb.library import mark_sent
from kb.models import Document, Version
from tests.conftest import Core, MakeSettings, open_core
from tests.fakes.embedding import HashedWords
from tests.real_services import ROOT, Redis, wait_until
from workers import build_worker
from workers.broker import DramatiqQueue

EMBEDDED = Path(__file__).parent / "embedded_worker.py"


def environment(settings: Settings) -> dict[str, str]:
    """The environment variables that give a process these settings."""
    return {
        "ZHIWEN_HOME": str(settings.home),
        "REDIS_URL": settings.redis_url,
        "MILVUS_URI": settings.milvus_uri,
        "WORKER_THREADS": str(settings.worker_threads),
        "LEASE_SECONDS": str(settings.lease_seconds),
        "EMBEDDING_MODEL": "test",
    }


@pytest.fixture
def patient_logs() -> Iterator[None]:
    """Restore the log configuration, which a worker that boots in this process changes."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


class Workers:
    """A worker in this process: the broker that `build_worker` makes, and one thread on it.

    To stop it interrupts what runs, and an exception raised in a thread inside gRPC leaves a lock of its channel to
    Milvus locked for ever. pymilvus shares a channel among clients of one address and token, so this one has a token
    of its own, which a server without passwords does not look at: its process would end, and the tests' goes on.
    """

    def __init__(self, settings: Settings) -> None:
        self.broker = build_worker(settings.model_copy(update={"milvus_token": SecretStr(f"worker-{uuid4()}")}))
        self.queue = DramatiqQueue(self.broker)
        self._worker: Worker | None = None

    def send(self, core: Core, document: Document) -> None:
        """Send a queued document's message, as registering it does in the product."""
        self.queue.send_version(document.latest.id)
        mark_sent(core.services.database, [document.latest.id], datetime.now(UTC))

    def start(self) -> None:
        self.broker.emit_after("process_boot")
        self._worker = Worker(self.broker, worker_threads=1, worker_timeout=20)
        self._worker.start()

    def stop(self) -> None:
        if self._worker:
            self._worker.stop(timeout=5_000)
            self._worker = None

    def close(self) -> None:
        """Without interrupting what runs, which uses the channel to end."""
        self.broker.middleware = [each for each in self.broker.middleware if type(each) is not ShutdownNotifications]
        self.stop()
        self.queue.close()


@pytest.fixture
def workers(core: Core, patient_logs: None) -> Iterator[Workers]:
    core.queue.is_away = True  # the tests send messages themselves
    running = Workers(core.services.settings)
    yield running
    running.close()


@pytest.fixture
def own_core(own_redis: Redis, make_settings: MakeSettings, milvus_url: str, embedding: HashedWords) -> Iterator[Core]:
    """A core whose Redis the test may stop."""
    with open_core(make_settings(redis_url=own_redis.url, milvus_uri=milvus_url), embedding) as core:
        yield core


@pytest.fixture
def own_workers(own_core: Core, patient_logs: None) -> Iterator[Workers]:
    own_core.queue.is_away = True
    running = Workers(own_core.services.settings)
    yield running
    running.close()


StartProcess = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start_process(core: Core, tmp_path: Path) -> Iterator[StartProcess]:
    """Starts embedded workers as child processes; all are ended after the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, **values: str) -> subprocess.Popen[bytes]:
        with (tmp_path / "worker.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(EMBEDDED), *arguments],
                env=os.environ | environment(core.services.settings) | {"PYTHONPATH": str(ROOT)} | values,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdin
        process.stdin.close()


def ended(core: Core, document: Document, seconds: float = 60) -> Version:
    """The document's version, once it is ready or given up."""
    wait_until(lambda: not core.document(document.id).latest.state.is_pending, seconds, "the end")
    return core.document(document.id).latest


def make_large(core: Core, *found: Document) -> None:
    """Have these waiting documents treated as large ones."""
    ids = [document.latest.id for document in found]
    with core.services.database.write() as connection:
        connection.execute(sa.update(versions).where(versions.c.id.in_(ids)).values(effort=LARGE))
