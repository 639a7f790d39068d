"""How long the waiting documents of a knowledge base will take, from what the workers have got done lately."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from kb.database import Database
from kb.database.tables import versions
from kb.effort import LARGE
from kb.ingestion.pace import SPEED_SECONDS
from kb.library.counts import RUNNING
from kb.models import VersionState
from kb.progress import WorkerInfo

# How long the work in the queue is remembered: pages ask each second.
KEPT_SECONDS = 10.0
# What was measured on a few small files tells nothing about a large one: most of their time goes into opening them.
MAX_EXTRAPOLATION = 60

_QUEUED = versions.c.state == sa.literal_column(f"'{VersionState.QUEUED}'")  # as the index of waiting versions has it
_LEFT = sa.case((versions.c.effort > versions.c.stored_chunks, versions.c.effort - versions.c.stored_chunks), else_=0)


def _sums(effort: sa.ColumnElement[int], *conditions: sa.ColumnElement[bool]) -> sa.Select[Any]:
    listed = sa.select(versions.c.listed_in, sa.func.sum(effort)).where(versions.c.listed_in.is_not(None), *conditions)
    return listed.group_by(versions.c.listed_in)


_STATEMENTS = (
    _sums(versions.c.effort, _QUEUED, versions.c.effort < LARGE),  # read from the index alone
    _sums(_LEFT, _QUEUED, versions.c.effort >= LARGE),
    _sums(_LEFT, versions.c.state.in_(RUNNING)),
)


class Backlog:
    """The work that is left, by knowledge base. Safe to share among threads."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._lock = Lock()
        self._known: dict[UUID, int] = {}
        self._until = 0.0

    def seconds_left(self, knowledge_base_id: UUID, workers: Sequence[WorkerInfo]) -> float | None:
        """About how long until all documents of a knowledge base are done; None until workers know their speed.

        A time that is far longer than what it was measured in is not told, unless that was as long as it gets.
        Knowledge bases take turns, so each gets an equal share of the workers while it has documents.
        """
        speed = sum(worker.speed for worker in workers)
        efforts = self._efforts()
        own = efforts.get(knowledge_base_id, 0)
        if not own or speed <= 0:
            return None
        seconds = min(own * len(efforts), sum(efforts.values())) / speed
        measured = max(worker.measured_seconds for worker in workers)
        return seconds if measured >= SPEED_SECONDS or seconds <= MAX_EXTRAPOLATION * measured else None

    def _efforts(self) -> dict[UUID, int]:
        with self._lock:
            if self._clock() >= self._until:
                self._known = self._read()
                self._until = self._clock() + KEPT_SECONDS
            return self._known

    def _read(self) -> dict[UUID, int]:
        found: dict[UUID, int] = {}
        with self._database.read() as connection:
            for statement in _STATEMENTS:
                for knowledge_base_id, effort in connection.execute(statement):
                    found[knowledge_base_id] = found.get(knowledge_base_id, 0) + int(effort)
        return {knowledge_base_id: effort for knowledge_base_id, effort in found.items() if effort}
