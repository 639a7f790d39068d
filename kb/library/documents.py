"""Documents: register, list, retry, cancel, delete, and their chunks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, BinaryIO
from uuid import UUID, uuid4

import sqlalchemy as sa
import structlog

from kb.database import Database
from kb.database.tables import Base, DocumentRow, KnowledgeBaseRow, VersionRow, now
from kb.errors import KbError, RedisUnavailable, WrongState
from kb.library.access import own_document, own_knowledge_base, require_knowledge_base
from kb.library.files import FileStore
from kb.library.names import clean_label, clean_text
from kb.library.rows import to_document
from kb.models import Chunk, Document, DocumentOrder, Version, VersionState
from kb.queue import Queue
from kb.vectors import VectorStore

log = structlog.get_logger()

# Stated once: each upload needs all of them.
_versions = Base.metadata.tables["versions"]
_ADD_DOCUMENT = sa.insert(Base.metadata.tables["documents"])
_ADD_VERSION = sa.insert(_versions)
_MARK_SENT = sa.update(_versions).where(_versions.c.id == sa.bindparam("of_version"))


class Documents:
    """The documents of each user's knowledge bases."""

    def __init__(self, database: Database, files: FileStore, vectors: VectorStore, queue: Queue) -> None:
        self._database = database
        self._files = files
        self._vectors = vectors
        self._queue = queue

    def register(self, user_id: UUID, knowledge_base_id: UUID, name: str, source: BinaryIO) -> Document:
        """Keep an uploaded file, queue it and tell the workers. When this returns, no crash loses anything of it.

        `latest.sent_at` is None if the workers could not be told now; they find the file once all services are back.
        """
        with self._database.read() as session:
            require_knowledge_base(session, user_id, knowledge_base_id)
        document_id, version_id = uuid4(), uuid4()
        key = self._files.key(knowledge_base_id, version_id)
        size = self._files.save(key, name, source)
        label, moment = clean_label(name) or "?", now()
        version = Version(version_id, document_id, VersionState.QUEUED, key, size, created_at=moment)
        try:
            with self._database.transaction() as connection:
                # It may have been deleted meanwhile.
                require_knowledge_base(connection, user_id, knowledge_base_id, lock=True)
                row = {"id": document_id, "knowledge_base_id": knowledge_base_id, "name": label}
                connection.execute(_ADD_DOCUMENT, row | {"created_at": moment})
                row = {"id": version_id, "document_id": document_id, "state": version.state.value}
                connection.execute(_ADD_VERSION, row | {"file_key": key, "size_bytes": size, "created_at": moment})
        except KbError:
            self._files.delete(key)
            raise
        version = replace(version, sent_at=self._send(version_id))
        return Document(document_id, knowledge_base_id, label, None, created_at=moment, latest=version)

    def get(self, user_id: UUID, document_id: UUID) -> Document:
        with self._database.read() as session:
            return to_document(*own_document(session, user_id, document_id))

    def list(
        self,
        user_id: UUID,
        knowledge_base_id: UUID,
        offset: int = 0,
        limit: int = 50,
        states: Collection[VersionState] = tuple(VersionState),
        search: str = "",
        order: DocumentOrder = DocumentOrder.ACTIVITY,
    ) -> list[Document]:
        """Those in one of `states` whose name contains every word of `search`, in whatever case."""
        with self._database.read() as session:
            require_knowledge_base(session, user_id, knowledge_base_id)
            statement = _listed(knowledge_base_id, states, search).order_by(*_ORDERS[order]).offset(offset).limit(limit)
            return [to_document(document, version) for document, version in session.execute(statement)]

    def count(
        self,
        user_id: UUID,
        knowledge_base_id: UUID,
        states: Collection[VersionState] = tuple(VersionState),
        search: str = "",
    ) -> int:
        """How many documents `list` would find in all."""
        with self._database.read() as session:
            require_knowledge_base(session, user_id, knowledge_base_id)
            found = _listed(knowledge_base_id, states, search).subquery()
            return session.scalar(sa.select(sa.func.count()).select_from(found)) or 0

    def count_by_state(self, user_id: UUID, knowledge_base_id: UUID) -> dict[VersionState, int]:
        statement = (
            sa.select(VersionRow.state, sa.func.count())
            .join(DocumentRow, DocumentRow.id == VersionRow.document_id)
            .where(DocumentRow.knowledge_base_id == knowledge_base_id, DocumentRow.deleted_at.is_(None))
            .group_by(VersionRow.state)
        )
        with self._database.read() as session:
            require_knowledge_base(session, user_id, knowledge_base_id)
            return {VersionState(state): count for state, count in session.execute(statement)}

    def queue_places(self, user_id: UUID, version_ids: Collection[UUID]) -> dict[UUID, int]:
        """Which place (1 is next) each of the user's queued versions has among all that wait, whoever owns them."""
        statement = (
            sa.select(VersionRow.id, KnowledgeBaseRow.owner_id)
            .join(DocumentRow, DocumentRow.id == VersionRow.document_id)
            .join(KnowledgeBaseRow, KnowledgeBaseRow.id == DocumentRow.knowledge_base_id)
            .where(VersionRow.state == VersionState.QUEUED.value, VersionRow.cancel_requested.is_(False))
            .order_by(VersionRow.created_at)
        )
        with self._database.read() as session:
            waiting = session.execute(statement).all()
        return {
            version_id: place
            for place, (version_id, owner_id) in enumerate(waiting, 1)
            if owner_id == user_id and version_id in version_ids
        }

    def retry(self, user_id: UUID, document_id: UUID) -> UUID:
        """Queue a failed or cancelled document again, and tell the workers; returns its version's id.

        Errors: `WrongState`.
        """
        with self._database.write() as session:
            document, version = own_document(session, user_id, document_id, lock=True)
            state = VersionState(version.state)
            if not state.is_given_up:
                raise WrongState(name=document.name, state=state)
            version.state = VersionState.QUEUED.value
            version.cancel_requested = False
            version.attempts = version.crashes = version.waits = 0
            version.retry_at = version.sent_at = version.finished_at = None
            version.error, version.error_values = "", {}
            version_id = version.id
        self._send(version_id)
        return version_id

    def cancel(self, user_id: UUID, document_id: UUID) -> None:
        """A queued one is cancelled here and now, a running one at its next batch. Errors: `WrongState`."""
        with self._database.write() as session:
            document, version = own_document(session, user_id, document_id, lock=True)
            state = VersionState(version.state)
            if not state.is_pending:
                raise WrongState(name=document.name, state=state)
            version.cancel_requested = True
            if state is VersionState.QUEUED:
                version.state = VersionState.CANCELLED.value
                version.finished_at = now()

    def delete(self, user_id: UUID, document_id: UUID) -> None:
        """Gone for everyone from here on; a worker then clears Milvus and the disk."""
        with self._database.write() as session:
            document, version = own_document(session, user_id, document_id, lock=True)
            document.deleted_at = now()
            version.cancel_requested = True
        try:
            self._queue.send_clear_document(document_id)
        except RedisUnavailable as error:
            log.warning("clear_document.unsent", document=str(document_id), reason=str(error))  # the reaper sends it

    def _send(self, version_id: UUID) -> datetime | None:
        """Tell the workers of a queued version; when, or None if that cannot be done now: the reaper sends it later."""
        moment = now()
        try:
            self._queue.send_version(version_id)
            mark_sent(self._database, [version_id], moment)
        except KbError as error:
            log.warning("version.unsent", version=str(version_id), reason=str(error))
            return None
        return moment

    def chunks(self, user_id: UUID, document_id: UUID, first: int, count: int) -> Sequence[Chunk]:
        """Chunks of the version that answers, in order; none while there is no such version."""
        with self._database.read() as session:
            document, _version = own_document(session, user_id, document_id)
            knowledge_base = own_knowledge_base(session, user_id, document.knowledge_base_id)
            live, collection = document.live_version_id, knowledge_base.collection
        return self._vectors.chunks(collection, live, first, count) if live else []

    def live_names(self, user_id: UUID, knowledge_base_id: UUID, version_ids: Collection[UUID]) -> dict[UUID, str]:
        """Which of `version_ids` are live in this knowledge base, with their documents' names."""
        statement = (
            sa.select(DocumentRow.live_version_id, DocumentRow.name)
            .join(KnowledgeBaseRow, KnowledgeBaseRow.id == DocumentRow.knowledge_base_id)
            .where(
                DocumentRow.live_version_id.in_(version_ids),
                DocumentRow.knowledge_base_id == knowledge_base_id,
                DocumentRow.deleted_at.is_(None),
                KnowledgeBaseRow.owner_id == user_id,
                KnowledgeBaseRow.deleted_at.is_(None),
            )
        )
        with self._database.read() as session:
            return {version: name for version, name in session.execute(statement) if version}


def mark_sent(database: Database, version_ids: Sequence[UUID], moment: datetime) -> None:
    """Note that a message for these versions was put into the queue."""
    with database.transaction() as connection:
        connection.execute(_MARK_SENT, [{"of_version": version_id, "sent_at": moment} for version_id in version_ids])


_NEWEST_FIRST = (DocumentRow.created_at.desc(), DocumentRow.id.desc())
_RUNNING = [state.value for state in VersionState if state.is_running]
_ORDERS: dict[DocumentOrder, tuple[sa.ColumnElement[Any], ...]] = {
    DocumentOrder.ACTIVITY: (
        sa.case(
            (VersionRow.state.in_(_RUNNING), 0),
            (VersionRow.state == VersionState.QUEUED.value, 1),
            else_=2,
        ),
        *_NEWEST_FIRST,
    ),
    DocumentOrder.NEWEST: _NEWEST_FIRST,
    DocumentOrder.NAME: (sa.func.lower(DocumentRow.name), *_NEWEST_FIRST),
    DocumentOrder.LARGEST: (VersionRow.size_bytes.desc(), *_NEWEST_FIRST),
    DocumentOrder.STATE: (
        sa.case(
            {
                VersionState.FAILED.value: 0,
                VersionState.CANCELLED.value: 1,
                VersionState.QUEUED.value: 3,
                VersionState.READY.value: 4,
            },
            value=VersionRow.state,
            else_=2,
        ),
        *_NEWEST_FIRST,
    ),
}


def _listed(
    knowledge_base_id: UUID, states: Collection[VersionState], search: str
) -> sa.Select[DocumentRow, VersionRow]:
    newest = (
        sa.select(VersionRow.document_id, sa.func.max(VersionRow.created_at).label("created_at"))
        .group_by(VersionRow.document_id)
        .subquery()
    )
    statement = (
        sa.select(DocumentRow, VersionRow)
        .join(newest, newest.c.document_id == DocumentRow.id)
        .join(
            VersionRow,
            sa.and_(VersionRow.document_id == DocumentRow.id, VersionRow.created_at == newest.c.created_at),
        )
        .where(
            DocumentRow.knowledge_base_id == knowledge_base_id,
            DocumentRow.deleted_at.is_(None),
            VersionRow.state.in_([state.value for state in states]),
        )
    )
    for word in clean_text(search).split():
        statement = statement.where(DocumentRow.name.icontains(word, autoescape=True))
    return statement
