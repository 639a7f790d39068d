"""What is true of the installation at the moment it is asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from threading import Lock

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from kb.database import Database
from kb.errors import KbError
from kb.ingestion import oldest_waiting, queue_depth
from kb.metrics import read_shared
from kb.progress import ProgressBoard
from kb.redis import QuickRedis

KEPT_SECONDS = 5.0  # so that whoever asks often costs SQL and Redis little


class State:
    """The queue, the workers and what these have counted, and the services. Safe to share among threads.

    What cannot be asked at the moment is left out: it is unknown, and not 0.
    """

    def __init__(
        self,
        database: Database,
        quick: QuickRedis,
        board: ProgressBoard,
        responding: Callable[[], Mapping[str, bool]],
        running_answers: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._parts: tuple[Callable[[], list[Metric]], ...] = (
            lambda: _queue(database),
            lambda: _workers(board),
            lambda: read_shared(quick),
        )
        self._responding = responding
        self._running_answers = running_answers
        self._clock = clock
        self._lock = Lock()
        self._kept: list[Metric] = []
        self._until = 0.0

    def collect(self) -> Iterator[Metric]:
        yield _gauge("zhiwen_answers_running", "Answers that this process is writing.", self._running_answers())
        up = GaugeMetricFamily("zhiwen_service_up", "Whether a service responds (1) or not (0).", labels=["service"])
        for name, responds in self._responding().items():
            up.add_metric([name], responds)
        yield up
        yield from self._asked()

    def _asked(self) -> list[Metric]:
        with self._lock:
            if self._clock() >= self._until:
                self._kept = list(self._ask())
                self._until = self._clock() + KEPT_SECONDS
            return self._kept

    def _ask(self) -> Iterator[Metric]:
        for part in self._parts:
            try:
                yield from part()
            except KbError:
                continue  # `zhiwen_service_up` tells which one is away


def _queue(database: Database) -> list[Metric]:
    depth, oldest = queue_depth(database), oldest_waiting(database)
    age = (datetime.now(UTC) - oldest).total_seconds() if oldest else 0.0
    return [
        _gauge("zhiwen_documents_waiting", "Documents that wait for a worker.", depth.documents),
        _gauge("zhiwen_clean_ups_waiting", "Deleted documents and knowledge bases to be cleared.", depth.clean_ups),
        _gauge(
            "zhiwen_oldest_waiting_document_age_seconds",
            "Since the oldest of those that no worker has begun with was uploaded; 0 if there is none.",
            max(0.0, age),
        ),
    ]


def _workers(board: ProgressBoard) -> list[Metric]:
    workers = board.workers()
    return [
        _gauge("zhiwen_workers", "Worker processes that gave a sign of life in the last seconds.", len(workers)),
        _gauge(
            "zhiwen_worker_threads", "Documents that they can ingest at once.", sum(each.threads for each in workers)
        ),
        _gauge("zhiwen_worker_threads_busy", "Documents that they ingest.", sum(each.busy for each in workers)),
    ]


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value)
