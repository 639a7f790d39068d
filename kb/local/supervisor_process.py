"""The web's handle on its supervisor: started, held by a pipe, and started again when it dies."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import kb
from kb.local import logs
from kb.local.plan import Plan
from kb.local.service import FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS

COMMAND = (sys.executable, "-m", "kb.local.supervisor")
STOP_SECONDS = 5.5  # a little more than the graces of all services

logger = logging.getLogger(__name__)


class SupervisorProcess:
    """One supervisor for `plan`, and a thread that starts another one when it dies."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._stopping = threading.Event()
        self._guard = threading.Lock()  # over starting and stopping
        self._process = self._spawn()
        self.deaths = 0
        self._watcher = threading.Thread(target=self._watch, name="supervisor-watch", daemon=True)
        self._watcher.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def last_words(self) -> str:
        return logs.last_line(self._plan.folders.log("supervisor"), self._log_start) or "no message"

    def stop(self) -> None:
        """Close the pipe and wait until the services and the supervisor have ended."""
        with self._guard:
            self._stopping.set()
            _close_stdin(self._process)
        self._watcher.join(STOP_SECONDS)
        if self._watcher.is_alive():
            self._process.kill()
            self._watcher.join()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with logs.open_log(self._plan.folders.log("supervisor")) as log:
            self._log_start = log.seek(0, os.SEEK_END)
            process = subprocess.Popen(
                COMMAND,
                env={**os.environ, "PYTHONPATH": _python_path()},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C at the terminal is for the web process, which ends it in order
            )
        assert process.stdin
        with contextlib.suppress(BrokenPipeError):  # it died already; the watcher sees to it
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
    """Where `kb` and `workers` are found, whichever folder the web process was started in."""
    root = str(Path(kb.__file__).resolve().parent.parent)
    return os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))


def _close_stdin(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
