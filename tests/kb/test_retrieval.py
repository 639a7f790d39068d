"""A question → ranked passages, over real stores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
import redis
import sqlalchemy as sa

from kb.database.tables import versions
from kb.embedding.model import normalised
from kb.errors import EmbeddingMismatch, MilvusUnavailable, NotFound, UnknownEmbeddingModel
from kb.formats import from_record, to_json, to_record
from kb.library import mark_sent
from kb.messages import SourcesPart
from kb.models import Chunk, KnowledgeBase, RetrievalProfile, Scope, Step
from kb.notes import Note, NoteKind, Notes
from kb.retrieval import NO_LETTERS, PARTLY_READ, PARTLY_READ_AND_MORE, Retriever
from kb.retrieval.langchain import KnowledgeBaseRetriever
from kb.retrieval.reference import References
from kb.retrieval.search import NO_BM25, UNKNOWN_LANGUAGE, WEIGHT_ZERO
from kb.retrieval.selection import LEXICAL_LOWERED, NEAREST, NONE_REACHED, WEIGHTS
from kb.services import WorkerParts, build_worker_parts
from kb.vectors import VectorStore
from tests.conftest import Core, MakeSettings, open_core
from tests.fakes.embedding import HashedWords
from tests.kb.parsing import parsing_samples as samples
from tests.real_services import ONE_OLD_MILVUS, free_port

FRUIT = """\
# Apples

An apple grows on a tree and is often red.

# Pears

A pear is green, and its tree grows slowly.

# 香蕉

香蕉是一种热带水果，成熟以后是黄色的。

# Rivers

The Danube flows through ten countries.
"""
ALL = RetrievalProfile(neighbours=0, threshold=0.0)


def ingest(core: Core, worker: WorkerParts, knowledge_base: KnowledgeBase, **texts: str) -> None:
    for name, text in texts.items():
        document = core.upload(knowledge_base, f"{name}.md", text)
        assert worker.ingestion.ingest(document.latest.id) == "ready"


@pytest.fixture
def fruit(core: Core, worker: WorkerParts) -> KnowledgeBase:
    """Four documents of one chunk each."""
    knowledge_base = core.knowledge_base()
    apples, pears, bananas, rivers = (f"#{part}" for part in FRUIT.split("#")[1:])
    ingest(core, worker, knowledge_base, apples=apples, pears=pears, bananas=bananas, rivers=rivers)
    return knowledge_base


def set_notes(core: Core, note: Note) -> None:
    """Give all versions this note alone."""
    with core.services.database.write() as connection:
        connection.execute(sa.update(versions).values(notes=to_json(Notes((note,)))))


def names(core: Core, knowledge_base: KnowledgeBase, question: str, **profile: object) -> list[str]:
    chosen = replace(RetrievalProfile(), **profile)  # type: ignore[arg-type]
    found = core.services.retriever.retrieve(core.user, Scope((knowledge_base.id,)), question, chosen)
    return [passage.document_name.removesuffix(".md") for passage in found.passages]


def step(steps: tuple[Step, ...], name: str) -> Step:
    return next(step for step in steps if step.name == name)


def test_best_passage_comes_first_with_its_scores(core: Core, fruit: KnowledgeBase) -> None:
    found = core.services.retriever.retrieve(core.user, Scope((fruit.id,)), "Where does an apple grow?")
    best = found.passages[0]
    assert best.document_name == "apples.md"
    assert [passage.rank for passage in found.passages] == list(range(1, len(found.passages) + 1))
    assert best.dense is not None
    assert best.lexical is not None
    assert (best.dense.rank, best.lexical.rank, best.fused) == (1, 1, 1.0)
    assert 0 < best.dense.score <= 1
    assert best.lexical.score > 0
    assert best.overlap == 1.0
    assert "apple grows on a tree" in best.context
    steps = [each.name for each in found.trace.steps]
    assert set(steps) >= {
        "analyze", "embed", "dense", "lexical", "live", "fuse", "threshold", "top_k", "neighbours", "budget"
    }  # fmt: skip
    assert found.trace.milliseconds >= step(found.trace.steps, "dense").milliseconds > 0
    assert found.trace.profile == fruit.profile.with_weights(core.embedding.dense_weight)


def test_chinese_question_skips_an_english_dense_route(core: Core, fruit: KnowledgeBase) -> None:
    found = core.services.retriever.retrieve(core.user, Scope((fruit.id,)), "香蕉成熟以后是什么颜色？")
    assert [passage.document_name for passage in found.passages] == ["bananas.md"]
    assert step(found.trace.steps, "dense").note == UNKNOWN_LANGUAGE
    assert found.passages[0].dense is None
    assert found.passages[0].fused == 1.0
    traditional = core.services.retriever.retrieve(core.user, Scope((fruit.id,)), "香蕉成熟以後是什麼顏色？")
    assert [passage.chunk.id for passage in traditional.passages] == [found.passages[0].chunk.id]


def test_multilingual_model_searches_any_language(core: Core, fruit: KnowledgeBase) -> None:
    core.embedding.scripts = None
    found = core.services.retriever.retrieve(core.user, Scope((fruit.id,)), "香蕉成熟以后是什么颜色？")
    assert step(found.trace.steps, "dense").note == ""
    assert found.passages[0].document_name == "bananas.md"
    assert found.passages[0].dense is not None


def test_route_of_weight_zero_is_skipped(core: Core, fruit: KnowledgeBase) -> None:
    profile = RetrievalProfile(lexical_weight=0.0)
    found = core.services.retriever.retrieve(core.user, Scope((fruit.id,)), "apple tree", profile)
    assert step(found.trace.steps, "lexical").note == WEIGHT_ZERO
    assert {passage.lexical for passage in found.passages} == {None}
    chinese = core.services.retriever.retrieve(core.user, Scope((fruit.id,)), "香蕉", profile)
    assert step(chinese.trace.steps, "dense").note == ""  # poor vectors are better than nothing at all


def test_top_k_and_threshold_of_the_profile_apply(core: Core, fruit: KnowledgeBase) -> None:
    assert len(names(core, fruit, "a tree grows", top_k=1, threshold=0.0)) == 1
    assert len(names(core, fruit, "a tree grows", top_k=3, threshold=0.0)) == 3
    assert names(core, fruit, "热带水果", threshold=0.6) == ["bananas"]
    assert names(core, fruit, "quantum chromodynamics", threshold=0.6) == []


@pytest.mark.parametrize("question", ["👍", "？？？", "…", "\u200b", "_", "   "])
def test_question_without_letters_and_digits_finds_nothing(core: Core, fruit: KnowledgeBase, question: str) -> None:
    found = core.services.retriever.retrieve(core.user, Scope((fruit.id,)), question, ALL)
    assert found.passages == ()
    assert found.trace.documents == 4
    assert [(each.name, each.note) for each in found.trace.steps[1:]] == [("analyze", NO_LETTERS)]


def test_files_read_only_in_part_are_named_where_nothing_is_found(core: Core, worker: WorkerParts) -> None:
    knowledge_base = core.knowledge_base()
    for name in "abcdef":
        document = core.upload(knowledge_base, f"{name}.pdf", samples.make_pdf([f"Contract {name}", None]))
        assert worker.ingestion.ingest(document.latest.id) == "ready"
    found = core.services.retriever.retrieve(core.user, Scope((knowledge_base.id,)), "zeppelins")
    told = step(found.trace.steps, "partly_read")
    assert (told.note, told.note_values["names"], told.note_values["more"]) == (
        PARTLY_READ_AND_MORE,
        "a.pdf, b.pdf, c.pdf, d.pdf, e.pdf",
        "1",
    )
    core.services.documents.delete(core.user, document.id)
    found = core.services.retriever.retrieve(core.user, Scope((knowledge_base.id,)), "zeppelins")
    assert step(found.trace.steps, "partly_read").note == PARTLY_READ
    set_notes(core, Note(NoteKind.RECOGNISED, 1, (2,)))
    found = core.services.retriever.retrieve(core.user, Scope((knowledge_base.id,)), "zeppelins")
    assert "partly_read" not in [each.name for each in found.trace.steps]
    found = core.services.retriever.retrieve(core.user, Scope((knowledge_base.id,)), "Contract a")
    assert found.passages
    assert "partly_read" not in [each.name for each in found.trace.steps]


@pytest.mark.parametrize("question", ["怎么样？", "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ", "𐎠𐎡𐎢", "哥德巴赫猜想", "E9999"])
def test_question_that_nothing_answers_finds_nothing(core: Core, fruit: KnowledgeBase, question: str) -> None:
    assert names(core, fruit, question) == []


def test_best_candidates_are_kept_where_none_reaches_the_threshold(core: Core, fruit: KnowledgeBase) -> None:
    found = core.services.retriever.retrieve(core.user, Scope((fruit.id,)), "E9999")
    assert found.passages == ()
    assert 1 <= len(found.nearest) <= NEAREST
    assert [each.rank for each in found.nearest] == list(range(1, len(found.nearest) + 1))
    relevances = [each.relevance for each in found.nearest]
    assert relevances == sorted(relevances, reverse=True)
    assert relevances[0] < RetrievalProfile().threshold
    told = step(found.trace.steps, "threshold")
    assert (told.note, told.note_values["threshold"]) == (NONE_REACHED, "0.50")
    kept = from_record(to_record(found))
    assert [each.chunk.text for each in kept.nearest] == [each.chunk.text for each in found.nearest]
    assert {each.chunk.terms for each in kept.nearest} == {""}
    found = core.services.retriever.retrieve(core.user, Scope((fruit.id,)), "Where does an apple grow?")
    assert (found.nearest, found.widened) == ((), 0)


def test_wider_search_ends_without_a_threshold(core: Core, fruit: KnowledgeBase) -> None:
    profile = RetrievalProfile(candidates=200, ef=100, threshold=0.6, top_k=4)
    assert profile.wider(0) is profile
    assert profile.wider(1) == RetrievalProfile(candidates=500, ef=500, threshold=0.3, top_k=8)
    assert profile.wider(2).threshold == 0
    retrieve = core.services.retriever.retrieve
    assert retrieve(core.user, Scope((fruit.id,)), "E9999", widened=1).trace.profile.threshold == 0.25
    found = retrieve(core.user, Scope((fruit.id,)), "E9999", widened=2)
    assert found.passages
    assert found.widened == SourcesPart.of(found).widened == 2


def test_repeated_question_finds_the_same(core: Core, fruit: KnowledgeBase) -> None:
    """20,000 characters."""
    assert names(core, fruit, "Where does an apple grow? " * 800)[0] == "apples"
    assert names(core, fruit, "香蕉成熟以后是什么颜色？" * 1_700) == ["bananas"]


def test_long_question_is_answered_by_what_one_part_of_it_asks(core: Core, worker: WorkerParts) -> None:
    knowledge_base = core.knowledge_base()
    ingest(
        core,
        worker,
        knowledge_base,
        network="网络故障处理。网关返回E4012表示上游超时，请检查路由器并重启网关。",
        printer="打印机卡纸时，打开后盖取出纸张，然后重新启动打印机。",
        leave="员工请假须提前三天在系统中提交申请，由主管审批。",
    )
    story = "您好，我是新来的同事，昨天下午领导让我整理办公室的设备清单，期间大家都很忙，电话也打不通，" * 6
    for length in (0, 80, 130, 246, 2_000):
        question = f"{story[:length]}网关返回E4012怎么处理"
        assert names(core, knowledge_base, question)[:1] == ["network"], length


def test_gate_lowers_the_lexical_weight_and_says_so(core: Core, fruit: KnowledgeBase) -> None:
    core.embedding.scripts = None
    question = "Which tree should gardeners plant along busy motorways near noisy airports?"
    lowered = step(core.services.retriever.retrieve(core.user, Scope((fruit.id,)), question, ALL).trace.steps, "gate")
    assert lowered.note == LEXICAL_LOWERED
    assert 0 < float(lowered.note_values["lexical"]) < float(lowered.note_values["before"])
    whole = step(core.services.retriever.retrieve(core.user, Scope((fruit.id,)), "apple tree", ALL).trace.steps, "gate")
    assert (whole.note, whole.note_values["lexical"]) == (WEIGHTS, whole.note_values["before"])


def test_gate_stays_open_for_a_date_in_a_text_of_another_language(core: Core, worker: WorkerParts) -> None:
    core.embedding.scripts = None
    knowledge_base = core.knowledge_base()
    ingest(core, worker, knowledge_base, board="January 2, 2024: the valve in hall 3 was replaced.", 会议="会议记录")
    question = "2024年1月2日的会议上，董事会作出了哪些决定？"
    found = core.services.retriever.retrieve(core.user, Scope((knowledge_base.id,)), question, ALL)
    assert step(found.trace.steps, "gate").note == WEIGHTS


def test_copies_take_one_place_and_are_named(core: Core, worker: WorkerParts) -> None:
    knowledge_base = core.knowledge_base()
    policy = "# Returns\n\nGoods can be returned within thirty days of delivery."
    copies = {f"copy{number:02}": policy for number in range(60)}  # more than a route brings
    parking = "# Parking\n\nGoods are delivered to the parking area behind the house."
    ingest(core, worker, knowledge_base, **copies, parking=parking)
    found = core.services.retriever.retrieve(core.user, Scope((knowledge_base.id,)), "How can goods be returned?", ALL)
    assert [passage.rank for passage in found.passages] == [1, 2]
    policies, other = found.passages
    places = [policies.document_name, *(place.document_name for place in policies.also_in)]
    assert sorted(places) == [f"{name}.md" for name in copies]
    assert (other.document_name, other.also_in) == ("parking.md", ())


def test_unusual_questions_are_accepted(core: Core, fruit: KnowledgeBase) -> None:
    for question in ("?!", "\x00", "🦜", "\ud800", "x" * 10_000, '" or 1==1 or "'):
        core.services.retriever.retrieve(core.user, Scope((fruit.id,)), question)


def test_neighbours_are_added_within_the_budget(core: Core, worker: WorkerParts) -> None:
    knowledge_base = core.knowledge_base()
    parts = [f"# Part {n}\n\n" + f"Topic{n} is discussed here at some length. " * 20 for n in range(5)]
    ingest(core, worker, knowledge_base, book="\n\n".join(parts))
    retrieve = core.services.retriever.retrieve
    wide = retrieve(core.user, Scope((knowledge_base.id,)), "Topic2", RetrievalProfile(top_k=1)).passages[0]
    assert [f"# Part {n}" in wide.context for n in range(5)] == [False, True, True, True, False]
    alone = retrieve(
        core.user, Scope((knowledge_base.id,)), "Topic2", RetrievalProfile(top_k=1, neighbours=0)
    ).passages[0]
    assert alone.context == alone.chunk.text
    small = retrieve(
        core.user, Scope((knowledge_base.id,)), "Topic2", RetrievalProfile(top_k=1, context_tokens=10)
    ).passages[0]
    assert small.context == small.chunk.text


def test_chunks_of_versions_that_are_not_live_are_never_shown(core: Core, fruit: KnowledgeBase) -> None:
    """For example, chunks that a dead worker or a deleted document left in Milvus."""
    dead = uuid4()
    text = "An apple grows on a tree and is often red."
    chunks = [
        Chunk(f"{dead.hex}-{n:06d}", uuid4(), dead, n, 0, len(text), 0, "Apples", text, "an appl grow on a tree red")
        for n in range(600)
    ]
    noise = np.random.default_rng(1).normal(scale=0.05, size=(len(chunks), core.embedding.dimension))
    vectors = normalised(core.embedding.embed_documents([text] * len(chunks)) + noise)
    core.services.vectors.upsert(fruit.collection, chunks, vectors)
    core.services.vectors.flush(fruit.collection)
    found = core.services.retriever.retrieve(core.user, Scope((fruit.id,)), "apple grows on a tree", ALL)
    assert found.passages[0].document_name == "apples.md"
    assert {passage.chunk.version_id for passage in found.passages}.isdisjoint({dead})
    steps = [step.name for step in found.trace.steps]
    assert steps.count("dense") > 1  # it searched wider
    assert steps.count("embed") == 1
    assert len(found.passages) == 4
    few = core.services.retriever.retrieve(
        core.user, Scope((fruit.id,)), "apple grows on a tree", replace(ALL, candidates=2)
    )
    ranks = [hit.rank for passage in few.passages for hit in (passage.dense, passage.lexical) if hit]
    assert sorted(ranks) == [1, 1, 2, 2]  # as without the dead ones


def test_dead_chunk_in_a_small_knowledge_base_costs_no_second_search(core: Core, fruit: KnowledgeBase) -> None:
    apples = next(each for each in core.services.documents.list(core.user, fruit.id) if each.name == "apples.md")
    core.services.documents.delete(core.user, apples.id)  # and no worker has cleared it yet
    found = core.services.retriever.retrieve(core.user, Scope((fruit.id,)), "Where does an apple grow?", ALL)
    steps = [step.name for step in found.trace.steps]
    assert (steps.count("dense"), steps.count("lexical")) == (1, 1)
    assert step(found.trace.steps, "live").remaining == 3


def test_deleted_document_is_not_found(core: Core, fruit: KnowledgeBase) -> None:
    documents = core.services.documents.list(core.user, fruit.id)
    apples = next(document for document in documents if document.name == "apples.md")
    assert names(core, fruit, "apple")[0] == "apples"
    core.services.documents.delete(core.user, apples.id)
    assert "apples" not in names(core, fruit, "apple")


def test_empty_knowledge_base_finds_nothing(core: Core) -> None:
    knowledge_base = core.knowledge_base()
    found = core.services.retriever.retrieve(core.user, Scope((knowledge_base.id,)), "apple")
    assert found.passages == ()
    waiting = core.upload(knowledge_base, "a.md", "# A\n\nText.")
    mark_sent(core.services.database, [waiting.latest.id], waiting.created_at)
    again = core.services.retriever.retrieve(core.user, Scope((knowledge_base.id,)), "apple")
    assert (again.passages, again.trace.documents) == ((), 0)


def test_unavailable_milvus_raises_instead_of_finding_nothing(
    core: Core, fruit: KnowledgeBase, make_settings: MakeSettings, tmp_path: Path
) -> None:
    store = VectorStore(make_settings(milvus_uri=f"http://127.0.0.1:{free_port()}"))
    services = core.services
    references = References(tmp_path)
    retriever = Retriever(services.knowledge_bases, services.documents, store, services.embeddings, references)
    with pytest.raises(MilvusUnavailable):
        retriever.retrieve(core.user, Scope((fruit.id,)), "apple")
    retriever.close()
    store.close()


def test_other_users_knowledge_base_is_not_found(core: Core, fruit: KnowledgeBase) -> None:
    with pytest.raises(NotFound):
        core.services.retriever.retrieve(core.stranger, Scope((fruit.id,)), "apple")
    core.services.knowledge_bases.delete(core.user, fruit.id)
    with pytest.raises(NotFound):
        core.services.retriever.retrieve(core.user, Scope((fruit.id,)), "apple")


def test_unknown_model_is_named(core: Core) -> None:
    newer = core.services.knowledge_bases.create(core.user, "Newer", "builtin:newer", 384)
    with pytest.raises(UnknownEmbeddingModel, match="builtin:newer"):
        core.services.retriever.retrieve(core.user, Scope((newer.id,)), "apple")


def test_model_of_another_dimension_is_refused(
    core: Core, fruit: KnowledgeBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core.embedding, "embed_question", lambda _text: np.ones(33, np.float32))
    with pytest.raises(EmbeddingMismatch, match=r"test \(33\)"):
        core.services.retriever.retrieve(core.user, Scope((fruit.id,)), "apple")


def test_langchain_retriever_finds_the_same_passages(core: Core, fruit: KnowledgeBase) -> None:
    retriever = KnowledgeBaseRetriever(
        retriever=core.services.retriever, principal=core.user, scope=Scope((fruit.id,)), profile=ALL
    )
    documents = retriever.invoke("apple tree")
    passages = core.services.retriever.retrieve(core.user, Scope((fruit.id,)), "apple tree", ALL).passages
    assert [document.id for document in documents] == [passage.chunk.id for passage in passages]
    best = documents[0]
    assert best.page_content == passages[0].chunk.text
    assert best.metadata["document"] == "apples.md"
    assert best.metadata["rank"] == 1
    assert best.metadata["heading"] == "Apples"
    assert best.metadata["cosine"] > 0
    assert best.metadata["bm25"] > 0


# --- a server without BM25 -------------------------------------------------------------------------------------


@pytest.fixture
def old_core(
    make_settings: MakeSettings, redis_url: str, old_milvus_url: str, embedding: HashedWords
) -> Iterator[Core]:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    with open_core(make_settings(redis_url=redis_url, milvus_uri=old_milvus_url), embedding) as core:
        yield core


@ONE_OLD_MILVUS
def test_old_server_serves_dense_only(old_core: Core) -> None:
    core, services = old_core, old_core.services
    worker = build_worker_parts(services)
    knowledge_base = core.knowledge_base()
    ingest(core, worker, knowledge_base, fruit=FRUIT, rivers="# Rivers\n\nThe Danube flows through ten countries.")
    worker.ingestion.close()
    found = services.retriever.retrieve(core.user, Scope((knowledge_base.id,)), "Danube countries")
    assert found.passages[0].document_name == "rivers.md"
    assert step(found.trace.steps, "lexical").note == NO_BM25
    assert {passage.lexical for passage in found.passages} == {None}
    chinese = services.retriever.retrieve(core.user, Scope((knowledge_base.id,)), "香蕉是什么颜色？")
    assert chinese.passages  # only the dense route is left
    services.vectors.drop(knowledge_base.collection)


def test_reranking_model_orders_what_was_found(
    core: Core, fruit: KnowledgeBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PearsFirst:
        model = "pears-first"

        def scores(self, question: str, texts: Sequence[str]) -> list[float]:
            return [0.9 if "pear" in text else 0.1 for text in texts]

    monkeypatch.setattr(core.services.retriever, "_find_reranker", lambda _user_id: PearsFirst())
    found = core.services.retriever.retrieve(core.user, Scope((fruit.id,)), "Where does an apple grow?", ALL)
    assert (found.passages[0].document_name, found.passages[0].rerank) == ("pears.md", 0.9)
    assert found.passages[0].relevance < found.passages[1].relevance
    order = [each.name for each in found.trace.steps]
    assert order.index("fuse") < order.index("rerank") < order.index("threshold")
