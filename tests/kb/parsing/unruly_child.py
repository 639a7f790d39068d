"""A parser child that misbehaves as the file name tells it to."""

from __future__ import annotations

import os
import time
from pathlib import Path

from kb.models import ParsedDocument
from kb.parsing.builder import Report
from kb.parsing.child import serve


def parse(path: Path, name: str, report: Report) -> ParsedDocument:
    report(1, 2)
    if name == "abort":
        os.abort()
    if name == "hang":
        while True:  # holds the interpreter, as bad C code would
            sum(range(10_000_000))
    if name == "hoard":
        bytearray(1 << 40)
    if name == "print":
        print("noise on stdout")
        os.write(1, b"noise on fd 1")
    if name == "slow":
        time.sleep(0.3)
    return ParsedDocument(f"{name} {os.getpid()}")


if __name__ == "__main__":
    serve(parse)
