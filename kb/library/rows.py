"""Rows of the database as the domain's dataclasses."""

from dataclasses import fields
from typing import Any

from sqlalchemy import Row

from kb.database.tables import DocumentRow, KnowledgeBaseRow, VersionRow
from kb.models import Document, IndexSettings, KnowledgeBase, RetrievalProfile, Version, VersionState

_PROFILE_SETTINGS = {field.name for field in fields(RetrievalProfile)}


def to_knowledge_base(row: KnowledgeBaseRow | Row[Any], documents: int = 0, ready: int = 0) -> KnowledgeBase:
    return KnowledgeBase(
        id=row.id,
        owner_id=row.owner_id,
        name=row.name,
        collection=row.collection,
        embedding_model=row.embedding_model,
        dimension=row.dimension,
        index=IndexSettings(**row.index_settings),
        profile=to_profile(row.profile),
        created_at=row.created_at,
        document_count=documents,
        ready_count=ready,
    )


def to_profile(stored: dict[str, Any]) -> RetrievalProfile:
    """A stored profile; settings it does not name (older than they are) take their defaults."""
    return RetrievalProfile(**{name: value for name, value in stored.items() if name in _PROFILE_SETTINGS})


def to_version(row: VersionRow) -> Version:
    return Version(
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
    )


def to_document(row: DocumentRow, version: VersionRow) -> Document:
    return Document(
        id=row.id,
        knowledge_base_id=row.knowledge_base_id,
        name=row.name,
        live_version_id=row.live_version_id,
        created_at=row.created_at,
        latest=to_version(version),
    )
