"""Clearing what SQL no longer lists. Each step may run twice, or stop in its middle."""

from __future__ import annotations

import io
from uuid import uuid4

import pytest
import sqlalchemy as sa

from kb.database.tables import documents as documents_table
from kb.database.tables import knowledge_bases, versions
from kb.errors import CleanUpFailed, CollectionMissing, MilvusUnavailable
from kb.ingestion import Cleanup, failing_clean_ups
from kb.ingestion.cleanup import LONGEST_PAUSE_SECONDS
from kb.library import FileStore
from kb.models import Document, Version
from kb.reconciling import index_again
from kb.services import WorkerParts
from kb.vectors import VectorStore
from tests.conftest import Clock, Core


def rows(core: Core) -> list[int]:
    with core.services.database.read() as connection:
        tables = (knowledge_bases, documents_table, versions)
        return [connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0 for table in tables]


@pytest.fixture
def documents(core: Core, worker: WorkerParts) -> list[Document]:
    """Two ready documents of one knowledge base."""
    knowledge_base = core.knowledge_base()
    documents = [core.upload(knowledge_base, f"{n}.md", f"# Part {n}\n\nText.") for n in range(2)]
    for document in documents:
        worker.ingestion.ingest(document.latest.id)
    return documents


def test_deleted_document_leaves_nothing(core: Core, worker: WorkerParts, documents: list[Document]) -> None:
    gone, kept = documents
    recognised = core.services.files.recognised(gone.latest.file_key)
    recognised.touch()
    core.services.documents.delete(core.user, gone.id)
    assert worker.cleanup.pending() == ([], [gone.id])
    for _ in range(2):
        worker.cleanup.clear_document(gone.id)
    assert (core.count(gone), core.count(kept)) == (0, 1)
    assert not (core.services.settings.uploads / gone.latest.file_key).exists()
    assert not recognised.exists()
    assert (core.services.settings.uploads / kept.latest.file_key).exists()
    assert rows(core) == [1, 1, 1]


def test_deleted_knowledge_base_leaves_nothing(core: Core, worker: WorkerParts, documents: list[Document]) -> None:
    knowledge_base = core.services.knowledge_bases.list(core.user)[0]
    other = core.upload(core.knowledge_base("Other"), "c.md", "# C\n\nText.")
    worker.ingestion.ingest(other.latest.id)
    core.services.knowledge_bases.delete(core.user, knowledge_base.id)
    core.services.documents.get(core.user, other.id)
    assert worker.cleanup.pending() == ([knowledge_base.id], [])
    for _ in range(2):
        worker.cleanup.clear_knowledge_base(knowledge_base.id)
    assert rows(core) == [1, 1, 1]
    assert not (core.services.settings.uploads / knowledge_base.id.hex).exists()
    assert core.count(other) == 1


def test_knowledge_base_without_a_collection_is_cleared(core: Core, worker: WorkerParts) -> None:
    knowledge_base = core.knowledge_base()
    document = core.upload(knowledge_base, "a.md", "x")
    core.services.documents.delete(core.user, document.id)
    worker.cleanup.clear_document(document.id)
    core.services.knowledge_bases.delete(core.user, knowledge_base.id)
    worker.cleanup.clear_knowledge_base(knowledge_base.id)
    assert rows(core) == [0, 0, 0]


def test_knowledge_base_with_a_lost_collection_is_cleared(
    core: Core, worker: WorkerParts, documents: list[Document]
) -> None:
    core.services.vectors.drop(core.services.knowledge_bases.list(core.user)[0].collection)
    core.services.documents.delete(core.user, documents[0].id)
    worker.cleanup.clear_document(documents[0].id)
    assert worker.cleanup.pending() == ([], [])


def test_existing_items_are_not_cleared(core: Core, worker: WorkerParts, documents: list[Document]) -> None:
    worker.cleanup.clear_document(documents[0].id)
    worker.cleanup.clear_knowledge_base(documents[0].knowledge_base_id)
    worker.cleanup.clear_version(documents[0].latest.id)
    for unknown in (worker.cleanup.clear_document, worker.cleanup.clear_knowledge_base, worker.cleanup.clear_version):
        unknown(uuid4())
    assert core.count(documents[0]) == 1
    assert rows(core) == [1, 2, 2]


def test_failed_clean_up_backs_off_and_is_listed(
    core: Core, documents: list[Document], monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    def away(*_arguments: object) -> None:
        raise MilvusUnavailable(detail="gone")

    services, gone = core.services, documents[0]
    cleanup = Cleanup(services.database, services.vectors, services.files, "worker", clock)
    services.documents.delete(core.user, gone.id)
    pauses = []
    with monkeypatch.context() as patch:
        patch.setattr(VectorStore, "delete_document", away)
        for failures in range(1, 15):
            assert cleanup.pending() == ([], [gone.id])
            with pytest.raises(MilvusUnavailable):
                cleanup.clear_document(gone.id)
            [failing] = failing_clean_ups(services.database)
            assert (failing.document, failing.failures, failing.error.code) == ("0.md", failures, "milvus_unavailable")
            assert failing.error.values == {"detail": "gone"}
            assert cleanup.pending() == ([], [])
            cleanup.clear_document(gone.id)  # a message that comes meanwhile changes nothing
            pauses.append((failing.retry_at - clock.now).total_seconds())
            clock.now = failing.retry_at
    assert pauses[:4] == [4, 8, 16, 32]
    assert pauses[-1] == LONGEST_PAUSE_SECONDS
    assert rows(core) == [1, 2, 2]
    cleanup.clear_document(gone.id)
    assert (core.count(gone), core.count(documents[1])) == (0, 1)
    assert rows(core) == [1, 1, 1]
    assert failing_clean_ups(services.database) == []


def test_clean_up_is_tried_again_soon_after_the_clock_was_set_back(
    core: Core, documents: list[Document], monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    def away(*_arguments: object) -> None:
        raise MilvusUnavailable(detail="gone")

    services, gone = core.services, documents[0]
    cleanup = Cleanup(services.database, services.vectors, services.files, "worker", clock)
    services.documents.delete(core.user, gone.id)
    with monkeypatch.context() as patch:
        patch.setattr(VectorStore, "delete_document", away)
        with pytest.raises(MilvusUnavailable):
            cleanup.clear_document(gone.id)
    assert cleanup.pending() == ([], [])
    clock.advance(-86_400)
    assert cleanup.pending() == ([], [gone.id])


def test_failed_clean_up_of_a_knowledge_base_is_listed(
    core: Core, worker: WorkerParts, documents: list[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    base_id = documents[0].knowledge_base_id
    core.services.knowledge_bases.delete(core.user, base_id)
    monkeypatch.setattr(FileStore, "delete_knowledge_base", refuse)
    with pytest.raises(CleanUpFailed, match="Permission denied"):
        worker.cleanup.clear_knowledge_base(base_id)
    [failing] = failing_clean_ups(core.services.database)
    assert (failing.document, failing.error.code) == ("", "clean_up_failed")
    assert worker.cleanup.pending() == ([], [])


def test_files_that_cannot_be_deleted_are_told(
    core: Core, worker: WorkerParts, documents: list[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise nobody would know of them any more: the rows are the only ones that do."""

    def refuse(*_arguments: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    base_id = documents[0].knowledge_base_id
    core.services.knowledge_bases.delete(core.user, base_id)
    with monkeypatch.context() as patch:
        patch.setattr("os.rmdir", refuse)
        with pytest.raises(CleanUpFailed, match="Permission denied"):
            worker.cleanup.clear_knowledge_base(base_id)
    assert failing_clean_ups(core.services.database)
    assert rows(core) == [1, 2, 2]


def test_suspended_worker_leaves_no_collection_of_a_deleted_knowledge_base(
    core: Core, worker: WorkerParts, documents: list[Document]
) -> None:
    """It wakes up after everything was cleared, creates the collection, and finds that it has lost its lease."""
    base = core.services.knowledge_bases.list(core.user)[0]
    core.services.knowledge_bases.delete(core.user, base.id)
    worker.cleanup.clear_knowledge_base(base.id)
    core.services.vectors.create(base)
    worker.cleanup.clear_leftovers(documents[0].latest.id, base)
    with pytest.raises(CollectionMissing):
        core.services.vectors.size(base.collection)


def test_retry_ends_the_wait_for_a_failed_clean_up(
    core: Core, worker: WorkerParts, documents: list[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_arguments: object) -> None:
        raise MilvusUnavailable(detail="gone")

    failed = documents[0]
    with core.services.database.write() as connection:
        connection.execute(sa.update(versions).where(versions.c.id == failed.latest.id).values(state="failed"))
    with monkeypatch.context() as patch:
        patch.setattr(VectorStore, "delete_version", away)
        with pytest.raises(MilvusUnavailable):
            worker.cleanup.clear_version(failed.latest.id)
    assert len(failing_clean_ups(core.services.database)) == 1
    core.services.documents.retry(core.user, failed.id)
    assert failing_clean_ups(core.services.database) == []
    assert worker.ingestion.ingest(failed.latest.id) == "ready"
    assert core.count(failed) == 1


def test_clean_up_waits_for_running_ingestion(core: Core, worker: WorkerParts, documents: list[Document]) -> None:
    """Otherwise its worker would store chunks that nobody clears."""
    busy = documents[0]
    base_id = busy.knowledge_base_id
    collection = core.services.knowledge_bases.get(core.user, base_id).collection
    running = sa.update(versions).where(versions.c.id == busy.latest.id)
    with core.services.database.write() as connection:
        connection.execute(running.values(state="embedding"))
    core.services.documents.delete(core.user, busy.id)
    worker.cleanup.clear_document(busy.id)
    core.services.knowledge_bases.delete(core.user, base_id)
    worker.cleanup.clear_knowledge_base(base_id)
    assert rows(core) == [1, 2, 2]
    for document in documents:
        assert core.services.vectors.count(collection, document.latest.id) == 1
    with core.services.database.write() as connection:
        connection.execute(running.values(state="cancelled"))
    worker.cleanup.clear_knowledge_base(base_id)
    assert rows(core) == [0, 0, 0]


def test_only_a_content_that_was_never_ready_loses_its_file_when_it_is_replaced(
    core: Core, worker: WorkerParts, documents: list[Document]
) -> None:
    """Answers cite what was ready once. Nobody can see the other, or try it again."""
    uploads, (document, _other) = core.services.settings.uploads, documents

    def replace(text: bytes) -> Version:
        return core.services.arrivals.replace(core.user, document.id, io.BytesIO(text)).document.latest

    never_ready, newest = replace(b"never ready"), replace(b"newest")
    assert worker.cleanup.stale_versions() == [never_ready.id]
    for _ in range(2):
        worker.cleanup.clear_version(never_ready.id)
    assert worker.cleanup.stale_versions() == []
    assert not (uploads / never_ready.file_key).exists()
    worker.ingestion.ingest(newest.id)
    assert worker.cleanup.stale_versions() == []
    for kept in (document.latest, newest):
        assert (uploads / kept.file_key).exists()


def test_content_that_was_indexed_again_keeps_its_file_when_it_is_replaced(
    core: Core, worker: WorkerParts, documents: list[Document]
) -> None:
    document = documents[0]
    with core.services.database.write() as connection:
        connection.execute(sa.update(versions).where(versions.c.id == document.latest.id).values(missing_chunks=1))
    assert index_again(core.services.database, core.services.files).queued == 1
    newest = core.services.arrivals.replace(core.user, document.id, io.BytesIO(b"newest")).document.latest
    for version in (document.latest, newest):  # the first of them is cancelled
        worker.ingestion.ingest(version.id)
    for version_id in worker.cleanup.stale_versions():  # what Milvus held of it
        worker.cleanup.clear_version(version_id)
    assert core.document(document.id).live_version_id == newest.id
    assert (core.services.settings.uploads / document.latest.file_key).exists()


def test_failed_version_loses_its_chunks_and_keeps_its_file(core: Core, worker: WorkerParts) -> None:
    def defect(_texts: object) -> None:
        if core.embedding.batches:
            raise ZeroDivisionError

    core.embedding.before_batch = defect
    text = "\n\n".join(f"# {n}\n\n" + "Some words of no interest at all. " * 20 for n in range(70))
    document = core.upload(core.knowledge_base(), "a.md", text)
    worker.ingestion.ingest(document.latest.id)
    assert core.document(document.id).latest.error == "unexpected_failure"
    assert core.count(document) == 0
    assert worker.cleanup.stale_versions() == []
    assert (core.services.settings.uploads / document.latest.file_key).exists()
