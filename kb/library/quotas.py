"""How much each user may take: documents that wait in the queue, and storage.

What counts is every file that is kept of a document, also of contents that were replaced, for who owns its knowledge
base, whoever has uploaded it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from kb.access import Principal
from kb.database.tables import document_counts, documents, knowledge_bases, users, versions
from kb.errors import KbError, OwnersStorageFull, QueueFull, StorageFull
from kb.library.files import Source

MEGABYTE = 1_000_000  # as pages count files

_OF_OWNER = knowledge_bases.c.owner_id == sa.bindparam("of_owner")
_QUEUED = (
    sa.select(sa.func.sum(document_counts.c.queued))
    .join(knowledge_bases, knowledge_bases.c.id == document_counts.c.knowledge_base_id)
    .where(_OF_OWNER, knowledge_bases.c.deleted_at.is_(None))
)
_SIZES = (
    sa.select(sa.func.sum(versions.c.size_bytes))
    .join(documents, documents.c.id == versions.c.document_id)
    .join(knowledge_bases, knowledge_bases.c.id == documents.c.knowledge_base_id)
    .where(documents.c.deleted_at.is_(None), knowledge_bases.c.deleted_at.is_(None))
)
_STORED_BY_USER = _SIZES.add_columns(knowledge_bases.c.owner_id).group_by(knowledge_bases.c.owner_id)
# Each upload asks for it: what is listed is summed from an index alone, and only what was replaced is looked up.
_LISTED = (
    sa.select(sa.func.sum(versions.c.size_bytes))
    .join(knowledge_bases, knowledge_bases.c.id == versions.c.listed_in)
    .where(_OF_OWNER, knowledge_bases.c.deleted_at.is_(None))
)
_REPLACED = _SIZES.where(_OF_OWNER, versions.c.listed_in.is_(None), versions.c.size_bytes > 0)
_STORED = sa.select(*(sa.func.coalesce(each.scalar_subquery(), 0) for each in (_LISTED, _REPLACED)))
# Uploads of one user that end at the same time are counted one after the other.
_LOCK = sa.select(users.c.id).where(users.c.id == sa.bindparam("of_owner")).with_for_update(key_share=True)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a user takes, and how much that may be; 0: no limit."""

    queued: int
    most_queued: int
    stored_bytes: int
    most_bytes: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """A file that comes into a knowledge base of `owner_id`.

    `replaced_bytes`: of the file whose place it takes, if that one is not kept.
    """

    principal: Principal
    owner_id: UUID
    name: str
    replaced_bytes: int = 0
    replaces_queued: bool = False


@dataclass(frozen=True, slots=True)
class Quotas:
    """The limits for each user; 0: none."""

    most_queued: int = 0
    most_bytes: int = 0

    @property
    def are_set(self) -> bool:
        return bool(self.most_queued or self.most_bytes)

    def usage(self, connection: sa.Connection, owner_id: UUID) -> Usage:
        """What is not limited is not counted, and 0."""
        queued = self._count(connection, _QUEUED, owner_id) if self.most_queued else 0
        stored = self._stored(connection, owner_id) if self.most_bytes else 0
        return Usage(queued, self.most_queued, stored, self.most_bytes)

    def limit(self, connection: sa.Connection, arrival: Arrival, source: Source, expected_bytes: int) -> Source:
        """`source`, which ends with an error as soon as more comes of it than there is room for.

        Errors: `QueueFull`; `StorageFull` if there is no room at all, or not for what is expected of it.
        """
        left = self._check(connection, arrival, max(expected_bytes, 1))
        return source if left is None else _Limited(source, left, self._full(arrival, self.most_bytes - left))

    def admit(self, connection: sa.Connection, arrival: Arrival, size_bytes: int) -> None:
        """Check once more before the file is kept, with what was kept meanwhile. Errors: `QueueFull`, `StorageFull`."""
        if self.are_set:
            connection.execute(_LOCK, {"of_owner": arrival.owner_id})
            self._check(connection, arrival, size_bytes)

    def admit_again(self, connection: sa.Connection, owner_id: UUID) -> None:
        """Check before a document is queued again, whose file is there already. Errors: `QueueFull`."""
        if self.most_queued:
            connection.execute(_LOCK, {"of_owner": owner_id})
            self._check_queue(connection, owner_id)

    def _check_queue(self, connection: sa.Connection, owner_id: UUID) -> None:
        queued = self._count(connection, _QUEUED, owner_id)
        if queued >= self.most_queued:
            raise QueueFull(queued=queued, most=self.most_queued)

    def _check(self, connection: sa.Connection, arrival: Arrival, size_bytes: int) -> int | None:
        """How many bytes there is room for; None: without limit."""
        if self.most_queued and not arrival.replaces_queued:
            self._check_queue(connection, arrival.owner_id)
        if not self.most_bytes:
            return None
        used = self._stored(connection, arrival.owner_id) - arrival.replaced_bytes
        if used + size_bytes > self.most_bytes:
            raise self._full(arrival, used)
        return self.most_bytes - used

    def _full(self, arrival: Arrival, used: int) -> KbError:
        kind = StorageFull if arrival.owner_id == arrival.principal.user_id else OwnersStorageFull
        used_mb = round((used + arrival.replaced_bytes) / MEGABYTE, 1)
        return kind(name=arrival.name, used=f"{used_mb:g}", most=self.most_bytes // MEGABYTE)

    def _stored(self, connection: sa.Connection, owner_id: UUID) -> int:
        return sum(map(int, connection.execute(_STORED, {"of_owner": owner_id}).one()))

    def _count(self, connection: sa.Connection, statement: sa.Select[Any], owner_id: UUID) -> int:
        return int(connection.scalar(statement, {"of_owner": owner_id}) or 0)


def stored_by_user(connection: sa.Connection) -> dict[UUID, int]:
    """How many bytes of files each user has; who has none is left out."""
    return {owner_id: int(size) for size, owner_id in connection.execute(_STORED_BY_USER)}


class _Limited:
    """A source of which no more may come than `left` bytes."""

    def __init__(self, source: Source, left: int, error: KbError) -> None:
        self._source, self._left, self._error = source, left, error

    def read(self, size: int, /) -> bytes:
        block = self._source.read(size)
        self._left -= len(block)
        if self._left < 0:
            raise self._error
        return block
