"""A queued version becomes chunks that can be found, once and whole, whatever happens on the way."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from kb import ranges
from kb.database.tables import documents, now, versions
from kb.embedding.model import Vectors
from kb.errors import (
    DatabaseUnavailable,
    EmbeddingUnavailable,
    KbError,
    MilvusRefused,
    MilvusUnavailable,
    RedisUnavailable,
)
from kb.ingestion import failing_clean_ups, newest_collections, pace, pipeline, sealing, threads_of
from kb.ingestion.cleanup import FIRST_PAUSE_SECONDS
from kb.ingestion.leases import LeaseWatch
from kb.ingestion.pace import MAX_BATCH_CHUNKS as BATCH_CHUNKS
from kb.models import Chunk, Document, Scope, Version, VersionState
from kb.notes import Note, NoteKind
from kb.parsing import ParserProcess
from kb.parsing.frames import Frame
from kb.parsing.process import Child
from kb.services import WorkerParts, build_worker_parts
from kb.vectors import VectorStore
from tests.conftest import Core, MakeSettings
from tests.fakes.embedding import HashedWords
from tests.kb.parsing import parsing_samples as samples
from tests.real_services import free_port, wait_until

# Each section fills more than half a chunk, so it becomes a chunk of its own.
SECTION = "Sentence number {number} is about apples, pears and the long way home. " * 9


@pytest.fixture(autouse=True)
def _batches_of_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast this machine is."""
    monkeypatch.setattr(pace, "FIRST_BATCH_CHUNKS", BATCH_CHUNKS)
    monkeypatch.setattr(pace, "BATCH_SECONDS", 1e9)


def sections(count: int, word: str = "Part") -> str:
    return "\n\n".join(f"# {word} {number}\n\n{SECTION.format(number=number)}" for number in range(count))


LONG = sections(2 * BATCH_CHUNKS + 5)


def latest(core: Core, document: Document) -> Version:
    return core.document(document.id).latest


def set_version(core: Core, version_id: UUID, **values: object) -> None:
    with core.services.database.write() as connection:
        connection.execute(sa.update(versions).where(versions.c.id == version_id).values(**values))


def add_version(core: Core, document: Document, text: str) -> UUID:
    """Add a newer version of a document, as replacing its file would."""
    version_id = uuid4()
    key = core.services.files.key(document.knowledge_base_id, version_id)
    (core.services.settings.uploads / key).write_text(text)
    row = {"id": version_id, "document_id": document.id, "state": "queued", "file_key": key, "size_bytes": len(text)}
    row |= {"media_type": "text/markdown"}
    row |= {"listed_in": document.knowledge_base_id, "created_at": now() + timedelta(seconds=1)}
    with core.services.database.write() as connection:
        connection.execute(sa.update(versions).where(versions.c.document_id == document.id).values(listed_in=None))
        connection.execute(sa.insert(versions), row)
    return version_id


def stored_texts(core: Core, document: Document) -> list[str]:
    collection = core.services.knowledge_bases.get(core.user, document.knowledge_base_id).collection
    count = core.count(document)
    chunks = core.services.vectors.chunks(collection, latest(core, document).id, 0, 1000)
    assert len(chunks) == count
    assert [chunk.ordinal for chunk in chunks] == list(range(count))
    return [chunk.text for chunk in chunks]


# --- the good end ----------------------------------------------------------------------------------------------


def test_file_becomes_ready_with_exactly_its_chunks(core: Core, worker: WorkerParts) -> None:
    text = "# 苹果\n\n苹果是一种水果。\n\n# Pears\n\n" + SECTION.format(number=1) * 2
    document = core.upload(core.knowledge_base(), "fruit.md", text)
    assert worker.ingestion.ingest(document.latest.id) is VersionState.READY
    found = core.document(document.id)
    version = found.latest
    assert (version.state, version.error, version.attempts) == (VersionState.READY, "", 1)
    assert version.chunks == version.stored_chunks == core.count(document) > 1
    assert found.live_version_id == version.id
    chunks = core.services.documents.chunks(core.user, document.id, 0, 100)
    for chunk in chunks:
        assert chunk.text == text[chunk.start : chunk.end]
        assert chunk.id == f"{version.id.hex}-{chunk.ordinal:06d}"
    assert [chunk.heading for chunk in chunks][::2] == ["苹果", "Pears"]
    assert "fruit" in chunks[0].terms.split()  # the file's name is searched too
    assert core.services.knowledge_bases.get(core.user, found.knowledge_base_id).ready_count == 1


def test_heading_is_embedded_with_the_text(core: Core, worker: WorkerParts) -> None:
    document = core.upload(core.knowledge_base(), "a.md", "# Fruit\n\n## Pears\n\nGreen.")
    worker.ingestion.ingest(document.latest.id)
    assert core.embedding.batches == [["Fruit\n# Fruit\n\n## Pears\n\nGreen."]]


def test_second_message_does_nothing(core: Core, worker: WorkerParts) -> None:
    document = core.upload(core.knowledge_base(), "a.md", "# A\n\nText.")
    worker.ingestion.ingest(document.latest.id)
    assert worker.ingestion.ingest(document.latest.id) is None
    assert worker.ingestion.ingest(uuid4()) is None
    assert (core.count(document), len(core.embedding.batches)) == (1, 1)


def test_two_workers_on_one_version_have_one_effect(core: Core, worker: WorkerParts) -> None:
    other = build_worker_parts(core.services)
    document = core.upload(core.knowledge_base(), "a.md", LONG)
    with ThreadPoolExecutor(2) as pool:
        states = list(pool.map(lambda parts: parts.ingestion.ingest(document.latest.id), [worker, other]))
    other.ingestion.close()
    assert sorted(states, key=str) == [None, VersionState.READY]
    assert core.count(document) == latest(core, document).chunks == 2 * BATCH_CHUNKS + 5


def test_first_documents_can_be_ingested_simultaneously(core: Core, worker: WorkerParts) -> None:
    workers = [worker, *(build_worker_parts(core.services) for _ in range(2))]
    knowledge_base = core.knowledge_base()
    documents = [core.upload(knowledge_base, f"{number}.md", sections(5)) for number in range(3)]
    with ThreadPoolExecutor(3) as pool:
        jobs = zip(workers, documents, strict=True)
        states = list(pool.map(lambda job: job[0].ingestion.ingest(job[1].latest.id), jobs))
    for parts in workers[1:]:
        parts.ingestion.close()
    assert states == [VersionState.READY] * 3
    assert [core.count(document) for document in documents] == [5, 5, 5]


# --- files that cannot be read ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("empty.md", b"", "empty_file"),
        ("blank.txt", b" \n\t\n ", "blank_file"),
        ("a.exe", b"MZ\x90\x00" * 50, "unsupported_format"),
        ("not.pdf", b"\x89PNG\r\n\x1a\n" + bytes(100), "wrong_format"),
        ("cut.pdf", b"%PDF-1.7\n1 0 obj\n<<", "damaged_file"),
    ],
)
def test_bad_file_fails_with_its_error(core: Core, worker: WorkerParts, name: str, content: bytes, code: str) -> None:
    knowledge_base = core.knowledge_base()
    document = core.upload(knowledge_base, name, content)
    good = core.upload(knowledge_base, "good.md", "# Good\n\nText.")
    assert worker.ingestion.ingest(document.latest.id) is VersionState.FAILED
    version = latest(core, document)
    assert (version.state, version.error, version.error_values["name"]) == (VersionState.FAILED, code, name)
    assert version.finished_at is not None
    assert bool(version.memory_peak_mb) == (sys.platform == "linux")
    assert worker.ingestion.ingest(good.latest.id) is VersionState.READY


@pytest.mark.parametrize("text", ["字" * 30_000, "A\x00B " + "words " * 50, "🦜" * 5_000])
def test_unusual_texts_are_stored_whole(core: Core, worker: WorkerParts, text: str) -> None:
    document = core.upload(core.knowledge_base(), "odd.txt", text)
    assert worker.ingestion.ingest(document.latest.id) is VersionState.READY
    version = latest(core, document)
    assert core.count(document) == version.chunks
    chunks = core.services.documents.chunks(core.user, document.id, 0, 1000)
    assert all(first.end >= second.start for first, second in pairwise(chunks))
    assert all("\x00" not in chunk.text for chunk in chunks)


def test_knowledge_base_of_an_unknown_model_is_refused(core: Core, worker: WorkerParts) -> None:
    knowledge_base = core.services.knowledge_bases.create(core.user, "Newer", "builtin:newer", 384)
    document = core.upload(knowledge_base, "a.md", "# A\n\nText.")
    assert worker.ingestion.ingest(document.latest.id) is VersionState.FAILED
    assert latest(core, document).error == "unknown_embedding_model"


def test_model_of_another_dimension_is_refused(core: Core, worker: WorkerParts) -> None:
    knowledge_base = core.services.knowledge_bases.create(core.user, "Other", core.embedding.name, 33)
    document = core.upload(knowledge_base, "a.md", "# A\n\nText.")
    assert worker.ingestion.ingest(document.latest.id) is VersionState.FAILED
    assert latest(core, document).error_values == {"stored": "test (33)", "configured": "test (32)"}


def test_unexpected_error_fails_only_the_document(core: Core, worker: WorkerParts) -> None:
    def defect(_texts: object) -> None:
        raise ZeroDivisionError

    core.embedding.before_batch = defect
    document = core.upload(core.knowledge_base(), "a.md", "# A\n\nText.")
    assert worker.ingestion.ingest(document.latest.id) is VersionState.FAILED
    version = latest(core, document)
    assert (version.error, version.error_values["detail"]) == ("unexpected_failure", "ZeroDivisionError")
    core.embedding.before_batch = None
    core.services.documents.retry(core.user, document.id)
    assert worker.ingestion.ingest(document.latest.id) is VersionState.READY


def test_worker_without_memory_tries_again(core: Core, worker: WorkerParts) -> None:
    def take_too_much(_texts: object) -> None:
        raise MemoryError

    core.embedding.before_batch = take_too_much
    document = core.upload(core.knowledge_base(), "a.md", "# A\n\nText.")
    assert worker.ingestion.ingest(document.latest.id) is VersionState.QUEUED
    assert latest(core, document).error == "worker_memory_short"


def test_full_disk_is_waited_for(core: Core, worker: WorkerParts) -> None:
    def fill(_texts: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    core.embedding.before_batch = fill
    document = core.upload(core.knowledge_base(), "a.md", "# A\n\nText.")
    assert worker.ingestion.ingest(document.latest.id) is VersionState.QUEUED
    assert latest(core, document).error == "disk_full"
    core.embedding.before_batch = None
    set_version(core, document.latest.id, retry_at=None)
    assert worker.ingestion.ingest(document.latest.id) is VersionState.READY


# --- crashes ---------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Simulates the death of the process: no code catches it."""


def die_in_batch(core: Core, worker: WorkerParts, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill the worker after `number` stored batches, before it records them or requeues the version."""
    upsert = core.services.vectors.upsert
    batches = 0

    def dying(*arguments: object) -> None:
        nonlocal batches
        batches += 1
        upsert(*arguments)  # type: ignore[arg-type]
        if batches > number:
            raise Killed

    monkeypatch.setattr(VectorStore, "upsert", lambda _self, *arguments: dying(*arguments))
    monkeypatch.setattr(worker.claims, "release", lambda _job: None)


@pytest.mark.parametrize(
    ("kills", "state", "error"),
    [(1, VersionState.READY, ""), (2, VersionState.FAILED, "parser_killed")],
)
def test_file_whose_parser_is_killed_is_read_once_more_alone(
    core: Core, worker: WorkerParts, monkeypatch: pytest.MonkeyPatch, kills: int, state: VersionState, error: str
) -> None:
    send, left = Child.send, [None] * kills

    def send_and_kill(child: Child, frame: Frame) -> None:
        if not left:
            send(child, frame)
            return
        left.pop()
        os.kill(child._process.pid, signal.SIGSTOP)  # else it may have read the file by then
        send(child, frame)
        os.kill(child._process.pid, signal.SIGKILL)

    monkeypatch.setattr(Child, "send", send_and_kill)
    monkeypatch.setattr("kb.parsing.process.oom_kills", count().__next__)  # for lack of memory
    document = core.upload(core.knowledge_base(), "a.md", SECTION)
    assert worker.ingestion.ingest(document.latest.id) is state
    version = latest(core, document)
    assert (version.state, version.error, version.crashes) == (state, error, 0)


def upload_and_be_killed(core: Core, worker: WorkerParts, monkeypatch: pytest.MonkeyPatch) -> Document:
    """A long document whose worker died after storing two batches and recording one."""
    document = core.upload(core.knowledge_base(), "a.md", LONG)
    with monkeypatch.context() as patch:
        die_in_batch(core, worker, 1, patch)
        with pytest.raises(Killed):
            worker.ingestion.ingest(document.latest.id)
    return document


def take_back(core: Core, document: Document, worker: WorkerParts) -> None:
    """The dead worker's lease runs out."""
    set_version(core, document.latest.id, lease_until=datetime(2000, 1, 1, tzinfo=UTC))
    assert worker.claims.expire() == 1


def test_next_worker_continues_after_a_kill(core: Core, worker: WorkerParts, monkeypatch: pytest.MonkeyPatch) -> None:
    document = upload_and_be_killed(core, worker, monkeypatch)
    assert latest(core, document).stored_chunks == BATCH_CHUNKS
    assert core.count(document) == 2 * BATCH_CHUNKS  # one batch more than recorded
    assert core.document(document.id).live_version_id is None
    core.embedding.batches.clear()
    successor = build_worker_parts(core.services)
    take_back(core, document, successor)
    assert successor.ingestion.ingest(document.latest.id) is VersionState.READY
    successor.ingestion.close()
    assert [len(batch) for batch in core.embedding.batches] == [BATCH_CHUNKS, 5]
    texts = stored_texts(core, document)
    assert len(texts) == latest(core, document).chunks == 2 * BATCH_CHUNKS + 5
    assert [text.splitlines()[0] for text in texts] == [f"# Part {number}" for number in range(len(texts))]


def next_worker_ingests_changed_chunks(core: Core, document: Document) -> None:
    """For example, after an update that changed the chunking."""
    core.services.files.path(document.latest.file_key, "").write_text(sections(70, "New"))
    successor = build_worker_parts(core.services)
    take_back(core, document, successor)
    assert successor.ingestion.ingest(document.latest.id) is VersionState.READY
    successor.ingestion.close()
    texts = stored_texts(core, document)
    assert len(texts) == 70
    assert all(text.startswith("# New") for text in texts)


def test_changed_chunks_are_written_again(core: Core, worker: WorkerParts, monkeypatch: pytest.MonkeyPatch) -> None:
    document = upload_and_be_killed(core, worker, monkeypatch)
    next_worker_ingests_changed_chunks(core, document)


def test_chunks_lost_in_milvus_are_written_again(core: Core, worker: WorkerParts) -> None:
    knowledge_base = core.knowledge_base()
    document = core.upload(knowledge_base, "a.md", LONG)

    def lose_some(texts: object) -> None:
        if len(core.embedding.batches) == 2:
            core.services.vectors.delete_from(knowledge_base.collection, document.latest.id, 100)

    core.embedding.before_batch = lose_some
    assert worker.ingestion.ingest(document.latest.id) is VersionState.QUEUED
    version = latest(core, document)
    assert (version.error, version.stored_chunks) == ("milvus_refused", 0)
    assert core.document(document.id).live_version_id is None
    core.embedding.before_batch = None
    set_version(core, version.id, retry_at=None)
    assert worker.ingestion.ingest(version.id) is VersionState.READY
    assert core.count(document) == 2 * BATCH_CHUNKS + 5


def test_worker_shutdown_requeues_the_document(core: Core, worker: WorkerParts) -> None:
    document = core.upload(core.knowledge_base(), "a.md", LONG)

    def interrupt(_texts: object) -> None:
        raise KeyboardInterrupt

    core.embedding.before_batch = interrupt
    with pytest.raises(KeyboardInterrupt):
        worker.ingestion.ingest(document.latest.id)
    version = latest(core, document)
    assert (version.state, version.crashes) == (VersionState.QUEUED, 0)
    assert worker.claims.due(resend=False) == [version.id]
    core.embedding.before_batch = None
    assert worker.ingestion.ingest(version.id) is VersionState.READY


def test_lost_lease_stops_the_writing(core: Core, worker: WorkerParts) -> None:
    successor = build_worker_parts(core.services)
    document = core.upload(core.knowledge_base(), "a.md", LONG)
    stored: list[int] = []

    def lose_lease(_texts: object) -> None:
        if len(core.embedding.batches) == 1:
            core.embedding.before_batch = None
            take_back(core, document, successor)
            assert successor.ingestion.ingest(document.latest.id) is VersionState.READY
            stored.append(core.count(document))

    core.embedding.before_batch = lose_lease
    assert worker.ingestion.ingest(document.latest.id) is None
    successor.ingestion.close()
    assert stored == [2 * BATCH_CHUNKS + 5] == [core.count(document)]
    assert latest(core, document).state is VersionState.READY
    assert len(core.embedding.batches) == 4  # 1 of the first worker, 2 of the second, and 1 that was thrown away


@pytest.mark.parametrize(
    ("owner", "step", "stored"),
    [(ParserProcess, "parse", 0), (HashedWords, "embed_documents", 0), (VectorStore, "count_first", 1)],
)
def test_worker_that_loses_its_lease_in_a_slow_step_stores_nothing(
    core: Core, worker: WorkerParts, monkeypatch: pytest.MonkeyPatch, owner: type, step: str, stored: int
) -> None:
    """Another worker claims the version during the step, and has stored nothing itself."""
    successor = build_worker_parts(core.services)
    knowledge_base = core.knowledge_base()
    document = core.upload(knowledge_base, "a.md", "# A\n\nText.")
    take_step = getattr(owner, step)
    claimed: list[Document] = []
    written: list[str] = []

    def take_long(*arguments: object, **options: object) -> object:
        result = take_step(*arguments, **options)
        take_back(core, document, successor)
        assert successor.claims.claim(document.latest.id)
        claimed.append(core.document(document.id))
        for name in ("create", "upsert", "delete_from", "delete_version"):
            monkeypatch.setattr(VectorStore, name, lambda *_arguments, name=name: written.append(name))
        return result

    monkeypatch.setattr(owner, step, take_long)
    monkeypatch.setattr(pipeline, "CHECK_SECONDS", 0)  # every step counts as slow
    assert worker.ingestion.ingest(document.latest.id) is None
    successor.ingestion.close()
    assert written == []
    assert [core.document(document.id)] == claimed
    assert claimed[0].latest.state is VersionState.PARSING
    assert claimed[0].live_version_id is None
    assert claimed[0].latest.stored_chunks == stored


def test_late_writes_of_a_suspended_worker_are_removed(
    core: Core, worker: WorkerParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker slept between checking its lease and writing; meanwhile the document was cancelled and cleared."""
    successor = build_worker_parts(core.services)
    knowledge_base = core.knowledge_base()
    document = core.upload(knowledge_base, "a.md", "# A\n\nA pear is green.")
    version_id = document.latest.id
    upsert = VectorStore.upsert

    def wake_up_late(
        store: VectorStore, collection: str, chunks: Sequence[Chunk], vectors: Vectors, partition: UUID | None
    ) -> None:
        core.services.documents.cancel(core.user, document.id)
        set_version(core, version_id, lease_until=now() - timedelta(seconds=1))
        assert successor.claims.expire() == 1
        successor.cleanup.clear_version(version_id)
        if is_deleted:
            core.services.documents.delete(core.user, document.id)
            successor.cleanup.clear_document(document.id)
        upsert(store, collection, chunks, vectors)

    monkeypatch.setattr(VectorStore, "upsert", wake_up_late)
    for is_deleted in (False, True):
        assert worker.ingestion.ingest(version_id) is None
        assert core.services.vectors.count(knowledge_base.collection, version_id) == 0
        assert worker.cleanup.stale_versions() == []
        if not is_deleted:
            core.services.documents.retry(core.user, document.id)
    successor.ingestion.close()


def test_cancel_during_an_outage_is_noticed(core: Core, worker: WorkerParts) -> None:
    document = core.upload(core.knowledge_base(), "a.md", LONG)

    def cancel_and_fail(_texts: object) -> None:
        core.services.documents.cancel(core.user, document.id)
        raise EmbeddingUnavailable(model="m", detail="gone")

    core.embedding.before_batch = cancel_and_fail
    assert worker.ingestion.ingest(document.latest.id) is VersionState.CANCELLED
    assert latest(core, document).state is VersionState.CANCELLED


# --- cancel and delete -----------------------------------------------------------------------------------------


def in_batch(core: Core, number: int, act: Callable[[], object]) -> None:
    """Do something while batch `number` is being embedded."""

    def look(_texts: object) -> None:
        if len(core.embedding.batches) == number:
            act()

    core.embedding.before_batch = look


def test_cancel_between_batches_leaves_nothing(core: Core, worker: WorkerParts) -> None:
    document = core.upload(core.knowledge_base(), "a.md", LONG)
    in_batch(core, 1, lambda: core.services.documents.cancel(core.user, document.id))
    assert worker.ingestion.ingest(document.latest.id) is VersionState.CANCELLED
    version = latest(core, document)
    assert (version.state, version.stored_chunks, core.count(document)) == (VersionState.CANCELLED, 0, 0)
    assert bool(version.memory_peak_mb) == (sys.platform == "linux")
    core.embedding.before_batch = None
    core.services.documents.retry(core.user, document.id)
    assert latest(core, document).memory_peak_mb is None
    assert worker.ingestion.ingest(version.id) is VersionState.READY
    assert core.count(document) == 2 * BATCH_CHUNKS + 5


def test_cancel_just_before_the_switch_is_noticed(
    core: Core, worker: WorkerParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = core.upload(core.knowledge_base(), "a.md", "# A\n\nText.")
    count_first = VectorStore.count_first

    def cancel_and_count(store: VectorStore, collection: str, version_id: UUID, total: int) -> int:
        core.services.documents.cancel(core.user, document.id)
        return count_first(store, collection, version_id, total)

    with monkeypatch.context() as patch:
        patch.setattr(VectorStore, "count_first", cancel_and_count)
        assert worker.ingestion.ingest(document.latest.id) is VersionState.CANCELLED
    assert latest(core, document).state is VersionState.CANCELLED
    assert core.count(document) == 0


def test_document_deleted_during_ingestion_leaves_nothing(core: Core, worker: WorkerParts) -> None:
    document = core.upload(core.knowledge_base(), "a.md", LONG)
    in_batch(core, 1, lambda: core.services.documents.delete(core.user, document.id))
    assert worker.ingestion.ingest(document.latest.id) is VersionState.CANCELLED
    assert core.count(document) == 0
    assert worker.cleanup.pending() == ([], [document.id])
    worker.cleanup.clear_document(document.id)
    assert worker.cleanup.pending() == ([], [])
    assert not (core.services.settings.uploads / document.latest.file_key).exists()


def test_knowledge_base_deleted_during_ingestion_leaves_nothing(core: Core, worker: WorkerParts) -> None:
    knowledge_base = core.knowledge_base()
    document = core.upload(knowledge_base, "a.md", LONG)
    waiting = core.upload(knowledge_base, "b.md", LONG)
    kept: list[int] = []

    def delete() -> None:
        core.services.knowledge_bases.delete(core.user, knowledge_base.id)
        worker.cleanup.clear_knowledge_base(knowledge_base.id)
        kept.append(core.services.vectors.count(knowledge_base.collection))

    in_batch(core, 1, delete)
    assert worker.ingestion.ingest(document.latest.id) is VersionState.CANCELLED
    assert kept == [BATCH_CHUNKS]  # while it is being written to, it is not dropped
    assert worker.ingestion.ingest(waiting.latest.id) is None
    assert worker.cleanup.pending() == ([knowledge_base.id], [])
    worker.cleanup.clear_knowledge_base(knowledge_base.id)
    assert worker.cleanup.pending() == ([], [])
    with pytest.raises(KbError):
        core.services.vectors.count(knowledge_base.collection)


# --- services that are away ------------------------------------------------------------------------------------


def test_unavailable_milvus_postpones_the_document(core: Core, make_settings: MakeSettings) -> None:
    settings = make_settings(redis_url=core.services.settings.redis_url, milvus_uri=f"http://127.0.0.1:{free_port()}")
    away = VectorStore(settings)
    lost = build_worker_parts(replace(core.services, vectors=away))
    document = core.upload(core.knowledge_base(), "a.md", "# A\n\nText.")
    assert lost.ingestion.ingest(document.latest.id) is VersionState.QUEUED
    version = latest(core, document)
    assert (version.error, version.crashes) == ("milvus_unavailable", 0)
    assert version.retry_at is not None
    set_version(core, version.id, retry_at=now() + timedelta(minutes=1))
    assert lost.ingestion.ingest(version.id) is None  # not due yet
    set_version(core, version.id, retry_at=None)
    found = build_worker_parts(core.services)
    assert found.ingestion.ingest(version.id) is VersionState.READY
    assert latest(core, document).error == ""
    for parts in (lost, found):
        parts.ingestion.close()
    away.close()


@pytest.mark.parametrize(
    "error",
    [RedisUnavailable(detail="gone"), EmbeddingUnavailable(model="test", detail="loading"), MilvusUnavailable()],
)
def test_transient_errors_postpone_the_document(core: Core, worker: WorkerParts, error: KbError) -> None:
    def away() -> None:
        raise error

    in_batch(core, 1, away)
    document = core.upload(core.knowledge_base(), "a.md", LONG)
    assert worker.ingestion.ingest(document.latest.id) is VersionState.QUEUED
    version = latest(core, document)
    assert (version.error, version.stored_chunks) == (error.code, BATCH_CHUNKS)
    core.embedding.before_batch = None
    core.embedding.batches.clear()
    set_version(core, version.id, retry_at=None)
    assert worker.ingestion.ingest(version.id) is VersionState.READY
    assert [len(batch) for batch in core.embedding.batches] == [BATCH_CHUNKS, 5]  # the first one was kept
    assert core.count(document) == 2 * BATCH_CHUNKS + 5


def test_missing_file_postpones_the_document(core: Core, worker: WorkerParts) -> None:
    document = core.upload(core.knowledge_base(), "a.md", "# A\n\nText.")
    path = core.services.files.path(document.latest.file_key, "")
    path.rename(path.with_suffix(".away"))
    assert worker.ingestion.ingest(document.latest.id) is VersionState.QUEUED
    assert latest(core, document).error == "file_missing"


def test_version_whose_result_was_not_saved_is_requeued(
    core: Core, worker: WorkerParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database was down at that moment. The heartbeat must not keep a lease that no thread uses."""

    def away(*_arguments: object, **_values: object) -> None:
        raise DatabaseUnavailable(detail="locked")

    document = core.upload(core.knowledge_base(), "a.md", "# A\n\nText.")
    with monkeypatch.context() as patch:
        for name in ("enter", "postpone", "fail"):
            patch.setattr(worker.claims, name, away)
        with pytest.raises(DatabaseUnavailable):
            worker.ingestion.ingest(document.latest.id)
    set_version(core, document.latest.id, lease_until=datetime(2000, 1, 1, tzinfo=UTC))
    worker.claims.renew()
    monkeypatch.setattr(worker.claims, "_watch", LeaseWatch(20, patience_seconds=0, elapsed=time.monotonic))
    assert worker.claims.expire() == 1
    assert worker.ingestion.ingest(document.latest.id) is VersionState.READY


def test_chunks_of_a_cancelled_version_are_removed_after_an_outage(
    core: Core, worker: WorkerParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_arguments: object) -> None:
        raise MilvusUnavailable(detail="gone")

    document = core.upload(core.knowledge_base(), "a.md", LONG)
    in_batch(core, 1, lambda: core.services.documents.cancel(core.user, document.id))
    with monkeypatch.context() as patch:
        patch.setattr(VectorStore, "delete_version", away)
        patch.setattr(pipeline, "CHECK_SECONDS", 60)  # the cancel is heard after its batch
        assert worker.ingestion.ingest(document.latest.id) is VersionState.CANCELLED
    assert core.count(document) == 2 * BATCH_CHUNKS
    assert worker.cleanup.stale_versions() == []  # not due yet
    monkeypatch.setattr(worker.cleanup, "_clock", lambda: now() + timedelta(seconds=FIRST_PAUSE_SECONDS))
    assert worker.cleanup.stale_versions() == [document.latest.id]
    worker.cleanup.clear_version(document.latest.id)
    assert core.count(document) == 0
    assert worker.cleanup.stale_versions() == []
    assert failing_clean_ups(core.services.database) == []


# --- a newer version of a document -----------------------------------------------------------------------------


def test_old_version_stays_live_until_the_new_one_is_complete(core: Core, worker: WorkerParts) -> None:
    knowledge_base = core.knowledge_base()
    document = core.upload(knowledge_base, "a.md", sections(3, "Old"))
    worker.ingestion.ingest(document.latest.id)
    new = add_version(core, document, sections(BATCH_CHUNKS + 5, "New"))
    seen: list[tuple[UUID | None, set[str]]] = []

    def ask() -> None:
        found = core.services.retriever.retrieve(core.user, Scope((knowledge_base.id,)), "apples and pears").passages
        words = {passage.chunk.text.split()[1] for passage in found}
        seen.append((core.document(document.id).live_version_id, words))

    ask()  # the first question measures the model, which embeds batches, too
    seen.clear()
    core.embedding.batches.clear()
    in_batch(core, 1, ask)  # one batch of the new version is stored
    assert worker.ingestion.ingest(new) is VersionState.READY
    ask()
    assert seen == [(document.latest.id, {"Old"}), (new, {"New"})]
    assert core.services.vectors.count(knowledge_base.collection) == BATCH_CHUNKS + 5


def test_failed_new_version_leaves_the_old_one_live(core: Core, worker: WorkerParts) -> None:
    knowledge_base = core.knowledge_base()
    document = core.upload(knowledge_base, "a.md", sections(3, "Old"))
    worker.ingestion.ingest(document.latest.id)
    new = add_version(core, document, "  ")
    assert worker.ingestion.ingest(new) is VersionState.FAILED
    found = core.document(document.id)
    assert (found.live_version_id, found.latest.error) == (document.latest.id, "blank_file")
    assert len(core.services.retriever.retrieve(core.user, Scope((knowledge_base.id,)), "apples").passages) == 3


def test_killed_clean_up_does_not_block_a_retry(
    core: Core, worker: WorkerParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_arguments: object) -> None:
        raise SystemExit

    document = core.upload(core.knowledge_base(), "a.md", LONG)
    in_batch(core, 1, lambda: core.services.documents.cancel(core.user, document.id))
    with monkeypatch.context() as patch:
        patch.setattr(VectorStore, "delete_version", killed)
        with pytest.raises(SystemExit):
            worker.ingestion.ingest(document.latest.id)
    core.services.documents.retry(core.user, document.id)
    assert worker.ingestion.ingest(document.latest.id) is None
    host, _, namespace = worker.id.split(":")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    set_version(core, document.latest.id, lease_owner=f"{host}:{gone.pid}:{namespace}#clearing-1")
    worker.claims.expire()
    assert worker.ingestion.ingest(document.latest.id) is VersionState.READY
    assert core.count(document) == latest(core, document).chunks


def test_cancel_while_waiting_for_a_parser_is_noticed(core: Core, worker: WorkerParts) -> None:
    document = core.upload(core.knowledge_base(), "a.md", "# A\n\nText.")
    with ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        for _ in range(threads_of(core.services.settings)):
            stack.enter_context(worker.ingestion.parsers.lend())
        ingestion = pool.submit(worker.ingestion.ingest, document.latest.id)
        wait_until(lambda: latest(core, document).state is VersionState.PARSING)
        core.services.documents.cancel(core.user, document.id)
        assert ingestion.result(timeout=20) is VersionState.CANCELLED


# --- around it -------------------------------------------------------------------------------------------------


def test_ready_document_is_found_before_and_after_sealing(core: Core, worker: WorkerParts) -> None:
    knowledge_base = core.knowledge_base()
    document = core.upload(knowledge_base, "a.md", sections(3))
    worker.ingestion.ingest(document.latest.id)
    for _ in range(2):
        found = core.services.retriever.retrieve(core.user, Scope((knowledge_base.id,)), "apples").passages
        assert len(found) == 3
        worker.ingestion.seal()


@pytest.mark.parametrize("failure", [MilvusUnavailable(detail="gone"), MilvusRefused(detail="no space")])
def test_failed_sealing_is_repeated(
    failure: Exception, core: Core, worker: WorkerParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed: list[str] = []

    def flaky(_store: VectorStore, collection: str) -> None:
        sealed.append(collection)
        if len(sealed) == 1:
            raise failure

    knowledge_base = core.knowledge_base()
    document = core.upload(knowledge_base, "a.md", "# A\n\nText.")
    worker.ingestion.ingest(document.latest.id)
    monkeypatch.setattr(VectorStore, "flush", flaky)
    worker.ingestion.seal()
    worker.ingestion.seal()  # not at once: each try may cost a restart
    assert len(sealed) == 1
    monkeypatch.setattr(worker.ingestion._sealing, "_not_before", 0.0)
    worker.ingestion.seal()
    worker.ingestion.seal()
    assert sealed == [knowledge_base.collection] * 2


def test_long_document_is_sealed_in_between(core: Core, worker: WorkerParts, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = 0

    def look(_texts: Sequence[str]) -> None:
        nonlocal batches
        worker.ingestion.seal()
        batches += 1

    sealed_at: list[int] = []
    monkeypatch.setattr(sealing, "SEAL_CHUNKS", 2 * BATCH_CHUNKS)
    monkeypatch.setattr(VectorStore, "flush", lambda _store, _collection: sealed_at.append(batches))
    core.embedding.before_batch = look
    document = core.upload(core.knowledge_base(), "a.md", sections(3 * BATCH_CHUNKS + 5))
    worker.ingestion.ingest(document.latest.id)
    worker.ingestion.seal()
    assert sealed_at == [2, 4]  # after two batches, and the rest in the pause that follows


def test_deleted_knowledge_base_is_not_sealed(core: Core, worker: WorkerParts) -> None:
    knowledge_base = core.knowledge_base()
    document = core.upload(knowledge_base, "a.md", "# A\n\nText.")
    worker.ingestion.ingest(document.latest.id)
    core.services.vectors.drop(knowledge_base.collection)
    worker.ingestion.seal()


def test_warm_up_starts_parsers_and_searches_the_newest_collections(
    core: Core, worker: WorkerParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.ingestion.warm_up(["builtin:newer", core.embedding.name])
    assert core.embedding.batches == [["warm up"]]
    empty, older, newer = (core.knowledge_base(name) for name in ("Empty", "Older", "Newer"))
    for base in (older, newer):
        document = core.upload(base, "a.md", "# A\n\nText.")
        assert worker.ingestion.ingest(document.latest.id) is VersionState.READY
    database = core.services.database
    assert newest_collections(database, 2) == [newer.collection, older.collection]
    assert newest_collections(database, 1) == [newer.collection]
    core.services.knowledge_bases.delete(core.user, newer.id)
    warmed: list[str] = []
    monkeypatch.setattr(VectorStore, "warm_up", lambda _store, collection: warmed.append(collection))
    worker.ingestion.warm_up_collections(newest_collections(database, 10))
    assert warmed == [older.collection]
    assert empty.collection not in warmed


# --- several at a time -----------------------------------------------------------------------------------------


def test_worker_ingests_several_documents_at_once(core: Core, make_settings: MakeSettings) -> None:
    settings = core.services.settings.model_copy(update={"worker_threads": 3})
    parts = build_worker_parts(replace(core.services, settings=settings))
    documents = [core.upload(core.knowledge_base(f"{n}"), f"{n}.md", sections(3)) for n in range(3)]
    together = threading.Barrier(3)
    core.embedding.before_batch = lambda _texts: together.wait(timeout=60)
    with ThreadPoolExecutor(3) as pool:
        states = list(pool.map(lambda document: parts.ingestion.ingest(document.latest.id), documents))
    assert states == [VersionState.READY] * 3
    assert parts.ingestion.active == 0
    parts.ingestion.close()


# --- large documents, range by range ---------------------------------------------------------------------------


def test_large_document_continues_in_the_range_in_hand(
    core: Core, worker: WorkerParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "RANGE_CHARACTERS", 30_000)
    count = 3 * BATCH_CHUNKS
    document = core.upload(core.knowledge_base(), "a.md", sections(count))
    with monkeypatch.context() as patch:
        die_in_batch(core, worker, 3, patch)
        with pytest.raises(Killed):
            worker.ingestion.ingest(document.latest.id)
    version = latest(core, document)
    assert 0 < version.stored_chunks <= version.chunks < count
    core.embedding.batches.clear()
    successor = build_worker_parts(core.services)
    take_back(core, document, successor)
    assert successor.ingestion.ingest(document.latest.id) is VersionState.READY
    successor.ingestion.close()
    assert sum(map(len, core.embedding.batches)) == count - version.stored_chunks
    found = stored_texts(core, document)
    assert [text.splitlines()[0] for text in found] == [f"# Part {number}" for number in range(count)]
    assert latest(core, document).chunks == count


def test_changed_large_document_is_written_again(
    core: Core, worker: WorkerParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "RANGE_CHARACTERS", 30_000)
    document = core.upload(core.knowledge_base(), "a.md", sections(3 * BATCH_CHUNKS))
    with monkeypatch.context() as patch:
        die_in_batch(core, worker, 3, patch)
        with pytest.raises(Killed):
            worker.ingestion.ingest(document.latest.id)
    next_worker_ingests_changed_chunks(core, document)


def test_notes_are_kept_with_the_version(core: Core, worker: WorkerParts) -> None:
    pages = ["Contract between Alder and Birch", None, None, "Signed"]
    document = core.upload(core.knowledge_base(), "a.pdf", samples.make_pdf(pages))
    assert worker.ingestion.ingest(document.latest.id) is VersionState.READY
    version = latest(core, document)
    assert (version.notes, version.pages) == ((Note(NoteKind.IMAGES_ONLY, 2, (2, 3)),), 4)
    set_version(core, version.id, notes={"format": 2, "notes": "as a later release keeps them"})
    assert latest(core, document).notes == ()


def test_format_is_decided_at_registration(core: Core, worker: WorkerParts) -> None:
    base = core.knowledge_base()
    long_name = core.upload(base, "long " * 60 + ".md", "# Heading\n\nText.")
    assert long_name.name.endswith(".md")
    assert len(long_name.name) == 255
    renamed = core.upload(base, "a.md", "# Heading\n\nText.")
    with core.services.database.write() as connection:
        connection.execute(sa.update(documents).where(documents.c.id == renamed.id).values(name="a.pdf"))
    for document in (long_name, renamed):
        assert worker.ingestion.ingest(document.latest.id) is VersionState.READY
        (chunk,) = core.services.documents.chunks(core.user, document.id, 0, 10)
        assert chunk.heading == "Heading"
    with core.services.database.read() as connection:
        digest = connection.scalar(sa.select(versions.c.sha256).where(versions.c.id == renamed.latest.id))
    assert digest == hashlib.sha256(b"# Heading\n\nText.").hexdigest()


def test_documents_whose_messages_met_the_limit_of_a_user_are_not_left(core: Core, worker: WorkerParts) -> None:
    worker.claims.most_per_user = 1
    base = core.knowledge_base()
    first, second = (core.upload(base, name, "# A\n\nText.") for name in ("a.md", "b.md"))
    worker.ingestion.ingest_next(first.latest.id)  # the other's message was consumed meanwhile
    assert core.document(second.id).latest.state is VersionState.READY
