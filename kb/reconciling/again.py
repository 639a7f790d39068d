"""The remedy: documents that Milvus lacks chunks of are queued again, and ingested from their uploads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa

from kb.access import Permission, Principal, can
from kb.database import Database
from kb.database.locks import lock_rows
from kb.database.tables import documents, knowledge_bases, versions
from kb.ingestion.cleanup import LEFTOVERS
from kb.library import FileStore
from kb.library.counts import count_moves, lacks_chunks
from kb.models import VersionState

ROWS = 200  # that one transaction changes, so that others need not wait for long

T = TypeVar("T")

_READY = VersionState.READY.value
_GIVEN_UP = [state.value for state in VersionState if state.is_given_up]
_newest = versions.alias("newest")
# One that was replaced stays while the new content is on its way. Where that was given up, it is what answers.
_CAN_BE_QUEUED = sa.or_(
    sa.and_(versions.c.listed_in.is_not(None), versions.c.state == _READY),
    sa.and_(
        versions.c.listed_in.is_(None),
        versions.c.state.in_([_READY, *_GIVEN_UP]),
        sa.select(_newest.c.id)
        .where(
            _newest.c.document_id == versions.c.document_id,
            _newest.c.listed_in.is_not(None),
            _newest.c.state.in_(_GIVEN_UP),
        )
        .correlate(versions)
        .exists(),
    ),
)
_IS_KEPT = (
    sa.select(documents.c.id)
    .join(knowledge_bases, knowledge_bases.c.id == documents.c.knowledge_base_id)
    .where(
        documents.c.live_version_id == versions.c.id,
        documents.c.deleted_at.is_(None),
        knowledge_bases.c.deleted_at.is_(None),
    )
    .correlate(versions)
    .exists()
)
_WAS_GIVEN_UP = sa.and_(versions.c.listed_in.is_not(None), versions.c.state.in_(_GIVEN_UP))


@dataclass(frozen=True, slots=True)
class IndexedAgain:
    """How many documents were queued, and how many could not be, because their files are missing."""

    queued: int = 0
    without_file: int = 0


@dataclass(frozen=True, slots=True)
class Lacking:
    """Documents that lack chunks in Milvus: those that can be queued again, that were, and that failed then.

    What has failed or was cancelled is tried again in the list, which says why. `without_file` could be queued again
    if the check had found their files.
    """

    ready: int = 0
    under_way: int = 0
    given_up: int = 0
    without_file: int = 0


def count_lacking(
    database: Database, principal: Principal | None = None, knowledge_base_id: UUID | None = None
) -> Lacking:
    """Of all documents, a user's, or those of one knowledge base."""
    has_file = sa.not_(versions.c.file_missing)
    each = (
        sa.and_(_CAN_BE_QUEUED, has_file),
        ~sa.or_(_CAN_BE_QUEUED, _WAS_GIVEN_UP),
        _WAS_GIVEN_UP,
        sa.and_(_CAN_BE_QUEUED, versions.c.file_missing),
    )
    columns: list[sa.ColumnElement[Any]] = [sa.func.count(sa.case((which, 1))) for which in each]
    with database.read() as connection:
        return Lacking(*connection.execute(_of(sa.select(*columns), principal, knowledge_base_id)).one())


def index_again(
    database: Database, files: FileStore, principal: Principal | None = None, knowledge_base_id: UUID | None = None
) -> IndexedAgain:
    """Queue the documents that lack chunks in Milvus: all, a user's, or those of one knowledge base.

    A document keeps its id, its version and its name, so that whatever points to it goes on doing so. What Milvus
    still has of it answers until a worker begins with it. The workers' reaper sends them to the queue, some at a time.
    One without its upload stays as it is.
    """
    columns = (versions.c.id, versions.c.document_id, versions.c.file_key, versions.c.size_bytes)
    wanted = _of(sa.select(*columns), principal, knowledge_base_id).where(_CAN_BE_QUEUED)
    wanted = wanted.order_by(versions.c.created_at)
    with database.read() as connection:
        found = connection.execute(wanted).all()
    whole = [version for version in found if files.is_whole(version.file_key, version.size_bytes)]
    queued = [_queue(database, some) for some in batches(whole)]
    return IndexedAgain(sum(queued), len(found) - len(whole))


def _of(columns: sa.Select[Any], principal: Principal | None, knowledge_base_id: UUID | None) -> sa.Select[Any]:
    """The live versions that lack chunks: all, a user's, or those of one knowledge base."""
    found = (
        columns.select_from(versions)
        .join(documents, documents.c.live_version_id == versions.c.id)
        .join(knowledge_bases, knowledge_bases.c.id == documents.c.knowledge_base_id)
        .where(lacks_chunks(), documents.c.deleted_at.is_(None), knowledge_bases.c.deleted_at.is_(None))
    )
    if principal:
        found = found.where(can(Permission.EDIT, knowledge_bases, principal))
    return found.where(knowledge_bases.c.id == knowledge_base_id) if knowledge_base_id else found


def _queue(database: Database, some: Sequence[sa.Row[Any]]) -> int:
    """Queue those that nobody else has queued or deleted meanwhile; returns how many."""
    again: dict[str, Any] = {"state": VersionState.QUEUED.value, "cancel_requested": False, "file_missing": False}
    again |= dict.fromkeys(("attempts", "crashes", "waits", "stored_chunks"), 0)
    again |= dict.fromkeys(("retry_at", "sent_at", "finished_at", "memory_peak_mb"))
    # What is left of them is deleted first.
    again |= {"error": "", "error_values": {}, "chunks_digest": LEFTOVERS}
    change = sa.update(versions).where(_CAN_BE_QUEUED, lacks_chunks(), _IS_KEPT).returning(versions.c.listed_in)
    moved: Counter[UUID | None] = Counter()
    with database.write() as connection:
        lock_rows(connection, documents, documents.c.id.in_([version.document_id for version in some]))
        for version in sorted(some, key=lambda version: version.id):  # in one order, as all who change some of them
            row = connection.execute(change.where(versions.c.id == version.id).values(again)).one_or_none()
            moved.update([row.listed_in] if row else [])
        for base_id in sorted(filter(None, moved)):  # what no list shows is not counted by state
            count_moves(connection, base_id, VersionState.READY, VersionState.QUEUED, moved[base_id])
    return moved.total()


def batches(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """What each transaction changes."""
    return (rows[first : first + ROWS] for first in range(0, len(rows), ROWS))
