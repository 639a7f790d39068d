"""Documents: list, retry, cancel, delete, and their chunks. How they arrive: `kb.library.arrivals`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
import structlog

from kb.access import Permission, Principal, can
from kb.audit import Action, record, was_recorded
from kb.database import Database
from kb.database.tables import clean_ups, documents, knowledge_bases, now, versions
from kb.errors import NotFound, RedisUnavailable, WrongState
from kb.library.counts import (
    count_answering,
    count_by_state,
    count_document,
    count_move,
    count_unsearchable,
    lacks_chunks,
)
from kb.library.files import FileStore
from kb.library.listing import called, count_listed, is_within, listed, listed_after
from kb.library.queue_places import queue_places
from kb.library.quotas import Quotas, Usage
from kb.library.rows import DOCUMENT, find_document, find_knowledge_base, find_version, to_document
from kb.library.sending import send_version
from kb.models import Chunk, Document, DocumentOrder, KnowledgeBaseKind, Original, VersionState
from kb.notes import INCOMPLETE
from kb.queue import Queue
from kb.vectors import VectorStore
from kb.webhooks.outbox import tell_ended

ONE_DOWNLOAD = timedelta(hours=1)  # that asks for its parts one after another

log = structlog.get_logger()


class Documents:
    """The documents of each user's knowledge bases."""

    def __init__(
        self,
        database: Database,
        files: FileStore,
        vectors: VectorStore,
        queue: Queue,
        quotas: Quotas = Quotas(),  # noqa: B008 - it is frozen
    ) -> None:
        self.quotas = quotas
        self._database = database
        self._files = files
        self._vectors = vectors
        self._queue = queue

    def get(self, principal: Principal, document_id: UUID) -> Document:
        with self._database.read() as connection:
            return to_document(find_document(connection, principal, document_id))

    def chosen(
        self, principal: Principal, knowledge_base_ids: Collection[UUID], document_ids: Collection[UUID]
    ) -> dict[UUID, dict[UUID, bool]]:
        """Which of `document_ids` each of these knowledge bases holds, and whether each of them can answer."""
        statement = (
            sa.select(documents.c.knowledge_base_id, documents.c.id, documents.c.live_version_id)
            .join(knowledge_bases, knowledge_bases.c.id == documents.c.knowledge_base_id)
            .where(documents.c.id.in_(document_ids), _are_seen(principal, knowledge_base_ids))
        )
        found: dict[UUID, dict[UUID, bool]] = {}
        with self._database.read() as connection:
            for knowledge_base_id, document_id, live_version_id in connection.execute(statement):
                found.setdefault(knowledge_base_id, {})[document_id] = live_version_id is not None
        return found

    def original(self, principal: Principal, knowledge_base_id: UUID, version_id: UUID) -> Original:
        """The file of a version of a document in this knowledge base. Errors: `NotFound`, `FileMissing`."""
        return self._original(principal, knowledge_base_id, version_id)[1]

    def download(
        self, principal: Principal, knowledge_base_id: UUID, version_id: UUID, is_further_part: bool = False
    ) -> Original:
        """`original`, for somebody who takes it away, which is recorded. Errors: as of that.

        `is_further_part`: not its beginning, which has been recorded, if it was asked for.
        """
        document_id, original = self._original(principal, knowledge_base_id, version_id)
        actions = Action.DOCUMENT_DOWNLOADED, Action.ATTACHMENT_DOWNLOADED
        with self._database.write() as connection:
            if not is_further_part or not any(
                was_recorded(connection, principal, action, document_id, ONE_DOWNLOAD) for action in actions
            ):
                _record(connection, principal, document_id, original.name, knowledge_base_id, *actions)
        return original

    def _original(self, principal: Principal, knowledge_base_id: UUID, version_id: UUID) -> tuple[UUID, Original]:
        with self._database.read() as connection:
            row = find_version(connection, principal, version_id)
        if row.knowledge_base_id != knowledge_base_id:
            raise NotFound(what=DOCUMENT)
        return row.document_id, Original(row.name, self._files.path(row.file_key, row.name), row.media_type)

    def called(
        self,
        principal: Principal,
        knowledge_base_id: UUID,
        name: str,
        limit: int,
        within: Collection[UUID] | None = None,
    ) -> list[Document]:
        """Documents with this name, in any case, with or without folder and extension, in any state; ready ones first.

        If none is called exactly so, those with other spaces, hyphens and underscores. `within`: of these documents
        only. Reads every name.
        """
        with self._database.read() as connection:
            find_knowledge_base(connection, principal, knowledge_base_id)
            return [to_document(row) for row in called(connection, knowledge_base_id, name, limit, within)]

    def list(
        self,
        principal: Principal,
        knowledge_base_id: UUID,
        offset: int = 0,
        limit: int = 50,
        states: Collection[VersionState] = tuple(VersionState),
        search: str = "",
        order: DocumentOrder = DocumentOrder.ACTIVITY,
        within: Collection[UUID] | None = None,
    ) -> list[Document]:
        """Documents in one of `states` whose name contains every word of `search`, in any case.

        `within`: of these documents only. The ids of a page come from an index, in each order. Only a search, and a
        list `within` some documents, read every name.
        """
        with self._database.read() as connection:
            find_knowledge_base(connection, principal, knowledge_base_id)
            rows = listed(connection, knowledge_base_id, offset, limit, states, search, order, within)
            return [to_document(row) for row in rows]

    def after(
        self,
        principal: Principal,
        knowledge_base_id: UUID,
        after: tuple[datetime, UUID] | None,
        limit: int,
        state: VersionState | None = None,
    ) -> Sequence[Document]:
        """The next documents, the oldest version first, `after` the moment and the id of the last version before.

        So a list that changes meanwhile is gone through without a document twice, or one that is left out.
        """
        with self._database.read() as connection:
            find_knowledge_base(connection, principal, knowledge_base_id)
            rows = listed_after(connection, knowledge_base_id, after, limit, state)
            return [to_document(row) for row in rows]

    def count(
        self,
        principal: Principal,
        knowledge_base_id: UUID,
        states: Collection[VersionState] = tuple(VersionState),
        search: str = "",
    ) -> int:
        """How many documents `list` would find in all."""
        with self._database.read() as connection:
            find_knowledge_base(connection, principal, knowledge_base_id)
            return count_listed(connection, knowledge_base_id, states, search)

    def count_by_state(self, principal: Principal, knowledge_base_id: UUID) -> dict[VersionState, int]:
        with self._database.read() as connection:
            find_knowledge_base(connection, principal, knowledge_base_id)
            return count_by_state(connection, knowledge_base_id)

    def usage(self, principal: Principal, knowledge_base_id: UUID) -> Usage | None:
        """What the knowledge base's owner takes of the quotas; None if there are none, or for who may not upload."""
        if not self.quotas.are_set:
            return None
        with self._database.read() as connection:
            base = find_knowledge_base(connection, principal, knowledge_base_id)
            if not Permission(base.permission).includes(Permission.EDIT):
                return None
            return self.quotas.usage(connection, base.owner_id)

    def queue_places(self, principal: Principal, version_ids: Collection[UUID]) -> dict[UUID, int | None]:
        """The place (1 is next) of each of the user's queued versions among those of all users.

        None if it is behind the first `QUEUE_PLACES`.
        """
        with self._database.read() as connection:
            return queue_places(connection, principal, version_ids)

    def retry(self, principal: Principal, document_id: UUID) -> UUID:
        """Queue a failed or cancelled document again, and tell the workers; returns its version's id.

        Errors: `WrongState`, `QueueFull`.
        """
        with self._database.write() as connection:
            row = find_document(connection, principal, document_id, Permission.EDIT, lock=True)
            document = to_document(row)
            version_id, state = document.latest.id, document.latest.state
            if not state.is_given_up:
                raise WrongState(name=document.name, state=state)
            self.quotas.admit_again(connection, row.owner_id)
            again = {"state": VersionState.QUEUED.value, "cancel_requested": False}
            again |= dict.fromkeys(("attempts", "crashes", "waits"), 0)
            again |= dict.fromkeys(("retry_at", "sent_at", "finished_at", "memory_peak_mb"))
            again |= {"error": "", "error_values": {}}
            connection.execute(sa.update(versions).where(versions.c.id == version_id).values(again))
            # What could not be cleared of the last attempt, the next one replaces.
            connection.execute(sa.delete(clean_ups).where(clean_ups.c.target_id == version_id))
            count_move(connection, version_id, state, VersionState.QUEUED)
        send_version(self._database, self._queue, version_id)
        return version_id

    def cancel(self, principal: Principal, document_id: UUID) -> None:
        """A queued one is cancelled here and now, a running one at its next batch. Errors: `WrongState`."""
        with self._database.write() as connection:
            document = to_document(find_document(connection, principal, document_id, Permission.EDIT, lock=True))
            version_id, state = document.latest.id, document.latest.state
            if not state.is_pending:
                raise WrongState(name=document.name, state=state)
            change = sa.update(versions).where(versions.c.id == version_id).values(cancel_requested=True)
            if state is VersionState.QUEUED:
                change = change.values(state=VersionState.CANCELLED.value, finished_at=now())
            connection.execute(change)
            if state is VersionState.QUEUED:
                count_move(connection, version_id, state, VersionState.CANCELLED)
                tell_ended(connection, version_id)

    def delete(self, principal: Principal, document_id: UUID) -> None:
        """Hide the document from everyone; a worker then clears Milvus and the disk."""
        with self._database.write() as connection:
            document = to_document(find_document(connection, principal, document_id, Permission.EDIT, lock=True))
            connection.execute(sa.update(documents).where(documents.c.id == document_id).values(deleted_at=now()))
            connection.execute(
                sa.update(versions)
                .where(versions.c.document_id == document_id)
                .values(cancel_requested=True, listed_in=None)
            )
            count_document(connection, document.knowledge_base_id, document.latest.state, -1)
            if document.live_version_id:
                count_answering(connection, document.knowledge_base_id, -1)
                lacking = sa.select(versions.c.id).where(versions.c.id == document.live_version_id, lacks_chunks())
                if connection.scalar(lacking):
                    count_unsearchable(connection, document.knowledge_base_id, -1)
            actions = Action.DOCUMENT_DELETED, Action.ATTACHMENT_DELETED
            _record(connection, principal, document.id, document.name, document.knowledge_base_id, *actions)
        try:
            self._queue.send_clear_document(document_id)
        except RedisUnavailable as error:
            log.warning("clear_document.unsent", document=str(document_id), reason=str(error))  # the reaper sends it

    def chunks(self, principal: Principal, document_id: UUID, first: int, count: int) -> Sequence[Chunk]:
        """Chunks of the version that answers, in order; none while there is no such version."""
        with self._database.read() as connection:
            row = find_document(connection, principal, document_id)
        live = row.document_live_version_id
        return self._vectors.chunks(row.collection, live, first, count) if live else []

    def live_names(
        self, principal: Principal, knowledge_base_id: UUID, version_ids: Collection[UUID]
    ) -> dict[UUID, str]:
        """Which of `version_ids` are live in this knowledge base, with their documents' names."""
        statement = (
            sa.select(documents.c.live_version_id, documents.c.name)
            .join(knowledge_bases, knowledge_bases.c.id == documents.c.knowledge_base_id)
            .where(
                documents.c.live_version_id.in_(version_ids),
                _are_seen(principal, [knowledge_base_id]),
            )
        )
        with self._database.read() as connection:
            return dict(connection.execute(statement).all())

    def partly_read(
        self, principal: Principal, knowledge_base_id: UUID, limit: int, within: Collection[UUID] | None = None
    ) -> tuple[int, Sequence[str]]:
        """How many live documents lack something of their files, and the names of the first ones. Reads all notes.

        `within`: of these documents only.
        """
        notes = sa.cast(versions.c.notes, sa.Text)
        lacks = sa.or_(*(notes.contains(f'"{kind}"') for kind in sorted(INCOMPLETE)))
        return self._lacking(principal, knowledge_base_id, limit, within, lacks)

    def unsearchable(
        self, principal: Principal, knowledge_base_id: UUID, limit: int, within: Collection[UUID] | None = None
    ) -> tuple[int, Sequence[str]]:
        """How many documents lack chunks in Milvus, and the names of the first ones. `within`: of these only."""
        return self._lacking(principal, knowledge_base_id, limit, within, lacks_chunks())

    def _lacking(
        self,
        principal: Principal,
        knowledge_base_id: UUID,
        limit: int,
        within: Collection[UUID] | None,
        lacks: sa.ColumnElement[bool],
    ) -> tuple[int, Sequence[str]]:
        lacking = (
            sa.select(documents.c.name, sa.func.count().over().label("total"))
            .join(versions, versions.c.id == documents.c.live_version_id)
            .join(knowledge_bases, knowledge_bases.c.id == documents.c.knowledge_base_id)
            .where(lacks, _are_seen(principal, [knowledge_base_id]), is_within(documents.c.id, within))
            .order_by(documents.c.name)
            .limit(limit)
        )
        with self._database.read() as connection:
            rows = connection.execute(lacking).all()
        return (rows[0].total if rows else 0), [row.name for row in rows]

    def live_chunks(self, principal: Principal, knowledge_base_id: UUID) -> dict[UUID, int]:
        """The live versions that are ready, with how many chunks Milvus should hold of each."""
        live = (
            sa.select(versions.c.id, versions.c.chunks)
            .join(documents, documents.c.live_version_id == versions.c.id)
            .join(knowledge_bases, knowledge_bases.c.id == documents.c.knowledge_base_id)
            .where(_are_seen(principal, [knowledge_base_id]), versions.c.state == VersionState.READY.value)
        )
        with self._database.read() as connection:
            return dict(connection.execute(live).all())


def _record(
    connection: sa.Connection,
    principal: Principal,
    document_id: UUID,
    name: str,
    knowledge_base_id: UUID,
    of_library: Action,
    of_attachment: Action,
) -> None:
    """Without names if it was attached to a conversation, which is its user's alone."""
    base = sa.select(knowledge_bases.c.name, knowledge_bases.c.kind)
    row = connection.execute(base.where(knowledge_bases.c.id == knowledge_base_id)).one()
    if row.kind == KnowledgeBaseKind.LIBRARY.value:
        record(connection, principal, of_library, document_id, target_name=name, knowledge_base=row.name)
    else:
        record(connection, principal, of_attachment, document_id)


def _are_seen(principal: Principal, knowledge_base_ids: Collection[UUID]) -> sa.ColumnElement[bool]:
    """Documents of those knowledge bases that the principal may view; neither is deleted."""
    return sa.and_(
        documents.c.knowledge_base_id.in_(knowledge_base_ids),
        documents.c.deleted_at.is_(None),
        can(Permission.VIEW, knowledge_bases, principal),
        knowledge_bases.c.deleted_at.is_(None),
    )
