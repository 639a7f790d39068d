"""Files that arrive: as new documents, or as new contents of documents."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa

from kb.access import Permission, Principal
from kb.database import Database
from kb.database.tables import documents, now, versions
from kb.errors import FileMissing, FileNotSaved, KbError, NotFound, OtherKind
from kb.library.counts import count_document, count_moves
from kb.library.files import FileStore, Source
from kb.library.quotas import Arrival, Quotas
from kb.library.rows import DOCUMENT, find_document, find_knowledge_base, to_document
from kb.library.saving import save_version, to_version
from kb.library.sending import send_version
from kb.library.twins import Added, find_twins, has_namesake, holds
from kb.models import Document, Version, VersionState
from kb.names import clean_file_name
from kb.parsing import is_same_kind
from kb.queue import Queue


class Arrivals:
    """Keeps files, queues them and tells the workers. When a method returns, no crash loses anything of its file.

    `sent_at` of a new version is None if the workers could not be told now; they find the file once all services are
    back. `expected_bytes`: of the file, if that is known; one for which there is no room is then not read. Errors:
    `NotFound`, `QueueFull`, `StorageFull`, `FileNotSaved`.
    """

    def __init__(
        self,
        database: Database,
        files: FileStore,
        queue: Queue,
        quotas: Quotas = Quotas(),  # noqa: B008 - it is frozen
    ) -> None:
        self.quotas = quotas
        self._database = database
        self._files = files
        self._queue = queue

    def register(
        self,
        principal: Principal,
        knowledge_base_id: UUID,
        name: str,
        source: Source,
        new_id: UUID | None = None,
        expected_bytes: int = 0,
        is_once: bool = False,
    ) -> Added:
        """Add a document. With `new_id`, the one that was registered with it already, if there is one.

        `is_once`: unless a document with its name has its content already; of the same file twice at the same time, one
        is added.
        """
        label = clean_file_name(name) or "?"
        with self._database.read() as connection:
            base = find_knowledge_base(connection, principal, knowledge_base_id, Permission.EDIT)
            if new_id and connection.scalar(sa.select(documents.c.id).where(documents.c.id == new_id)):
                return Added(to_document(find_document(connection, principal, new_id)))
            arrival = Arrival(principal, base.owner_id, label)
            source = self.quotas.limit(connection, arrival, source, expected_bytes)
        document_id = new_id or uuid4()
        newest = self._save(principal, knowledge_base_id, document_id, label, source)
        version = to_version(newest)
        document = {"id": document_id, "knowledge_base_id": knowledge_base_id, "name": label}
        document |= {"created_at": version.created_at}
        try:
            with self._database.write() as connection:
                # It may have been deleted meanwhile.
                find_knowledge_base(connection, principal, knowledge_base_id, Permission.EDIT, lock=True)
                twins = find_twins(connection, label, newest) if is_once else []
                if twin := next(filter(self._is_whole, twins), None):
                    self._files.delete(version.file_key)
                    return Added(twin, was_there=True)
                shares_name = is_once and has_namesake(connection, label, newest)
                self.quotas.admit(connection, arrival, version.size_bytes)
                connection.execute(sa.insert(documents), document)
                connection.execute(sa.insert(versions), newest)
                count_document(connection, knowledge_base_id, version.state, 1)
        except KbError:
            self._files.delete(version.file_key)
            raise
        version = replace(version, sent_at=send_version(self._database, self._queue, version.id))
        added = Document(document_id, knowledge_base_id, label, None, created_at=version.created_at, latest=version)
        return Added(added, shares_name=shares_name)

    def replace(
        self,
        principal: Principal,
        document_id: UUID,
        source: Source,
        new_id: UUID | None = None,
        expected_bytes: int = 0,
        is_once: bool = False,
    ) -> Added:
        """Give a document a new content.

        What it answers with stays until the new content is ready, and its file stays with the document. A content that
        was not ready yet is given up for this one; a worker deletes its file. If there is a version `new_id` already,
        nothing is replaced again. `is_once`: unless this is its content.
        """
        with self._database.read() as connection:
            row = find_document(connection, principal, document_id, Permission.EDIT)
            found = to_document(row)
            if new_id and connection.scalar(sa.select(versions.c.id).where(versions.c.id == new_id)):
                return Added(found)
            arrival = _replacing(principal, row)
            source = self.quotas.limit(connection, arrival, source, expected_bytes)
        newest = self._save(principal, found.knowledge_base_id, document_id, found.name, source, new_id)
        version = to_version(newest)
        try:
            with self._database.write() as connection:
                # It may have been replaced or deleted meanwhile.
                row = find_document(connection, principal, document_id, Permission.EDIT, lock=True)
                document = to_document(row)
                if is_once and holds(connection, document.latest, newest) and self._is_whole(document):
                    self._files.delete(version.file_key)
                    return Added(document, was_there=True)
                self.quotas.admit(connection, _replacing(principal, row), version.size_bytes)
                self._unlist(connection, document.latest)
                connection.execute(sa.insert(versions), newest)
                before = document.latest.state
                count_moves(connection, document.knowledge_base_id, before, VersionState.QUEUED, 1)
        except KbError:
            self._files.delete(version.file_key)
            raise
        version = replace(version, sent_at=send_version(self._database, self._queue, version.id))
        return Added(replace(document, latest=version))

    def replace_once(
        self,
        principal: Principal,
        knowledge_base_id: UUID,
        document_id: UUID,
        name: str,
        source: Source,
        expected_bytes: int = 0,
    ) -> Added:
        """`replace` a document of this knowledge base by the file `name`, unless that is what it holds already.

        The document keeps its own name. Errors: `OtherKind`; those of `replace`.
        """
        with self._database.read() as connection:
            found = to_document(find_document(connection, principal, document_id))
        if found.knowledge_base_id != knowledge_base_id:
            raise NotFound(what=DOCUMENT)
        if not is_same_kind(name, found.name):
            raise OtherKind(name=clean_file_name(name))
        return self.replace(principal, document_id, source, None, expected_bytes, is_once=True)

    def _save(self, principal: Principal, knowledge_base_id: UUID, *file: Any) -> dict[str, Any]:
        """`save_version`. Errors: also `NotFound`, if the knowledge base was deleted, and its folder with it."""
        try:
            return save_version(self._files, knowledge_base_id, *file)
        except (FileNotSaved, FileMissing):
            with self._database.read() as connection:
                find_knowledge_base(connection, principal, knowledge_base_id, Permission.EDIT)
            raise

    def _is_whole(self, document: Document) -> bool:
        """Whether the file of its newest version is on the disk: one that was lost can be uploaded again."""
        return self._files.is_whole(document.latest.file_key, document.latest.size_bytes)

    def _unlist(self, connection: sa.Connection, version: Version) -> None:
        """Take a version off the list, and give it up unless it is done."""
        change = sa.update(versions).where(versions.c.id == version.id).values(listed_in=None)
        if version.state.is_pending:
            change = change.values(cancel_requested=True)
        if version.state is VersionState.QUEUED:
            change = change.values(state=VersionState.CANCELLED.value, finished_at=now())
        connection.execute(change)


def _replacing(principal: Principal, row: sa.Row[Any]) -> Arrival:
    """A file in place of the newest one of a document: its row."""
    is_queued = row.state == VersionState.QUEUED.value
    has_answered = row.state == VersionState.READY.value or row.missing_chunks > 0  # then it can be cited: it is kept
    freed = 0 if has_answered else row.size_bytes
    return Arrival(principal, row.owner_id, row.document_name, freed, is_queued)
