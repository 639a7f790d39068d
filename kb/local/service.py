"""One supervised process: started, missed when it dies, and started again with a growing delay."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime

from kb.local import logs
from kb.local.ports import is_free
from kb.local.processes import end_with_parent, kill_group
from kb.local.run_state import ServiceState
from kb.local.specs import ServiceSpec

FIRST_DELAY_SECONDS = 0.2
LONGEST_DELAY_SECONDS = 10.0
STABLE_SECONDS = 10.0  # who lived this long starts again without a delay that earlier deaths built up


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

    @property
    def state(self) -> ServiceState:
        pid = self._process.pid if self._process else None
        return ServiceState(
            self.spec.name, pid, pid is not None, max(self._starts - 1, 0), self._since if pid else None, self._detail
        )

    @property
    def seconds_until_due(self) -> float | None:
        """How long until it must be started again; None while it runs."""
        return None if self._process else max(self._due - self._clock(), 0.0)

    def tick(self) -> bool:
        """Start it when that is due, notice its end. True if its state changed."""
        if self._process:
            return self._note_end(self._process) if self._process.poll() is not None else self._note_stability()
        if self._clock() < self._due:
            return False
        self._start()
        return True

    def stop(self) -> None:
        """End it within its grace, with all that it started."""
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
        if self.spec.port and not is_free(self.spec.port):
            # Not another port: the clients know this one.
            self._fail(f"port {self.spec.port} is in use by another program")
            return
        try:
            self._process = self._spawn()
        except OSError as error:
            self._fail(str(error))
            return
        self._since = datetime.now(UTC)

    def _spawn(self) -> subprocess.Popen[bytes]:
        with logs.open_log(self.spec.log) as log:
            self._log_start = log.seek(0, os.SEEK_END)
            return subprocess.Popen(
                self.spec.command,
                env={**os.environ, **self.spec.env},
                stdin=subprocess.PIPE,  # its end tells the worker that nobody supervises it any more
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C at the terminal is for the web process; also: a group to end
                preexec_fn=end_with_parent(),  # safe: the supervisor has one thread
            )

    def _note_end(self, process: subprocess.Popen[bytes]) -> bool:
        _close_stdin(process)
        kill_group(process.pid)
        self._process = None
        said = logs.last_line(self.spec.log, self._log_start)
        self._fail(f"{_describe(process.returncode)}: {said}" if said else _describe(process.returncode))
        return True

    def _note_stability(self) -> bool:
        if not self._detail or self._clock() - self._started < STABLE_SECONDS:
            return False
        self._detail = ""
        return True

    def _fail(self, detail: str) -> None:
        """Set the next start: at once-ish after a stable life, else twice as late as the last time."""
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
