"""Has a worker process replaced that has ingested much or grown large, as soon as nothing runs in it.

No task is put back for that: it takes no new document, and ends when the last one is done. What takes longer than
`PATIENCE_SECONDS` is not waited for, since small files would wait as well: the worker goes on, and tries again later.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil
import structlog
from dramatiq import Worker

from kb.config import Settings
from kb.ingestion import Ingestion

PATIENCE_SECONDS = 60.0
AGAIN_SECONDS = 600.0
POLL_SECONDS = 0.1
MEGABYTE = 1_048_576

log = structlog.get_logger()


def memory_mb() -> float:
    """Of this process, without those that read files, which are bounded by themselves."""
    return float(psutil.Process().memory_info().rss) / MEGABYTE


def ask_master_for_another() -> None:
    """`dramatiq workers` ends its worker processes at a SIGHUP, and starts itself anew."""
    master = multiprocessing.parent_process()
    if master and master.pid:
        os.kill(master.pid, signal.SIGHUP)


@dataclass(slots=True)
class Recycling:
    """Call `look` now and then. `replace` has the process ended and another one started; `stopping`: it is ending."""

    settings: Settings
    worker: Worker
    ingestion: Ingestion
    replace: Callable[[], None]
    stopping: threading.Event
    memory_mb: Callable[[], float] = memory_mb
    clock: Callable[[], float] = time.monotonic
    patience_seconds: float = PATIENCE_SECONDS
    _started: float = field(init=False)
    _not_before: float = 0.0

    def __post_init__(self) -> None:
        self._started = self.clock()

    def look(self) -> None:
        documents, memory_mb = self.ingestion.finished, round(self.memory_mb())
        if not self._is_due(documents, memory_mb) or self.clock() < self._not_before:
            return
        self._not_before = self.clock() + AGAIN_SECONDS
        if not self._drain():
            return
        log.info("worker.recycled", documents=documents, memory_mb=memory_mb)
        try:
            self.replace()
            self.stopping.wait(self.patience_seconds)
        finally:
            if not self.stopping.is_set():  # nobody ends it, so it has to go on
                log.warning("worker.not_recycled")
                self._go_on()

    def _is_due(self, documents: int, memory_mb: int) -> bool:
        most, most_mb = self.settings.worker_recycle_documents, self.settings.worker_recycle_memory_mb
        is_old = self.clock() - self._started >= AGAIN_SECONDS  # else it would be as large again at once
        return bool((most and documents >= most) or (most_mb and memory_mb >= most_mb and is_old))

    def _drain(self) -> bool:
        """Take no new task, and wait for those that run. False, and all goes on, if they take too long."""
        threads, until = self.worker.workers, self.clock() + self.patience_seconds
        self.ingestion.is_draining = True
        for thread in threads:
            thread.pause()  # and not the consumers, whose heartbeats keep what runs from being sent again
        while not all(thread.paused_event.is_set() for thread in threads):
            if self.clock() >= until or self.stopping.wait(POLL_SECONDS):
                self._go_on()
                return False
        return True

    def _go_on(self) -> None:
        self.ingestion.is_draining = False
        for thread in self.worker.workers:
            thread.resume()
