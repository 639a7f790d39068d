"""Whose turn it is among the waiting versions, and how many large ones a worker process takes at once.

Users take turns, then the knowledge bases of each, by who owns them; within one, what is least work goes first. So
neither a large file nor a user with thousands of files, in however many knowledge bases, holds up anybody else's note.
A message in the queue only says that there is something to do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from threading import Lock
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from kb.database import Database
from kb.database.tables import document_counts, knowledge_bases, versions
from kb.effort import LARGE
from kb.library.counts import RUNNING
from kb.models import VersionState

# A large file makes way for a small one only if that is so much less work: what they have done is read again.
MUCH_LESS = 4

# What is written out, the index of waiting versions is made for.
_QUEUED = versions.c.state == sa.literal_column(f"'{VersionState.QUEUED}'")
_DUE = sa.and_(
    _QUEUED,
    versions.c.cancel_requested.is_(False),
    sa.or_(versions.c.retry_at.is_(None), versions.c.retry_at <= sa.bindparam("moment")),
    sa.or_(versions.c.lease_until.is_(None), versions.c.lease_until < sa.bindparam("moment")),
)
_OF_BASE = versions.c.listed_in == document_counts.c.knowledge_base_id
_WAITING_BASES = (
    sa.select(document_counts.c.knowledge_base_id, knowledge_bases.c.owner_id)
    .join(knowledge_bases, knowledge_bases.c.id == document_counts.c.knowledge_base_id)
    .where(document_counts.c.queued > 0)
)
# Of all users: as many as the workers have places.
_RUNNING_BASES = (
    sa.select(versions.c.listed_in, knowledge_bases.c.owner_id)
    .join(knowledge_bases, knowledge_bases.c.id == versions.c.listed_in)
    .where(versions.c.state.in_(RUNNING))
)
_LEAST = (
    sa.select(versions.c.id)
    .where(versions.c.listed_in == sa.bindparam("of_knowledge_base"), versions.c.effort <= sa.bindparam("most"), _DUE)
    .order_by(versions.c.effort, versions.c.created_at, versions.c.id)
    .limit(1)
)
_WAITS = sa.select(versions.c.id).join(document_counts, _OF_BASE).where(document_counts.c.queued > 0, _DUE).limit(1)
_SMALLER_WAITS = _WAITS.where(versions.c.effort <= sa.bindparam("most"))
_base, _others, _other_base = knowledge_bases.alias(), versions.alias(), knowledge_bases.alias()
_mine = sa.select(knowledge_bases.c.owner_id).where(knowledge_bases.c.id == sa.bindparam("of_knowledge_base"))
_LARGE_WAITS = (
    _WAITS.join(_base, _base.c.id == versions.c.listed_in)
    .where(versions.c.effort >= LARGE, versions.c.listed_in != sa.bindparam("of_knowledge_base"))
    .where(
        ~sa.exists(
            sa.select(_others.c.id)
            .join(_other_base, _other_base.c.id == _others.c.listed_in)
            .where(
                _others.c.state.in_(RUNNING),
                _others.c.effort >= LARGE,
                _other_base.c.owner_id == _base.c.owner_id,
                # Another user has a share with one in work; the same user's knowledge base, with one of its own.
                sa.or_(_other_base.c.id == _base.c.id, _base.c.owner_id != _mine.scalar_subquery()),
            )
        )
    )
)
_EFFORT = sa.select(versions.c.effort).where(versions.c.id == sa.bindparam("of_version"))
_ANY = 2**31 - 1


class Turns:
    """Chooses what a worker process ingests next. Safe to share among threads; `clock` gives the time in UTC.

    Nobody has a turn of whose documents `most_per_user` are worked on; 0: no limit.
    """

    def __init__(self, database: Database, clock: Callable[[], datetime], most_per_user: int = 0) -> None:
        self._most_per_user = most_per_user
        self._database = database
        self._clock = clock
        self._served: dict[UUID, int] = {}  # users and knowledge bases
        self._turn = 0

    def next(self, *, with_large: bool) -> UUID | None:
        """The waiting version whose turn it is: of the user of whom the fewest are worked on, and likewise of theirs.

        Among those with as many, the one that this process served longest ago.
        """
        most = _ANY if with_large else LARGE - 1
        moment = self._clock()
        with self._database.read() as connection:
            waiting = {row.knowledge_base_id: row.owner_id for row in connection.execute(_WAITING_BASES)}
            if not waiting:
                return None
            running = Counter(each for row in connection.execute(_RUNNING_BASES) for each in row)
            if self._most_per_user:
                waiting = {each: owner for each, owner in waiting.items() if running[owner] < self._most_per_user}
            for base, owner in sorted(waiting.items(), key=lambda each: self._place(running, *each)):
                of = {"of_knowledge_base": base, "most": most, "moment": moment}
                found: UUID | None = connection.scalar(_LEAST, of)
                if found:
                    self._note_served(base, owner, {*waiting, *waiting.values()})
                    return found
        return None

    def _place(self, running: Counter[UUID], base: UUID, owner: UUID) -> tuple[object, ...]:
        served = self._served
        return running[owner], served.get(owner, 0), owner, running[base], served.get(base, 0), base

    def _note_served(self, base: UUID, owner: UUID, waiting: set[UUID]) -> None:
        self._turn += 1
        self._served = {each: turn for each, turn in self._served.items() if each in waiting}
        self._served[base] = self._served[owner] = self._turn

    def is_large(self, version_id: UUID) -> bool:
        return self._has(_EFFORT.where(versions.c.effort >= LARGE), of_version=version_id)

    def smaller_waits(self, effort: int) -> bool:
        """Whether a small version waits that is much less work."""
        return self._has(_SMALLER_WAITS, most=min(effort // MUCH_LESS, LARGE - 1), moment=self._clock())

    def other_large_waits(self, knowledge_base_id: UUID) -> bool:
        """Whether a large version waits for another user, or in another knowledge base of the same one.

        Not if a worker is busy with a large one of that user, or of that knowledge base.
        """
        return self._has(_LARGE_WAITS, of_knowledge_base=knowledge_base_id, moment=self._clock())

    def _has(self, statement: sa.Select[Any], **of: Any) -> bool:
        with self._database.read() as connection:
            return connection.execute(statement, of).first() is not None


class LargeLane:
    """The large versions in work in a worker process: of its threads, one is left for small ones.

    A version that turns out to be large while the lane is full is in it beyond its width. It makes way for small ones,
    unless another ends before. Safe to share among threads.
    """

    def __init__(self, threads: int) -> None:
        self._lock = Lock()
        self._inside: list[UUID] = []
        self.threads = threads

    @property
    def width(self) -> int:
        return max(1, self.threads - 1)

    @property
    def has_room(self) -> bool:
        with self._lock:
            return len(self._inside) < self.width

    def enter(self, version_id: UUID) -> None:
        with self._lock:
            self._inside.append(version_id)

    def leave(self, version_id: UUID) -> None:
        with self._lock:
            if version_id in self._inside:
                self._inside.remove(version_id)

    def holds(self, version_id: UUID) -> bool:
        with self._lock:
            return version_id in self._inside

    def is_beyond(self, version_id: UUID) -> bool:
        """Whether there was no room for this one when it entered, and still is none."""
        with self._lock:
            return version_id in self._inside[self.width :]
