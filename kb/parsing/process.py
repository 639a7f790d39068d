"""Parses in a child process, so that a crash, a hang or a memory bomb ends only the child."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from kb.errors import (
    Cancelled,
    KbError,
    MemoryShort,
    NeedsMemory,
    ParserCrashed,
    ParserKilled,
    ParsingTimeout,
    UnexpectedFailure,
    from_code,
)
from kb.models import ParsedDocument
from kb.notes import Note, NoteKind
from kb.parsing.frames import Frame, read_frame, read_part, write_frame
from kb.parsing.isolation import allowed_environment
from kb.parsing.media_types import STARTS_AT_ATTACHMENT, STARTS_AT_PAGE
from kb.parsing.memory import oom_kills, peak_memory_mb, restart_peak
from kb.parsing.own_folder import OwnFolder
from kb.parsing.room import Room, Stay

_POLL_SECONDS = 0.2
_MAX_SKIPPED = 20  # pages of one file
_JOIN_SECONDS = 0.01
WAITING_FRAMES = 64  # the child waits while so many are not taken
_ROOT = Path(__file__).resolve().parents[2]  # so that the child finds `kb` in any working directory
# Of the memory limit: a crash above is the library's way to say that there is no more memory, and a refusal below
# means that the machine has none.
_NEAR_LIMIT = 0.6
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGSYS, signal.SIGTRAP)
# Of one file, where the kernel has not been short of memory meanwhile: somebody, or another program, killed the child.
_MOST_KILLS = 5
_Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """How long the child may take until it knows how many pages there are, and for each page.

    Formats without pages have only the first limit.
    """

    first_seconds: float
    page_seconds: float


class ParserProcess:
    """A child that parses one file at a time; started at first use, and again after it was killed.

    After a document with pages to recognise, or one that took much memory, it ends, too: an idle worker shall be small,
    and the next document shall have all of the memory.
    """

    def __init__(
        self, memory_mb: int, *, reads_images: bool = True, module: str = "kb.parsing.child", room: Room | None = None
    ) -> None:
        """`room` is shared with the other parsers of this worker."""
        self._memory_mb = memory_mb
        self._reads_images = reads_images
        self._module = module
        self._room = room or Room()
        self._lock = threading.Lock()
        self._child: Child | None = None
        # The most that a child took while it read the last file, as far as that was seen; 0: not known.
        self.peak_mb = 0

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
        media_type: str,
        limits: Limits,
        on_progress: _Progress | None,
        is_cancelled: Callable[[], bool],
        recognised: Path | None = None,
    ) -> Generator[ParsedDocument, None, None]:
        """Run `parse_source` in the child and yield its parts as they come; the child waits while they are not taken.

        A page or an attachment that takes too long or crashes the child is left out, with a note, where the format
        allows it. A child that was killed, or lacked memory, is tried again with no other parser of the room beside it,
        several times if the kernel has not been short of memory.
        What is read in images is kept in the file `recognised`, and read from there the next time.
        Also raises `Cancelled`, `ParsingTimeout`, `ParserCrashed`, `NeedsMemory`, `ParserKilled` and `MemoryShort`.
        Close the generator to stop early.
        """
        request: Frame = {"path": str(path.resolve()), "name": name, "media_type": media_type}
        request |= {"reads_images": self._reads_images, "recognised": str(recognised.resolve()) if recognised else None}
        watch = _Watch(limits, on_progress, is_cancelled)
        course, kills = _Course(media_type), _Kills()
        with self._lock, ExitStack() as place:
            self.peak_mb = 0
            place.enter_context(self._room.beside(watch.check))
            stay: Stay | None = None
            while True:
                try:
                    for part in self._ask({**request, **course.request()}, watch):
                        if course.take(part):
                            yield part
                        if stay and course.has_passed(watch.done):  # what follows may be read beside others
                            stay = None
                            place.close()
                            place.enter_context(self._room.beside(watch.check))
                    break
                except _LacksMemory as lack:
                    self._stop()
                    is_to_go_on = kills.have_another_cause(lack) or stay is None
                    if is_to_go_on:
                        course.resume(watch.done)
                    if stay is None:
                        place.close()
                        stay = place.enter_context(self._room.alone(watch.check))
                    elif not (is_to_go_on or (lack.is_crash and course.leave_out(watch))):
                        raise lack.verdict(name, self._memory_mb, stay) from lack
                except (ParserCrashed, ParsingTimeout):
                    self._stop()
                    if not course.leave_out(watch):
                        raise
                except BaseException:
                    if not watch.is_over:
                        self._stop()  # it is busy with a file that nobody needs any more
                    raise
            for page in course.left_out_pages():
                yield ParsedDocument("", notes=(Note(NoteKind.SKIPPED, 1, (page,)),))

    def _ask(self, request: Frame, watch: _Watch) -> Iterator[ParsedDocument]:
        """Send the request and yield the parts of the answer."""
        name = request["name"]
        child = self._start(name)
        was_used = child.has_answered
        is_peak_known = child.restart_peak() or not was_used  # else it may be that of a file before
        watch.is_over = False
        child.send(request)
        watch.restart(has_pages=False)
        while True:
            frame = child.receive(watch.wait(name))
            if is_peak_known:
                self.peak_mb = max(self.peak_mb, child.peak_mb)
            if frame is None:
                continue
            match frame["kind"]:
                case "progress":
                    watch.report(frame["done"], frame["total"])
                case "part":
                    yield read_part(frame)
                    watch.restart()  # what the caller did meanwhile is not the child's time
                case "crashed":
                    if frame["is_killed"] or child.peak_mb > _NEAR_LIMIT * self._memory_mb:
                        raise _LacksMemory(child.peak_mb, is_killed=frame["is_killed"], is_crash=not frame["is_killed"])
                    raise ParserCrashed(name=name)
                case "error":
                    child.has_answered = watch.is_over = True
                    if frame["code"] == NeedsMemory.code and (
                        was_used or frame["peak_mb"] < _NEAR_LIMIT * self._memory_mb
                    ):
                        raise _LacksMemory(frame["peak_mb"])
                    if frame["is_spent"]:
                        self._stop()
                    raise from_code(frame["code"], frame["values"])
                case "end":
                    child.has_answered = True
                    if frame["is_spent"]:
                        self._stop()
                    return

    def _start(self, name: str) -> Child:
        if self._child is None or not self._child.is_alive:
            self._stop()
            try:
                self._child = Child(self._module, self._memory_mb)
            except OSError as error:
                raise UnexpectedFailure(
                    name=name, detail=f"no process for parsing: {error.strerror or error}"
                ) from error
        return self._child

    def _stop(self) -> None:
        if self._child:
            self._child.kill()
            self._child = None


class _LacksMemory(Exception):
    """The child was killed from outside, or had not the memory that it asked for; it had taken `peak_mb`."""

    def __init__(self, peak_mb: int, *, is_killed: bool = False, is_crash: bool = False) -> None:
        self.peak_mb, self.is_killed, self.is_crash = peak_mb, is_killed, is_crash

    def verdict(self, name: str, limit_mb: int, stay: Stay) -> KbError:
        """What to say when it happened again, although the child was to be alone."""
        if not self.is_killed:
            return NeedsMemory(name=name, limit=limit_mb)
        return (ParserKilled if stay.is_alone else MemoryShort)(name=name, used=self.peak_mb or "…")


class _Kills:
    """How often the child of one file was killed, and whether that was for lack of memory."""

    def __init__(self) -> None:
        self._count = 0
        self._before = oom_kills()

    def have_another_cause(self, lack: _LacksMemory) -> bool:
        """Whether the kernel says that it killed nobody. The file is not tried without end all the same."""
        self._count += lack.is_killed
        is_known = lack.is_killed and self._before is not None and self._count < _MOST_KILLS
        return is_known and oom_kills() == self._before


class _Course:
    """How far one file was read: where the next attempt begins, and what it leaves out."""

    def __init__(self, media_type: str) -> None:
        self._has_pages = media_type in STARTS_AT_PAGE
        self._has_attachments = media_type in STARTS_AT_ATTACHMENT
        self._begin = 1  # page or attachment
        self._last_page = 0  # of those that were yielded
        self._taken = self._repeated = 0  # parts of this attempt, and how many of them the caller has already
        self._culprit = 0
        self._skipped: list[int] = []

    def request(self) -> Frame:
        return {"first_page": self._begin, "skipped": self._skipped}

    def take(self, part: ParsedDocument) -> bool:
        """Whether the part is new."""
        self._taken += 1
        if part.pages:
            self._last_page = part.pages[-1].number
        return self._taken > self._repeated

    def resume(self, done: int) -> None:
        """Read the rest once more: from the next page on, or from the beginning, without what was read already."""
        self._culprit = done + 1
        self._repeated, self._taken = (0 if self._has_pages else max(self._taken, self._repeated)), 0
        if self._has_pages:
            self._begin = self._last_page + 1

    def has_passed(self, done: int) -> bool:
        """Whether the page that failed has been read."""
        return self._has_pages and done >= self._culprit

    def leave_out(self, watch: _Watch) -> bool:
        """Read the rest without the page or attachment that failed. False where that is not possible."""
        culprit = watch.done + 1
        is_hopeless = culprit in self._skipped or len(self._skipped) >= min(_MAX_SKIPPED, watch.total - 1)
        if is_hopeless or not (self._has_pages or self._has_attachments):
            return False
        self._skipped.append(culprit)
        self._begin = self._last_page + 1 if self._has_pages else culprit
        self._taken = self._repeated = 0
        return True

    def left_out_pages(self) -> list[int]:
        return self._skipped if self._has_pages else []  # a mail notes its attachments by their names


class _Watch:
    """Watches over one request: its limits, its progress, and whether it was cancelled."""

    def __init__(self, limits: Limits, on_progress: _Progress | None, is_cancelled: Callable[[], bool]) -> None:
        self._limits, self._on_progress, self._is_cancelled = limits, on_progress, is_cancelled
        self.done = self.total = 0  # pages
        self.is_over = False  # the child has answered
        self._next_look = time.monotonic() + _POLL_SECONDS
        self.restart()

    def restart(self, *, has_pages: bool = True) -> None:
        """Allow the child the whole time for its next step: a page if it has told of any, else all until then."""
        self._seconds = self._limits.page_seconds if has_pages and self.total else self._limits.first_seconds
        self._deadline = time.monotonic() + self._seconds

    def report(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        if self._on_progress:
            self._on_progress(done, total)
        self.restart()

    def check(self) -> None:
        if self._is_cancelled():
            raise Cancelled

    def wait(self, name: str) -> float:
        """How long to wait for the child. Errors: `Cancelled`, `ParsingTimeout`."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + _POLL_SECONDS
            self.check()
        if now >= self._deadline:
            raise ParsingTimeout(name=name, seconds=f"{self._seconds:g}")
        return min(self._next_look, self._deadline) - now


class Child:
    """The process, and a thread that starts it and collects its messages.

    The same thread does both: on Linux the child dies with the thread that started it (see `child.begin`), so that
    thread must live as long as the child. The child's temporary files are in a folder of its own, which goes with it:
    they may be somebody's attachments, and a child that is killed cannot clear them.
    """

    def __init__(self, module: str, memory_mb: int) -> None:
        self._frames: queue.Queue[Frame] = queue.Queue(WAITING_FRAMES)
        started: queue.SimpleQueue[subprocess.Popen[bytes] | OSError] = queue.SimpleQueue()
        self._folder = OwnFolder()
        command = [sys.executable, "-P", "-m", module, str(os.getpid()), str(memory_mb)]
        self._thread = threading.Thread(target=self._run, args=(command, started), name="parser", daemon=True)
        self._thread.start()
        outcome = started.get()
        if isinstance(outcome, OSError):
            self._folder.remove()
            raise outcome
        self._process = outcome
        self.has_answered = False  # a request; it may hold memory of that
        self.peak_mb = 0  # of its memory, as far as it was seen
        self._look_at = 0.0

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
        if time.monotonic() >= self._look_at:  # once it is dead, nothing tells
            self._look_at = time.monotonic() + _POLL_SECONDS
            self.peak_mb = peak_memory_mb(self._process.pid) or self.peak_mb
        try:
            frame = self._frames.get(timeout=max(timeout_seconds, 0.001))
        except queue.Empty:
            return None
        self.peak_mb = frame.get("peak_mb", self.peak_mb)
        return frame

    def restart_peak(self) -> bool:
        """Forget the peak of earlier requests. False if the system does not."""
        self.peak_mb = 0
        return restart_peak(self._process.pid)

    def kill(self) -> None:
        """End the process and reap it."""
        self._process.kill()
        self._process.wait()
        while self._thread.is_alive():
            with suppress(queue.Empty):  # it may wait for room
                self._frames.get(timeout=_JOIN_SECONDS)
        self._folder.remove()
        assert self._process.stdin
        try:
            self._process.stdin.close()
        except OSError:
            return  # the child did not read the whole request

    def _run(self, command: list[str], started: queue.SimpleQueue[subprocess.Popen[bytes] | OSError]) -> None:
        paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**allowed_environment(os.environ), "PYTHONPATH": os.pathsep.join(paths), "RUST_BACKTRACE": "0"}
        environment |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), self._folder.path)
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
        code = process.wait()
        self._frames.put({"kind": "crashed", "is_killed": code < 0 and -code not in _CRASHES})
