"""The versions of documents that answer, with where their text is."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from kb.access import Permission, Principal, can
from kb.database.tables import documents, knowledge_bases, versions


@dataclass(frozen=True, slots=True)
class LiveText:
    """`pages` is 0 for formats without pages. Milvus holds `chunks` of it in `collection`."""

    document_id: UUID
    name: str
    knowledge_base_id: UUID
    version_id: UUID
    collection: str
    pages: int
    chunks: int


_ORDER = (knowledge_bases.c.name, knowledge_bases.c.id, versions.c.folded_name, documents.c.id)


def live_texts(
    connection: sa.Connection,
    principal: Principal,
    knowledge_base_ids: Collection[UUID],
    document_ids: Collection[UUID],
    first: UUID | None = None,
    limit: int = 1,
) -> list[LiveText]:
    """Of these knowledge bases and these documents, as far as the principal may view them; by their names.

    Without `document_ids`, all of the knowledge bases; without `knowledge_base_ids`, the documents of any. The first
    ones, or those from the document `first` on; none if that is no longer there.
    """
    columns = (
        documents.c.id.label("document_id"),
        *(documents.c[name] for name in ("name", "knowledge_base_id")),
        versions.c.id.label("version_id"),
        knowledge_bases.c.collection,
        *(versions.c[name] for name in ("pages", "chunks")),
    )
    found = _joined(*columns).order_by(*_ORDER).limit(limit)
    found = found.where(
        can(Permission.VIEW, knowledge_bases, principal),
        knowledge_bases.c.deleted_at.is_(None),
        documents.c.deleted_at.is_(None),
    )
    if first:
        row = connection.execute(_joined(*_ORDER).where(documents.c.id == first)).one_or_none()
        if row is None:
            return []
        place = (sa.literal(value, column.type) for value, column in zip(row, _ORDER, strict=True))
        found = found.where(sa.tuple_(*_ORDER) >= sa.tuple_(*place))
    if knowledge_base_ids:
        found = found.where(documents.c.knowledge_base_id.in_(knowledge_base_ids))
    if document_ids or not knowledge_base_ids:
        found = found.where(documents.c.id.in_(document_ids))
    return [LiveText(**row._mapping) for row in connection.execute(found)]


def _joined(*columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    return (
        sa.select(*columns)
        .select_from(documents)
        .join(versions, versions.c.id == documents.c.live_version_id)
        .join(knowledge_bases, knowledge_bases.c.id == documents.c.knowledge_base_id)
    )
