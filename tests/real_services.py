"""The real servers for the tests, each a child process on a free local port."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest
from filelock import FileLock, Timeout

from kb.errors import SetupError
from kb.local.redis_server import find_redis_server

ROOT = Path(__file__).parents[1]
HOST = "127.0.0.1"
OLD_MILVUS = ROOT / "build" / "milvus-2.3.5" / "bin" / "milvus-server"
# Milvus 2.3.5 always listens on this port, too, so only one can run on a machine.
OLD_MILVUS_PORT = 9091
OLD_MILVUS_WAIT_SECONDS = 100
MEMORY = Path("/dev/shm")
ROOM_BYTES = 2_000_000_000  # a cluster takes 200 MB, and several run side by side
ONE_OLD_MILVUS = pytest.mark.xdist_group("milvus-2.3.5")


def missing(reason: str) -> NoReturn:
    """Skip the test because a service is not installed; in CI, fail it."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


def is_listening(port: int) -> bool:
    """Whether a server accepts connections on `port` of this machine."""
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def wait_until(condition: Callable[[], object], seconds: float = 20.0, what: str = "condition") -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"Timed out after {seconds} s: {what}"
        time.sleep(0.02)


class Server:
    """A server in a process group of its own. `start` returns once `is_ready`."""

    stop_signal = signal.SIGTERM
    start_seconds = 60.0  # enough for a busy machine

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def command(self) -> list[str]:
        raise NotImplementedError

    def is_ready(self) -> bool:
        return is_listening(self.port)

    def environment(self) -> dict[str, str]:
        return os.environ | {"PYTHONPATH": str(ROOT)}

    def start(self, **options: object) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # type: ignore[call-overload]
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self.environment(),
                start_new_session=True,
                **options,
            )
        try:
            wait_until(self._is_up, self.start_seconds, f"{type(self).__name__} ready ({self.folder / 'log'})")
        except AssertionError:
            self.kill()  # nobody stops a server that has not started
            raise

    def _is_up(self) -> bool:
        assert self._process
        assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
        return self.is_ready()

    def stop(self) -> None:
        self._end(self.stop_signal)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Suspend it: its connections stay open, but it does not respond."""
        assert self._process
        os.killpg(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process
        os.killpg(self._process.pid, signal.SIGCONT)

    def _end(self, number: int) -> None:
        if self._process is None:
            return
        group = self._process.pid
        _signal_group(group, number)
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            _signal_group(group, signal.SIGKILL)
            self._process.wait(timeout=10)
        try:
            wait_until(lambda: not _signal_group(group, 0), 10)
        except AssertionError:
            _signal_group(group, signal.SIGKILL)
        self._process = None


def _signal_group(group: int, number: int) -> bool:
    """Signal all processes of a group. False if there is none."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


class Redis(Server):
    """redis-server. It loses its data when it stops, unless `keep` is set."""

    def __init__(self, folder: Path, port: int | None = None, *, keep: bool = False) -> None:
        super().__init__(folder, port)
        self._keep = keep
        try:
            self._program = find_redis_server(folder)
        except SetupError as error:
            missing(str(error))

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    def command(self) -> list[str]:
        kept = "yes" if self._keep else "no"
        address = ["--bind", HOST, "--port", str(self.port)]
        return [self._program, *address, "--dir", str(self.folder), "--save", "", "--appendonly", kept]


class MilvusLite(Server):
    """Milvus Lite, started as the product starts it, but on a port."""

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "kb.local.milvus_server", str(self.folder / "data"), f"{HOST}:{self.port}"]


class OldMilvus(Server):
    """Milvus standalone 2.3.5, which has no BM25."""

    stop_signal = signal.SIGINT

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._program = os.environ.get("MILVUS_SERVER_BIN") or str(OLD_MILVUS)
        if not Path(self._program).is_file():
            missing(f"Milvus 2.3.5 was not found at {self._program}. Set MILVUS_SERVER_BIN to its path.")
        self._lock = FileLock(Path(tempfile.gettempdir()) / "zhiwen-tests-milvus-9091.lock", mode=0o666)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def start(self, **options: object) -> None:
        """Start once no other test run on this machine uses one."""
        try:
            self._lock.acquire(timeout=OLD_MILVUS_WAIT_SECONDS)
        except Timeout:
            missing(f"Other tests have been using Milvus 2.3.5 for {OLD_MILVUS_WAIT_SECONDS} s on this machine.")
        if is_listening(OLD_MILVUS_PORT):
            self._lock.release()
            missing(f"Another program listens on port {OLD_MILVUS_PORT}, which Milvus 2.3.5 needs.")
        super().start(**options)

    def stop(self) -> None:
        super().stop()
        self._lock.release()

    def command(self) -> list[str]:
        return [self._program, "--data", str(self.folder / "data"), "--proxy-port", str(self.port)]

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{OLD_MILVUS_PORT}/healthz", timeout=5) as reply:
                return b"OK" in reply.read()
        except OSError:
            return False


class PostgreSQL(Server):
    """A PostgreSQL cluster in a temporary folder. Each test creates its own database.

    It is in memory where there is room: on a disk, the 300 files of a database take a third of a second of a processor.
    """

    stop_signal = signal.SIGINT  # fast shutdown: does not wait for clients

    def __init__(self) -> None:
        self._bin = _postgresql_programs()
        self._is_in_memory = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM_BYTES
        folder = tempfile.mkdtemp(prefix="zhiwen-postgresql-", dir=MEMORY if self._is_in_memory else None)
        super().__init__(Path(folder))
        self._databases = 0
        # PostgreSQL refuses to run as root.
        self._user: Mapping[str, object] = {}
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
            self._user = {"user": "postgres", "group": "postgres", "extra_groups": []}

    def environment(self) -> dict[str, str]:
        return os.environ | {"PYTHONPATH": str(ROOT)}

    def start(self, **options: object) -> None:
        initdb = [str(self._bin / "initdb"), "--pgdata", str(self.folder / "data"), "--username", "test"]
        subprocess.run(  # type: ignore[call-overload]
            [*initdb, "--auth", "trust", "--no-sync", "--encoding", "UTF8", "--locale", "C.UTF-8"],
            check=True,
            capture_output=True,
            cwd=self.folder,
            **self._user,
        )
        super().start(**self._user, **options)

    def stop(self) -> None:
        super().stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def command(self) -> list[str]:
        settings = [
            "fsync=off",
            "full_page_writes=off",
            "synchronous_commit=off",
            "shared_buffers=16MB",
            "max_wal_size=64MB",
        ]
        options = [part for setting in settings for part in ("-c", setting)]
        address = ["-h", HOST, "-p", str(self.port), "-k", str(self.folder)]
        return [str(self._bin / "postgres"), "-D", str(self.folder / "data"), *address, *options]

    def is_ready(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def url(self, database: str) -> str:
        return f"postgresql://test@{HOST}:{self.port}/{database}"

    def new_database(self, template: str = "template0") -> str:
        """Create a database, a copy of `template`, and return its URL."""
        self._databases += 1
        name = f"test{self._databases}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Drop the database of that URL from memory. On a disk that takes longer than to keep it."""
        if not self._is_in_memory:
            return
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")


def _postgresql_programs() -> Path:
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not folders:
        missing("PostgreSQL is not installed.")
    return folders[-1].parent
