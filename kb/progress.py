"""Ingestion progress and workers' signs of life in Redis, which are advisory, and the names of worker processes."""

from __future__ import annotations

import json
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import structlog

from kb import redis as kb_redis
from kb.errors import RedisUnavailable
from kb.formats import Unreadable, from_json, to_json
from kb.models import Progress, VersionState

PROGRESS_SECONDS = 3600
REPORT_SECONDS = 0.5
RATE_SECONDS, RATE_UNITS = 60.0, 5  # a rate is that of the last minute, and of some pages or chunks at least
WORKER_SECONDS = 8
LONG_AGO = datetime.fromtimestamp(0, UTC)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A living worker process."""

    id: str
    host: str = ""
    pid: int = 0
    threads: int = 0
    busy: int = 0
    since: datetime = LONG_AGO
    speed: float = 0.0  # effort (see `kb.effort`) per second; 0 until it can be told
    measured_seconds: float = 0.0  # how long that speed was measured


class ProgressBoard:
    """Writers: workers. Readers: pages."""

    def __init__(self, quick: kb_redis.QuickRedis) -> None:
        self._redis = quick

    def write(self, version_id: UUID, progress: Progress) -> None:
        """Replace a version's progress. Ingestion goes on when Redis is away, so this logs and does not raise."""
        key = kb_redis.progress_key(version_id)
        fields: dict[Any, Any] = to_json(replace(progress, rate=round(progress.rate, 4)))
        try:
            with self._redis.asked() as client:
                pipeline = client.pipeline()
                pipeline.hset(key, mapping=fields)
                pipeline.expire(key, PROGRESS_SECONDS)
                pipeline.execute()
        except RedisUnavailable as error:
            log.warning("progress.unwritten", version=str(version_id), reason=str(error))

    def read(self, version_ids: Sequence[UUID]) -> dict[UUID, Progress]:
        """The progress of those that have any. Errors: `RedisUnavailable`."""
        if not version_ids:
            return {}
        with self._redis.asked() as client:
            pipeline = client.pipeline(transaction=False)
            for version_id in version_ids:
                pipeline.hgetall(kb_redis.progress_key(version_id))
            found = pipeline.execute()
        known = {}
        for version_id, fields in zip(version_ids, found, strict=True):
            with suppress(Unreadable):  # another release's: none is better than a page that fails
                if fields:
                    known[version_id] = from_json(Progress, fields)
        return known

    def trace_of(self, version_id: UUID) -> dict[str, str]:
        """Names the span in which the version was queued (`kb.tracing.carrier`); empty if nobody left it."""
        with suppress(RedisUnavailable, ValueError), self._redis.asked() as client:
            found: Any = client.get(kb_redis.trace_key(version_id))
            return dict(json.loads(found or "{}"))
        return {}

    def announce_worker(self, worker: WorkerInfo) -> None:
        """Show that this worker is alive; it is forgotten after a few silent seconds."""
        with self._redis.asked() as client:
            pipeline = client.pipeline()
            pipeline.set(kb_redis.worker_key(worker.id), json.dumps(to_json(worker)), ex=WORKER_SECONDS)
            pipeline.sadd(kb_redis.WORKERS, worker.id)
            pipeline.execute()

    def withdraw_worker(self, worker_id: str) -> None:
        with self._redis.asked() as client:
            pipeline = client.pipeline()
            pipeline.delete(kb_redis.worker_key(worker_id))
            pipeline.srem(kb_redis.WORKERS, worker_id)
            pipeline.execute()

    def workers(self) -> list[WorkerInfo]:
        """The workers that gave a sign of life within the last seconds. Errors: `RedisUnavailable`."""
        with self._redis.asked() as client:
            ids: Any = client.smembers(kb_redis.WORKERS)
            found: Any = client.mget([kb_redis.worker_key(worker_id) for worker_id in ids]) if ids else []
            facts = dict(zip(ids, found, strict=True))
            if silent := [worker_id for worker_id, text in facts.items() if text is None]:
                client.srem(kb_redis.WORKERS, *silent)
        workers = []
        for text in filter(None, found):
            with suppress(Unreadable, ValueError):  # another release's
                workers.append(from_json(WorkerInfo, json.loads(text)))
        return sorted(workers, key=lambda worker: worker.since)


class Meter:
    """Reports `done` of `total` for one stage, at most every half second, with the rate of the last minute.

    A short ingestion is over before the first report: nobody could read it.
    """

    def __init__(
        self, board: ProgressBoard, version_id: UUID, worker: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._board, self._version_id, self._worker, self._clock = board, version_id, worker, clock
        self._stage = VersionState.QUEUED
        self._written = clock()
        self._marks: deque[tuple[float, int]] = deque()

    def report(self, stage: VersionState, done: int, total: int, page: int = 0, pages: int = 0) -> None:
        moment = self._clock()
        if stage is not self._stage:
            self._stage = stage
            self._marks.clear()
            self._marks.append((moment, done))
        if moment - self._written < REPORT_SECONDS:
            return
        self._written = moment
        self._marks.append((moment, done))
        while moment - self._marks[1][0] >= RATE_SECONDS and done - self._marks[1][1] >= RATE_UNITS:
            self._marks.popleft()
        began, first = self._marks[0]
        seconds = moment - began
        rate = (done - first) / seconds if seconds > 0 else 0.0
        progress = Progress(stage, done, total, rate, datetime.now(UTC), self._worker, page, pages, round(seconds, 1))
        self._board.write(self._version_id, progress)


def new_worker_id() -> str:
    """`host:pid:namespace-random`: unlike any other process's, now or before, here or elsewhere."""
    return f"{_host()}:{os.getpid()}:{_namespace()}-{uuid4().hex[:8]}"


def is_dead(worker_id: str, own_id: str) -> bool:
    """True if the worker (or the one whose lease this is) ran here and its process is gone.

    False wherever that cannot be told.

    A dead worker's leases then need not run out first. "Here" is this host, since it was started, and this process-id
    namespace: containers may share the one without the other.
    """
    host, _, rest = worker_id.partition(":")
    pid, _, rest = rest.partition(":")
    if host != _host() or rest.partition("-")[0] != _namespace() or not _namespace():
        return False
    if int(pid) == os.getpid():
        return not worker_id.startswith(own_id)  # its process id is ours now
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def went_down_with_machine(worker_id: str, silent: timedelta) -> bool:
    """True if the worker ran on this host before the host was last started; `silent`: since its last sign of life.

    A power cut says nothing about what the worker was doing. False wherever that cannot be told.
    """
    host, _, rest = worker_id.partition(":")
    boot, own_boot = rest.partition(":")[2].partition(".")[0], _namespace().partition(".")[0]
    if host != _host() or not boot or not own_boot or boot == own_boot:
        return False
    return silent.total_seconds() > time.clock_gettime(time.CLOCK_BOOTTIME)  # Linux has it wherever it has namespaces


def _host() -> str:
    return socket.gethostname()[:40]


@cache
def _namespace() -> str:
    """What tells this run of the machine, and the process-id namespace, from all others; empty where Linux is not.

    Names of hosts and numbers of namespaces repeat: those of cloned machines are the same.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
        return f"{boot}.{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""
