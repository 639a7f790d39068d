"""What is counted of the workers' messages and of ingestion."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from prometheus_client import Counter, Histogram

from kb import tracing
from kb.metrics.registries import WORKERS
from kb.models import VersionState

T = TypeVar("T")

# Buckets that change need another `kb.metrics.shared.FORMAT`.
_STAGE_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
_MESSAGE_BUCKETS = (5, 25, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 600_000, 3_600_000)

_documents = Counter(
    "zhiwen_ingestion_documents",
    "Attempts to ingest a document, by outcome and by the error's code. Ready, failed and cancelled are final; after "
    "the others (postponed, made_way, released, crashed, lost) a worker goes on later.",
    ["outcome", "error"],
    registry=WORKERS,
)
_stage_seconds = Histogram(
    "zhiwen_ingestion_stage_duration_seconds",
    "Time that an attempt to ingest a document spent parsing, embedding and indexing.",
    ["stage"],
    buckets=_STAGE_BUCKETS,
    registry=WORKERS,
)
_chunks = Counter("zhiwen_ingestion_chunks", "Chunks that were embedded and stored.", registry=WORKERS)
# With the names and labels of Dramatiq's own middleware, for which there are dashboards.
_MESSAGE_LABELS = ("queue_name", "actor_name")
_messages = Counter("dramatiq_messages", "Messages that were processed.", _MESSAGE_LABELS, registry=WORKERS)
_message_errors = Counter("dramatiq_message_errors", "Messages that failed.", _MESSAGE_LABELS, registry=WORKERS)
_message_milliseconds = Histogram(
    "dramatiq_message_duration_milliseconds",
    "The time that messages took.",
    _MESSAGE_LABELS,
    buckets=_MESSAGE_BUCKETS,
    registry=WORKERS,
)


def note_ingested(outcome: str, error_code: str = "") -> None:
    """How an attempt to ingest a document ended: see the counter."""
    _documents.labels(outcome, error_code).inc()


def note_chunks(count: int) -> None:
    """So many chunks were stored."""
    _chunks.inc(count)


def note_message(queue_name: str, actor_name: str, milliseconds: float, *, has_failed: bool) -> None:
    """A message was processed."""
    labels = (queue_name, actor_name)
    _messages.labels(*labels).inc()
    _message_milliseconds.labels(*labels).observe(milliseconds)
    if has_failed:
        _message_errors.labels(*labels).inc()


class StageTimes:
    """What one attempt to ingest a document spent on each stage, which take turns. Belongs to one thread.

    Each stage is a span, from its first turn to its last.
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[VersionState, float] = defaultdict(float)
        self._now: tuple[VersionState, float] | None = None  # the stage, and when it began
        self._spans: dict[VersionState, tracing.Span] = {}

    @contextmanager
    def spend(self, stage: VersionState) -> Iterator[None]:
        if stage not in self._spans:
            self._spans[stage] = tracing.span(stage.value)
        with self._spans[stage].resumed():
            began = time.perf_counter()
            self._now = stage, began
            try:
                yield
            finally:
                self.seconds[stage] += time.perf_counter() - began
                self._now = None

    def so_far(self) -> dict[VersionState, float]:
        """The seconds of each stage, with those of the one that is not over."""
        seconds = dict(self.seconds)
        if self._now:
            stage, began = self._now
            seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - began
        return seconds

    def spend_on_each(self, stage: VersionState, items: Iterator[T]) -> Iterator[T]:
        """`items`, of which each takes its time to come."""
        while True:
            with self.spend(stage):
                item = next(items, None)
            if item is None:
                return
            yield item

    def note(self) -> None:
        """The attempt has ended."""
        for stage, seconds in self.seconds.items():
            _stage_seconds.labels(stage.value).observe(seconds)
            self._spans[stage].note({"zhiwen.stage.seconds": seconds})
            self._spans[stage].end()
