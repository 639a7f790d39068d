"""A parser child that misbehaves as the file name tells it to."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import socket
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from kb.models import PageStart, ParsedDocument
from kb.parsing.builder import Source
from kb.parsing.child import serve

PAGES = 4
SEEN_SECONDS = 0.3  # within this time, the parent looks how much memory was taken
PART = "x" * 100_000


def parse(source: Source) -> Iterator[ParsedDocument]:
    name, *details = source.name.split()
    if details:
        yield from pages(source, name, int(details[0]))
        return
    if name == "mute":
        hang()
    source.report(1, 2)
    if name == "litter":
        Path(tempfile.mkstemp()[1]).write_text("an attachment")
        hang()
    if name == "abort":
        os.abort()
    if name == "hang":
        hang()
    if name == "killed":
        yield from die_once(source, os.getpid())
    if name == "hoard":
        bytearray(1 << 40)
    if name == "fill":
        bytearray(b"x") * (400 << 20)
    if name == "escape":
        yield ParsedDocument(json.dumps(escape()))
        return
    if name == "print":
        print("noise on stdout")
        os.write(1, b"noise on fd 1")
    if name == "slow":
        time.sleep(0.3)
    if name == "endless":
        while True:
            yield ParsedDocument(PART)
    yield ParsedDocument(f"{name} {os.getpid()}")


def die_once(source: Source, pid: int) -> Iterator[ParsedDocument]:
    """Parts that the caller gets once, though the system kills the child behind the third, in the first attempts.

    The file at the source's path holds how often it kills, a digit.
    """
    yield from map(ParsedDocument, ("one ", "two ", "three "))
    if left := int(source.path.read_text()):
        source.path.write_text(str(left - 1))
        time.sleep(SEEN_SECONDS)
        os.kill(pid, signal.SIGKILL)
    yield ParsedDocument("four ")


def pages(source: Source, fault: str, bad: int) -> Iterator[ParsedDocument]:
    """Some pages, of which one has a fault."""
    source.report(source.first_page - 1, PAGES)
    for number in range(source.first_page, PAGES + 1):
        if number in source.skipped:
            source.report(number, PAGES)
            continue
        if number == bad and fault == "hang":
            hang()
        if number == bad and fault == "killed" and (left := int(source.path.read_text())):
            source.path.write_text(str(left - 1))
            time.sleep(SEEN_SECONDS)
            os.kill(os.getpid(), signal.SIGKILL)
        if number == bad and fault == "abort":
            os.abort()
        yield ParsedDocument(f"page {number}\n", (PageStart(0, number),))
        source.report(number, PAGES)


def escape() -> dict[str, object]:
    """What a child that was taken over could do and see."""
    doors: dict[str, Callable[[], object]] = {
        "internet": lambda: socket.socket(socket.AF_INET).close(),
        "services": lambda: socket.socket(socket.AF_UNIX).close(),
        "names": lambda: socket.getaddrinfo("zhiwen.example", 80),
        "parent": lambda: _read_memory(os.getppid()),
    }
    opened: dict[str, object] = {}
    for name, door in doors.items():
        try:
            door()
            opened[name] = True
        except OSError:
            opened[name] = False
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return opened | {
        "no_new_privs": status["NoNewPrivs"].strip(),
        "oom_score_adj": int(Path("/proc/self/oom_score_adj").read_text()),
        "environment": sorted(os.environ),
    }


def _read_memory(pid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(8)
    part = struct.pack("PN", ctypes.addressof(buffer), 8)
    if libc.process_vm_readv(pid, part, 1, part, 1, 0) < 0 and ctypes.get_errno() != errno.EFAULT:
        raise OSError(ctypes.get_errno(), "refused")


def hang() -> None:
    while True:  # holds the interpreter, as bad C code would
        sum(range(10_000_000))


if __name__ == "__main__":
    serve(parse, preload="kb.parsing")  # starts faster than with the usual one
