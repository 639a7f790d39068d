"""Clearing what SQL no longer lists: chunks in Milvus and files on disk.

Each step may run twice, or after a crash in its middle: what is to be cleared is read from SQL, and the row
goes last.
"""

from __future__ import annotations

from uuid import UUID

import sqlalchemy as sa
import structlog

from kb.database import Database
from kb.database.tables import DocumentRow, KnowledgeBaseRow, VersionRow
from kb.ingestion.claims import RUNNING
from kb.library import FileStore
from kb.models import VersionState
from kb.vectors import VectorStore

GIVEN_UP = (VersionState.FAILED.value, VersionState.CANCELLED.value)

log = structlog.get_logger()


class Cleanup:
    def __init__(self, database: Database, vectors: VectorStore, files: FileStore) -> None:
        self._database = database
        self._vectors = vectors
        self._files = files

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
            if row is None or row.deleted_at is None:
                return
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
            if document is None or document.deleted_at is None:
                return
            collection = session.get_one(KnowledgeBaseRow, document.knowledge_base_id).collection
            versions = session.scalars(sa.select(VersionRow).where(VersionRow.document_id == document_id)).all()
        if any(version.chunks_digest for version in versions):
            self._vectors.delete_document(collection, document_id)
            self._vectors.flush(collection)
        for version in versions:
            self._files.delete(version.file_key)
        with self._database.write() as session:
            session.execute(sa.delete(DocumentRow).where(DocumentRow.id == document_id))
        log.info("document.cleared", document=str(document_id))

    def clear_version(self, version_id: UUID) -> None:
        """Delete the chunks of a failed or cancelled version; its row and file stay, so that it can be retried."""
        statement = (
            sa.select(VersionRow.state, VersionRow.chunks_digest, KnowledgeBaseRow.collection)
            .join(DocumentRow, DocumentRow.id == VersionRow.document_id)
            .join(KnowledgeBaseRow, KnowledgeBaseRow.id == DocumentRow.knowledge_base_id)
            .where(VersionRow.id == version_id)
        )
        with self._database.read() as session:
            found = session.execute(statement).one_or_none()
        if found is None or found.state not in GIVEN_UP or not found.chunks_digest:
            return
        self._vectors.delete_version(found.collection, version_id)
        with self._database.write() as session:
            session.execute(
                sa.update(VersionRow)
                .where(VersionRow.id == version_id, VersionRow.state.in_(GIVEN_UP))
                .values(stored_chunks=0, chunks_digest="")
            )
