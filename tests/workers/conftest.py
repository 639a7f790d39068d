"""Workers as the tests run them: in threads of this process, or as child processes that can be killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import structlog
from dramatiq import Worker
from dramatiq.brokers.redis import RedisBroker

from kb.config import Settings
from kb.models import Document, Version
from kb.services import build_services
from tests.conftest import Core, MakeSettings, add_user
from tests.fakes.embedding import HashedWords
from tests.real_services import ROOT, Redis, wait_until

EMBEDDED = Path(__file__).parent / "embedded_worker.py"


def environment(settings: Settings) -> dict[str, str]:
    """What tells a process of `settings`."""
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
    """A worker that boots in this process sets up the logs; they are put back, as its stream ends with the test."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


class Workers:
    """The workers package as a process imports it, and worker threads on its broker."""

    def __init__(self, package: ModuleType) -> None:
        self.package = package
        self.broker: RedisBroker = package.broker
        self._worker: Worker | None = None

    def start(self) -> None:
        self.broker.emit_after("process_boot")
        self._worker = Worker(self.broker, worker_threads=1, worker_timeout=20)
        self._worker.start()

    def stop(self) -> None:
        if self._worker:
            self._worker.stop(timeout=5_000)
            self._worker = None


def import_workers(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    """Import the package anew, since its broker is made from the environment when it is imported."""
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    earlier = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "workers"}
    import workers

    running = Workers(workers)
    yield running
    running.stop()
    running.broker.close()
    running.broker.client.close()
    for name in [name for name in sys.modules if name.split(".")[0] == "workers"]:
        del sys.modules[name]
    sys.modules.update(earlier)


@pytest.fixture
def workers(core: Core, monkeypatch: pytest.MonkeyPatch, patient_logs: None) -> Iterator[Workers]:
    yield from import_workers(core.services.settings, monkeypatch)


@pytest.fixture
def own_core(own_redis: Redis, make_settings: MakeSettings, milvus_url: str, embedding: HashedWords) -> Iterator[Core]:
    """One whose Redis the test may take away."""
    services = build_services(make_settings(redis_url=own_redis.url, milvus_uri=milvus_url))
    yield Core(services, embedding, services.users.local().id, add_user(services.database, "stranger"))
    services.close()


@pytest.fixture
def own_workers(own_core: Core, monkeypatch: pytest.MonkeyPatch, patient_logs: None) -> Iterator[Workers]:
    yield from import_workers(own_core.services.settings, monkeypatch)


StartProcess = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start_process(core: Core, tmp_path: Path) -> Iterator[StartProcess]:
    """Starts embedded workers as child processes; all are ended after the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        with (tmp_path / "worker.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(EMBEDDED), *arguments],
                env=os.environ | environment(core.services.settings) | {"PYTHONPATH": str(ROOT)},
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
    """Its version, once it is ready or given up."""
    wait_until(lambda: not core.document(document.id).latest.state.is_pending, seconds, "the end")
    return core.document(document.id).latest
