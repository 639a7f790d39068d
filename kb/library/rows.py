"""Rows of the database as the domain's dataclasses."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from kb.database.tables import documents, versions
from kb.formats import from_json
from kb.models import Document, IndexSettings, KnowledgeBase, RetrievalProfile, Version, VersionState

# A document with its newest version; both have columns of the same names.
DOCUMENT_COLUMNS = (
    *(documents.c[name].label(f"document_{name}") for name in ("name", "knowledge_base_id", "live_version_id")),
    documents.c.created_at.label("document_created_at"),
    *versions.c,
)


def to_knowledge_base(row: sa.Row[Any], documents: int = 0, ready: int = 0) -> KnowledgeBase:
    return KnowledgeBase(
        id=row.id,
        owner_id=row.owner_id,
        name=row.name,
        collection=row.collection,
        embedding_model=row.embedding_model,
        dimension=row.dimension,
        index=from_json(IndexSettings, row.index_settings),
        profile=from_json(RetrievalProfile, row.profile),
        created_at=row.created_at,
        document_count=documents,
        ready_count=ready,
    )


def to_document(row: sa.Row[Any]) -> Document:
    """Of a row of `DOCUMENT_COLUMNS`."""
    return Document(
        id=row.document_id,
        knowledge_base_id=row.document_knowledge_base_id,
        name=row.document_name,
        live_version_id=row.document_live_version_id,
        created_at=row.document_created_at,
        latest=Version(
            id=row.id,
            document_id=row.document_id,
            state=VersionState(row.state),
            file_key=row.file_key,
            size_bytes=row.size_bytes,
            created_at=row.created_at,
            attempts=row.attempts,
            crashes=row.crashes,
            pages=row.pages,
            chunks=row.chunks,
            stored_chunks=row.stored_chunks,
            error=row.error,
            error_values=row.error_values,
            retry_at=row.retry_at,
            heartbeat_at=row.heartbeat_at,
            started_at=row.started_at,
            finished_at=row.finished_at,
            sent_at=row.sent_at,
            cancel_requested=row.cancel_requested,
        ),
    )
