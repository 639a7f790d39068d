"""What VectorStore sends to a Milvus server with BM25, against a recorded schema, and how it reads the scores."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict
from pymilvus.grpc_gen import milvus_pb2, schema_pb2

from kb.models import Chunk, IndexSettings, KnowledgeBase, RetrievalProfile
from kb.vectors import VectorStore
from kb.vectors.schema import to_row
from tests.conftest import MakeSettings
from tests.fakes.milvus_server import MilvusServer

ID = UUID("00000000-0000-4000-8000-000000000001")
BASE = KnowledgeBase(
    id=ID,
    owner_id=ID,
    name="Test",
    collection="kb_test",
    embedding_model="test",
    dimension=4,
    index=IndexSettings(),
    profile=RetrievalProfile(),
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
)


@pytest.fixture
def server() -> Iterator[MilvusServer]:
    with MilvusServer() as server:
        yield server


@pytest.fixture
def store(server: MilvusServer, make_settings: MakeSettings) -> Iterator[VectorStore]:
    store = VectorStore(make_settings(milvus_uri=server.url))
    yield store
    store.close()


def row(ordinal: int) -> dict[str, Any]:
    chunk = Chunk(f"{ID.hex}-{ordinal:06d}", ID, ID, ordinal, 0, 9, 1, "", "apple pie", "appl pie")
    return to_row(chunk, np.zeros(4, np.float32), None)


def params(request: Any) -> Mapping[str, str]:
    return {pair.key: pair.value for pair in request.extra_params}


def test_collection_has_the_recorded_schema(server: MilvusServer, store: VectorStore) -> None:
    """BM25 over `terms`, which a server splits at white space: `kb.lexical` has analysed them."""
    store.create(BASE)
    (request,) = server.sent(milvus_pb2.CreateCollectionRequest)
    schema = schema_pb2.CollectionSchema.FromString(request.schema)
    recorded = json.loads(Path(__file__).with_name("milvus_schema.json").read_text())
    assert MessageToDict(schema, preserving_proto_field_name=True) == recorded
    (terms,) = [field for field in schema.fields if field.name == "terms"]
    analysis = {pair.key: pair.value for pair in terms.type_params}
    assert json.loads(analysis["analyzer_params"]) == {"tokenizer": "whitespace"}


def test_both_routes_are_indexed(server: MilvusServer, store: VectorStore) -> None:
    store.create(BASE)
    indexes = {request.field_name: params(request) for request in server.sent(milvus_pb2.CreateIndexRequest)}
    assert {name: (index["index_type"], index["metric_type"]) for name, index in indexes.items()} == {
        "dense": ("HNSW", "COSINE"),
        "sparse": ("SPARSE_INVERTED_INDEX", "BM25"),
    }
    assert (indexes["sparse"]["bm25_k1"], indexes["sparse"]["bm25_b"]) == ("1.2", "0.75")


def test_lexical_scores_are_the_servers_own(server: MilvusServer, store: VectorStore) -> None:
    """A server reports BM25 as a positive score; only Milvus Lite reports it as a negative distance."""
    server.hits = [(7.5, row(3)), (3.25, row(1))]
    hits = store.search_lexical(BASE.collection, "appl pie", 10)
    assert [(hit.chunk.ordinal, hit.score) for hit in hits] == [(3, 7.5), (1, 3.25)]
    (request,) = server.sent(milvus_pb2.SearchRequest)
    assert b"appl pie" in request.placeholder_group
    assert {"anns_field": "sparse", "metric_type": "BM25"}.items() <= {
        pair.key: pair.value for pair in request.search_params
    }.items()


def test_filter_values_are_sent_as_parameters(server: MilvusServer, store: VectorStore) -> None:
    server.hits = [(7.5, row(3))]
    store.search_lexical(BASE.collection, "appl", 10)
    (request,) = server.sent(milvus_pb2.SearchRequest)
    assert request.dsl == "enabled == {enabled}"
    assert request.expr_template_values["enabled"].bool_val
