"""Standard error, where logs go: what cannot be written is lost, and ends nothing.

The disk of a log may be full, and a terminal may have been closed. An error from there would end the thread that had
something to say, and with it what the thread is for: a worker's signs of life, or the restart of a service.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any, TextIO, cast

_LOSSES = (OSError, ValueError)  # `ValueError`: the stream is closed


def lossy(stream: TextIO) -> TextIO:
    """The stream, which no longer raises what writing to it fails with."""
    return cast(TextIO, _Lossy(stream))


def complain(text: str) -> None:
    """Write a line to standard error. For processes that have no structured log."""
    print(text, file=lossy(sys.stderr), flush=True)


class _Lossy:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(*_LOSSES):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(*_LOSSES):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
