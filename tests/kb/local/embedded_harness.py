"""Tools to drive the embedded services: web processes to kill, and a clean-up of everything that was started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import redis

from kb.config import Settings, load_settings
from kb.local import LocalServices, ServiceState
from kb.local.run_state import read_run_state
from kb.local.sockets import MILVUS, REDIS, is_listening
from tests.real_services import wait_until

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


class Web:
    """A separate web process, with everything that it started."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "stub_web.py"), *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        self.urls = json.loads(self.process.stdout.readline())
        wait_until(lambda: len(self.family) >= 1)

    @property
    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    @property
    def supervisor(self) -> psutil.Process:
        return psutil.Process(self.process.pid).children()[0]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.communicate("\n", timeout=20)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()


class Embedded:
    """Builds `LocalServices` and web processes on one folder, and ends them all after the test."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.worker = str(HERE / "stub_worker.py")
        self._ends: list[Callable[[], None]] = []

    def settings(self, **values: object) -> Settings:
        return load_settings(
            **{"zhiwen_home": self.home, "milvus_uri": "", "redis_url": "", "database_url": "", "_env_file": None}
            | values
        )

    def services(self, **values: object) -> LocalServices:
        local = LocalServices(self.settings(**values), worker_command=(sys.executable, self.worker))
        self._ends.append(local.stop)
        return local

    def started(self, **values: object) -> LocalServices:
        local = self.services(**values)
        local.start()
        return local

    def web(self, *external: str) -> Web:
        web = Web(str(self.home), self.worker, *external)
        self._ends.append(web.end)
        return web

    def redis(self, local: LocalServices) -> redis.Redis:
        """A client of the embedded Redis, once that listens: a process that was just started may not yet."""
        client = redis.Redis.from_url(local.settings.redis_url, decode_responses=True)
        wait_until(lambda: is_listening(self.redis_socket), what="Redis")
        self._ends.append(client.close)
        return client

    @property
    def milvus_socket(self) -> Path:
        return self._sockets / MILVUS

    @property
    def redis_socket(self) -> Path:
        return self._sockets / REDIS

    @property
    def _sockets(self) -> Path:
        return Path(read_run_state(self.home / "run" / "services.json").sockets)

    def end(self) -> None:
        for end in reversed(self._ends):
            end()


def state_of(local: LocalServices, name: str) -> ServiceState:
    return next(state for state in local.states() if state.name == name)


def kill_service(local: LocalServices, name: str) -> ServiceState:
    """Kill a service with -9, wait until it runs again, and return its new state."""
    before = state_of(local, name)
    assert before.pid
    os.kill(before.pid, signal.SIGKILL)

    def runs_again() -> bool:
        now = state_of(local, name)
        return now.running and now.restarts == before.restarts + 1

    wait_until(runs_again)
    return state_of(local, name)
