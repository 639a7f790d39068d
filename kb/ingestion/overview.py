"""What workers and the System page look at across all users, by SQL."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from kb.database import Database
from kb.database.tables import clean_ups, document_counts, documents, knowledge_bases, versions
from kb.errors import KbError, from_code
from kb.models import VersionState


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """`documents` to ingest and `clean_ups` of what was deleted, whoever owns them."""

    documents: int
    clean_ups: int


@dataclass(frozen=True, slots=True)
class FailingCleanUp:
    """A clean-up that failed so far; `document` is empty where a whole knowledge base is to be cleared."""

    document: str
    failures: int
    error: KbError
    retry_at: datetime


def queue_depth(database: Database) -> QueueDepth:
    """What waits for a worker; a message in the queue only says that there is something to do."""
    queued = (
        sa.select(sa.func.sum(document_counts.c.queued))
        .join(knowledge_bases, knowledge_bases.c.id == document_counts.c.knowledge_base_id)
        .where(knowledge_bases.c.deleted_at.is_(None))
    )
    deleted = [
        sa.select(sa.func.count()).select_from(table).where(table.c.deleted_at.is_not(None))
        for table in (documents, knowledge_bases)
    ]
    with database.read() as connection:
        waiting, *cleared = (connection.scalar(statement) or 0 for statement in (queued, *deleted))
    return QueueDepth(waiting, sum(cleared))


def oldest_waiting(database: Database) -> datetime | None:
    """When the oldest waiting document that no worker has begun with was uploaded.

    When one that is tried again was queued, nobody knows.
    """
    oldest = (
        sa.select(versions.c.created_at)
        .join(knowledge_bases, knowledge_bases.c.id == versions.c.listed_in)
        .where(
            versions.c.state == VersionState.QUEUED.value,
            versions.c.cancel_requested.is_(False),
            versions.c.started_at.is_(None),
            knowledge_bases.c.deleted_at.is_(None),
        )
        .order_by(versions.c.created_at)
        .limit(1)
    )
    with database.read() as connection:
        found: datetime | None = connection.scalar(oldest)
    return found


def failing_clean_ups(database: Database, limit: int = 20) -> list[FailingCleanUp]:
    """The clean-ups that failed and are tried again later, the most often failed first."""
    statement = (
        sa.select(clean_ups, documents.c.name)
        .outerjoin(documents, documents.c.id == clean_ups.c.document_id)
        .order_by(clean_ups.c.failures.desc(), clean_ups.c.retry_at)
        .limit(limit)
    )
    with database.read() as connection:
        return [
            FailingCleanUp(row.name or "", row.failures, from_code(row.error, row.error_values), row.retry_at)
            for row in connection.execute(statement)
        ]


def models_in_use(database: Database) -> list[str]:
    """The names of the embedding models that knowledge bases were built with."""
    statement = sa.select(knowledge_bases.c.embedding_model).where(knowledge_bases.c.deleted_at.is_(None)).distinct()
    with database.read() as connection:
        return sorted(connection.scalars(statement))


def dimensions_in_use(database: Database) -> dict[str, set[int]]:
    """The names of those models, each with the dimensions of the vectors that knowledge bases hold of it."""
    bases = knowledge_bases.c
    statement = sa.select(bases.embedding_model, bases.dimension).where(bases.deleted_at.is_(None)).distinct()
    found: dict[str, set[int]] = {}
    with database.read() as connection:
        for model, dimension in connection.execute(statement.order_by(bases.embedding_model)):
            found.setdefault(model, set()).update({dimension} - {None})
    return found


def newest_collections(database: Database, limit: int) -> list[str]:
    """The Milvus collections of the newest knowledge bases that can answer; each once, if several share it."""
    statement = (
        sa.select(knowledge_bases.c.collection)
        .join(document_counts, document_counts.c.knowledge_base_id == knowledge_bases.c.id)
        .where(knowledge_bases.c.deleted_at.is_(None), document_counts.c.answering > 0)
        .group_by(knowledge_bases.c.collection)
        .order_by(sa.func.max(knowledge_bases.c.created_at).desc())
        .limit(limit)
    )
    with database.read() as connection:
        return list(connection.scalars(statement))
