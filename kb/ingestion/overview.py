"""What workers and the System page look at across all users, by SQL."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from kb.database import Database
from kb.database.tables import DocumentRow, KnowledgeBaseRow, VersionRow
from kb.models import VersionState


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """`documents` to ingest and `clean_ups` of what was deleted, whoever owns them."""

    documents: int
    clean_ups: int


def queue_depth(database: Database) -> QueueDepth:
    """What waits for a worker; a message in the queue only says that there is something to do."""
    queued = sa.select(sa.func.count()).where(
        VersionRow.state == VersionState.QUEUED.value, VersionRow.cancel_requested.is_(False)
    )
    deleted = [sa.select(sa.func.count()).where(row.deleted_at.is_not(None)) for row in (DocumentRow, KnowledgeBaseRow)]
    with database.read() as session:
        documents, *clean_ups = (session.scalar(statement) or 0 for statement in (queued, *deleted))
    return QueueDepth(documents, sum(clean_ups))


def newest_collections(database: Database, limit: int) -> list[str]:
    """The Milvus collections of the newest knowledge bases that can answer."""
    can_answer = sa.exists().where(
        DocumentRow.knowledge_base_id == KnowledgeBaseRow.id, DocumentRow.live_version_id.is_not(None)
    )
    statement = (
        sa.select(KnowledgeBaseRow.collection)
        .where(KnowledgeBaseRow.deleted_at.is_(None), can_answer)
        .order_by(KnowledgeBaseRow.created_at.desc())
        .limit(limit)
    )
    with database.read() as session:
        return list(session.scalars(statement))
