"""The web process of an installation."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.installation import ROOT, Installation, connected, wait_for_worker
from kb.config import load_settings
from kb.local.plan import Folders
from kb.local.run_state import RunState, read_run_state

LAUNCHER = ROOT / "webui_st.py"
START_SECONDS = 60.0
STOP_SECONDS = 15.0
POLL_SECONDS = 0.02
EMBEDDED = ("MILVUS_URI", "REDIS_URL", "DATABASE_URL")


class WebProcess:
    """Starts, kills and restarts the web process on one data folder, with embedded services only.

    `settings` are further environment variables.
    """

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        self._settings = settings
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def run_state(self) -> RunState:
        """What the supervisor last wrote about the services."""
        return read_run_state(Folders(self.home).run_state)

    def service_pid(self, name: str) -> int | None:
        """The pid of the service; None while it does not run."""
        return next((service.pid for service in self.run_state.services if service.name == name), None)

    def start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if name not in EMBEDDED}
        self._process = subprocess.Popen(
            self._command(),
            cwd=ROOT,
            env={**environment, **self._settings, "ZHIWEN_HOME": str(self.home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        assert self._process
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Stop it normally, if it runs."""
        if not self._process or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def wait_for_services(self) -> None:
        """Wait until this web process's supervisor has started all services."""
        wait_until(self._has_services, START_SECONDS, "the embedded services did not start")

    def processes(self) -> list[psutil.Process]:
        """All processes of this data folder."""
        return [process for process in psutil.process_iter() if self._belongs(process)]

    def _has_services(self) -> bool:
        state = self.run_state
        started = bool(state.services) and all(service.running for service in state.services)
        return started and state.holder is not None and state.holder.web_pid == self.pid

    def _belongs(self, process: psutil.Process) -> bool:
        if process.pid == os.getpid():
            return False
        try:
            is_dead = process.status() == psutil.STATUS_ZOMBIE
            return not is_dead and process.environ().get("ZHIWEN_HOME") == str(self.home)
        except psutil.Error:
            return False

    def _command(self) -> list[str]:
        address = [f"--server.port={self.port}", "--server.address=127.0.0.1", "--server.headless=true"]
        return [sys.executable, "-m", "streamlit", "run", LAUNCHER.name, *address]


@contextmanager
def joined(web: WebProcess) -> Iterator[Installation]:
    """Connect to the web process's services."""
    state = web.run_state
    settings = load_settings(
        zhiwen_home=web.home, milvus_uri=state.milvus_uri, redis_url=state.redis_url, database_url=""
    )
    with connected(settings) as installation:
        wait_for_worker(installation)
        yield installation


def wait_until(condition: Callable[[], bool], seconds: float, complaint: str) -> None:
    """Wait until `condition` holds. On a timeout, exit with `complaint`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"Within {seconds:.0f} s {complaint}.")
        time.sleep(POLL_SECONDS)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
