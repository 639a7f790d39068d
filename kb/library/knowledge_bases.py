"""Knowledge bases: create, list, rename, delete."""

from __future__ import annotations

from dataclasses import asdict
from uuid import UUID, uuid4

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from kb.database import Database
from kb.database.tables import DocumentRow, KnowledgeBaseRow, VersionRow, now
from kb.errors import NameTaken, RedisUnavailable
from kb.library.access import own_knowledge_base
from kb.library.names import clean_name
from kb.library.rows import to_knowledge_base
from kb.models import IndexSettings, KnowledgeBase, RetrievalProfile
from kb.queue import Queue

log = structlog.get_logger()


class KnowledgeBases:
    """The knowledge bases of each user."""

    def __init__(self, database: Database, queue: Queue) -> None:
        self._database = database
        self._queue = queue

    def create(self, user_id: UUID, name: str, embedding_model: str, dimension: int) -> KnowledgeBase:
        """A new, empty knowledge base. Errors: `InvalidName`, `NameTaken`."""
        knowledge_base_id = uuid4()
        row = KnowledgeBaseRow(
            id=knowledge_base_id,
            owner_id=user_id,
            name=clean_name(name),
            collection=f"kb_{knowledge_base_id.hex}",
            embedding_model=embedding_model,
            dimension=dimension,
            index_settings=asdict(IndexSettings()),
            profile=asdict(RetrievalProfile()),
        )
        try:
            with self._database.write() as session:
                session.add(row)
        except IntegrityError as error:
            raise NameTaken(name=row.name) from error
        return to_knowledge_base(row)

    def get(self, user_id: UUID, knowledge_base_id: UUID) -> KnowledgeBase:
        with self._database.read() as session:
            row = own_knowledge_base(session, user_id, knowledge_base_id)
            counts = _counts(session, [row.id])
            return to_knowledge_base(row, *counts.get(row.id, (0, 0)))

    def list(self, user_id: UUID) -> list[KnowledgeBase]:
        """All of a user's, by name."""
        statement = (
            sa.select(KnowledgeBaseRow)
            .where(KnowledgeBaseRow.owner_id == user_id, KnowledgeBaseRow.deleted_at.is_(None))
            .order_by(KnowledgeBaseRow.name)
        )
        with self._database.read() as session:
            rows = session.scalars(statement).all()
            counts = _counts(session, [row.id for row in rows])
            return [to_knowledge_base(row, *counts.get(row.id, (0, 0))) for row in rows]

    def rename(self, user_id: UUID, knowledge_base_id: UUID, name: str) -> None:
        """Errors: `NotFound`, `InvalidName`, `NameTaken`."""
        cleaned = clean_name(name)
        try:
            with self._database.write() as session:
                own_knowledge_base(session, user_id, knowledge_base_id).name = cleaned
        except IntegrityError as error:
            raise NameTaken(name=cleaned) from error

    def delete(self, user_id: UUID, knowledge_base_id: UUID) -> None:
        """Gone for everyone from here on; a worker then clears Milvus and the disk."""
        with self._database.write() as session:
            row = own_knowledge_base(session, user_id, knowledge_base_id, lock=True)
            row.deleted_at = now()
            row.name = f"{row.id}"  # its name is free again at once
            own_documents = sa.select(DocumentRow.id).where(DocumentRow.knowledge_base_id == row.id)
            session.execute(
                sa.update(VersionRow).where(VersionRow.document_id.in_(own_documents)).values(cancel_requested=True)
            )
        try:
            self._queue.send_clear_knowledge_base(knowledge_base_id)
        except RedisUnavailable as error:  # the reaper sends it
            log.warning("clear_knowledge_base.unsent", knowledge_base=str(knowledge_base_id), reason=str(error))


def _counts(session: Session, ids: list[UUID]) -> dict[UUID, tuple[int, int]]:
    """Documents, and those that answer questions, of each knowledge base."""
    ready = sa.func.count(DocumentRow.live_version_id)
    statement = (
        sa.select(DocumentRow.knowledge_base_id, sa.func.count(), ready)
        .where(DocumentRow.knowledge_base_id.in_(ids), DocumentRow.deleted_at.is_(None))
        .group_by(DocumentRow.knowledge_base_id)
    )
    return {key: (total, live) for key, total, live in session.execute(statement)}
