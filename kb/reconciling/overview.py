"""What the checks have found so far, across all users."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from kb.database import Database
from kb.database.tables import document_counts, documents, index_checks, knowledge_bases, leftovers, versions
from kb.errors import KbError, from_code
from kb.queue import Queue
from kb.reconciling.leftovers import COLLECTION, FOLDER, Leftover


@dataclass(frozen=True, slots=True)
class Reconciled:
    """How many documents cannot be searched, and how many have lost their files.

    `checked_at` is when the collection was compared that was not compared for longest; None: not all were yet.
    `errors` are what Milvus said where it could not be compared, by the collection. `unknown_collections` and
    `unknown_folders` of the uploads are what SQL does not know.
    """

    unsearchable: int
    files_missing: int
    checked_at: datetime | None
    errors: dict[str, KbError]
    unknown_collections: tuple[Leftover, ...] = ()
    unknown_folders: tuple[Leftover, ...] = ()


def reconciled(database: Database) -> Reconciled:
    """Reads no more than the counters, what is missing, and what is left over."""
    of_bases = sa.and_(
        knowledge_bases.c.id == document_counts.c.knowledge_base_id, knowledge_bases.c.deleted_at.is_(None)
    )
    unsearchable = sa.select(sa.func.sum(document_counts.c.unsearchable)).join(knowledge_bases, of_bases)
    files_missing = (
        sa.select(sa.func.count())
        .select_from(versions)
        .join(documents, documents.c.live_version_id == versions.c.id)
        .where(versions.c.file_missing, documents.c.deleted_at.is_(None))
    )
    # Thousands of conversations share a collection.
    used = (
        sa.select(knowledge_bases.c.collection).join(document_counts, of_bases).where(document_counts.c.answering > 0)
    )
    name = used.distinct().subquery().c.collection
    checks = sa.select(name, *(index_checks.c[column] for column in ("checked_at", "error", "error_values"))).outerjoin(
        index_checks, index_checks.c.collection == name
    )
    with database.read() as connection:
        missing, lost = connection.scalar(unsearchable) or 0, connection.scalar(files_missing) or 0
        rows = connection.execute(checks).all()
        unknown = connection.execute(sa.select(leftovers).order_by(leftovers.c.name)).all()
    moments = [row.checked_at for row in rows]
    errors = {row.collection: from_code(row.error, row.error_values) for row in rows if row.error}
    found = {
        kind: tuple(Leftover(row.name, row.items, row.size_bytes) for row in unknown if row.kind == kind)
        for kind in (COLLECTION, FOLDER)
    }
    checked_at = min(moments) if moments and all(moments) else None
    return Reconciled(missing, lost, checked_at, errors, found[COLLECTION], found[FOLDER])


def failed_check(database: Database, collection: str) -> tuple[KbError, datetime] | None:
    """What Milvus said when the collection was last compared, and when; None if it could be compared."""
    statement = sa.select(index_checks).where(index_checks.c.collection == collection, index_checks.c.error != "")
    with database.read() as connection:
        row = connection.execute(statement).one_or_none()
    return (from_code(row.error, row.error_values), row.checked_at) if row else None


def request_checks(database: Database, queue: Queue) -> None:
    """Have workers compare everything, collection by collection, and look for leftovers. Errors: `RedisUnavailable`."""
    statement = sa.select(knowledge_bases.c.collection, knowledge_bases.c.id).where(
        knowledge_bases.c.deleted_at.is_(None)
    )
    with database.read() as connection:
        one_of_each = {row.collection: row.id for row in connection.execute(statement)}
    for knowledge_base_id in one_of_each.values():
        queue.send_check(knowledge_base_id)
    queue.send_note_leftovers()
