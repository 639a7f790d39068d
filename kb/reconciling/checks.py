"""The check: which ready documents lack chunks in Milvus or their file, and which chunks belong to no document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import IntegrityError

from kb.database import Database
from kb.database.locks import lock_rows
from kb.database.tables import documents, index_checks, index_loads, knowledge_bases, now, versions
from kb.errors import CollectionMissing, KbError, MilvusRefused
from kb.library import FileStore
from kb.library.counts import count_unsearchable
from kb.models import KnowledgeBaseKind, VersionState
from kb.reconciling.again import batches
from kb.reconciling.leftovers import note_leftovers
from kb.vectors import VectorStore
from kb.webhooks import Event
from kb.webhooks.outbox import tell_lacking

log = structlog.get_logger()

_LIVE = sa.and_(documents.c.live_version_id == versions.c.id, documents.c.deleted_at.is_(None))
_READY = sa.and_(_LIVE, versions.c.state == VersionState.READY.value)
_EXPECTED: sa.Select[Any] = (
    sa.select(
        *(versions.c[name] for name in ("id", "chunks", "finished_at", "missing_chunks", "file_missing")),
        *(versions.c[name] for name in ("file_key", "size_bytes", "document_id")),
        documents.c.knowledge_base_id,
    )
    .join(documents, documents.c.id == versions.c.document_id)
    .join(knowledge_bases, knowledge_bases.c.id == documents.c.knowledge_base_id)
    .where(
        _READY,
        knowledge_bases.c.collection == sa.bindparam("of_collection"),
        knowledge_bases.c.deleted_at.is_(None),
    )
    .order_by(versions.c.id)  # in one order, as all who change some of them
)
_LOADED_AT = sa.select(index_loads.c.loaded_at).where(index_loads.c.collection == sa.bindparam("of_collection"))
# Only as long as the version is what was compared: it may have been ingested again, replaced or deleted since.
_NOTE = (
    sa.update(versions)
    .where(
        versions.c.id == sa.bindparam("of_version"),
        versions.c.state == VersionState.READY.value,
        versions.c.missing_chunks == sa.bindparam("before"),
        versions.c.finished_at.is_not_distinct_from(sa.bindparam("finished", type_=versions.c.finished_at.type)),
        sa.select(documents.c.id)
        .join(knowledge_bases, knowledge_bases.c.id == documents.c.knowledge_base_id)
        .where(_LIVE, knowledge_bases.c.deleted_at.is_(None))
        .correlate(versions)
        .exists(),
    )
    .values(missing_chunks=sa.bindparam("missing"), file_missing=sa.bindparam("is_file_missing"))
)


class Checks:
    """Compares one collection after the other. Safe to share among threads, and to run at once in several processes."""

    def __init__(self, database: Database, vectors: VectorStore, files: FileStore) -> None:
        self._database = database
        self._vectors = vectors
        self._files = files

    def check_all(self, unless_within: timedelta = timedelta(0)) -> None:
        """Compare everything that was not compared `unless_within` the last time, and look for leftovers.

        What Milvus says about one collection does not keep the others from it.
        Errors: `DatabaseUnavailable`, `MilvusUnavailable`.
        """
        used, due = self._collections(unless_within)
        for collection in due:
            self._check_next(collection)
        if due or not used:  # else they were looked for with what was compared
            self.note_leftovers()

    def check_loaded(self) -> None:
        """Compare what any process had Milvus load again, since that was restarted. Errors: as `check_all`."""
        with self._database.read() as connection:
            loaded = connection.scalars(sa.select(index_loads.c.collection).order_by(index_loads.c.collection)).all()
        for collection in loaded:
            self._check_next(collection)

    def note_leftovers(self) -> None:
        """Note what Milvus and the uploads hold that SQL does not know.

        Errors: `DatabaseUnavailable`, `MilvusUnavailable`.
        """
        note_leftovers(self._database, self._vectors, self._files)

    def check_knowledge_base(self, knowledge_base_id: UUID) -> None:
        """Compare what the knowledge base's collection holds, unless it was deleted. Errors: as `check`."""
        with self._database.read() as connection:
            collection = connection.scalar(
                sa.select(knowledge_bases.c.collection).where(
                    knowledge_bases.c.id == knowledge_base_id, knowledge_bases.c.deleted_at.is_(None)
                )
            )
        if collection:
            self.check(collection)

    def check(self, collection: str) -> None:
        """Compare one collection, note what is missing, and clear chunks of versions that are gone.

        Errors: `DatabaseUnavailable`, `MilvusUnavailable`; `MilvusRefused`, which is noted.
        """
        with self._database.read() as connection:  # before Milvus: what becomes ready meanwhile is not judged
            expected = connection.execute(_EXPECTED, {"of_collection": collection}).all()
            loaded_at = connection.scalar(_LOADED_AT, {"of_collection": collection})
        try:
            found = self._count(collection, expected, must_load=loaded_at is not None)
        except MilvusRefused as error:
            self._note_check(collection, loaded_at, error)
            raise
        self._note(expected, found)
        self._clear_leftovers(collection, found.keys() - {version.id for version in expected})
        self._note_check(collection, loaded_at)

    # --- inside ---

    def _check_next(self, collection: str) -> None:
        try:
            self.check(collection)
        except MilvusRefused as error:
            log.warning("reconciling.refused", collection=collection, reason=str(error))

    def _collections(self, unless_within: timedelta) -> tuple[set[str], list[str]]:
        """Those of all knowledge bases, and which of them are due. Forgets the checks of others."""
        used = sa.select(knowledge_bases.c.collection).where(knowledge_bases.c.deleted_at.is_(None)).distinct()
        moment = now()
        is_fresh = index_checks.c.checked_at.between(moment - unless_within, moment + unless_within)  # clocks differ
        fresh = sa.select(index_checks.c.collection).where(is_fresh)
        with self._database.write() as connection:
            for table in (index_checks, index_loads):
                connection.execute(sa.delete(table).where(table.c.collection.not_in(used)))
            found = set(connection.scalars(used))
            return found, sorted(found - set(connection.scalars(fresh)) if unless_within else found)

    def _count(self, collection: str, expected: Sequence[sa.Row[Any]], must_load: bool) -> Mapping[UUID, int]:
        """How many chunks Milvus has of each version.

        Reads them only if the sum is not what it should be, or if a version lacks its first or its last one: chunks
        of versions that are gone, which an older copy of Milvus' data brings back, may make up for what it lacks.
        Looks for the ends only where the collection is loaded, unless it `must_load` it: all of them would fill the
        memory of Milvus Lite. Whoever loads it later has it compared again.
        """
        totals = {version.id: version.chunks for version in expected}
        total = sum(totals.values())
        vectors = self._vectors
        try:
            is_sum_wrong = vectors.size(collection) != total
            if is_sum_wrong or (
                (must_load or vectors.is_loaded(collection)) and vectors.lacks_ends(collection, totals)
            ):
                return self._vectors.count_by_version(collection)
        except CollectionMissing:
            if total:
                log.warning("reconciling.collection_missing", collection=collection)
            return Counter()
        return totals

    def _note(self, expected: Sequence[sa.Row[Any]], found: Mapping[UUID, int]) -> None:
        changes = list(self._changes(expected, found))
        for some in batches(changes):
            with self._database.write() as connection:
                more: Counter[UUID] = Counter()
                lost = dict[Event, list[UUID]]()
                # None of them is replaced or deleted between the look and the change of the counters.
                lock_rows(connection, documents, documents.c.id.in_([version.document_id for version, *_ in some]))
                for version, missing, is_file_missing in some:
                    change = {"of_version": version.id, "before": version.missing_chunks, "missing": missing}
                    change |= {"finished": version.finished_at, "is_file_missing": is_file_missing}
                    if connection.execute(_NOTE, change).rowcount:
                        more[version.knowledge_base_id] += bool(missing) - bool(version.missing_chunks)
                        if missing and not version.missing_chunks:
                            lost.setdefault(Event.DOCUMENT_UNSEARCHABLE, []).append(version.id)
                        if is_file_missing and not version.file_missing:
                            lost.setdefault(Event.DOCUMENT_FILE_MISSING, []).append(version.id)
                for knowledge_base_id in sorted(more):
                    count_unsearchable(connection, knowledge_base_id, more[knowledge_base_id])
                for event, version_ids in lost.items():
                    tell_lacking(connection, event, version_ids)
        for text, count in (
            ("reconciling.chunks_missing", sum(1 for version, missing, _ in changes if missing)),
            ("reconciling.found_again", sum(1 for version, missing, _ in changes if version.missing_chunks > missing)),
            ("reconciling.files_missing", sum(1 for *_, is_file_missing in changes if is_file_missing)),
        ):
            if count:
                log.warning(text, documents=count)

    def _changes(
        self, expected: Sequence[sa.Row[Any]], found: Mapping[UUID, int]
    ) -> Iterator[tuple[sa.Row[Any], int, bool]]:
        for version in expected:
            missing = max(0, version.chunks - found.get(version.id, 0))
            is_file_missing = not self._files.is_whole(version.file_key, version.size_bytes)
            if (missing, is_file_missing) != (version.missing_chunks, version.file_missing):
                yield version, missing, is_file_missing

    def _clear_leftovers(self, collection: str, version_ids: Collection[UUID]) -> None:
        """Delete the chunks of versions that are gone or were replaced.

        Not those of versions that are under way, or that `Cleanup` clears. In a collection that many knowledge bases
        share, only those that SQL knows: others may belong to another installation on the same Milvus, whose
        collection has the same name. Not to be called with versions that became live after `version_ids` were read.
        """
        if not version_ids:
            return
        for version_id in self._leftovers(collection, version_ids):
            self._vectors.delete_version(collection, version_id)
            log.info("reconciling.leftover_cleared", collection=collection, version=str(version_id))
        self._vectors.flush(collection)

    def _leftovers(self, collection: str, version_ids: Collection[UUID]) -> list[UUID]:
        known = (
            sa.select(
                versions.c.id,
                sa.and_(
                    versions.c.state == VersionState.READY.value,
                    documents.c.live_version_id.is_distinct_from(versions.c.id),
                    documents.c.deleted_at.is_(None),
                    knowledge_bases.c.deleted_at.is_(None),
                ).label("is_replaced"),
            )
            .join(documents, documents.c.id == versions.c.document_id)
            .join(knowledge_bases, knowledge_bases.c.id == documents.c.knowledge_base_id)
        )
        is_own = sa.select(knowledge_bases.c.id).where(
            knowledge_bases.c.collection == collection, knowledge_bases.c.kind == KnowledgeBaseKind.LIBRARY.value
        )
        replaced: dict[UUID, bool] = {}
        with self._database.read() as connection:
            for some in batches(list(version_ids)):
                replaced |= {
                    row.id: row.is_replaced for row in connection.execute(known.where(versions.c.id.in_(some)))
                }
            are_unknown_ours = connection.scalar(is_own) is not None
        return [each for each in version_ids if replaced.get(each, are_unknown_ours)]

    def _note_check(self, collection: str, loaded_at: datetime | None, error: KbError | None = None) -> None:
        """`loaded_at` is what was noted when the check began: what was loaded since is compared again.

        What Milvus refuses is not: each try to load it is noted, too, and there would be one every few seconds.
        """
        values = {
            "checked_at": now(),
            "error": error.code if error else "",
            "error_values": error.values if error else {},
        }
        if loaded_at or error:
            done = sa.delete(index_loads).where(index_loads.c.collection == collection)
            with self._database.write() as connection:
                connection.execute(done if error else done.where(index_loads.c.loaded_at == loaded_at))
        with suppress(IntegrityError), self._database.write() as connection:  # another process did so at this moment
            change = sa.update(index_checks).where(index_checks.c.collection == collection).values(values)
            if connection.execute(change).rowcount == 0:
                connection.execute(sa.insert(index_checks), {"collection": collection, **values})


def note_loading(database: Database, collection: str) -> None:
    """Note that Milvus is about to load a collection again, so that a worker compares it.

    Errors: `DatabaseUnavailable`.
    """
    values = {"loaded_at": now()}
    change = sa.update(index_loads).where(index_loads.c.collection == collection).values(values)
    while True:
        with suppress(IntegrityError), database.write() as connection:  # another process noted it first: once more
            if connection.execute(change).rowcount == 0:
                connection.execute(sa.insert(index_loads), {"collection": collection, **values})
            return
