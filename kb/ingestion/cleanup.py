"""Clearing what SQL no longer lists: chunks in Milvus and files on disk.

Each step may run twice, or after a crash in its middle: what is to be cleared is read from SQL, and the row
goes last. One that fails is tried again after a while, later each time, and the System page shows why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import IntegrityError

from kb.database import Database
from kb.database.tables import attachments, clean_ups, documents, knowledge_bases, now, versions
from kb.errors import CleanUpFailed, KbError
from kb.ingestion.claims import CLEARED, CLEARING
from kb.library import FileStore, mark_deleted
from kb.library.counts import RUNNING
from kb.models import KnowledgeBase, KnowledgeBaseKind, VersionState
from kb.vectors import VectorStore
from kb.webhooks.outbox import tell_clean_up_failed

GIVEN_UP = [state.value for state in VersionState if state.is_given_up]
LEFTOVERS = "left over"  # in place of a digest: chunks may be stored that no attempt can use
FIRST_PAUSE_SECONDS = 4.0
LONGEST_PAUSE_SECONDS = 3600.0
TOLD_FAILURES = 4  # of one thing, before programs are told: half a minute of a service's absence is no news

# A content that was given up for a newer one before it was ready: nothing can cite it, and nobody can try it again. One
# that was ready once and is indexed again lacks chunks until it is done. Its row stays, and says that it has no file.
_document = documents.alias()
_IS_REPLACED = sa.and_(
    versions.c.listed_in.is_(None),
    versions.c.size_bytes > 0,
    versions.c.missing_chunks == 0,
    sa.exists()
    .where(
        _document.c.id == versions.c.document_id,
        _document.c.deleted_at.is_(None),
        _document.c.live_version_id.is_distinct_from(versions.c.id),
    )
    .correlate(versions),
)
_IS_STALE = sa.and_(versions.c.state.in_(GIVEN_UP), sa.or_(versions.c.chunks_digest != "", _IS_REPLACED))

log = structlog.get_logger()


class Cleanup:
    """Clears for one worker process, known as `owner`. `clock` gives the time in UTC."""

    def __init__(
        self,
        database: Database,
        vectors: VectorStore,
        files: FileStore,
        owner: str,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._database = database
        self._vectors = vectors
        self._files = files
        self._owner = owner
        self._clock = clock

    def pending(self) -> tuple[list[UUID], list[UUID]]:
        """Deleted knowledge bases and deleted documents whose turn it is to be cleared."""
        self._delete_orphans()
        bases = sa.select(knowledge_bases.c.id).where(
            knowledge_bases.c.deleted_at.is_not(None), knowledge_bases.c.id.not_in(self._postponed())
        )
        gone = (
            sa.select(documents.c.id)
            .join(knowledge_bases, knowledge_bases.c.id == documents.c.knowledge_base_id)
            .where(
                documents.c.deleted_at.is_not(None),
                documents.c.id.not_in(self._postponed()),
                knowledge_bases.c.deleted_at.is_(None),
            )
        )
        with self._database.read() as connection:
            return list(connection.scalars(bases)), list(connection.scalars(gone))

    def stale_versions(self) -> list[UUID]:
        """Given-up versions that may still have stored chunks, or a file that nobody needs, and are due."""
        statement = sa.select(versions.c.id).where(_IS_STALE, versions.c.id.not_in(self._postponed()))
        with self._database.read() as connection:
            return list(connection.scalars(statement))

    def clear_knowledge_base(self, knowledge_base_id: UUID) -> None:
        """Delete a deleted knowledge base's chunks, files and rows, and its Milvus collection unless that is shared."""
        statement = sa.select(knowledge_bases.c.collection, knowledge_bases.c.kind).where(
            knowledge_bases.c.id == knowledge_base_id,
            knowledge_bases.c.deleted_at.is_not(None),
            knowledge_bases.c.id.not_in(self._postponed()),
            ~_is_ingested(documents.c.knowledge_base_id == knowledge_base_id),
        )
        with self._database.read() as connection:
            found = connection.execute(statement).one_or_none()
        if found is None:
            return  # if it is being ingested, that ends first; the reaper comes back
        with self._backing_off(knowledge_base_id, knowledge_base_id):
            if found.kind == KnowledgeBaseKind.ATTACHMENTS.value:
                self._vectors.delete_partition(found.collection, knowledge_base_id)
                self._vectors.flush(found.collection)
            else:
                self._vectors.drop(found.collection)
            self._files.delete_knowledge_base(knowledge_base_id)
        with self._database.write() as connection:
            connection.execute(sa.delete(knowledge_bases).where(knowledge_bases.c.id == knowledge_base_id))
        log.info("knowledge_base.cleared", knowledge_base=str(knowledge_base_id))

    def clear_document(self, document_id: UUID) -> None:
        """Delete a deleted document's chunks, files and rows."""
        statement = (
            sa.select(documents.c.knowledge_base_id, knowledge_bases.c.collection)
            .join(knowledge_bases, knowledge_bases.c.id == documents.c.knowledge_base_id)
            .where(
                documents.c.id == document_id,
                documents.c.deleted_at.is_not(None),
                documents.c.id.not_in(self._postponed()),
                ~_is_ingested(documents.c.id == document_id),
            )
        )
        stored = sa.select(versions.c.file_key, versions.c.started_at).where(versions.c.document_id == document_id)
        with self._database.read() as connection:
            found = connection.execute(statement).one_or_none()
            files = connection.execute(stored).all()
        if found is None:
            return  # if it is being ingested, that ends first; the reaper comes back
        with self._backing_off(document_id, found.knowledge_base_id, document_id):
            if any(started for _key, started in files):
                self._vectors.delete_document(found.collection, document_id)
                self._vectors.flush(found.collection)
            for key, _started in files:
                self._files.delete(key)
        with self._database.write() as connection:
            connection.execute(sa.delete(documents).where(documents.c.id == document_id))
        log.info("document.cleared", document=str(document_id))

    def clear_version(self, version_id: UUID) -> None:
        """Delete the chunks of a failed or cancelled version; its row and file stay, so that it can be retried.

        If it was replaced, it cannot be, and its file is deleted, too. Under a lease of its own: a retry that comes
        meanwhile waits until this is done.
        """
        lease = f"{self._owner}#clearing-{uuid4().hex[:8]}"
        taken = self._take(version_id, lease)
        if taken is None:
            return
        try:
            with self._backing_off(version_id, taken.knowledge_base_id, taken.document_id):
                if taken.chunks_digest:
                    self._vectors.delete_version(taken.collection, version_id)
                if taken.is_replaced:
                    self._files.delete(taken.file_key)
        except KbError:
            self._give_back(version_id, lease)
            raise
        self._give_back(version_id, lease, chunks_digest="", **({"size_bytes": 0} if taken.is_replaced else {}))
        with self._database.write() as connection:
            connection.execute(sa.delete(clean_ups).where(clean_ups.c.target_id == version_id))

    def clear_leftovers(self, version_id: UUID, base: KnowledgeBase) -> None:
        """Clear chunks that a worker stored after it had lost its lease, for example because it was suspended.

        Chunks of another worker's attempt have the same ids and are kept. If the knowledge base was deleted and
        cleared meanwhile, the worker may have created its collection anew: that goes, too.
        """
        version = versions.c.id == version_id
        mark = (
            sa.update(versions)
            .where(version, versions.c.state.in_(CLEARED), versions.c.chunks_digest == "")
            .values(chunks_digest=LEFTOVERS, stored_chunks=0)
        )
        with self._database.write() as connection:
            is_listed = connection.scalar(sa.select(versions.c.id).where(version)) is not None
            has_base = connection.scalar(sa.select(knowledge_bases.c.id).where(knowledge_bases.c.id == base.id))
            connection.execute(mark)
        if is_listed:
            self.clear_version(version_id)  # one that is queued again begins by deleting
        elif has_base or base.partition:
            self._vectors.delete_version(base.collection, version_id)
        else:
            self._vectors.drop(base.collection)

    # --- inside ---

    def _delete_orphans(self) -> None:
        """Delete the attached files of conversations that are gone. The usual case takes no write lock."""
        orphaned = sa.select(knowledge_bases.c.id).where(
            knowledge_bases.c.kind == KnowledgeBaseKind.ATTACHMENTS.value,
            knowledge_bases.c.deleted_at.is_(None),
            knowledge_bases.c.id.not_in(sa.select(attachments.c.knowledge_base_id)),
        )
        with self._database.read() as connection:
            orphans = list(connection.scalars(orphaned))
        for knowledge_base_id in orphans:
            with self._database.write() as connection:
                mark_deleted(connection, knowledge_base_id)

    def _postponed(self) -> sa.Select[tuple[UUID]]:
        """What failed a while ago and is to be tried again later; not a day later, because the clock was set back."""
        moment = self._clock()
        latest = moment + timedelta(seconds=LONGEST_PAUSE_SECONDS)
        return sa.select(clean_ups.c.target_id).where(clean_ups.c.retry_at > moment, clean_ups.c.retry_at <= latest)

    @contextmanager
    def _backing_off(self, target_id: UUID, knowledge_base_id: UUID, document_id: UUID | None = None) -> Iterator[None]:
        """Note a failure, and when to try again: twice as late as the last time, up to an hour."""
        try:
            yield
        except Exception as error:
            known = error if isinstance(error, KbError) else CleanUpFailed(detail=f"{type(error).__name__}: {error}")
            # If the failure cannot be stored, or its target is gone, the reaper tries again soon.
            with suppress(KbError, IntegrityError):
                self._note_failure(target_id, knowledge_base_id, document_id, known)
            if known is error:
                raise
            raise known from error

    def _note_failure(self, target_id: UUID, knowledge_base_id: UUID, document_id: UUID | None, error: KbError) -> None:
        target = clean_ups.c.target_id == target_id
        with self._database.write() as connection:
            failures = (connection.scalar(sa.select(clean_ups.c.failures).where(target)) or 0) + 1
            pause = min(FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 20), LONGEST_PAUSE_SECONDS)
            values = {
                "failures": failures,
                "retry_at": self._clock() + timedelta(seconds=pause),
                "error": error.code,
                "error_values": error.values,
            }
            if failures == TOLD_FAILURES:
                tell_clean_up_failed(connection, knowledge_base_id, document_id, error.code)
            if failures > 1:
                connection.execute(sa.update(clean_ups).where(target).values(values))
                return
            owners = {"target_id": target_id, "knowledge_base_id": knowledge_base_id, "document_id": document_id}
            connection.execute(sa.insert(clean_ups), owners | values)

    def _give_back(self, version_id: UUID, lease: str, **values: Any) -> None:
        statement = sa.update(versions).where(versions.c.id == version_id, versions.c.lease_owner == lease)
        with self._database.write() as connection:
            connection.execute(statement.values(lease_owner="", lease_until=None, **values))

    def _take(self, version_id: UUID, lease: str) -> sa.Row[Any] | None:
        """Lease a given-up version that has something to clear; what that is, or None."""
        moment = self._clock()
        statement = (
            sa.update(versions)
            .where(
                versions.c.id == version_id,
                _IS_STALE,
                versions.c.id.not_in(self._postponed()),
                sa.or_(versions.c.lease_until.is_(None), versions.c.lease_until < moment),
            )
            # From here on no stored chunk can be relied on, even if this stops halfway.
            .values(lease_owner=lease, lease_until=moment + CLEARING, stored_chunks=0)
        )
        found: sa.Select[Any] = (
            sa.select(
                *(versions.c[name] for name in ("document_id", "chunks_digest", "file_key")),
                *(documents.c.knowledge_base_id, knowledge_bases.c.collection, _IS_REPLACED.label("is_replaced")),
            )
            .join(documents, documents.c.id == versions.c.document_id)
            .join(knowledge_bases, knowledge_bases.c.id == documents.c.knowledge_base_id)
            .where(versions.c.id == version_id)
        )
        with self._database.write() as connection:
            if connection.execute(statement).rowcount == 0:
                return None
            return connection.execute(found).one()


def _is_ingested(chosen: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """Whether a version of the chosen documents is being ingested."""
    return (
        sa.select(versions.c.id)
        .join(documents, documents.c.id == versions.c.document_id)
        .where(chosen, versions.c.state.in_(RUNNING))
        .correlate(None)
        .exists()
    )
