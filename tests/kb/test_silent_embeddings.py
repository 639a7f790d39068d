"""An embedding server that accepts connections and never answers: files wait or fail with the reason, pages go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Barrier

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from kb.config import Settings
from kb.database.tables import documents, knowledge_bases, versions
from kb.embedding.openai import OpenAIModel
from kb.errors import EmbeddingMismatch, MilvusRefused, from_code
from kb.library.knowledge_bases import settle_dimension
from kb.models import Document, KnowledgeBase, Scope, Version, VersionState
from kb.services import WorkerParts, build_worker_parts
from tests.conftest import Core, open_core
from tests.fakes.embedding import HashedWords
from tests.fakes.model_server import DIMENSION, EMBEDDINGS, ModelServer
from tests.real_services import wait_until

TEXT = "An apple grows on a tree."


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def remote(settings: Settings, embedding: HashedWords, server: ModelServer) -> Iterator[Core]:
    """The core with an embedding model that `server` serves."""
    values = {
        "embedding_model": "openai:fake-embedding",
        "embedding_base_url": server.base_url,
        "embedding_api_key": SecretStr("good"),
        "llm_timeout_seconds": 10.0,
    }
    with open_core(settings.model_copy(update=values), embedding) as core:
        yield core


@contextmanager
def given_up_at_once(core: Core, server: ModelServer) -> Iterator[None]:
    """The server is silent, and nobody waits long."""
    model = core.services.embeddings.default
    assert isinstance(model, OpenAIModel)
    with server.held(EMBEDDINGS), pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "_timeout_seconds", 0.2)
        yield
    model.close()  # the next connection has the usual limit


@pytest.fixture
def at_work(remote: Core, shared_parser: None) -> Iterator[WorkerParts]:
    parts = build_worker_parts(remote.services)
    yield parts
    parts.ingestion.close()


def new_base(core: Core, name: str = "Test") -> KnowledgeBase:
    """As the page makes it: the length of the model's vectors is not known."""
    return core.services.knowledge_bases.create(core.user, name, core.services.embeddings.default.name)


def latest(core: Core, document: Document) -> Version:
    return core.document(document.id).latest


def test_file_waits_for_the_server(remote: Core, server: ModelServer, at_work: WorkerParts) -> None:
    with given_up_at_once(remote, server):
        base = new_base(remote)
        document = remote.upload(base, "a.md", TEXT)
        assert server.requests == []
        assert at_work.ingestion.ingest(document.latest.id) is VersionState.QUEUED
        version = latest(remote, document)
        assert version.error == "model_timeout"
        assert version.retry_at
        assert "did not answer" in str(from_code(version.error, version.error_values))
        assert remote.services.knowledge_bases.get(remote.user, base.id).dimension is None
    with remote.services.database.write() as connection:
        connection.execute(sa.update(versions).values(retry_at=datetime(2026, 1, 1, tzinfo=UTC)))
    assert at_work.ingestion.ingest(version.id) is VersionState.READY
    assert remote.services.knowledge_bases.get(remote.user, base.id).dimension == DIMENSION
    found = remote.services.retriever.retrieve(remote.user, Scope.of(base.id), "Where does an apple grow?")
    assert [passage.document_name for passage in found.passages] == ["a.md"]


def test_file_that_waited_too_often_can_be_retried(
    remote: Core, server: ModelServer, at_work: WorkerParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kb.ingestion.claims.MAX_WAITS", 0)
    document = remote.upload(new_base(remote), "a.md", TEXT)
    with given_up_at_once(remote, server):
        assert at_work.ingestion.ingest(document.latest.id) is VersionState.FAILED
    version = latest(remote, document)
    assert version.error == "model_timeout"
    assert version.can_retry
    remote.services.documents.retry(remote.user, document.id)
    assert at_work.ingestion.ingest(version.id) is VersionState.READY
    assert remote.count(document) == 1


def clear(worker: WorkerParts) -> None:
    """As the reaper does."""
    bases, gone = worker.cleanup.pending()
    for document_id in gone:
        worker.cleanup.clear_document(document_id)
    for base_id in bases:
        worker.cleanup.clear_knowledge_base(base_id)


def rows(core: Core) -> list[int]:
    tables = (knowledge_bases, documents)
    with core.services.database.read() as connection:
        return [connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0 for table in tables]


def cancel(core: Core, document: Document) -> None:
    core.services.documents.cancel(core.user, document.id)


def delete(core: Core, document: Document) -> None:
    core.services.documents.delete(core.user, document.id)


def delete_base(core: Core, document: Document) -> None:
    core.services.knowledge_bases.delete(core.user, document.knowledge_base_id)


@pytest.mark.parametrize(("end", "left"), [(cancel, [1, 1]), (delete, [1, 0]), (delete_base, [0, 0])])
def test_file_is_given_up_while_the_server_is_silent(
    remote: Core,
    server: ModelServer,
    at_work: WorkerParts,
    end: Callable[[Core, Document], None],
    left: list[int],
) -> None:
    """People need not wait for the answer; what comes after it leaves nothing behind."""
    base = new_base(remote)
    document = remote.upload(base, "a.md", TEXT)
    with ThreadPoolExecutor(1) as pool:
        with server.held(EMBEDDINGS):
            ingested = pool.submit(at_work.ingestion.ingest, document.latest.id)
            wait_until(lambda: server.requests, what="the request for vectors")
            end(remote, document)
            clear(at_work)
        assert ingested.result() is VersionState.CANCELLED
    clear(at_work)
    assert at_work.cleanup.pending() == ([], [])
    assert rows(remote) == left
    if base.id not in [each.id for each in remote.services.knowledge_bases.list(remote.user)]:
        with pytest.raises(MilvusRefused):  # there is no such collection
            remote.services.vectors.count(base.collection)
        return
    again = remote.upload(base, "b.md", TEXT)
    assert at_work.ingestion.ingest(again.latest.id) is VersionState.READY
    assert remote.services.vectors.count(base.collection) == 1


# --- two first files at once -----------------------------------------------------------------------------------


def test_two_workers_find_the_same_dimension(core: Core, worker: WorkerParts) -> None:
    both = Barrier(2, timeout=20)
    core.embedding.before_batch = lambda _texts: both.wait()
    base = new_base(core)
    first, second = (core.upload(base, f"{name}.md", f"{name} {TEXT}") for name in "ab")
    other = build_worker_parts(core.services)
    with ThreadPoolExecutor(1) as pool:
        ingested = pool.submit(other.ingestion.ingest, second.latest.id)
        assert worker.ingestion.ingest(first.latest.id) is VersionState.READY
        assert ingested.result() is VersionState.READY
    other.ingestion.close()
    assert core.services.knowledge_bases.get(core.user, base.id).dimension == core.embedding.dimension
    assert core.services.vectors.count(base.collection) == 2


def test_file_with_other_vectors_fails(core: Core, worker: WorkerParts) -> None:
    base = new_base(core)
    document = core.upload(base, "a.md", TEXT)
    core.embedding.before_batch = lambda _texts: settle_dimension(core.services.database, base, 64)
    assert worker.ingestion.ingest(document.latest.id) is VersionState.FAILED
    version = latest(core, document)
    assert version.error == EmbeddingMismatch.code
    assert (version.error_values["stored"], version.error_values["configured"]) == ("test (64)", "test (32)")
