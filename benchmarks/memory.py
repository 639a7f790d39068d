"""Peak memory of a process and its children."""

from __future__ import annotations

import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

import psutil

MB = 1 << 20
SAMPLE_SECONDS = 0.5


class PeakMemory:
    """Samples the resident memory of running processes within a `with` block."""

    def __init__(self, pids: set[int]) -> None:
        self._pids = pids
        self._own = self._children = 0
        self._now = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="memory", daemon=True)

    @property
    def own_mb(self) -> int:
        """The peak of the largest process."""
        return self._own // MB

    @property
    def children_mb(self) -> int:
        """The peak of all children together."""
        return self._children // MB

    @property
    def now_mb(self) -> int:
        """The largest process and all children together, at the last look."""
        return self._now // MB

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            own, children = [0], 0
            for pid in self._pids:
                with suppress(psutil.Error):
                    process = psutil.Process(pid)
                    own.append(process.memory_info().rss)
                    children += sum(child.memory_info().rss for child in process.children(recursive=True))
            self._now = max(own) + children
            self._own = max(self._own, *own)
            self._children = max(self._children, children)
