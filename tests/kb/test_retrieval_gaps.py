"""What cannot be searched is never taken for “nothing relevant”."""

from __future__ import annotations

import io
from contextlib import closing
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from pymilvus import MilvusClient

from kb.errors import CollectionMissing
from kb.models import KnowledgeBase, Mode, Retrieval, Scope, Unsearchable, VersionState, chunk_id
from kb.reconciling import index_again
from kb.retrieval.gaps import Gaps
from kb.retrieval.langchain import KnowledgeBaseRetriever
from kb.services import WorkerParts
from tests.conftest import Core


def fill(core: Core, worker: WorkerParts, name: str = "Test") -> KnowledgeBase:
    base = core.knowledge_base(name)
    for about in ("apples", "pears"):
        document = core.upload(base, f"{about}.md", f"# {about}\n\nAll about {about} in {name}.")
        assert worker.ingestion.ingest(document.latest.id) is VersionState.READY
    return base


def ask(core: Core, *bases: KnowledgeBase, question: str = "apples") -> Retrieval:
    return core.services.retriever.retrieve(core.user, Scope(tuple(base.id for base in bases)), question)


def test_missing_collection_is_said_before_any_check(core: Core, worker: WorkerParts) -> None:
    """And a check is asked for, once."""
    base = fill(core, worker)
    assert ask(core, base).unsearchable is None
    core.services.vectors.drop(base.collection)
    for question in ("apples", "What is apples.md about?", "zeppelins"):
        found = ask(core, base, question=question)
        assert (found.passages, found.unsearchable) == ((), Unsearchable(2))
    assert core.queue.sent.count(("check", base.id)) == 1
    worker.checks.check_knowledge_base(base.id)
    assert ask(core, base).unsearchable == Unsearchable(2, ("apples.md", "pears.md"))


def test_check_that_was_lost_is_asked_for_again(
    core: Core, worker: WorkerParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis was away, or has lost its data since: else the loss was noted by the night's check only."""
    base = fill(core, worker)
    core.services.vectors.drop(base.collection)
    core.queue.is_away = True
    ask(core, base)
    core.queue.is_away = False
    ask(core, base)
    assert core.queue.sent.count(("check", base.id)) == 1
    monkeypatch.setattr("kb.retrieval.gaps.ASK_SECONDS", 0.0)
    ask(core, base)
    assert core.queue.sent.count(("check", base.id)) == 2


def test_lost_chunks_are_noticed_where_nothing_is_found(core: Core, worker: WorkerParts) -> None:
    base = fill(core, worker)
    apples = core.services.documents.list(core.user, base.id, search="apples")[0]
    core.services.vectors.delete_version(base.collection, apples.latest.id)
    found = ask(core, base, question="zeppelins")
    assert (found.passages, found.unsearchable) == ((), Unsearchable())
    assert ("check", base.id) in core.queue.sent


def test_loss_is_noticed_behind_chunks_that_are_not_live(core: Core, worker: WorkerParts) -> None:
    """There are as many chunks as there should be, but one is of a document that is being stored."""
    base = fill(core, worker)
    apples = core.services.documents.list(core.user, base.id, search="apples")[0]
    vectors = core.services.vectors
    (chunk,) = vectors.chunks(base.collection, apples.latest.id, 0, 10)
    vectors.delete_version(base.collection, apples.latest.id)
    version = uuid4()
    stored = replace(chunk, id=chunk_id(version, 0), document_id=uuid4(), version_id=version, text="Pears again.")
    vectors.upsert(base.collection, [stored], core.embedding.embed_documents([stored.text]))
    assert vectors.size(base.collection) == 2
    assert ask(core, base, question="zeppelins").unsearchable == Unsearchable()


def test_loss_at_a_restart_is_noticed_beside_other_passages(core: Core, worker: WorkerParts) -> None:
    """By the first question, or by the worker that the collection is loaded for."""
    bases = [fill(core, worker, name) for name in ("Test", "Other")]
    for base in bases:
        apples = core.services.documents.list(core.user, base.id, search="apples")[0]
        core.services.vectors.delete_version(base.collection, apples.latest.id)
    assert ask(core, bases[0], question="pears").unsearchable is None
    assert ("check", bases[0].id) not in core.queue.sent
    for base in bases:
        with closing(MilvusClient(core.services.settings.milvus_uri)) as client:
            client.release_collection(base.collection)  # as it is after a start
    found = ask(core, bases[0], question="pears")
    assert found.passages
    assert found.unsearchable == Unsearchable()
    assert ("check", bases[0].id) in core.queue.sent
    core.services.vectors.warm_up(bases[1].collection)
    worker.checks.check_loaded()
    lacking = [core.services.knowledge_bases.get(core.user, base.id).unsearchable_count for base in bases]
    assert lacking == [1, 1]


def test_what_a_restart_brings_back_is_cleared(core: Core, worker: WorkerParts) -> None:
    """Chunks of deleted documents, whose end Milvus had not written down: nothing is lacking, but too much is there."""
    base = fill(core, worker)
    apples = core.services.documents.list(core.user, base.id, search="apples")[0]
    vectors, version = core.services.vectors, uuid4()
    (chunk,) = vectors.chunks(base.collection, apples.latest.id, 0, 10)
    back = replace(chunk, id=chunk_id(version, 0), document_id=uuid4(), version_id=version)
    vectors.upsert(base.collection, [back], core.embedding.embed_documents([back.text]))
    ask(core, base)
    assert ("check", base.id) not in core.queue.sent
    with closing(MilvusClient(core.services.settings.milvus_uri)) as client:
        client.release_collection(base.collection)  # as it is after a start
    core.queue.is_away = True
    assert ask(core, base).unsearchable is None
    core.queue.is_away = False
    ask(core, base)
    assert core.queue.sent.count(("check", base.id)) == 1
    worker.checks.check_knowledge_base(base.id)
    assert vectors.size(base.collection) == 2


def test_answer_from_the_rest_says_what_it_lacks(core: Core, worker: WorkerParts) -> None:
    """Until the documents are ready again, also while they wait; of another scope it says nothing."""
    base, other = fill(core, worker), fill(core, worker, "Other")
    apples, pears = core.services.documents.list(core.user, base.id)
    if apples.name != "apples.md":
        apples, pears = pears, apples
    core.services.vectors.delete_version(base.collection, apples.latest.id)
    worker.checks.check_all()
    found = ask(core, base, question="pears")
    assert found.passages
    assert found.unsearchable == Unsearchable(1, ("apples.md",))
    assert ask(core, other).unsearchable is None
    scope = Scope((base.id,), (pears.id,))
    assert core.services.retriever.retrieve(core.user, scope, "pears").unsearchable is None
    index_again(core.services.database, core.services.files, core.user)
    assert ask(core, base, other).unsearchable == Unsearchable(1, ("apples.md",))
    worker.ingestion.ingest(apples.latest.id)
    assert ask(core, base, other).unsearchable is None
    assert ask(core, base).passages[0].chunk.document_id == apples.id


def test_what_comes_back_during_a_question_was_not_searched(
    core: Core, worker: WorkerParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Milvus was asked before a worker had stored it again, SQL afterwards."""
    base = fill(core, worker)
    apples = core.services.documents.list(core.user, base.id, search="apples")[0]
    core.services.vectors.delete_version(base.collection, apples.latest.id)
    worker.checks.check_all()
    find = Gaps.find

    def find_later(*arguments: Any, **options: Any) -> Unsearchable | None:
        index_again(core.services.database, core.services.files, core.user)
        worker.ingestion.ingest(apples.latest.id)
        return find(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Gaps, "find", find_later)
        found = ask(core, base, question="apples")
    assert apples.id not in {passage.chunk.document_id for passage in found.passages}
    assert found.unsearchable == Unsearchable()
    assert ask(core, base, question="zeppelins").unsearchable is None


def test_missing_collection_beside_another_knowledge_base_is_said(core: Core, worker: WorkerParts) -> None:
    base, other = fill(core, worker), fill(core, worker, "Other")
    core.services.vectors.drop(base.collection)
    found = ask(core, base, other)
    assert {passage.knowledge_base for passage in found.passages} == {"Other"}
    assert found.unsearchable == Unsearchable(2)


def test_langchain_retriever_raises(core: Core, worker: WorkerParts) -> None:
    base = fill(core, worker)
    core.services.vectors.drop(base.collection)
    retriever = KnowledgeBaseRetriever(retriever=core.services.retriever, principal=core.user, scope=Scope((base.id,)))
    with pytest.raises(CollectionMissing):
        retriever.invoke("apples")


def test_attached_files_are_covered_alike(core: Core, worker: WorkerParts) -> None:
    """They share a collection, of which only this conversation's part is lost."""
    services = core.services
    conversations = [services.conversations.create(core.user, "x", Mode.LLM) for _ in range(2)]
    lost, kept = (
        services.attachments.add(core.user, each.id, "a.md", io.BytesIO(b"# Apples\n\nAn apple is red."))
        for each in conversations
    )
    for document in (lost, kept):
        assert worker.ingestion.ingest(document.latest.id) is VersionState.READY
    collection = services.knowledge_bases.get(core.user, lost.knowledge_base_id).collection
    services.vectors.delete_partition(collection, lost.knowledge_base_id)
    found = [
        services.retriever.retrieve(core.user, Scope((each.knowledge_base_id,)), "zeppelins") for each in (lost, kept)
    ]
    assert [each.unsearchable for each in found] == [Unsearchable(), None]
    assert core.queue.sent[-1] == ("check", lost.knowledge_base_id)
    worker.checks.check_knowledge_base(lost.knowledge_base_id)
    missing = [services.documents.get(core.user, each.id).latest.missing_chunks for each in (lost, kept)]
    assert missing == [1, 0]
    services.vectors.drop(collection)
    worker.checks.check_all()
    assert index_again(services.database, services.files, core.user).queued == 2
    for document in (lost, kept):
        assert worker.ingestion.ingest(document.latest.id) is VersionState.READY
    again = services.retriever.retrieve(core.user, Scope((lost.knowledge_base_id,)), "apple")
    assert again.unsearchable is None
    assert again.passages
