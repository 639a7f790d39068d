"""Where the counters of a process live. Like loggers they are global: there is one set of them in a process."""

from __future__ import annotations

from threading import Lock

from prometheus_client import CollectorRegistry, disable_created_metrics

MOST_NAMES = 50
OTHER = "other"

# When each counter was made: as many lines again, for a format that we do not speak.
disable_created_metrics()  # type: ignore[no-untyped-call]

PROCESS = CollectorRegistry()  # of this process
WORKERS = CollectorRegistry()  # of a worker, to be added to those of the others


class FewNames:
    """The names that a label may have if people make them up: the first `most` of them, then `OTHER`."""

    def __init__(self, most: int = MOST_NAMES) -> None:
        self._most = most
        self._lock = Lock()
        self._names: set[str] = set()

    def of(self, name: str) -> str:
        with self._lock:
            if name in self._names:
                return name
            if len(self._names) < self._most:
                self._names.add(name)
                return name
        return OTHER
