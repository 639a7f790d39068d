"""What waits for a worker, by SQL: a message only says that there is something to do."""

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
    queued = sa.select(sa.func.count()).where(VersionRow.state == VersionState.QUEUED.value)
    deleted = [sa.select(sa.func.count()).where(row.deleted_at.is_not(None)) for row in (DocumentRow, KnowledgeBaseRow)]
    with database.read() as session:
        documents, *clean_ups = (session.scalar(statement) or 0 for statement in (queued, *deleted))
    return QueueDepth(documents, sum(clean_ups))
