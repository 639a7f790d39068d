"""The rows of knowledge bases, documents and versions that a principal may see, and their dataclasses."""

from __future__ import annotations

from dataclasses import fields
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from kb.access import KeyScope, Permission, Principal, can, permission_on
from kb.database.tables import documents, knowledge_bases, versions
from kb.errors import N_, EditNotAllowed, NotFound, OutOfScope, OwnerOnly
from kb.formats import Unreadable, from_json
from kb.models import (
    Document,
    IndexSettings,
    KnowledgeBase,
    KnowledgeBaseKind,
    RetrievalProfile,
    Version,
    VersionState,
)
from kb.notes import Notes

# For the translators: what `NotFound` can be about.
KNOWLEDGE_BASE = N_("knowledge base")
DOCUMENT = N_("document")

_VERSION_FIELDS = tuple(field.name for field in fields(Version))
# A document with its newest version; both have columns of the same names.
DOCUMENT_COLUMNS = (
    *(documents.c[name].label(f"document_{name}") for name in ("name", "knowledge_base_id", "live_version_id")),
    documents.c.created_at.label("document_created_at"),
    *(versions.c[name] for name in _VERSION_FIELDS),
)

# Built once: each upload and each question needs them.
_IS_SEEN = sa.and_(can(Permission.VIEW, knowledge_bases), knowledge_bases.c.deleted_at.is_(None))
_PERMISSION = permission_on(knowledge_bases).label("permission")
_KNOWLEDGE_BASE: sa.Select[Any] = sa.select(knowledge_bases, _PERMISSION).where(
    knowledge_bases.c.id == sa.bindparam("of_knowledge_base"), _IS_SEEN
)
# Not against checks of foreign keys (`FOR NO KEY UPDATE`): PostgreSQL checks them again when a transaction updates a
# row twice, as a deletion does with the counters. A registration, which waits for the counters, would wait for ever.
_KNOWLEDGE_BASE_LOCKED = _KNOWLEDGE_BASE.with_for_update(key_share=True)
_DOCUMENT: sa.Select[Any] = (
    sa.select(*DOCUMENT_COLUMNS, knowledge_bases.c.collection, knowledge_bases.c.owner_id, _PERMISSION)
    .select_from(documents)
    .join(versions, sa.and_(versions.c.document_id == documents.c.id, versions.c.listed_in.is_not(None)))
    .join(knowledge_bases, knowledge_bases.c.id == documents.c.knowledge_base_id)
    .where(documents.c.id == sa.bindparam("of_document"), documents.c.deleted_at.is_(None), _IS_SEEN)
)
_LOCK_DOCUMENT = (
    sa.select(documents.c.id).where(documents.c.id == sa.bindparam("of_document")).with_for_update(key_share=True)
)
# The document before the version, as `Claims.switch` does: in another order the two would wait for each other.
_DOCUMENT_LOCKED = _DOCUMENT.with_for_update(of=(documents, versions), key_share=True)

_VERSION: sa.Select[Any] = (
    sa.select(
        *(documents.c[name] for name in ("name", "knowledge_base_id", "live_version_id")),
        *(versions.c[name] for name in ("id", "document_id", "file_key", "media_type")),
    )
    .join(versions, versions.c.document_id == documents.c.id)
    .join(knowledge_bases, knowledge_bases.c.id == documents.c.knowledge_base_id)
    .where(versions.c.id == sa.bindparam("of_version"), documents.c.deleted_at.is_(None), _IS_SEEN)
)


def find_knowledge_base(
    connection: sa.Connection,
    principal: Principal,
    knowledge_base_id: UUID,
    permission: Permission = Permission.VIEW,
    lock: bool = False,
) -> sa.Row[Any]:
    """The row of one that is not deleted. `lock`: nobody changes it meanwhile.

    Errors: `NotFound` if `principal` may not even view it; those of `require` without the `permission`.
    """
    of = {"of_knowledge_base": knowledge_base_id} | principal.binds
    found = connection.execute(_KNOWLEDGE_BASE_LOCKED if lock else _KNOWLEDGE_BASE, of).one_or_none()
    if found is None:
        raise NotFound(what=KNOWLEDGE_BASE)
    require(principal, permission, found.permission, KNOWLEDGE_BASE)
    return found


def find_document(
    connection: sa.Connection,
    principal: Principal,
    document_id: UUID,
    permission: Permission = Permission.VIEW,
    lock: bool = False,
) -> sa.Row[Any]:
    """The document with its newest version and its collection. `lock`: nobody changes either meanwhile.

    The permission is that on its knowledge base. Errors: as for `find_knowledge_base`.
    """
    of = {"of_document": document_id} | principal.binds
    if lock:
        # By itself first: who waits for the newest version's row, finds it replaced, and not the one that replaced it.
        connection.execute(_LOCK_DOCUMENT, {"of_document": document_id})
    found = connection.execute(_DOCUMENT_LOCKED if lock else _DOCUMENT, of).one_or_none()
    if found is None:
        raise NotFound(what=DOCUMENT)
    require(principal, permission, found.permission, DOCUMENT)
    return found


def find_version(connection: sa.Connection, principal: Principal, version_id: UUID) -> sa.Row[Any]:
    """One version's file, with its document's name. Errors: `NotFound` if it is deleted or may not be viewed."""
    found = connection.execute(_VERSION, {"of_version": version_id} | principal.binds).one_or_none()
    if found is None:
        raise NotFound(what=DOCUMENT)
    return found


def require(principal: Principal, wanted: Permission, held: str, what: str) -> None:
    """Errors: `OutOfScope` of a key, whatever its user may do; `EditNotAllowed`, `OwnerOnly`."""
    if not principal.most.includes(wanted):
        raise OutOfScope(scope=KeyScope.ADMIN if wanted is Permission.OWN else KeyScope.WRITE)
    if not Permission(held).includes(wanted):
        raise OwnerOnly(what=what) if wanted is Permission.OWN else EditNotAllowed(what=what)


def to_knowledge_base(row: sa.Row[Any], documents: int = 0, ready: int = 0, unsearchable: int = 0) -> KnowledgeBase:
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
        unsearchable_count=unsearchable,
        kind=KnowledgeBaseKind(row.kind),
        prompt=row.prompt,
        permission=Permission(getattr(row, "permission", Permission.OWN)),
        owner_name=getattr(row, "owner_name", ""),
    )


def to_document(row: sa.Row[Any]) -> Document:
    """Of a row of `DOCUMENT_COLUMNS`."""
    version = {name: getattr(row, name) for name in _VERSION_FIELDS}
    try:
        version["notes"] = from_json(Notes, row.notes).notes
    except Unreadable:  # a later release's
        version["notes"] = ()
    return Document(
        id=row.document_id,
        knowledge_base_id=row.document_knowledge_base_id,
        name=row.document_name,
        live_version_id=row.document_live_version_id,
        created_at=row.document_created_at,
        latest=Version(**version | {"state": VersionState(row.state)}),
    )
