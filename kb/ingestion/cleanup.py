"""Clearing what SQL no longer lists: chunks in Milvus and files on disk.

Each step may run twice, or after a crash in its middle: what is to be cleared is read from SQL, and the row
goes last.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from kb.database import Database
from kb.database.tables import DocumentRow, KnowledgeBaseRow, VersionRow, now
from kb.errors import KbError
from kb.ingestion.claims import CLEARED, RUNNING, changed_rows
from kb.library import FileStore
from kb.models import VersionState
from kb.vectors import VectorStore

GIVEN_UP = [state.value for state in VersionState if state.is_given_up]
CLEARING = timedelta(minutes=5)  # longer than any wait for Milvus
LEFTOVERS = "left over"  # in place of a digest: something may be stored, and is good for nothing

log = structlog.get_logger()


class Cleanup:
    """Clears for one worker process, known as `owner`."""

    def __init__(self, database: Database, vectors: VectorStore, files: FileStore, owner: str) -> None:
        self._database = database
        self._vectors = vectors
        self._files = files
        self._owner = owner

    def pending(self) -> tuple[list[UUID], list[UUID]]:
        """Deleted knowledge bases and deleted documents that still wait to be cleared, without those being ingested."""
        busy = sa.select(VersionRow.document_id).where(VersionRow.state.in_(RUNNING))
        busy_bases = sa.select(DocumentRow.knowledge_base_id).where(DocumentRow.id.in_(busy))
        bases = sa.select(KnowledgeBaseRow.id).where(
            KnowledgeBaseRow.deleted_at.is_not(None), KnowledgeBaseRow.id.not_in(busy_bases)
        )
        documents = (
            sa.select(DocumentRow.id)
            .join(KnowledgeBaseRow)
            .where(
                DocumentRow.deleted_at.is_not(None),
                DocumentRow.id.not_in(busy),
                KnowledgeBaseRow.deleted_at.is_(None),
            )
        )
        with self._database.read() as session:
            return list(session.scalars(bases)), list(session.scalars(documents))

    def stale_versions(self) -> list[UUID]:
        """Given-up versions of which chunks may still be stored."""
        statement = sa.select(VersionRow.id).where(VersionRow.state.in_(GIVEN_UP), VersionRow.chunks_digest != "")
        with self._database.read() as session:
            return list(session.scalars(statement))

    def clear_knowledge_base(self, knowledge_base_id: UUID) -> None:
        """Drop a deleted knowledge base's Milvus collection, files and rows."""
        with self._database.read() as session:
            row = session.get(KnowledgeBaseRow, knowledge_base_id)
            own = DocumentRow.knowledge_base_id == knowledge_base_id
            if row is None or row.deleted_at is None or _is_busy(session, own):
                return  # if it is being ingested, that ends first; the reaper comes back
            collection = row.collection
        self._vectors.drop(collection)
        self._files.delete_knowledge_base(knowledge_base_id)
        with self._database.write() as session:
            session.execute(sa.delete(KnowledgeBaseRow).where(KnowledgeBaseRow.id == knowledge_base_id))
        log.info("knowledge_base.cleared", knowledge_base=str(knowledge_base_id))

    def clear_document(self, document_id: UUID) -> None:
        """Delete a deleted document's chunks, files and rows."""
        with self._database.read() as session:
            document = session.get(DocumentRow, document_id)
            if document is None or document.deleted_at is None or _is_busy(session, DocumentRow.id == document_id):
                return  # if it is being ingested, that ends first; the reaper comes back
            collection = session.get_one(KnowledgeBaseRow, document.knowledge_base_id).collection
            versions = session.scalars(sa.select(VersionRow).where(VersionRow.document_id == document_id)).all()
        if any(version.started_at for version in versions):
            self._vectors.delete_document(collection, document_id)
            self._vectors.flush(collection)
        for version in versions:
            self._files.delete(version.file_key)
        with self._database.write() as session:
            session.execute(sa.delete(DocumentRow).where(DocumentRow.id == document_id))
        log.info("document.cleared", document=str(document_id))

    def clear_version(self, version_id: UUID) -> None:
        """Delete the chunks of a failed or cancelled version; its row and file stay, so that it can be retried.

        Under a lease of its own: a retry that comes meanwhile waits until this is done.
        """
        lease = f"{self._owner}#clearing-{uuid4().hex[:8]}"
        collection = self._take(version_id, lease)
        if collection is None:
            return
        try:
            self._vectors.delete_version(collection, version_id)
        except KbError:
            self._give_back(version_id, lease)
            raise
        self._give_back(version_id, lease, chunks_digest="")

    def clear_leftovers(self, version_id: UUID, collection: str) -> None:
        """Clear what a worker stored after it had lost the version: it was suspended for longer than its lease.

        What another worker ingests now, or has ingested, has the same ids and is left alone.
        """
        given_back = VersionRow.state.in_(CLEARED)
        with self._database.write() as session:
            is_listed = session.get(VersionRow, version_id) is not None
            session.execute(
                sa.update(VersionRow)
                .where(VersionRow.id == version_id, given_back, VersionRow.chunks_digest == "")
                .values(chunks_digest=LEFTOVERS, stored_chunks=0)
            )
        if is_listed:
            self.clear_version(version_id)  # one that is queued again begins by deleting
        else:
            self._vectors.delete_version(collection, version_id)

    def _give_back(self, version_id: UUID, lease: str, **values: Any) -> None:
        with self._database.write() as session:
            session.execute(
                sa.update(VersionRow)
                .where(VersionRow.id == version_id, VersionRow.lease_owner == lease)
                .values(lease_owner="", lease_until=None, **values)
            )

    def _take(self, version_id: UUID, lease: str) -> str | None:
        """Lease a given-up version with stored chunks for clearing; its Milvus collection, or None."""
        moment = now()
        free = sa.or_(VersionRow.lease_until.is_(None), VersionRow.lease_until < moment)
        given_up = VersionRow.state.in_(GIVEN_UP)
        statement = (
            sa.update(VersionRow)
            .where(VersionRow.id == version_id, given_up, VersionRow.chunks_digest != "", free)
            # From here on none of them can be relied upon, even if this ends in the middle.
            .values(lease_owner=lease, lease_until=moment + CLEARING, stored_chunks=0)
            .execution_options(synchronize_session=False)
        )
        with self._database.write() as session:
            if changed_rows(session, statement) == 0:
                return None
            return session.scalar(
                sa.select(KnowledgeBaseRow.collection)
                .join(DocumentRow, DocumentRow.knowledge_base_id == KnowledgeBaseRow.id)
                .join(VersionRow, VersionRow.document_id == DocumentRow.id)
                .where(VersionRow.id == version_id)
            )


def _is_busy(session: Session, chosen: sa.ColumnElement[bool]) -> bool:
    """Whether a version of the chosen documents is being ingested."""
    statement = sa.select(VersionRow.id).join(DocumentRow).where(chosen, VersionRow.state.in_(RUNNING))
    return session.scalar(statement.limit(1)) is not None
