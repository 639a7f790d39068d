"""Files of conversations: ingested, searched and cleared as documents, and seen in their conversation alone."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from kb.asked_files import with_files
from kb.attachments import Attachments
from kb.database.tables import attachments as attachments_table
from kb.database.tables import documents, knowledge_bases, versions
from kb.errors import NotFound
from kb.ingestion import newest_collections
from kb.library.knowledge_bases import settle_dimension, shared_collection
from kb.models import Document, KnowledgeBase, Mode, Retrieval, Scope
from kb.retrieval.corpora import ATTACHED
from kb.services import WorkerParts
from kb.vectors import VectorStore
from tests.conftest import Core

QUESTION = "Where does an apple grow?"
TABLES = (knowledge_bases, attachments_table, documents, versions)


@pytest.fixture
def conversation(core: Core) -> UUID:
    return start_conversation(core)


@pytest.fixture
def other(core: Core) -> UUID:
    return start_conversation(core)


@pytest.fixture(autouse=True)
def quick_purge(monkeypatch: pytest.MonkeyPatch) -> None:
    """A purge removes what was deleted a moment ago."""
    monkeypatch.setattr("kb.conversations.catalogue.UNDO_SECONDS", 0)


def start_conversation(core: Core) -> UUID:
    return core.services.conversations.create(core.user, "Question", Mode.KNOWLEDGE).id


def attach(core: Core, worker: WorkerParts, conversation_id: UUID, **texts: str) -> list[Document]:
    added = [
        core.services.attachments.add(core.user, conversation_id, f"{name}.md", io.BytesIO(text.encode()))
        for name, text in texts.items()
    ]
    for document in added:
        assert worker.ingestion.ingest(document.latest.id) == "ready"
    return added


def ask(core: Core, conversation_id: UUID, scope: Scope | None = None, question: str = QUESTION) -> Retrieval:
    whole = with_files(scope or Scope(), core.services.attachments.list(core.user, conversation_id))
    return core.services.retriever.retrieve(core.user, whole, question)


def names(retrieval: Retrieval) -> list[str]:
    return [passage.document_name for passage in retrieval.passages]


def rows(core: Core) -> list[int]:
    with core.services.database.read() as connection:
        return [connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0 for table in TABLES]


def clear(core: Core, worker: WorkerParts) -> None:
    """As the reaper does."""
    bases, gone = worker.cleanup.pending()
    for document_id in gone:
        worker.cleanup.clear_document(document_id)
    for base_id in bases:
        worker.cleanup.clear_knowledge_base(base_id)
    assert worker.cleanup.pending() == ([], [])


def stored(core: Core, document: Document) -> int:
    collection = shared_collection(core.embedding.name, core.embedding.dimension)
    return core.services.vectors.count(collection, document.latest.id)


def test_attached_files_answer_beside_a_knowledge_base(
    core: Core, worker: WorkerParts, conversation: UUID, other: UUID
) -> None:
    base = core.knowledge_base("Fruit")
    worker.ingestion.ingest(core.upload(base, "pears.md", "A pear grows on a tree.").latest.id)
    attach(core, worker, conversation, apples="An apple grows on a tree.")
    attach(core, worker, other, secret="An apple grows in secret.")
    both = ask(core, conversation, Scope((base.id,)), "Where do an apple and a pear grow?")
    assert {(each.knowledge_base, each.document_name) for each in both.passages} == {
        ("Fruit", "pears.md"),
        ("", "apples.md"),
    }
    assert {step.knowledge_base for step in both.trace.steps} == {"", "Fruit", ATTACHED}
    alone = ask(core, conversation)
    assert names(alone) == ["apples.md"]
    assert {step.knowledge_base for step in alone.trace.steps} == {""}
    assert names(ask(core, other)) == ["secret.md"]


def test_choice_of_documents_keeps_the_attached_files(core: Core, worker: WorkerParts, conversation: UUID) -> None:
    base = core.knowledge_base("Fruit")
    documents = [core.upload(base, f"{name}.md", f"An apple grows {name}.") for name in ("here", "there")]
    for document in documents:
        worker.ingestion.ingest(document.latest.id)
    attach(core, worker, conversation, apples="An apple grows on a tree.")
    found = ask(core, conversation, Scope((base.id,), (documents[0].id,)))
    assert set(names(found)) == {"here.md", "apples.md"}


def test_knowledge_base_of_attached_files_is_in_no_list(core: Core, worker: WorkerParts, conversation: UUID) -> None:
    first, second = attach(core, worker, conversation, a="One.", b="Two.")
    assert core.services.knowledge_bases.list(core.user) == []
    assert [each.id for each in core.services.attachments.list(core.user, conversation)] == [first.id, second.id]
    assert newest_collections(core.services.database, 5) == [
        shared_collection(core.embedding.name, core.embedding.dimension)
    ]


def test_conversation_without_files_leaves_the_scope(core: Core, worker: WorkerParts, conversation: UUID) -> None:
    attachments, scope = core.services.attachments, Scope((uuid4(),))
    assert attachments.list(core.user, conversation) == []
    assert with_files(scope, []) is scope
    (document,) = attach(core, worker, conversation, a="One.")
    attachments.remove(core.user, conversation, document.id)
    assert attachments.list(core.user, conversation) == []


def test_removed_file_answers_no_more_and_leaves_nothing(core: Core, worker: WorkerParts, conversation: UUID) -> None:
    gone, kept = attach(core, worker, conversation, gone="An apple grows on a tree.", kept="The apple grows.")
    core.services.attachments.remove(core.user, conversation, gone.id)
    assert names(ask(core, conversation)) == ["kept.md"]
    clear(core, worker)
    assert (stored(core, gone), stored(core, kept)) == (0, 1)
    assert not (core.services.settings.uploads / gone.latest.file_key).exists()
    assert rows(core) == [1, 1, 1, 1]


def test_deleted_conversation_leaves_nothing_of_its_files(
    core: Core, worker: WorkerParts, conversation: UUID, other: UUID
) -> None:
    """Nothing but the row of the conversation has to go, so no crash in between leaves files behind."""
    gone, kept = *attach(core, worker, conversation, a="One."), *attach(core, worker, other, b="Two.")
    waiting = core.services.attachments.add(core.user, conversation, "c.md", io.BytesIO(b"Three."))
    core.services.conversations.delete(core.user, conversation)
    assert worker.cleanup.pending() == ([], [])  # it can be undone
    core.services.conversations.purge()
    bases, _documents = worker.cleanup.pending()
    assert bases == [gone.knowledge_base_id]
    with pytest.raises(NotFound):
        core.services.documents.get(core.user, gone.id)
    assert worker.ingestion.ingest(waiting.latest.id) is None
    clear(core, worker)
    assert (stored(core, gone), stored(core, kept)) == (0, 1)
    assert not (core.services.settings.uploads / gone.knowledge_base_id.hex).exists()
    assert rows(core) == [1, 1, 1, 1]
    assert names(ask(core, other, question="Two.")) == ["b.md"]


def test_file_for_a_conversation_that_was_deleted_meanwhile_is_refused(
    core: Core, worker: WorkerParts, conversation: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    (document,) = attach(core, worker, conversation, a="One.")
    base_id = document.knowledge_base_id
    core.services.conversations.delete(core.user, conversation)
    core.services.conversations.purge()
    worker.cleanup.pending()
    monkeypatch.setattr(Attachments, "_base", lambda *_arguments: base_id)  # read before
    with pytest.raises(NotFound):
        core.services.attachments.add(core.user, conversation, "b.md", io.BytesIO(b"Two."))
    clear(core, worker)
    assert rows(core) == [0, 0, 0, 0]
    assert list(core.services.settings.uploads.glob("*/*")) == []


def test_first_files_that_arrive_together_share_a_knowledge_base(core: Core, conversation: UUID) -> None:
    def add(number: int) -> Document:
        return core.services.attachments.add(core.user, conversation, f"{number}.md", io.BytesIO(b"Text."))

    with ThreadPoolExecutor(4) as pool:
        added = list(pool.map(add, range(4)))
    assert len({each.knowledge_base_id for each in added}) == 1
    assert rows(core) == [1, 1, 4, 4]


def test_file_can_be_attached_after_its_knowledge_base_was_deleted(core: Core, conversation: UUID) -> None:
    attachments = core.services.attachments
    first = attachments.add(core.user, conversation, "a.md", io.BytesIO(b"One."))
    core.services.knowledge_bases.delete(core.user, first.knowledge_base_id)
    second = attachments.add(core.user, conversation, "b.md", io.BytesIO(b"Two."))
    assert [each.id for each in attachments.list(core.user, conversation)] == [second.id]


def test_strangers_see_nothing(core: Core, worker: WorkerParts, conversation: UUID) -> None:
    attachments = core.services.attachments
    (document,) = attach(core, worker, conversation, a="An apple grows on a tree.")
    assert attachments.list(core.stranger, conversation) == []
    for forbidden in (
        lambda: attachments.add(core.stranger, conversation, "b.md", io.BytesIO(b"Two.")),
        lambda: attachments.remove(core.stranger, conversation, document.id),
        lambda: core.services.retriever.retrieve(core.stranger, Scope((document.knowledge_base_id,)), QUESTION),
    ):
        with pytest.raises(NotFound):
            forbidden()


def test_document_of_a_knowledge_base_cannot_be_removed_as_a_file(
    core: Core, worker: WorkerParts, conversation: UUID
) -> None:
    base: KnowledgeBase = core.knowledge_base()
    document = core.upload(base, "a.md", "One.")
    attach(core, worker, conversation, b="Two.")
    with pytest.raises(NotFound):
        core.services.attachments.remove(core.user, conversation, document.id)
    assert core.document(document.id)


def test_dimension_comes_from_the_first_vectors(
    core: Core, worker: WorkerParts, conversation: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adding a file asks the model for nothing: its server may accept connections and never answer."""

    def silent(_self: object) -> int:
        raise AssertionError("asked in a page run")

    with monkeypatch.context() as patched:
        patched.setattr(type(core.embedding), "dimension", property(silent))
        (document,) = attach_unread(core, conversation, a="An apple grows on a tree.")
    base_id = document.knowledge_base_id
    assert core.services.knowledge_bases.get(core.user, base_id).dimension is None
    assert ask(core, conversation).passages == ()
    assert worker.ingestion.ingest(document.latest.id) == "ready"
    base = core.services.knowledge_bases.get(core.user, base_id)
    assert (base.dimension, base.collection) == (
        core.embedding.dimension,
        shared_collection(core.embedding.name, core.embedding.dimension),
    )
    assert names(ask(core, conversation)) == ["a.md"]


def test_first_worker_settles_the_dimension(core: Core, conversation: UUID) -> None:
    (document,) = attach_unread(core, conversation, a="One.")
    base = core.services.knowledge_bases.get(core.user, document.knowledge_base_id)
    first, second = (settle_dimension(core.services.database, base, dimension) for dimension in (32, 64))
    assert first == second
    assert (first.dimension, first.collection) == (32, shared_collection(base.embedding_model, 32))


def test_base_without_a_dimension_is_cleared(core: Core, worker: WorkerParts, conversation: UUID) -> None:
    attach_unread(core, conversation, a="One.")
    core.services.conversations.delete(core.user, conversation)
    core.services.conversations.purge()
    clear(core, worker)
    assert rows(core) == [0, 0, 0, 0]


def test_chunks_stored_after_everything_was_cleared_are_removed(
    core: Core, worker: WorkerParts, conversation: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are in the collection that the first vectors chose, not in the one that was noted before."""
    upsert = VectorStore.upsert

    def store_late(self: VectorStore, *stored: Any) -> None:
        upsert(self, *stored)
        with core.services.database.write() as connection:
            connection.execute(sa.delete(knowledge_bases))

    monkeypatch.setattr(VectorStore, "upsert", store_late)
    (document,) = attach_unread(core, conversation, a="One.")
    assert worker.ingestion.ingest(document.latest.id) is None
    collection = shared_collection(core.embedding.name, core.embedding.dimension)
    assert core.services.vectors.count(collection, document.latest.id) == 0


def attach_unread(core: Core, conversation_id: UUID, **texts: str) -> list[Document]:
    return [
        core.services.attachments.add(core.user, conversation_id, f"{name}.md", io.BytesIO(text.encode()))
        for name, text in texts.items()
    ]
