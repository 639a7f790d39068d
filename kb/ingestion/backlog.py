"""How long the waiting documents of a knowledge base will take, from what the workers have got done lately."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from kb.database import Database
from kb.database.tables import knowledge_bases, versions
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
    of_base = sa.select(versions.c.listed_in, sa.func.sum(effort).label("effort"))
    of_base = of_base.where(versions.c.listed_in.is_not(None), *conditions).group_by(versions.c.listed_in)
    sums = of_base.subquery()
    return sa.select(sums.c.listed_in, knowledge_bases.c.owner_id, sums.c.effort).join(
        knowledge_bases, knowledge_bases.c.id == sums.c.listed_in
    )


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
        self._known: dict[UUID, tuple[UUID, int]] = {}
        self._until = 0.0

    def seconds_left(self, knowledge_base_id: UUID, workers: Sequence[WorkerInfo]) -> float | None:
        """About how long until all documents of a knowledge base are done; None until workers know their speed.

        A time that is far longer than what it was measured in is not told, unless that was as long as it gets.
        Users take turns, and so do the knowledge bases of each: they get equal shares while they have documents.
        """
        speed = sum(worker.speed for worker in workers)
        efforts = self._efforts()
        owner, own = efforts.get(knowledge_base_id, (None, 0))
        if not own or speed <= 0:
            return None
        of_users = Counter[UUID]()
        for user, effort in efforts.values():
            of_users[user] += effort
        beside = [effort for user, effort in efforts.values() if user == owner]
        of_user = min(own * len(beside), sum(beside))
        seconds = min(of_user * len(of_users), sum(of_users.values())) / speed
        measured = max(worker.measured_seconds for worker in workers)
        return seconds if measured >= SPEED_SECONDS or seconds <= MAX_EXTRAPOLATION * measured else None

    def _efforts(self) -> dict[UUID, tuple[UUID, int]]:
        """By knowledge base: its owner and its work."""
        with self._lock:
            if self._clock() >= self._until:
                self._known = self._read()
                self._until = self._clock() + KEPT_SECONDS
            return self._known

    def _read(self) -> dict[UUID, tuple[UUID, int]]:
        found: dict[UUID, tuple[UUID, int]] = {}
        with self._database.read() as connection:
            for statement in _STATEMENTS:
                for knowledge_base_id, owner_id, effort in connection.execute(statement):
                    before = found.get(knowledge_base_id, (owner_id, 0))[1]
                    found[knowledge_base_id] = owner_id, before + int(effort)
        return {each: work for each, work in found.items() if work[1]}
