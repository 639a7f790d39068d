"""Ingestion progress and workers' signs of life, in Redis. Advisory: SQL is the truth."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import redis
import structlog

from kb import redis as kb_redis
from kb.errors import RedisUnavailable
from kb.models import Progress, VersionState

PROGRESS_SECONDS = 3600
REPORT_SECONDS = 0.5
WORKER_SECONDS = 8

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A living worker process."""

    id: str
    host: str
    pid: int
    threads: int
    busy: int
    since: datetime


class ProgressBoard:
    """Writers: workers. Readers: pages."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def write(self, version_id: UUID, progress: Progress) -> None:
        """Replace a version's progress. Ingestion goes on when Redis is away, so this logs and does not raise."""
        key = kb_redis.progress_key(version_id)
        fields: dict[Any, Any] = {
            "stage": progress.stage.value,
            "done": progress.done,
            "total": progress.total,
            "rate": round(progress.rate, 2),
            "at": progress.at.timestamp(),
            "worker": progress.worker,
        }
        try:
            with kb_redis.translated():
                pipeline = self._client.pipeline()
                pipeline.hset(key, mapping=fields)
                pipeline.expire(key, PROGRESS_SECONDS)
                pipeline.execute()
        except RedisUnavailable as error:
            log.warning("progress.unwritten", version=str(version_id), reason=str(error))

    def read(self, version_ids: Sequence[UUID]) -> dict[UUID, Progress]:
        """The progress of those that have any. Errors: `RedisUnavailable`."""
        if not version_ids:
            return {}
        pipeline = self._client.pipeline(transaction=False)
        for version_id in version_ids:
            pipeline.hgetall(kb_redis.progress_key(version_id))
        with kb_redis.translated():
            found = pipeline.execute()
        return {version_id: _progress(fields) for version_id, fields in zip(version_ids, found, strict=True) if fields}

    def announce_worker(self, worker: WorkerInfo) -> None:
        """Say that this worker lives; it is forgotten after a few silent seconds."""
        facts = {
            "id": worker.id,
            "host": worker.host,
            "pid": worker.pid,
            "threads": worker.threads,
            "busy": worker.busy,
            "since": worker.since.timestamp(),
        }
        with kb_redis.translated():
            self._client.set(kb_redis.worker_key(worker.id), json.dumps(facts), ex=WORKER_SECONDS)

    def withdraw_worker(self, worker_id: str) -> None:
        with kb_redis.translated():
            self._client.delete(kb_redis.worker_key(worker_id))

    def workers(self) -> list[WorkerInfo]:
        """The workers that gave a sign of life within the last seconds. Errors: `RedisUnavailable`."""
        with kb_redis.translated():
            keys = list(self._client.scan_iter(kb_redis.worker_key("*"), count=500))
            found: Any = self._client.mget(keys) if keys else []
        return sorted((_worker(json.loads(text)) for text in found if text), key=lambda worker: worker.since)


class Meter:
    """Reports `done` of `total` for one stage, at most every half second, with the rate since it began.

    A short ingestion is over before the first report: nobody could read it.
    """

    def __init__(
        self, board: ProgressBoard, version_id: UUID, worker: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._board, self._version_id, self._worker, self._clock = board, version_id, worker, clock
        self._stage = VersionState.QUEUED
        self._began = self._written = clock()
        self._first = 0

    def report(self, stage: VersionState, done: int, total: int) -> None:
        moment = self._clock()
        if stage is not self._stage:
            self._stage, self._began, self._first = stage, moment, done
        if moment - self._written < REPORT_SECONDS:
            return
        self._written = moment
        rate = (done - self._first) / (moment - self._began) if moment > self._began else 0.0
        self._board.write(self._version_id, Progress(stage, done, total, rate, datetime.now(UTC), self._worker))


def _progress(fields: dict[str, str]) -> Progress:
    return Progress(
        stage=VersionState(fields["stage"]),
        done=int(fields["done"]),
        total=int(fields["total"]),
        rate=float(fields["rate"]),
        at=datetime.fromtimestamp(float(fields["at"]), UTC),
        worker=fields["worker"],
    )


def _worker(facts: dict[str, Any]) -> WorkerInfo:
    return WorkerInfo(
        id=facts["id"],
        host=facts["host"],
        pid=facts["pid"],
        threads=facts["threads"],
        busy=facts["busy"],
        since=datetime.fromtimestamp(facts["since"], UTC),
    )
