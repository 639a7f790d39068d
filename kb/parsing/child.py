"""The process that parses files: `python -m kb.parsing.child <parent's pid> <memory limit in MB>`.

It reads requests from stdin and writes progress, parts of documents and errors to stdout until stdin ends.
"""

from __future__ import annotations

import ctypes
import importlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from kb.errors import DamagedFile, KbError, NeedsMemory
from kb.models import ParsedDocument
from kb.parsing import parse_source
from kb.parsing.builder import Report, Source
from kb.parsing.frames import Frame, part_frame, read_frame, write_frame
from kb.parsing.isolation import isolate
from kb.parsing.memory import limit_memory, peak_memory_mb

Parse = Callable[[Source], Iterator[ParsedDocument]]
_PR_SET_PDEATHSIG = 1
_WATCH_SECONDS = 0.5
# Of the memory limit. Python does not give back all that a large document took, so the next one would lack it.
_SPENT = 0.25
_NEAR_LIMIT = 0.9
_OCR = "kb.parsing.images.ocr"  # holds 200 MB once it is imported


def serve(parse: Parse = parse_source, preload: str = "kb.parsing.pdf") -> None:
    """Answer requests until the parent closes stdin. `parse` may raise only `KbError`.

    `preload`: a module to import now. For files, it is the slowest import, of the commonest format.
    """
    answers, memory_mb = begin()
    importlib.import_module(preload)
    logging.disable(logging.ERROR)  # pypdf's remarks on a file help nobody
    while request := read_frame(sys.stdin.buffer):
        _answer(request, parse, answers, memory_mb)


def begin() -> tuple[IO[bytes], int]:
    """Become a child of `kb.parsing.process`: the pipe for answers, and the limit of this process's memory in MB."""
    isolate()
    parent, memory_mb = int(sys.argv[1]), int(sys.argv[2])
    answers = _take_stdout()
    _die_with(parent)
    limit_memory(memory_mb)
    return answers, memory_mb


def _answer(request: Frame, parse: Parse, answers: IO[bytes], memory_mb: int) -> None:
    name = request["name"]
    skipped = frozenset(request["skipped"])
    source = Source(
        Path(request["path"]),
        name,
        request["media_type"],
        _reporter(answers),
        request["first_page"],
        skipped,
        request["reads_images"],
        Path(request["recognised"]) if request["recognised"] else None,
    )
    try:
        for part in parse(source):
            write_frame(answers, part_frame(part))
        answer: Frame = {"kind": "end"}
    except KbError as error:
        if isinstance(error, DamagedFile) and peak_memory_mb() > _NEAR_LIMIT * memory_mb:
            # XML libraries call a lack of memory an error in the file.
            error = NeedsMemory(name=name, limit=memory_mb)
        answer = {"kind": "error", "code": error.code, "values": error.values}
    except MemoryError:
        answer = {"kind": "error", "code": NeedsMemory.code, "values": {"name": name, "limit": str(memory_mb)}}
    peak_mb = peak_memory_mb()
    is_spent = _OCR in sys.modules or peak_mb > _SPENT * memory_mb
    write_frame(answers, {**answer, "is_spent": is_spent, "peak_mb": peak_mb})


def _reporter(answers: IO[bytes]) -> Report:
    """A `Report` that sends each page, so that the parent knows which one does not end."""

    def report(done: int, total: int) -> None:
        write_frame(answers, {"kind": "progress", "done": done, "total": total})

    return report


def _take_stdout() -> IO[bytes]:
    """The pipe to the parent; from now on, everything that libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def _die_with(parent: int) -> None:
    """End as soon as the parent ends, however it ends.

    On Linux the kernel sees to it, even while C code holds the interpreter; elsewhere a thread watches the parent.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    serve()
