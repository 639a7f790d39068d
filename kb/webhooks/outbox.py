"""Events, which are written in the transaction of what they tell of: one delivery for each webhook that wants them."""

from __future__ import annotations

import json
from collections.abc import Collection
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa

from kb.access import is_viewed_by
from kb.database.tables import (
    api_keys,
    documents,
    knowledge_bases,
    now,
    users,
    versions,
    webhook_bases,
    webhook_deliveries,
    webhooks,
)
from kb.models import KnowledgeBaseKind, VersionState


class Event(StrEnum):
    """What programs are told of. Stored, and a contract with them: a name is never changed."""

    DOCUMENT_READY = "document.ready"
    DOCUMENT_FAILED = "document.failed"
    DOCUMENT_CANCELLED = "document.cancelled"
    DOCUMENT_UNSEARCHABLE = "document.unsearchable"  # a ready one lacks chunks in Milvus
    DOCUMENT_FILE_MISSING = "document.file_missing"  # of a ready one
    CLEAN_UP_FAILED = "clean_up.failed"  # of what was deleted: it is tried again
    TEST = "webhook.test"


_ENDS = {
    VersionState.READY.value: Event.DOCUMENT_READY,
    VersionState.FAILED.value: Event.DOCUMENT_FAILED,
    VersionState.CANCELLED.value: Event.DOCUMENT_CANCELLED,
}


def has_valid_key(moment: Any) -> sa.ColumnElement[bool]:
    """Whether the key that made a webhook, if one did, is neither revoked nor expired."""
    valid = sa.select(api_keys.c.id).where(
        api_keys.c.revoked_at.is_(None), sa.or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > moment)
    )
    return sa.or_(webhooks.c.key_id.is_(None), webhooks.c.key_id.in_(valid))


def is_open(moment: Any) -> sa.ColumnElement[bool]:
    """Whether a webhook is served: it is not disabled, its user may sign in, and the key that made it is valid."""
    return sa.and_(
        webhooks.c.disabled_at.is_(None),
        webhooks.c.user_id.in_(sa.select(users.c.id).where(users.c.suspended_at.is_(None))),
        has_valid_key(moment),
    )


# The usual case: nobody wants to know.
_ANY = sa.select(webhooks.c.id).limit(1)
_WANTING = (
    sa.select(webhooks.c.id, webhooks.c.events)
    .select_from(webhooks)
    .join(knowledge_bases, knowledge_bases.c.id == sa.bindparam("of_knowledge_base"))
    .where(
        knowledge_bases.c.kind == KnowledgeBaseKind.LIBRARY.value,
        is_open(sa.bindparam("moment", type_=webhooks.c.created_at.type)),
        is_viewed_by(webhooks.c.user_id, webhooks.c.limiting_key_id),
        sa.or_(
            sa.not_(webhooks.c.is_limited),
            webhooks.c.id.in_(
                sa.select(webhook_bases.c.webhook_id).where(
                    webhook_bases.c.knowledge_base_id == sa.bindparam("of_knowledge_base")
                )
            ),
        ),
    )
    # Held until the event is written: a webhook that its user deletes meanwhile must not fail what the event tells of.
    .with_for_update(of=webhooks, read=True, key_share=True)
)
_VERSION = (
    sa.select(versions, documents.c.name, documents.c.knowledge_base_id, documents.c.live_version_id)
    .join(documents, documents.c.id == versions.c.document_id)
    .join(knowledge_bases, knowledge_bases.c.id == documents.c.knowledge_base_id)
    .where(
        versions.c.id == sa.bindparam("of_version"),
        documents.c.deleted_at.is_(None),
        knowledge_bases.c.deleted_at.is_(None),
    )
)
# Whether a delivery, joined with its webhook, may still be sent: attempts go on for days, and its user or key may have
# lost the knowledge base meanwhile. What tells of something deleted is told of a deleted knowledge base, too.
MAY_TELL = sa.or_(
    webhook_deliveries.c.knowledge_base_id.is_(None),
    sa.exists().where(
        knowledge_bases.c.id == webhook_deliveries.c.knowledge_base_id,
        is_viewed_by(webhooks.c.user_id, webhooks.c.limiting_key_id),
        sa.or_(knowledge_bases.c.deleted_at.is_(None), webhook_deliveries.c.event == Event.CLEAN_UP_FAILED.value),
    ),
)


def tell_ended(connection: sa.Connection, version_id: UUID) -> None:
    """Of a version that has become ready or failed, or was cancelled."""
    if connection.scalar(_ANY) is None:
        return
    row = connection.execute(_VERSION, {"of_version": version_id}).one_or_none()
    if row is None or row.listed_in is None:  # deleted or replaced meanwhile
        return
    ended = {"state": row.state, "is_searchable": row.live_version_id is not None, "error": row.error}
    tell(connection, _ENDS[row.state], row.knowledge_base_id, _described(row) | ended)


def tell_lacking(connection: sa.Connection, event: Event, version_ids: Collection[UUID]) -> None:
    """Of ready versions that were found to lack something."""
    if not version_ids or connection.scalar(_ANY) is None:
        return
    for version_id in version_ids:
        row = connection.execute(_VERSION, {"of_version": version_id}).one_or_none()
        if row:
            lacking = {"missing_chunks": row.missing_chunks, "file_missing": row.file_missing}
            tell(connection, event, row.knowledge_base_id, _described(row) | lacking)


def _described(row: sa.Row[Any]) -> dict[str, Any]:
    """What every event of a document says of it."""
    return {
        "document_id": str(row.document_id),
        "knowledge_base_id": str(row.knowledge_base_id),
        "name": row.name,
        "chunks": row.chunks,
        "size_bytes": row.size_bytes,
    }


def tell_clean_up_failed(
    connection: sa.Connection, knowledge_base_id: UUID, document_id: UUID | None, error: str
) -> None:
    if connection.scalar(_ANY) is not None:
        data = {"knowledge_base_id": str(knowledge_base_id), "error": error}
        data |= {"document_id": str(document_id)} if document_id else {}
        tell(connection, Event.CLEAN_UP_FAILED, knowledge_base_id, data)


def tell(connection: sa.Connection, event: Event, knowledge_base_id: UUID, data: dict[str, Any]) -> None:
    """Those that want it and whose users may view the knowledge base."""
    of = {"of_knowledge_base": knowledge_base_id, "moment": now()}
    wanting = [row.id for row in connection.execute(_WANTING, of) if not row.events or event.value in row.events]
    if wanting:
        rows = [new_delivery(each, event, data, knowledge_base_id) for each in wanting]
        connection.execute(sa.insert(webhook_deliveries), rows)


def new_delivery(
    webhook_id: UUID, event: Event, data: dict[str, Any], knowledge_base_id: UUID | None = None
) -> dict[str, Any]:
    """Its row. What is sent is fixed here, and the same at each attempt."""
    moment = now()
    body = json.dumps({"type": event.value, "timestamp": moment.isoformat(), "data": data}, ensure_ascii=False)
    row = {"id": uuid4(), "webhook_id": webhook_id, "event": event.value, "body": body}
    return row | {"knowledge_base_id": knowledge_base_id, "created_at": moment, "due_at": moment}
