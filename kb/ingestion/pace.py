"""How many chunks are embedded and stored at a time, and how much a worker gets done."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from threading import Lock

from kb.models.documents import MEASURED_SECONDS

BATCH_SECONDS = 1.0  # so that a cancel is noticed soon, and progress can be seen
FIRST_BATCH_CHUNKS = 8
MAX_BATCH_CHUNKS = 64
SPEED_SECONDS = 300.0
PAUSE_SECONDS = 5.0


class Pace:
    """Batches that take about a second, by embedding model: the speed of models differs by a factor of a hundred.

    Safe to share among threads; what they do at the same time slows all of them down, so each learns from all.
    """

    def __init__(self) -> None:
        self._chunks: dict[str, int] = {}

    def batch_of(self, model: str) -> int:
        return self._chunks.get(model, FIRST_BATCH_CHUNKS)

    def note(self, model: str, chunks: int, seconds: float) -> None:
        """Learn from a batch. The next one is at most twice as large: this one may have been embedded before."""
        fitting = round(chunks * BATCH_SECONDS / max(seconds, 0.001))
        self._chunks[model] = max(1, min(fitting, 2 * self.batch_of(model), MAX_BATCH_CHUNKS))


class Speed:
    """Effort (see `kb.effort`) per second that a worker process got done lately while it had documents.

    Safe to share among threads.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._done: deque[tuple[float, int]] = deque()
        self._at_work = 0  # documents
        self._ended = self._busy_since = clock()

    def begin(self) -> None:
        """A document comes into work; after a pause, all that was measured is forgotten."""
        with self._lock:
            now = self._clock()
            if not self._at_work and now - self._ended > PAUSE_SECONDS:
                self._busy_since = now
                self._done.clear()
            self._at_work += 1

    def end(self) -> None:
        with self._lock:
            self._at_work -= 1
            self._ended = self._clock()

    def note(self, effort: int) -> None:
        with self._lock:
            self._done.append((self._clock(), effort))

    def per_second(self) -> tuple[float, float]:
        """The effort per second, 0 until it can be told; and in how many seconds it was measured.

        What is still being read has shown nothing yet: only the time until the last result counts.
        """
        with self._lock:
            last = self._done[-1][0] if self._done else self._busy_since
            while self._done and self._done[0][0] < last - SPEED_SECONDS:
                self._done.popleft()
            seconds = min(last - self._busy_since, SPEED_SECONDS)
            if seconds < MEASURED_SECONDS:
                return 0.0, 0.0
            return sum(effort for _, effort in self._done) / seconds, seconds
