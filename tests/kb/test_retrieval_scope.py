"""Retrieval from several knowledge bases, and from chosen documents, over real stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import uuid4

import pytest
import sqlalchemy as sa

from kb.database.tables import documents, knowledge_bases
from kb.embedding.model import Vectors, normalised
from kb.errors import EmbeddingTimeout, MilvusUnavailable, NotFound, TooManyDocuments, UnknownEmbeddingModel
from kb.models import Document, FileList, KnowledgeBase, Place, Retrieval, RetrievalProfile, Scope, Step
from kb.retrieval import DELETED, NONE_CHOSEN, NOTHING_READY
from kb.retrieval.corpora import MOST_DOCUMENTS
from kb.services import WorkerParts
from kb.vectors import VectorStore
from tests.conftest import Core
from tests.fakes.embedding import HashedWords
from tests.statements import counted_statements

ALL = RetrievalProfile(neighbours=0, threshold=0.0)
QUESTION = "Where does an apple grow?"


class ReversedWords(HashedWords):
    """Another model, of another dimension."""

    name = "reversed"
    dimension = 2 * HashedWords.dimension

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        vectors = super().embed_documents(texts)[:, ::-1]
        return normalised([[*vector, *vector] for vector in vectors])

    def embed_question(self, text: str) -> Vectors:
        vector = super().embed_question(text)[::-1]
        return normalised([*vector, *vector])


@pytest.fixture
def fruit(core: Core, worker: WorkerParts) -> KnowledgeBase:
    return filled(core, worker, "Fruit", apples="An apple grows on a tree.", pears="A pear is green.")


@pytest.fixture
def orchard(core: Core, worker: WorkerParts, monkeypatch: pytest.MonkeyPatch) -> KnowledgeBase:
    """Built with another embedding model."""
    monkeypatch.setitem(core.services.embeddings._built, ReversedWords.name, ReversedWords())
    bases = core.services.knowledge_bases
    base = bases.create(core.user, "Orchard", ReversedWords.name, ReversedWords.dimension)
    fill(core, worker, base, rows="The apple trees of the orchard grow in rows.", tools="Ladders stand in the barn.")
    return base


@pytest.fixture
def ships(core: Core, worker: WorkerParts) -> KnowledgeBase:
    return filled(core, worker, "Ships", sails="Sails are made of canvas.", ropes="A rope is wound from hemp.")


def filled(core: Core, worker: WorkerParts, name: str, **texts: str) -> KnowledgeBase:
    base = core.knowledge_base(name)
    fill(core, worker, base, **texts)
    return base


def fill(core: Core, worker: WorkerParts, base: KnowledgeBase, **texts: str) -> dict[str, Document]:
    added = {name: core.upload(base, f"{name}.md", text) for name, text in texts.items()}
    for document in added.values():
        assert worker.ingestion.ingest(document.latest.id) == "ready"
    return added


def retrieve(
    core: Core,
    *bases: KnowledgeBase,
    question: str = QUESTION,
    profile: RetrievalProfile | None = None,
    only: Sequence[Document] = (),
) -> Retrieval:
    scope = Scope(tuple(base.id for base in bases), tuple(document.id for document in only))
    return core.services.retriever.retrieve(core.user, scope, question, profile)


def found(retrieval: Retrieval) -> list[tuple[str, str]]:
    return [(passage.knowledge_base, passage.document_name) for passage in retrieval.passages]


def document(core: Core, base: KnowledgeBase, name: str) -> Document:
    return next(each for each in core.services.documents.list(core.user, base.id) if each.name == name)


def steps(retrieval: Retrieval, name: str) -> list[Step]:
    return [step for step in retrieval.trace.steps if step.name == name]


# --- several knowledge bases -----------------------------------------------------------------------------------


def test_knowledge_bases_of_different_models_answer_together(
    core: Core, fruit: KnowledgeBase, orchard: KnowledgeBase, ships: KnowledgeBase
) -> None:
    joint = retrieve(core, fruit, orchard, ships)
    assert set(found(joint)) == {("Fruit", "apples.md"), ("Orchard", "rows.md")}
    assert [passage.rank for passage in joint.passages] == [1, 2]
    assert {passage.dense is not None for passage in joint.passages} == {True}
    assert joint.trace.documents == 6
    for name in ("embed", "dense", "lexical", "live", "gate", "fuse", "threshold"):
        assert [step.knowledge_base for step in steps(joint, name)] == ["Fruit", "Orchard", "Ships"]
    for name in ("documents", "analyze", "merge", "distinct", "top_k", "neighbours", "budget"):
        assert [step.knowledge_base for step in steps(joint, name)] == [""]
    assert all(passage.context for passage in joint.passages)


def test_order_within_each_knowledge_base_stays(core: Core, fruit: KnowledgeBase, ships: KnowledgeBase) -> None:
    joint = retrieve(core, fruit, ships, profile=ALL)
    for base in (fruit, ships):
        alone = [passage.document_name for passage in retrieve(core, base, profile=ALL).passages]
        assert [name for label, name in found(joint) if label == base.name] == alone


def test_best_of_nothing_relevant_does_not_come_first(core: Core, fruit: KnowledgeBase, ships: KnowledgeBase) -> None:
    """Within its own index, the best hit has a fused score of 1, whatever it says."""
    for order in ((fruit, ships), (ships, fruit)):
        joint = retrieve(core, *order, profile=ALL)
        assert found(joint)[0] == ("Fruit", "apples.md")
        assert [passage.fused for passage in joint.passages] == sorted(
            (passage.fused for passage in joint.passages), reverse=True
        )
    assert found(retrieve(core, ships, fruit)) == [("Fruit", "apples.md")]  # by the threshold


def test_one_knowledge_base_is_not_named(core: Core, fruit: KnowledgeBase) -> None:
    alone = retrieve(core, fruit)
    assert found(alone) == [("", "apples.md")]
    assert {step.knowledge_base for step in alone.trace.steps} == {""}
    assert steps(alone, "merge") == []
    twice = retrieve(core, fruit, fruit)
    assert found(twice) == found(alone)


def test_same_text_in_two_knowledge_bases_takes_one_place(
    core: Core, worker: WorkerParts, fruit: KnowledgeBase
) -> None:
    copies = filled(core, worker, "Copies", apples="An apple grows on a tree.")
    (passage,) = retrieve(core, fruit, copies).passages
    places = {(passage.knowledge_base, passage.document_name)}
    places |= {(place.knowledge_base, place.document_name) for place in passage.also_in}
    assert places == {("Fruit", "apples.md"), ("Copies", "apples.md")}
    assert passage.also_in[0] == Place("apples.md", 0, "", passage.also_in[0].knowledge_base)


def test_question_is_embedded_once_for_each_model(
    core: Core, fruit: KnowledgeBase, ships: KnowledgeBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    embed = core.embedding.embed_question

    def note(text: str) -> Vectors:
        asked.append(text)
        return embed(text)

    monkeypatch.setattr(core.embedding, "embed_question", note)
    retrieve(core, fruit, ships)
    assert asked.count(QUESTION) == 1


def test_silent_model_is_asked_once_for_all_knowledge_bases(
    core: Core, fruit: KnowledgeBase, ships: KnowledgeBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks waits as long as its time limit, not as long for each of them."""
    asked: list[str] = []

    def time_out(text: str) -> Vectors:
        asked.append(text)
        raise EmbeddingTimeout(host="h", seconds=20)

    monkeypatch.setattr(core.embedding, "embed_question", time_out)
    with pytest.raises(EmbeddingTimeout):
        retrieve(core, fruit, ships)
    assert asked == [QUESTION]


def test_own_profiles_hold_for_each_and_the_widest_for_all(
    core: Core, fruit: KnowledgeBase, ships: KnowledgeBase
) -> None:
    with core.services.database.write() as connection:
        for base, profile in ((fruit, {"threshold": 1.1, "top_k": 1}), (ships, {"threshold": 0.0, "top_k": 3})):
            change = sa.update(knowledge_bases).where(knowledge_bases.c.id == base.id)
            connection.execute(change.values(profile=profile))
    joint = retrieve(core, fruit, ships, question="Is a pear made of canvas and wound?")
    assert {label for label, _name in found(joint)} == {"Ships"}
    assert (len(joint.passages), joint.trace.profile.top_k) == (2, 3)
    assert {base_id: profile.top_k for base_id, profile in joint.trace.profiles.items()} == {fruit.id: 1, ships.id: 3}


def test_profiles_are_given_for_some(core: Core, fruit: KnowledgeBase, ships: KnowledgeBase) -> None:
    """The others go by their own."""
    scope, given = Scope((fruit.id, ships.id)), {fruit.id: replace(RetrievalProfile(), threshold=1.1)}
    found = core.services.retriever.retrieve(core.user, scope, "apple canvas", given)
    assert {passage.knowledge_base for passage in found.passages} == {ships.name}
    again = core.services.retriever.retrieve(core.user, scope, "apple canvas", found.trace.profiles)
    assert (again.passages, again.trace.profiles) == (found.passages, found.trace.profiles)


# --- knowledge bases that cannot answer ------------------------------------------------------------------------


def test_deleted_knowledge_base_is_noted_and_the_rest_answers(
    core: Core, fruit: KnowledgeBase, ships: KnowledgeBase
) -> None:
    core.services.knowledge_bases.delete(core.user, ships.id)
    rest = retrieve(core, ships, fruit)
    assert [name for _label, name in found(rest)] == ["apples.md"]
    assert [(step.note, step.note_values) for step in steps(rest, "left_out")] == [(DELETED, {"count": "1"})]
    core.services.knowledge_bases.delete(core.user, fruit.id)
    with pytest.raises(NotFound):
        retrieve(core, ships, fruit)


def test_scope_without_knowledge_bases_is_not_found(core: Core) -> None:
    with pytest.raises(NotFound):
        retrieve(core)


def test_other_users_knowledge_base_is_left_out(core: Core, fruit: KnowledgeBase) -> None:
    services = core.services
    foreign = services.knowledge_bases.create(core.stranger, "Secret", core.embedding.name, core.embedding.dimension)
    rest = retrieve(core, fruit, foreign)
    assert [step.note for step in steps(rest, "left_out")] == [DELETED]
    assert "Secret" not in {step.knowledge_base for step in rest.trace.steps}


def test_empty_knowledge_base_is_noted(core: Core, fruit: KnowledgeBase) -> None:
    empty = core.knowledge_base("Empty")
    rest = retrieve(core, empty, fruit)
    assert found(rest) == [("Fruit", "apples.md")]
    assert [(step.knowledge_base, step.note) for step in steps(rest, "left_out")] == [("Empty", NOTHING_READY)]
    none = retrieve(core, empty, core.knowledge_base("Also empty"))
    assert (none.passages, none.trace.documents) == ((), 0)


def test_knowledge_base_of_a_missing_model_is_noted(core: Core, fruit: KnowledgeBase, ships: KnowledgeBase) -> None:
    with core.services.database.write() as connection:
        change = sa.update(knowledge_bases).where(knowledge_bases.c.id == ships.id)
        connection.execute(change.values(embedding_model="builtin:newer"))
    rest = retrieve(core, ships, fruit)
    assert found(rest) == [("Fruit", "apples.md")]
    (noted,) = steps(rest, "left_out")
    assert (noted.knowledge_base, noted.note) == ("Ships", UnknownEmbeddingModel.message)
    assert noted.note_values["model"] == "builtin:newer"
    with pytest.raises(UnknownEmbeddingModel):  # the answer may stand where nobody could look
        retrieve(core, ships, fruit, question="What are sails made of?")


def test_all_failing_raises(
    core: Core, fruit: KnowledgeBase, ships: KnowledgeBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_arguments: object, **_options: object) -> None:
        raise MilvusUnavailable(detail="gone")

    monkeypatch.setattr(VectorStore, "search_dense", away)
    with pytest.raises(MilvusUnavailable):
        retrieve(core, fruit, ships)


# --- chosen documents ------------------------------------------------------------------------------------------


def test_only_chosen_documents_are_searched(core: Core, fruit: KnowledgeBase) -> None:
    whole = retrieve(core, fruit, question="green apple", profile=ALL)
    assert len(whole.passages) == 2
    chosen = retrieve(core, fruit, question="green apple", profile=ALL, only=[document(core, fruit, "pears.md")])
    assert [name for _label, name in found(chosen)] == ["pears.md"]
    assert (steps(chosen, "dense")[0].remaining, steps(chosen, "lexical")[0].remaining) == (1, 1)
    assert chosen.trace.documents == 1


def test_choice_limits_each_knowledge_base(core: Core, fruit: KnowledgeBase, ships: KnowledgeBase) -> None:
    """One that holds none of the chosen documents is not asked."""
    pears, sails = document(core, fruit, "pears.md"), document(core, ships, "sails.md")
    both = retrieve(core, fruit, ships, profile=ALL, only=[pears, sails])
    assert set(found(both)) == {("Fruit", "pears.md"), ("Ships", "sails.md")}
    one = retrieve(core, fruit, ships, profile=ALL, only=[pears])
    assert found(one) == [("", "pears.md")]


def test_deleted_choice_is_never_widened(core: Core, worker: WorkerParts, fruit: KnowledgeBase) -> None:
    apples = document(core, fruit, "apples.md")
    waiting = core.upload(fruit, "waiting.md", "An apple waits.")
    core.services.documents.delete(core.user, apples.id)
    for _ in range(2):
        gone = retrieve(core, fruit, profile=ALL, only=[apples, waiting])
        assert (gone.passages, gone.trace.documents) == ((), 0)
        assert gone.trace.steps[0].note == NONE_CHOSEN
        worker.cleanup.clear_document(apples.id)


def test_document_of_another_knowledge_base_or_user_is_not_searched(
    core: Core, fruit: KnowledgeBase, ships: KnowledgeBase
) -> None:
    apples = document(core, fruit, "apples.md")
    assert retrieve(core, ships, profile=ALL, only=[apples]).passages == ()
    foreign = core.services.knowledge_bases.create(core.stranger, "X", core.embedding.name, core.embedding.dimension)
    scope = Scope((foreign.id,), (apples.id,))
    assert core.services.retriever.retrieve(core.stranger, scope, QUESTION, ALL).passages == ()


def test_thousands_of_documents_can_be_chosen(core: Core, fruit: KnowledgeBase, worker: WorkerParts) -> None:
    """Their ids go to Milvus in parts; the best of all parts come first."""
    more = fill(core, worker, fruit, trees="Trees grow, and an apple tree, too.")
    ids = [uuid4() for _ in range(2_500)]
    with core.services.database.write() as connection:
        rows = [{"id": each, "knowledge_base_id": fruit.id, "name": "-", "live_version_id": uuid4()} for each in ids]
        connection.execute(sa.insert(documents), rows)
    chosen = (*ids, *(document(core, fruit, name).id for name in ("apples.md", "pears.md")))
    retrieval = core.services.retriever.retrieve(core.user, Scope((fruit.id,), chosen), QUESTION, ALL)
    assert [name for _label, name in found(retrieval)] == ["apples.md", "pears.md"]
    assert more["trees"].id not in chosen
    few = core.services.retriever.retrieve(core.user, Scope((fruit.id,), chosen), QUESTION, replace(ALL, candidates=1))
    assert [name for _label, name in found(few)] == ["apples.md"]


def test_too_many_documents_are_refused(core: Core, fruit: KnowledgeBase) -> None:
    scope = Scope((fruit.id,), tuple(uuid4() for _ in range(MOST_DOCUMENTS + 1)))
    with pytest.raises(TooManyDocuments):
        core.services.retriever.retrieve(core.user, scope, QUESTION)


def test_scope_costs_few_statements(core: Core, fruit: KnowledgeBase, ships: KnowledgeBase) -> None:
    chosen = [document(core, fruit, "apples.md"), document(core, ships, "sails.md")]
    with counted_statements(core.services.database) as statements:
        retrieve(core, fruit, ships, only=chosen)
    assert len(statements) == 3 + 2, statements  # knowledge bases, documents, reranker; live versions of each


# --- overviews -------------------------------------------------------------------------------------------------


def test_files_of_several_knowledge_bases_are_listed_with_them(
    core: Core, fruit: KnowledgeBase, ships: KnowledgeBase
) -> None:
    both = retrieve(core, fruit, ships, question="Which files are there?")
    names = ("Fruit · apples.md", "Fruit · pears.md", "Ships · ropes.md", "Ships · sails.md")
    assert both.files == FileList(names, 4, knowledge_bases=2)


def test_more_files_than_are_listed_are_shared_out(
    core: Core, fruit: KnowledgeBase, ships: KnowledgeBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kb.retrieval.overviews.LISTED_NAMES", 3)
    both = retrieve(core, fruit, ships, question="Which files are there?")
    assert both.files == FileList(("Fruit · apples.md", "Ships · ropes.md"), 4, knowledge_bases=2)


def test_named_file_is_found_in_any_knowledge_base(core: Core, fruit: KnowledgeBase, ships: KnowledgeBase) -> None:
    summary = retrieve(core, fruit, ships, question="Summarize sails.md")
    assert found(summary) == [("Ships", "sails.md")]
    compared = retrieve(core, fruit, ships, question="Compare apples.md and ropes.md")
    assert found(compared) == [("Fruit", "apples.md"), ("Ships", "ropes.md")]
    assert [beginning.name for beginning in compared.beginnings] == ["apples.md", "ropes.md"]


def test_several_small_knowledge_bases_are_read_whole(core: Core, fruit: KnowledgeBase, ships: KnowledgeBase) -> None:
    whole = retrieve(core, fruit, ships, question="Summarize all documents")
    assert len(whole.beginnings) == 4


def test_only_chosen_file_is_this_document(core: Core, fruit: KnowledgeBase) -> None:
    pears = document(core, fruit, "pears.md")
    summary = retrieve(core, fruit, question="Summarize this document", only=[pears])
    assert [beginning.name for beginning in summary.beginnings] == ["pears.md"]
    listed = retrieve(core, fruit, question="Which files are there?", only=[pears])
    assert listed.files == FileList(("pears.md",), 1, is_chosen=True)
    assert retrieve(core, fruit, question="Summarize apples.md", only=[pears]).beginnings == ()
