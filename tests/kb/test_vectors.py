"""The contract of the vector store, on Milvus Lite and on Milvus standalone 2.3.5."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn
from uuid import UUID, uuid4

import numpy as np
import pytest
import redis
from pymilvus import MilvusClient

from kb import lexical
from kb.config import load_settings
from kb.errors import CollectionMissing, DatabaseUnavailable, MilvusRefused, MilvusUnavailable
from kb.models import Chunk, IndexSettings, KnowledgeBase, KnowledgeBaseKind, RetrievalProfile
from kb.redis import Turns
from kb.vectors import VectorStore
from kb.vectors.connection import Connection
from kb.vectors.filters import Filter, Within, of_version
from kb.vectors.schema import TEXT_BYTES, cut_bytes
from tests.conftest import MakeSettings
from tests.real_services import ONE_OLD_MILVUS, MilvusLite, free_port, wait_until

DIMENSION = 4
ATTACHMENTS = KnowledgeBaseKind.ATTACHMENTS


@pytest.fixture(scope="module", params=["lite", pytest.param("2.3.5", marks=ONE_OLD_MILVUS)])
def milvus_uri(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("milvus_url" if request.param == "lite" else "old_milvus_url"))


@contextmanager
def connected(uri: str, redis_url: str) -> Iterator[VectorStore]:
    with redis.Redis.from_url(redis_url) as client:
        store = VectorStore(load_settings(_env_file=None, milvus_uri=uri), Turns(client).take)
        yield store
        store.close()


@pytest.fixture(scope="module")
def store(milvus_uri: str, redis_url: str) -> Iterator[VectorStore]:
    with connected(milvus_uri, redis_url) as store:
        yield store


@pytest.fixture(scope="module")
def lite(milvus_url: str, redis_url: str) -> Iterator[VectorStore]:
    with connected(milvus_url, redis_url) as store:
        yield store


@pytest.fixture(scope="module")
def collection(store: VectorStore) -> Iterator[str]:
    """A shared Milvus collection, because a server takes seconds to create one; each test uses its own versions."""
    knowledge_base = base()
    store.create(knowledge_base)
    yield knowledge_base.collection
    store.drop(knowledge_base.collection)


def base(index: IndexSettings | None = None) -> KnowledgeBase:
    key = uuid4()
    return KnowledgeBase(
        id=key,
        owner_id=uuid4(),
        name="Test",
        collection=f"kb_{key.hex}",
        embedding_model="test",
        dimension=DIMENSION,
        index=index or IndexSettings(),
        profile=RetrievalProfile(),
        created_at=datetime.now(UTC),
    )


def chunk(version: UUID, ordinal: int, text: str = "", document: UUID | None = None, **values: object) -> Chunk:
    fields = {"heading": "", "terms": lexical.terms(text), "page": 1} | values
    return Chunk(
        id=f"{version.hex}-{ordinal:06d}",
        document_id=document or uuid4(),
        version_id=version,
        ordinal=ordinal,
        start=ordinal * 10,
        end=ordinal * 10 + len(text),
        text=text or f"chunk {ordinal}",
        **fields,  # type: ignore[arg-type]
    )


def vectors(*rows: tuple[float, float]) -> np.ndarray:
    """Unit vectors to these points of a plane."""
    wide = np.array([(x, y, 0.0, 0.0) for x, y in rows], dtype=np.float32)
    unit: np.ndarray = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    return unit


def some_vectors(count: int) -> np.ndarray:
    return vectors(*((1.0, float(number)) for number in range(count)))


def test_create_and_drop_can_be_repeated(store: VectorStore) -> None:
    knowledge_base, version = base(), uuid4()
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(store.create, [knowledge_base] * 4)) == 1
    store.upsert(knowledge_base.collection, [chunk(version, 0)], some_vectors(1))
    assert not store.create(knowledge_base)
    assert store.size(knowledge_base.collection) == 1
    store.drop(knowledge_base.collection)
    store.drop(knowledge_base.collection)
    for call in (store.count, store.size, store.count_by_version):
        with pytest.raises(CollectionMissing):
            call(knowledge_base.collection)


def test_collection_that_another_process_dropped_is_created_again(
    lite: VectorStore, milvus_url: str, redis_url: str
) -> None:
    knowledge_base = base()
    lite.create(knowledge_base)
    with connected(milvus_url, redis_url) as other:
        other.drop(knowledge_base.collection)
    with pytest.raises(MilvusRefused):
        lite.upsert(knowledge_base.collection, [chunk(uuid4(), 0)], some_vectors(1))
    lite.create(knowledge_base)
    lite.upsert(knowledge_base.collection, [chunk(uuid4(), 0)], some_vectors(1))
    assert lite.count(knowledge_base.collection) == 1
    lite.drop(knowledge_base.collection)


def test_chunk_written_twice_is_counted_once(store: VectorStore, collection: str) -> None:
    version = uuid4()
    chunks = [chunk(version, ordinal) for ordinal in range(5)]
    for _ in range(2):
        store.upsert(collection, chunks, some_vectors(5))
        assert store.count(collection, version) == store.count_first(collection, version, 5) == 5
    store.flush(collection)
    assert store.count(collection, version) == store.count_first(collection, version, 5) == 5
    assert [store.count_first(collection, version, total) for total in (0, 3, 7)] == [0, 3, 5]
    assert store.count(collection) >= 5
    assert store.count(collection, uuid4()) == 0


def test_upsert_replaces(store: VectorStore, collection: str) -> None:
    version = uuid4()
    store.upsert(collection, [chunk(version, 0, "old words")], some_vectors(1))
    store.upsert(collection, [chunk(version, 0, "new words")], some_vectors(1))
    assert store.count(collection, version) == 1  # reads with strong consistency, so later reads see the writes
    assert [found.text for found in store.chunks(collection, version, 0, 10)] == ["new words"]


@pytest.mark.parametrize(("index_type", "metric"), [("HNSW", "COSINE"), ("FLAT", "IP"), ("IVF_FLAT", "L2")])
def test_nearest_hit_comes_first_with_the_highest_score(store: VectorStore, index_type: str, metric: str) -> None:
    knowledge_base, version = base(IndexSettings(index_type=index_type, metric=metric, nlist=4)), uuid4()
    name = knowledge_base.collection
    store.create(knowledge_base)
    points = [(-1.0, 0.2), (1.0, 0.0), (0.0, 1.0), (1.0, 0.5), *((-1.0, -0.1 * n) for n in range(1, 40))]
    store.upsert(name, [chunk(version, ordinal) for ordinal in range(len(points))], vectors(*points))
    store.flush(name)
    assert store.count(name) == len(points)
    hits = store.search_dense(name, knowledge_base.index, vectors((1.0, 0.0))[0], len(points), 64)
    assert [hit.chunk.ordinal for hit in hits][:3] == [1, 3, 2]
    if not index_type.startswith("IVF"):  # IVF searches only some of its lists
        assert len(hits) == len(points)
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert scores[:3] == pytest.approx([1.0, 0.894, 0.0], abs=0.01)  # cosines
    best_two = store.search_dense(name, knowledge_base.index, vectors((1.0, 0.0))[0], 2, 1)
    assert [hit.chunk.ordinal for hit in best_two] == [1, 3]
    store.drop(name)


def test_disabled_chunks_are_not_found(store: VectorStore, collection: str) -> None:
    version = uuid4()
    chunks = [chunk(version, 0, "quince"), chunk(version, 1, "quince", enabled=False)]
    store.upsert(collection, chunks, some_vectors(2))
    store.flush(collection)
    assert store.count(collection, version) == 2
    hits = store.search_dense(collection, IndexSettings(), some_vectors(2)[1], 100, 100)
    hits += store.search_lexical(collection, lexical.terms("quince"), 5)
    assert {hit.chunk.ordinal for hit in hits if hit.chunk.version_id == version} == {0}


def test_all_of_the_chosen_documents_is_found_beside_many_nearer_chunks(store: VectorStore, collection: str) -> None:
    near, far, other = uuid4(), uuid4(), uuid4()
    crowd, few = uuid4(), uuid4()
    turned = np.linspace(0.0, 0.1, 600)
    store.upsert(collection, [chunk(crowd, n, "pear", near) for n in range(600)], vectors(*((1.0, y) for y in turned)))
    chunks = [chunk(few, n, "pear", document) for n, document in enumerate((far, far, other))]
    store.upsert(collection, chunks, vectors((0.0, 1.0), (-0.1, 1.0), (-0.2, 1.0)))
    store.flush(collection)
    assert (store.count(collection, crowd), store.count(collection, few)) == (600, 3)  # a server's searches lag behind
    index, question = IndexSettings(), vectors((1.0, 0.0))[0]
    for chosen in ([far, other], [far, *(uuid4() for _ in range(2_100)), other]):
        dense = store.search_dense(collection, index, question, 50, 64, Within(chosen))
        assert [hit.chunk.ordinal for hit in dense] == [0, 1, 2]
        assert [
            hit.chunk.ordinal for hit in store.search_dense(collection, index, question, 2, 64, Within(chosen))
        ] == [0, 1]
        lexical_hits = store.search_lexical(collection, "pear", 50, Within(chosen))
        assert {hit.chunk.id for hit in lexical_hits} <= {each.id for each in chunks}
        assert len(lexical_hits) == (3 if store.server.has_bm25 else 0)
    assert store.search_dense(collection, index, question, 50, 64, Within([])) == []
    store.delete_version(collection, crowd)


def test_knowledge_bases_that_share_a_collection_see_their_own_part_only(store: VectorStore) -> None:
    mine, others = (replace(base(IndexSettings("FLAT")), collection="shared", kind=ATTACHMENTS) for _ in range(2))
    versions = {each.id: uuid4() for each in (mine, others)}
    store.create(mine)
    store.create(others)
    for each in (mine, others):
        chunks = [chunk(versions[each.id], n, "pear") for n in range(3)]
        for _ in range(2):
            store.upsert("shared", chunks, some_vectors(3), each.partition)
    for _ in range(2):
        for each in (mine, others):
            assert store.count("shared", versions[each.id]) == store.count_first("shared", versions[each.id], 3) == 3
            within = Within(partition=each.partition)
            dense = store.search_dense("shared", each.index, some_vectors(1)[0], 10, 64, within)
            assert [hit.chunk.id for hit in dense] == [f"{versions[each.id].hex}-{n:06d}" for n in range(3)]
            if store.server.has_bm25:
                lexical_hits = store.search_lexical("shared", "pear", 10, within)
                assert {hit.chunk.version_id for hit in lexical_hits} == {versions[each.id]}
        store.flush("shared")
    one = dense[0].chunk
    chosen = Within([one.document_id], others.partition)
    assert [hit.chunk for hit in store.search_dense("shared", mine.index, some_vectors(1)[0], 10, 64, chosen)] == [one]
    assert (
        store.search_dense("shared", mine.index, some_vectors(1)[0], 10, 64, replace(chosen, partition=mine.id)) == []
    )
    assert mine.partition
    for _ in range(2):
        store.delete_partition("shared", mine.partition)
        assert [store.count("shared", versions[each.id]) for each in (mine, others)] == [0, 3]
    store.drop("shared")
    store.delete_partition("shared", mine.partition)


def test_lexical_scores_are_positive_and_in_order(lite: VectorStore) -> None:
    knowledge_base, version = base(), uuid4()
    name = knowledge_base.collection
    lite.create(knowledge_base)
    texts = ["banana bread", "apple tree and apple pie", "an apple", "向量数据库的索引", "no fruit here at all"]
    lite.upsert(name, [chunk(version, ordinal, text) for ordinal, text in enumerate(texts)], some_vectors(5))
    lite.flush(name)
    hits = lite.search_lexical(name, lexical.terms("apple pie"), 10)
    assert [hit.chunk.ordinal for hit in hits] == [1, 2]
    assert hits[0].score > hits[1].score > 0
    assert [hit.chunk.ordinal for hit in lite.search_lexical(name, lexical.terms("索引"), 10)] == [3]
    once, thrice = (lite.search_lexical(name, query, 1)[0].score for query in ("banana", "banana banana banana"))
    assert thrice == pytest.approx(3 * once)  # `lexical.weighted_terms` rests on it
    assert lite.search_lexical(name, lexical.terms("zebra"), 10) == []
    assert lite.search_lexical(name, "  ", 10) == []
    lite.drop(name)


def test_lexical_search_is_empty_without_bm25(store: VectorStore, collection: str) -> None:
    version = uuid4()
    store.upsert(collection, [chunk(version, 0, "persimmon")], some_vectors(1))
    store.flush(collection)
    assert store.count(collection, version) == 1
    found = [hit.chunk.version_id for hit in store.search_lexical(collection, lexical.terms("persimmon"), 5)]
    assert store.server.has_bm25 == store.server.is_lite
    assert found == ([version] if store.server.has_bm25 else [])


def test_chunks_are_counted_by_version(store: VectorStore) -> None:
    knowledge_base, first, second = replace(base(), kind=ATTACHMENTS), uuid4(), uuid4()
    collection = knowledge_base.collection
    store.create(knowledge_base)
    store.upsert(collection, [chunk(first, n) for n in range(1_200)], some_vectors(1_200), knowledge_base.id)
    store.upsert(collection, [chunk(second, n) for n in range(3)], some_vectors(3), uuid4())
    store.delete_from(collection, first, 1_100)
    assert store.size(collection) == 1_103
    assert store.count_by_version(collection) == {first: 1_100, second: 3}
    assert store.count_by_version(collection, knowledge_base.id) == {first: 1_100}
    store.drop(collection)


def test_delete_affects_only_its_version_or_document(store: VectorStore, collection: str) -> None:
    document, versions = uuid4(), [uuid4() for _ in range(3)]
    for version in versions[:2]:
        store.upsert(collection, [chunk(version, n, document=document) for n in range(4)], some_vectors(4))
    store.upsert(collection, [chunk(versions[2], n) for n in range(4)], some_vectors(4))
    store.delete_version(collection, versions[0])
    assert [store.count(collection, version) for version in versions] == [0, 4, 4]
    store.delete_from(collection, versions[2], 1)
    assert store.count(collection, versions[2]) == 1
    assert [found.ordinal for found in store.chunks(collection, versions[2], 0, 10)] == [0]
    store.delete_document(collection, document)
    assert [store.count(collection, version) for version in versions] == [0, 0, 1]
    store.delete_version(collection, versions[0])  # again: no error


def test_chunks_are_paged_in_order(store: VectorStore, collection: str) -> None:
    version, others = uuid4(), uuid4()
    many = [chunk(version, ordinal) for ordinal in range(30)]
    store.upsert(collection, many[::-1], some_vectors(30))
    store.upsert(collection, [chunk(others, 5)], some_vectors(1))
    assert store.count(collection, version) == 30
    pages = [store.chunks(collection, version, first, 12) for first in (0, 12, 24, 36)]
    assert [found for page in pages for found in page] == many
    assert [len(page) for page in pages] == [12, 12, 6, 0]


def test_get_by_id(store: VectorStore, collection: str) -> None:
    version = uuid4()
    chunks = [chunk(version, ordinal) for ordinal in range(3)]
    store.upsert(collection, chunks, some_vectors(3))
    assert store.count(collection, version) == 3
    found = store.get(collection, [chunks[2].id, "no such chunk", chunks[0].id])
    assert sorted(found, key=lambda each: each.ordinal) == [chunks[0], chunks[2]]
    assert store.get(collection, []) == []


@pytest.mark.parametrize(
    "text",
    ["向量数据库 🦜 é", '" or 1==1 or "', "it's {curly} \\ and\nnew lines\ttabs", "{version}", "العربية"],
)
def test_any_text_is_returned_unchanged(store: VectorStore, collection: str, text: str) -> None:
    version = uuid4()
    written = chunk(version, 0, text, heading=text, terms=f"{lexical.terms(text)} \" ' {{x}}")
    store.upsert(collection, [written], some_vectors(1))
    assert store.count(collection, version) == 1
    assert store.chunks(collection, version, 0, 1) == [written]


@pytest.mark.parametrize("character", ["a", "中", "🦜"])
def test_text_is_stored_up_to_the_byte_limit(store: VectorStore, collection: str, character: str) -> None:
    version, most = uuid4(), TEXT_BYTES // len(character.encode())
    whole = chunk(version, 0, character * most, terms="")
    longer = chunk(version, 1, character * (most + 9), heading="标" * 5_000, terms="词 " * 30_000)
    store.upsert(collection, [whole, longer], some_vectors(2))
    assert store.count(collection, version) == 2
    first, second = store.chunks(collection, version, 0, 2)
    assert first.text == second.text == character * most
    assert set(second.heading) == {"标"}
    assert len(second.terms.encode()) <= TEXT_BYTES


def test_text_is_cut_between_characters() -> None:
    assert cut_bytes("中文字", 7) == "中文"
    assert cut_bytes("abc", 12) == "abc"
    assert cut_bytes("é" * 4, 8) == "é" * 4


def test_concurrent_writers_take_turns(lite: VectorStore) -> None:
    knowledge_base = base()
    lite.create(knowledge_base)
    versions = [uuid4() for _ in range(4)]

    def write(version: UUID) -> None:
        for first in range(0, 30, 10):
            chunks = [chunk(version, ordinal) for ordinal in range(first, first + 10)]
            lite.upsert(knowledge_base.collection, chunks, some_vectors(10))
        lite.flush(knowledge_base.collection)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, versions))
    assert [lite.count(knowledge_base.collection, version) for version in versions] == [30] * 4
    assert lite.count(knowledge_base.collection) == 120
    lite.drop(knowledge_base.collection)


def test_rows_are_found_while_they_are_sealed(lite: VectorStore) -> None:
    """Unpatched, Milvus Lite misses them for some milliseconds."""
    knowledge_base, version, ended = base(), uuid4(), threading.Event()
    collection = knowledge_base.collection
    lite.create(knowledge_base)
    chunks = [chunk(version, ordinal, "sealed") for ordinal in range(10)]
    found: dict[str, set[int]] = {way: set() for way in ("by id", "counted", "dense", "lexical")}

    def read() -> None:
        while not ended.is_set():
            found["by id"].add(lite.count_first(collection, version, 10))
            found["counted"].add(lite.count(collection, version))
            found["dense"].add(len(lite.search_dense(collection, knowledge_base.index, some_vectors(1)[0], 10, 10)))
            found["lexical"].add(len(lite.search_lexical(collection, lexical.terms("sealed"), 10)))

    lite.upsert(collection, chunks, some_vectors(10))
    with ThreadPoolExecutor(2) as pool:
        reading = [pool.submit(read) for _ in range(2)]
        for _ in range(30):
            lite.flush(collection)
            lite.upsert(collection, chunks, some_vectors(10))
        ended.set()
        for future in reading:
            future.result()
    assert found == {way: {10} for way in found}
    lite.drop(collection)


def test_killed_milvus_lite_loses_nothing(make_settings: MakeSettings, tmp_path: Path, redis_url: str) -> None:
    server = MilvusLite(tmp_path)
    server.start()
    with connected(server.url, redis_url) as store:
        knowledge_base, version = base(), uuid4()
        name = knowledge_base.collection
        store.create(knowledge_base)
        store.upsert(name, [chunk(version, ordinal, "apple") for ordinal in range(3)], some_vectors(3))
        server.kill()
        with pytest.raises(MilvusUnavailable):
            store.count(name)
        server.start()
        wait_until(lambda: answers(store), 30, "the connection")
        assert len(store.search_lexical(name, lexical.terms("apple"), 5)) == 3
        assert len(store.search_dense(name, IndexSettings(), some_vectors(1)[0], 5, 64)) == 3
        store.upsert(name, [chunk(version, 3)], some_vectors(1))
        assert store.count(name, version) == 4
    server.stop()


def answers(store: VectorStore) -> bool:
    try:
        return bool(store.ping())
    except MilvusUnavailable:
        return False


def test_readers_do_not_wait_for_writers(make_settings: MakeSettings, milvus_url: str) -> None:
    turn = threading.Lock()
    store = VectorStore(make_settings(milvus_uri=milvus_url), lambda _collection: turn)
    knowledge_base = base()
    store.create(knowledge_base)
    with turn:
        assert store.count(knowledge_base.collection) == 0
        assert store.search_dense(knowledge_base.collection, IndexSettings(), some_vectors(1)[0], 5, 64) == []
    store.drop(knowledge_base.collection)
    store.close()


def test_what_cannot_be_noted_is_not_loaded(make_settings: MakeSettings, milvus_url: str) -> None:
    """Nobody would compare it: others find it loaded."""
    noted: list[str] = []

    def note(collection: str) -> None:
        noted.append(collection)
        if len(noted) == 1:
            raise DatabaseUnavailable(detail="locked")

    with closing(VectorStore(make_settings(milvus_uri=milvus_url), note_loading=note)) as store:
        knowledge_base = base()
        collection = knowledge_base.collection
        store.create(knowledge_base)
        assert not noted  # a new one
        with closing(MilvusClient(milvus_url)) as client:
            client.release_collection(collection)  # as it is after a start
        with pytest.raises(DatabaseUnavailable):
            store.warm_up(collection)
        assert not store.is_loaded(collection)
        assert not store.take_reloaded(collection)
        store.warm_up(collection)
        assert store.is_loaded(collection)
        assert noted == [collection] * 2
        assert [store.take_reloaded(collection) for _ in range(2)] == [True, False]
        store.drop(collection)


def test_missing_milvus_fails_within_seconds(make_settings: MakeSettings) -> None:
    store = VectorStore(make_settings(milvus_uri=f"http://127.0.0.1:{free_port()}"))
    began = time.monotonic()
    with pytest.raises(MilvusUnavailable):
        store.ping()
    with pytest.raises(MilvusUnavailable):
        store.count("anything")
    assert time.monotonic() - began < 30
    store.close()


def test_waiting_threads_share_one_failed_connect(make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    store = VectorStore(make_settings(milvus_uri=f"http://127.0.0.1:{free_port()}"))
    together, attempts = threading.Barrier(4), []

    def connect(_self: Connection) -> NoReturn:
        attempts.append(1)
        time.sleep(0.5)  # so that the others queue up meanwhile
        raise MilvusUnavailable(detail="silent")

    def count(_number: int) -> str:
        together.wait()
        with pytest.raises(MilvusUnavailable, match="silent"):
            store.count("anything")
        return "told"

    monkeypatch.setattr(Connection, "_connect", connect)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(count, range(4))) == ["told"] * 4
    assert len(attempts) < 4
    store.close()


def test_refused_request_raises_milvus_refused(store: VectorStore, collection: str) -> None:
    with pytest.raises(MilvusRefused) as refused:
        store.upsert(collection, [chunk(uuid4(), 0)], vectors((1.0, 0.0))[:, :2])
    assert not isinstance(refused.value, CollectionMissing)


def test_filter_values_are_parameters() -> None:
    version = uuid4()
    chosen = of_version(version)
    assert chosen.arguments(templates=True) == {
        "filter": "version_id == {version}",
        "filter_params": {"version": str(version)},
    }
    assert chosen.arguments(templates=False) == {"filter": f'version_id == "{version}"'}
    (some,) = Within([version]).filters()
    assert some.arguments(templates=True)["filter_params"] == {"enabled": True, "documents": [str(version)]}
    assert some.arguments(templates=False) == {"filter": f'enabled == true and document_id in ["{version}"]'}
    with pytest.raises(TypeError):
        Filter("name == {name}", {"name": '" or 1==1'}).arguments(templates=False)  # type: ignore[dict-item]
