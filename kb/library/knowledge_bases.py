"""Knowledge bases: create, list, rename, delete."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from uuid import UUID, uuid4

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import IntegrityError

from kb.access import KeyScope, Permission, Principal, can, permission_on, require_scope
from kb.audit import Action, record
from kb.database import Database
from kb.database.locks import lock_rows
from kb.database.tables import document_counts, documents, knowledge_bases, now, users, versions
from kb.errors import NameTaken, NotFound, RedisUnavailable
from kb.formats import to_json
from kb.library.rows import KNOWLEDGE_BASE, find_knowledge_base, to_knowledge_base
from kb.models import IndexSettings, KnowledgeBase, KnowledgeBaseKind, RetrievalProfile
from kb.names import clean_name
from kb.prompt_templates import clean_template
from kb.queue import Queue

log = structlog.get_logger()

_COUNTED = ("documents", "answering", "unsearchable")
_SEEN = (
    sa.select(
        knowledge_bases,
        permission_on(knowledge_bases).label("permission"),
        users.c.name.label("owner_name"),
        *(document_counts.c[name] for name in _COUNTED),
    )
    .join(document_counts, document_counts.c.knowledge_base_id == knowledge_bases.c.id)
    .join(users, knowledge_bases.c.owner_id == users.c.id)
    .where(can(Permission.VIEW, knowledge_bases), knowledge_bases.c.deleted_at.is_(None))
)
_ONE = _SEEN.where(knowledge_bases.c.id == sa.bindparam("of_knowledge_base"))
_SOME = _SEEN.where(knowledge_bases.c.id.in_(sa.bindparam("of_knowledge_bases", expanding=True)))
_ALL = _SEEN.where(knowledge_bases.c.kind == KnowledgeBaseKind.LIBRARY.value).order_by(knowledge_bases.c.name)


class KnowledgeBases:
    """The knowledge bases of each user."""

    def __init__(self, database: Database, queue: Queue) -> None:
        self._database = database
        self._queue = queue

    def create(
        self,
        principal: Principal,
        name: str,
        embedding_model: str,
        dimension: int | None = None,
        new_id: UUID | None = None,
    ) -> KnowledgeBase:
        """A new, empty knowledge base; a worker finds an unknown `dimension` (see `settle_dimension`).

        With `new_id`, the one that was created with it already, if there is one.
        Errors: `InvalidName`, `NameTaken`, `OutOfScope`.
        """
        require_scope(principal, KeyScope.WRITE, is_for_all=True)
        knowledge_base_id, cleaned = new_id or uuid4(), clean_name(name)
        created = KnowledgeBase(
            id=knowledge_base_id,
            owner_id=principal.user_id,
            name=cleaned,
            collection=f"kb_{knowledge_base_id.hex}",
            embedding_model=embedding_model,
            dimension=dimension,
            index=IndexSettings(),
            profile=RetrievalProfile(),
            created_at=now(),
        )
        try:
            with self._database.write() as connection:
                insert_knowledge_base(connection, created)
        except IntegrityError as error:
            try:
                return self.get(principal, knowledge_base_id)
            except NotFound:
                raise NameTaken(name=cleaned) from error
        return created

    def get(self, principal: Principal, knowledge_base_id: UUID) -> KnowledgeBase:
        with self._database.read() as connection:
            of = {"of_knowledge_base": knowledge_base_id} | principal.binds
            row = connection.execute(_ONE, of).one_or_none()
        if row is None:
            raise NotFound(what=KNOWLEDGE_BASE)
        return to_knowledge_base(row, row.documents, row.answering, row.unsearchable)

    def find(self, principal: Principal, knowledge_base_ids: Iterable[UUID]) -> list[KnowledgeBase]:
        """Those of `knowledge_base_ids` that the principal may view, each once, in this order."""
        wanted = list(dict.fromkeys(knowledge_base_ids))
        with self._database.read() as connection:
            rows = connection.execute(_SOME, {"of_knowledge_bases": wanted} | principal.binds).all()
        found = {row.id: to_knowledge_base(row, row.documents, row.answering, row.unsearchable) for row in rows}
        return [found[each] for each in wanted if each in found]

    def list(self, principal: Principal) -> list[KnowledgeBase]:
        """All that the principal may view, by name, without those of attached files."""
        with self._database.read() as connection:
            rows = connection.execute(_ALL, principal.binds).all()
        return [to_knowledge_base(row, row.documents, row.answering, row.unsearchable) for row in rows]

    def rename(self, principal: Principal, knowledge_base_id: UUID, name: str) -> None:
        """Errors: `NotFound`, `InvalidName`, `NameTaken`."""
        self.change(principal, knowledge_base_id, name=name)

    def set_prompt(self, principal: Principal, knowledge_base_id: UUID, template: str) -> None:
        """Give it a prompt of its own; empty: the default one. Errors: `NotFound`, `InvalidPrompt`."""
        self.change(principal, knowledge_base_id, template=template)

    def change(
        self, principal: Principal, knowledge_base_id: UUID, name: str | None = None, template: str | None = None
    ) -> None:
        """`rename` and `set_prompt`, or neither of them; None: it stays as it is."""
        cleaned = None if name is None else clean_name(name)
        prompt = clean_template(template) if template and template.strip() else ""
        try:
            with self._database.write() as connection:
                base = find_knowledge_base(connection, principal, knowledge_base_id, Permission.EDIT, lock=True)
                if template is not None:
                    connection.execute(_change(knowledge_base_id).values(prompt=prompt))
                    record(connection, principal, Action.PROMPT_CHANGED, knowledge_base_id, base.name)
                if cleaned is not None:
                    connection.execute(_change(knowledge_base_id).values(name=cleaned))
                    renamed = Action.KNOWLEDGE_BASE_RENAMED
                    record(connection, principal, renamed, knowledge_base_id, cleaned, before=base.name)
        except IntegrityError as error:
            raise NameTaken(name=cleaned) from error

    def named(self, principal: Principal, name: str) -> KnowledgeBase | None:
        """By its name, in any case, or by its id. The principal's own goes before one that is shared with them."""
        return find_named(self.list(principal), principal, name)

    def delete(self, principal: Principal, knowledge_base_id: UUID) -> None:
        """Hide the knowledge base from everyone; a worker then clears Milvus and the disk."""
        with self._database.write() as connection:
            base = find_knowledge_base(connection, principal, knowledge_base_id, Permission.OWN, lock=True)
            mark_deleted(connection, knowledge_base_id)
            record(connection, principal, Action.KNOWLEDGE_BASE_DELETED, knowledge_base_id, base.name)
        try:
            self._queue.send_clear_knowledge_base(knowledge_base_id)
        except RedisUnavailable as error:  # the reaper sends it
            log.warning("clear_knowledge_base.unsent", knowledge_base=str(knowledge_base_id), reason=str(error))


def find_named(bases: Sequence[KnowledgeBase], principal: Principal, name: str) -> KnowledgeBase | None:
    """The one of `bases` that `KnowledgeBases.named` finds."""
    wanted = " ".join(name.split())
    for is_wanted in (
        lambda base: base.name == wanted,
        lambda base: base.name.casefold() == wanted.casefold(),
        lambda base: str(base.id) == wanted.lower(),
    ):
        if found := list(filter(is_wanted, bases)):
            return min(found, key=lambda base: base.owner_id != principal.user_id)
    return None


def insert_knowledge_base(connection: sa.Connection, created: KnowledgeBase) -> None:
    """Store a new knowledge base with its counters. Errors: `IntegrityError` if its name is taken."""
    row = {
        "id": created.id,
        "owner_id": created.owner_id,
        "name": created.name,
        "collection": created.collection,
        "embedding_model": created.embedding_model,
        "dimension": created.dimension,
        "index_settings": to_json(created.index),
        "profile": to_json(created.profile),
        "kind": created.kind.value,
        "created_at": created.created_at,
    }
    connection.execute(sa.insert(knowledge_bases), row)
    connection.execute(sa.insert(document_counts), {"knowledge_base_id": created.id})


def settle_dimension(database: Database, base: KnowledgeBase, dimension: int) -> KnowledgeBase:
    """`base` with the dimension that its first vectors gave it: `dimension`, unless another worker was first.

    Attached files then get the Milvus collection of that dimension. Errors: `NotFound` if the row is gone.
    """
    collection = base.collection
    if base.kind is KnowledgeBaseKind.ATTACHMENTS:
        collection = shared_collection(base.embedding_model, dimension)
    settle = _change(base.id).where(knowledge_bases.c.dimension.is_(None))
    stored = sa.select(knowledge_bases.c.dimension, knowledge_bases.c.collection).where(knowledge_bases.c.id == base.id)
    with database.write() as connection:
        connection.execute(settle.values(dimension=dimension, collection=collection))
        row = connection.execute(stored).one_or_none()
    if row is None:
        raise NotFound(what=KNOWLEDGE_BASE)
    return replace(base, dimension=row.dimension, collection=row.collection)


def shared_collection(model: str, dimension: int | None) -> str:
    """The Milvus collection of all attached files that this model has embedded.

    Without a dimension, a name of which there is never a collection: nothing is stored yet.
    """
    name = f"attachments_{hashlib.sha256(model.encode()).hexdigest()[:16]}"
    return name if dimension is None else f"{name}_{dimension}"


def mark_deleted(connection: sa.Connection, knowledge_base_id: UUID) -> None:
    """Hide a knowledge base from everyone and stop its ingestion; its name is free again at once."""
    base, are_its_own = knowledge_bases.c.id == knowledge_base_id, documents.c.knowledge_base_id == knowledge_base_id
    of_documents = versions.c.document_id.in_(sa.select(documents.c.id).where(are_its_own))
    # In the order in which others lock them, and the name, which blocks checks of foreign keys, at the end. Whoever
    # queues a version of a document at this moment has ended then.
    lock_rows(connection, knowledge_bases, base)
    lock_rows(connection, documents, are_its_own)
    lock_rows(connection, versions, of_documents)
    connection.execute(sa.update(versions).where(of_documents).values(cancel_requested=True))
    connection.execute(_change(knowledge_base_id).values(deleted_at=now(), name=str(knowledge_base_id)))


def _change(knowledge_base_id: UUID) -> sa.Update:
    return sa.update(knowledge_bases).where(knowledge_bases.c.id == knowledge_base_id)
