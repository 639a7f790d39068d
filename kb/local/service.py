"""One supervised process: its start, its log, its end, and its restart after a growing delay."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import psutil

from kb.local.plan import REPLACE, ServiceSpec
from kb.local.run_state import ServiceState

FIRST_DELAY_SECONDS = 0.2
LONGEST_DELAY_SECONDS = 10.0
STABLE_SECONDS = 10.0  # a process that lived this long restarts without the delay that earlier deaths built up
POLL_SECONDS = 0.02

LOG_LIMIT_BYTES = 10 * 1024 * 1024
TAIL_BYTES = 8192
LINE_CHARACTERS = 500

OUTPUT_BYTES = 65_536

PR_SET_PDEATHSIG = 1
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)


class Service:
    """Owns the process of `spec`. Call `tick` from the main thread, often and after every SIGCHLD."""

    def __init__(self, spec: ServiceSpec, clock: Callable[[], float] = time.monotonic) -> None:
        self.spec = spec
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self._started = 0.0
        self._since: datetime | None = None
        self._due = clock()
        self._delay = FIRST_DELAY_SECONDS
        self._detail = ""
        self._log_start = 0
        self.ended_by_itself = False  # the last process: with an error or a crash, and nobody told it to

    @property
    def state(self) -> ServiceState:
        pid = self._process.pid if self._process else None
        return ServiceState(
            self.spec.name, pid, pid is not None, max(self._starts - 1, 0), self._since if pid else None, self._detail
        )

    @property
    def seconds_until_due(self) -> float | None:
        """How long until the next start; None while it runs."""
        return None if self._process else max(self._due - self._clock(), 0.0)

    def tick(self) -> bool:
        """Start it when due, notice its end. True if its state changed."""
        if self._process:
            return self._note_end(self._process) if self._process.poll() is not None else self._note_stability()
        if self._clock() < self._due:
            return False
        self._start()
        return True

    def output(self) -> str:
        """What the last process wrote first."""
        return first_output(self.spec.log, self._log_start)

    def start_soon(self) -> None:
        """Start without the delay that earlier deaths built up: their cause is gone."""
        self._delay, self._due = FIRST_DELAY_SECONDS, self._clock()

    def stop(self) -> None:
        """End it and everything it started, by SIGKILL once its grace is over."""
        if not (process := self._process):
            return
        process.terminate()
        _close_stdin(process)
        try:
            process.wait(self.spec.grace_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        kill_group(process.pid)
        self._process = None

    def _start(self) -> None:
        self._starts += 1
        self._started = self._clock()
        self.ended_by_itself = False
        try:
            self._process = self._spawn()
        except OSError as error:
            self._fail(str(error))
            return
        self._since = datetime.now(UTC)

    def _spawn(self) -> subprocess.Popen[bytes]:
        with open_log(self.spec.log) as log:
            self._log_start = log.seek(0, os.SEEK_END)
            return subprocess.Popen(
                self.spec.command,
                env={**os.environ, **self.spec.env},
                stdin=subprocess.PIPE,  # when it closes, the worker knows that its supervisor is gone
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal is for the web process; also makes a group to kill
                preexec_fn=_end_with_parent(),  # safe: the supervisor has one thread
            )

    def _note_end(self, process: subprocess.Popen[bytes]) -> bool:
        _close_stdin(process)
        kill_group(process.pid)
        self._process = None
        if process.returncode == REPLACE:
            self._starts -= 1  # it is none of the restarts that are shown
            self._start()
            return True
        self.ended_by_itself = process.returncode > 0 or -process.returncode in CRASHES
        said = last_line(self.spec.log, self._log_start)
        self._fail(f"{_describe(process.returncode)}: {said}" if said else _describe(process.returncode))
        return True

    def _note_stability(self) -> bool:
        if not self._detail or self._clock() - self._started < STABLE_SECONDS:
            return False
        self._detail = ""
        return True

    def _fail(self, detail: str) -> None:
        """Schedule the next start: soon after a stable life, else after twice the previous delay."""
        self._detail = detail
        if self._clock() - self._started >= STABLE_SECONDS:
            self._delay = FIRST_DELAY_SECONDS
        self._due = self._clock() + self._delay
        self._delay = min(self._delay * 2, LONGEST_DELAY_SECONDS)


def _close_stdin(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        process.stdin.close()


def _describe(returncode: int) -> str:
    if returncode >= 0:
        return f"ended with code {returncode}"
    try:
        return f"ended by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"ended by signal {-returncode}"


# --- processes by pid ------------------------------------------------------------------------------------------


def start_time(pid: int) -> float:
    """When process `pid` started (Unix time); 0 if it does not run. With the pid it identifies the process."""
    try:
        process = psutil.Process(pid)
        return 0.0 if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except (psutil.Error, ValueError, OverflowError):  # no number of a process
        return 0.0


def is_running(pid: int, started: float) -> bool:
    """Whether `pid` is still the process that started at `started`, as given by `start_time`."""
    # On Linux the start is counted from boot, whose time moves a little when the clock is adjusted.
    return started > 0 and abs(start_time(pid) - started) < 1.0


def end_process(pid: int, started: float, grace_seconds: float) -> None:
    """End a process that is not our child, with its group: SIGTERM, then SIGKILL once the grace is over."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not is_running(pid, started):
            return
        if number == signal.SIGKILL:
            kill_group(pid)
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + grace_seconds
        while is_running(pid, started) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)


def kill_group(leader: int) -> None:
    """SIGKILL whatever is left of the group of `leader`; every service leads its own group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS reports the latter for a group of zombies
        os.killpg(leader, signal.SIGKILL)


def _end_with_parent() -> Callable[[], None] | None:
    """A hook for a new child: the kernel sends it SIGTERM when this process dies, even by kill -9.

    The signal comes when the *thread* that started the child ends, so start children from the main thread. None
    where the system has no such signal: there the next start ends the leftovers.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up here: nothing may be loaded between fork and exec
    parent = os.getpid()

    def ask_for_signal() -> None:
        prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:  # it died in between
            os._exit(1)

    return ask_for_signal


# --- logs ------------------------------------------------------------------------------------------------------


def open_log(path: Path) -> BinaryIO:
    """Open a log to append to, after bounding it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bound_log(path)
    return path.open("ab", buffering=0)


def bound_log(path: Path) -> None:
    """Move a log over the limit to `<name>.1`.

    Copy and truncate it in place: the running service keeps the file open, and appends at the new end.
    """
    if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
        try:
            shutil.copyfile(path, path.with_name(path.name + ".1"))
        finally:  # especially when the disk is full
            os.truncate(path, 0)


def first_output(path: Path, since: int) -> str:
    """What the log holds from byte `since` on, up to a limit; empty if it cannot be read."""
    try:
        with path.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(since if since <= end else 0)
            return log.read(OUTPUT_BYTES).decode(errors="replace")
    except OSError:
        return ""


def last_line(path: Path, since: int = 0) -> str:
    """The last line after byte `since` that is not blank; empty if there is none or the file cannot be read."""
    try:
        with path.open("rb") as log:
            end = log.seek(0, 2)
            log.seek(max(since if since <= end else 0, end - TAIL_BYTES))
            text = log.read().decode(errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:LINE_CHARACTERS] if lines else ""
