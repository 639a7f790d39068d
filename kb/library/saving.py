"""A file that arrives becomes a version: it is saved, and its row says what it is."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from kb.database.tables import FOLDED_CHARACTERS, now
from kb.effort import effort_of
from kb.library.files import FileStore, Source
from kb.models import Version, VersionState
from kb.names import fold
from kb.parsing import detect_media_type


def save_version(
    files: FileStore,
    knowledge_base_id: UUID,
    document_id: UUID,
    name: str,
    source: Source,
    new_id: UUID | None = None,
) -> dict[str, Any]:
    """Save the file durably. Returns the row of its version, queued and in the knowledge base's list.

    Errors: `FileNotSaved`; whatever `source` raises.
    """
    version_id, moment = new_id or uuid4(), now()
    key = files.key(knowledge_base_id, version_id)
    saved = files.save(key, name, source)
    media_type = detect_media_type(files.path(key, name), name)
    return {
        "id": version_id,
        "document_id": document_id,
        "listed_in": knowledge_base_id,
        "folded_name": fold(name)[:FOLDED_CHARACTERS],
        "state": VersionState.QUEUED.value,
        "file_key": key,
        "created_at": moment,
        "size_bytes": saved.size_bytes,
        "sha256": saved.sha256,
        "media_type": media_type,
        "effort": effort_of(media_type, saved.size_bytes),
    }


def to_version(row: dict[str, Any]) -> Version:
    """Of a row of `save_version`."""
    return Version(
        *(row["id"], row["document_id"], VersionState.QUEUED, row["file_key"], row["size_bytes"]),
        created_at=row["created_at"],
        media_type=row["media_type"],
    )
