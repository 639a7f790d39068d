"""The web process's side of the embedded services."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import kb
from kb.errors import N_, SetupError
from kb.home import not_written
from kb.local.plan import Folders, Plan
from kb.local.redis_data import TRIES
from kb.local.redis_server import find_redis_server, is_ready, start_failure
from kb.local.run_state import Holder, RunState, ServiceState, read_run_state
from kb.local.service import (
    FIRST_DELAY_SECONDS,
    LONGEST_DELAY_SECONDS,
    is_running,
    last_line,
    open_log,
    start_time,
)
from kb.local.set_aside import SetAside, delete_set_aside, list_set_aside, rename_unusable
from kb.local.sockets import REDIS

if TYPE_CHECKING:
    from kb.config import Settings  # at run time the supervisor would load it, too

WORKER_COMMAND = (sys.executable, "-m", "workers.embedded")
SUPERVISOR_COMMAND = (sys.executable, "-m", "kb.local.supervisor")
HOLD_SECONDS = 10.0  # how long a start waits for the folder, which the services of a killed web process may still hold
REDIS_SECONDS = 3.0
STOP_SECONDS = 5.5  # a little more than the graces of all services
POLL_SECONDS = 0.01

_IN_USE = N_("Zhiwen already runs on the data folder {folder}: {url} (process {pid}).")
_LOCKED = N_(
    "The data folder {folder} is locked by a process that cannot be seen from here, perhaps in another container: "
    "{url} (process {pid} there)."
)
_IN_USE_REMEDY = N_(
    "Open that address. Or end that process and reload this page; or set ZHIWEN_HOME to another folder for a second "
    "installation."
)

logger = logging.getLogger(__name__)


class LocalServices:
    """Starts the services that `settings` name no URL for; one web process at a time on one home folder.

    After `start`, `settings` hold the URLs of all services. With every URL configured nothing is ever started.
    `url` is the web process's own address, which a second one on the same folder is told.
    """

    def __init__(self, settings: Settings, url: str = "", worker_command: tuple[str, ...] = WORKER_COMMAND) -> None:
        self.settings = settings
        self._given = settings
        self._url = url
        self._worker_command = worker_command
        self._plan: Plan | None = None
        self._supervisor: _Supervisor | None = None

    def start(self) -> None:
        """Return once the addresses are known and Redis accepts connections; Milvus may take a second more.

        Errors: `SetupError` when there is no usable redis-server, the folder cannot be written or belongs to another
        web process, or the services do not stay up.
        """
        if self._supervisor or not self._given.needs_embedded_services:
            return
        self._plan = plan = make_plan(self._given, self._url, self._worker_command)
        try:
            self._supervisor = _Supervisor(plan)
        except OSError as error:
            raise _folder_error(plan.folders, error) from error
        try:
            state = _wait_for_folder(plan, self._supervisor)
            if plan.redis_server:
                _wait_for_redis(plan, state)
        except BaseException:
            self.stop()
            raise
        urls = {"milvus_uri": state.milvus_uri, "redis_url": state.redis_url}
        self.settings = self._given.model_copy(update=urls)

    def stop(self) -> None:
        """End the services. Takes 5 s at most; may be called twice."""
        if self._supervisor:
            self._supervisor.stop()
            self._supervisor = None

    def states(self) -> list[ServiceState]:
        """The state of each embedded service; empty if all are external."""
        if not self._plan:
            return []
        state = read_run_state(self._plan.folders.run_state)
        if self._supervisor and self._supervisor.holds(state):
            return list(state.services)
        detail = "waiting for the supervisor to start it" if self._supervisor else "stopped"
        restarts = {service.name: service.restarts for service in state.services}
        return [
            ServiceState(name, None, False, restarts.get(name, 0), None, detail) for name in self._plan.service_names
        ]

    def set_aside(self) -> list[SetAside]:
        """What these services could not read and went on without, the newest first."""
        return list_set_aside(self._given.home)

    def delete_set_aside(self) -> None:
        """Delete what was moved aside, and with it the notices. Errors: `OSError`."""
        delete_set_aside(self._given.home)


def make_plan(settings: Settings, url: str, worker_command: tuple[str, ...]) -> Plan:
    """What to run for `settings`. Creates the folders, and checks that they can be written."""
    from kb.environment import available_cpus  # not at the top: the supervisor would load it, too

    folders = Folders(settings.home)
    try:
        folders.create()
        _clear_places(folders)
        _try_writing(folders)
    except OSError as error:
        raise _folder_error(folders, error) from error
    return Plan(
        token=secrets.token_hex(8),
        home=str(settings.home),
        web_pid=os.getpid(),
        web_started=start_time(os.getpid()),
        url=url,
        cpus=available_cpus(),
        milvus=not settings.milvus_uri,
        milvus_uri=settings.milvus_uri,
        redis_url=settings.redis_url,
        redis_server="" if settings.redis_url else find_redis_server(folders.redis),
        database_url=settings.database_url,
        worker_command=worker_command,
    )


def _clear_places(folders: Folders) -> None:
    """Rename what stands in the place of our files and can be none of them. No lock is needed: nobody works with it."""
    for path in folders.own_files:
        if _is_in_the_way(path) or (path == folders.lock and path.is_symlink()):  # the lock follows no links
            with contextlib.suppress(FileNotFoundError):  # another start was quicker
                logger.warning("%s was in the way. It was renamed to %s.", path, rename_unusable(path))


def _is_in_the_way(path: Path) -> bool:
    """Whether it is a folder, a pipe, or a link behind which no file can be made."""
    if path.is_dir() or path.is_fifo():
        return True
    target = Path(os.path.realpath(path))
    return path.is_symlink() and (target.is_symlink() or not target.parent.is_dir())


def _try_writing(folders: Folders) -> None:
    probe = folders.run / f"probe-{os.getpid()}"
    try:
        probe.write_bytes(bytes(65_536))
    finally:
        probe.unlink(missing_ok=True)


def _folder_error(folders: Folders, error: OSError) -> SetupError:
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        return SetupError(
            N_("{path} is a file, but Zhiwen needs a folder there."),
            N_("Move that file away, or set ZHIWEN_HOME to another folder."),
            path=error.filename,
        )
    return not_written(folders.home, error, error.filename or folders.run)  # a write that fails names no file


def _wait_for_folder(plan: Plan, supervisor: _Supervisor) -> RunState:
    """Wait until our supervisor holds the folder. Errors: `SetupError` at once if another web process does."""
    deadline = time.monotonic() + HOLD_SECONDS
    while True:
        state = read_run_state(plan.folders.run_state)
        holder = state.holder
        if holder and holder.token == plan.token:
            return state
        if holder and is_running(holder.web_pid, holder.web_started):
            raise _held_error(plan, holder, _IN_USE)
        if supervisor.deaths:
            raise SetupError(
                N_("The embedded services cannot be started: {detail}"),
                N_("See {log}."),
                detail=supervisor.last_words,
                log=plan.folders.log("supervisor"),
            )
        if time.monotonic() > deadline:
            raise _held_error(plan, holder, _LOCKED)
        time.sleep(POLL_SECONDS)


def _held_error(plan: Plan, holder: Holder | None, problem: str) -> SetupError:
    url, pid = (holder.url, holder.web_pid) if holder else ("", "?")
    return SetupError(problem, _IN_USE_REMEDY, folder=plan.home, url=url or "?", pid=pid)


def _wait_for_redis(plan: Plan, state: RunState) -> None:
    """Wait a few seconds for Redis. If it is still loading its data, go on without; if it does not stay up, raise.

    Its data may be at fault for two deaths, and is moved aside then (see `kb.local.redis_data`).
    """
    deadline = time.monotonic() + REDIS_SECONDS
    path = Path(state.sockets) / REDIS
    while not is_ready(path, state.redis_password):
        for service in read_run_state(plan.folders.run_state).services:
            if service.name == "redis" and service.restarts >= TRIES and not service.running:
                raise start_failure(service.detail, plan.folders.log("redis"))
        if time.monotonic() > deadline:
            return
        time.sleep(POLL_SECONDS)


class _Supervisor:
    """The supervisor's process, tied to this one by a pipe, and a thread that restarts it when it dies."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._stopping = threading.Event()
        self._guard = threading.Lock()  # for starting and stopping
        self._process = self._spawn()
        self.deaths = 0
        self._watcher = threading.Thread(target=self._watch, name="supervisor-watch", daemon=True)
        self._watcher.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def holds(self, state: RunState) -> bool:
        """Whether this supervisor wrote `state`, and still runs."""
        holder = state.holder
        return holder is not None and holder.pid == self.pid and self._process.poll() is None

    @property
    def last_words(self) -> str:
        return last_line(self._plan.folders.log("supervisor"), self._log_start) or "no message"

    def stop(self) -> None:
        """Close the pipe, and wait until the services and the supervisor have ended."""
        with self._guard:
            self._stopping.set()
            _close_stdin(self._process)
        self._watcher.join(STOP_SECONDS)
        if self._watcher.is_alive():
            self._process.kill()
            self._watcher.join()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with open_log(self._plan.folders.log("supervisor")) as log:
            self._log_start = log.seek(0, os.SEEK_END)
            process = subprocess.Popen(
                SUPERVISOR_COMMAND,
                env={**os.environ, "PYTHONPATH": _python_path()},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal is for the web process, which stops it in order
            )
        assert process.stdin
        with contextlib.suppress(BrokenPipeError):  # it is dead already; the watcher takes care of that
            process.stdin.write(self._plan.to_json().encode() + b"\n")
            process.stdin.flush()
        return process

    def _watch(self) -> None:
        delay = FIRST_DELAY_SECONDS
        while True:
            code = self._process.wait()
            self.deaths += 1
            _close_stdin(self._process)
            if self._stopping.wait(delay):
                return
            logger.warning("The supervisor ended with code %s (%s); starting it again.", code, self.last_words)
            delay = min(delay * 2, LONGEST_DELAY_SECONDS)
            self._restart()

    def _restart(self) -> None:
        with self._guard:
            if self._stopping.is_set():
                return
            try:
                self._process = self._spawn()
            except OSError as error:
                logger.warning("The supervisor cannot be started: %s", error)


def _python_path() -> str:
    """Where to find `kb` and `workers`, whichever folder the web process was started in."""
    root = str(Path(kb.__file__).resolve().parent.parent)
    return os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))


def _close_stdin(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
