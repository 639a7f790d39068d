"""Who reads beside whom: files are read side by side, and one whose parser was killed once more, alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LOOK_SECONDS = 0.2
PATIENCE_SECONDS = 60.0  # that one waits to be alone, for example beside a file whose reading takes hours
ALONE_SECONDS = 300.0  # that the others wait for one that is alone


class Room:
    """The place in which the parsers of one worker read.

    `check` is called while somebody waits, and may raise.
    """

    def __init__(self, patience_seconds: float = PATIENCE_SECONDS, alone_seconds: float = ALONE_SECONDS) -> None:
        self._patience = patience_seconds
        self._longest = alone_seconds
        self._changed = threading.Condition()
        self._inside = 0
        self._alone: Stay | None = None

    @contextmanager
    def beside(self, check: Callable[[], None]) -> Iterator[None]:
        """Read beside others; waits while one is alone, or waits to be."""
        with self._changed:
            while self._alone and time.monotonic() < self._alone.until:
                self._wait(check)
            if self._alone:
                self._alone.is_alone = False
            self._inside += 1
        try:
            yield
        finally:
            self._leave()

    @contextmanager
    def alone(self, check: Callable[[], None]) -> Iterator[Stay]:
        """Read with nobody beside. Those inside leave first, but are not waited for without end."""
        with self._changed:
            while self._alone:
                self._wait(check)
            began = time.monotonic()
            self._alone = stay = Stay(began + self._patience + self._longest)
            try:
                while self._inside and time.monotonic() < began + self._patience:
                    self._wait(check)
            except BaseException:
                self._end_stay()
                raise
            stay.is_alone = stay.is_alone and not self._inside
            stay.until = time.monotonic() + self._longest
            self._inside += 1
        try:
            yield stay
        finally:
            with self._changed:
                self._end_stay()
            self._leave()

    def _end_stay(self) -> None:
        self._alone = None
        self._changed.notify_all()

    def _leave(self) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def _wait(self, check: Callable[[], None]) -> None:
        self._changed.wait(_LOOK_SECONDS)
        check()


class Stay:
    """The stay of one that is to be alone; `is_alone` tells whether it was so all the time."""

    def __init__(self, until: float) -> None:
        self.until = until
        self.is_alone = True
