"""Parses in a child process, so that a crash, a hang or a memory bomb ends only the child."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from kb.errors import Cancelled, ParserCrashed, ParsingTimeout, UnexpectedFailure, from_code
from kb.models import ParsedDocument
from kb.parsing.frames import Frame, read_document, read_frame, write_frame

_POLL_SECONDS = 0.2
_ROOT = Path(__file__).resolve().parents[2]  # so that the child finds `kb` in any working directory
_Progress = Callable[[int, int], None]


class ParserProcess:
    """A child that parses one file at a time; started at first use, and again after it was killed."""

    def __init__(self, memory_mb: int, *, module: str = "kb.parsing.child") -> None:
        self._memory_mb = memory_mb
        self._module = module
        self._lock = threading.Lock()
        self._child: _Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the child now instead of at the first file."""
        with self._lock:
            self._start("")

    def close(self) -> None:
        """End the child; a later `parse` starts a new one."""
        with self._lock:
            self._stop()

    def parse(
        self,
        path: Path,
        name: str,
        timeout_seconds: float,
        on_progress: _Progress | None,
        is_cancelled: Callable[[], bool],
    ) -> ParsedDocument:
        """Run `parse_file` in the child. Also raises `Cancelled`, `ParsingTimeout` and `ParserCrashed`."""
        with self._lock:
            try:
                frame = self._ask(path, name, time.monotonic() + timeout_seconds, on_progress, is_cancelled)
            except TimeoutError as error:
                self._stop()
                raise ParsingTimeout(name=name, seconds=f"{timeout_seconds:g}") from error
            except BaseException:
                self._stop()  # it is busy with a file that nobody needs any more
                raise
        if frame["kind"] == "error":
            raise from_code(frame["code"], frame["values"])
        return read_document(frame)

    def _ask(
        self, path: Path, name: str, deadline: float, on_progress: _Progress | None, is_cancelled: Callable[[], bool]
    ) -> Frame:
        """Send the request and wait for the answer. Raises `TimeoutError` at the deadline."""
        child = self._start(name)
        child.send({"path": str(path.resolve()), "name": name})
        next_look = time.monotonic() + _POLL_SECONDS
        while True:
            now = time.monotonic()
            if now >= next_look:
                next_look = now + _POLL_SECONDS
                if is_cancelled():
                    raise Cancelled
            if now >= deadline:
                raise TimeoutError
            frame = child.receive(min(next_look, deadline) - now)
            if frame is None:
                continue
            if frame["kind"] == "progress":
                if on_progress:
                    on_progress(frame["done"], frame["total"])
            elif frame["kind"] == "crashed":
                raise ParserCrashed(name=name)
            else:
                return frame

    def _start(self, name: str) -> _Child:
        if self._child is None or not self._child.is_alive:
            self._stop()
            try:
                self._child = _Child(self._module, self._memory_mb)
            except OSError as error:
                raise UnexpectedFailure(name=name, detail=f"no process for parsing: {error.strerror}") from error
        return self._child

    def _stop(self) -> None:
        if self._child:
            self._child.kill()
            self._child = None


class _Child:
    """The process, and a thread that starts it and collects its messages.

    The same thread does both: on Linux the child dies with the thread that started it (see `child._die_with`), so that
    thread must live as long as the child.
    """

    def __init__(self, module: str, memory_mb: int) -> None:
        self._frames: queue.SimpleQueue[Frame] = queue.SimpleQueue()
        started: queue.SimpleQueue[subprocess.Popen[bytes] | OSError] = queue.SimpleQueue()
        command = [sys.executable, "-P", "-m", module, str(os.getpid()), str(memory_mb)]
        self._thread = threading.Thread(target=self._run, args=(command, started), name="parser", daemon=True)
        self._thread.start()
        outcome = started.get()
        if isinstance(outcome, OSError):
            raise outcome
        self._process = outcome

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive() and self._process.poll() is None

    def send(self, frame: Frame) -> None:
        """Send a request. If the child has died, `receive` reports it."""
        assert self._process.stdin
        try:
            write_frame(self._process.stdin, frame)
        except OSError:
            return

    def receive(self, timeout_seconds: float) -> Frame | None:
        """The next message, or None at the timeout."""
        try:
            return self._frames.get(timeout=max(timeout_seconds, 0.001))
        except queue.Empty:
            return None

    def kill(self) -> None:
        """End the process and reap it."""
        self._process.kill()
        self._process.wait()
        self._thread.join()
        assert self._process.stdin
        try:
            self._process.stdin.close()
        except OSError:
            return  # the child did not read the whole request

    def _run(self, command: list[str], started: queue.SimpleQueue[subprocess.Popen[bytes] | OSError]) -> None:
        paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "RUST_BACKTRACE": "0"}
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                start_new_session=True,  # Ctrl+C in the terminal must reach only the parent
            )
        except OSError as error:
            started.put(error)
            return
        started.put(process)
        assert process.stdout
        with process.stdout:
            while frame := read_frame(process.stdout):
                self._frames.put(frame)
        self._frames.put({"kind": "crashed"})
