"""The Milvus collection of a knowledge base: its fields, indexes and rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import numpy as np

from kb.vectors.connection import import_pymilvus

import_pymilvus()  # before the imports from there
from pymilvus import CollectionSchema, DataType, Function, FunctionType, MilvusClient  # noqa: E402
from pymilvus.milvus_client.index import IndexParams  # noqa: E402

from kb.models import Chunk, IndexSettings  # noqa: E402

# VARCHAR limits are bytes of UTF-8.
TEXT_BYTES = 65_535
HEADING_BYTES = 2_048
OUTPUT_FIELDS = [
    "id",
    "document_id",
    "version_id",
    "ordinal",
    "start",
    "end",
    "page",
    "heading",
    "text",
    "terms",
    "enabled",
]


def collection_schema(
    dimension: int, tokenizer: str | None, is_shared: bool, description: str = ""
) -> CollectionSchema:
    """The fields of a chunk. `tokenizer` splits `terms` at spaces; None leaves BM25 out.

    A collection that knowledge bases share has a partition key, so that a search reads little beside its own part. On
    servers without BM25 it is a field like others: 2.3.5 finds nothing in a partition that was upserted into.
    """
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False, description=description)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=64)
    if is_shared:
        schema.add_field("knowledge_base_id", DataType.VARCHAR, max_length=36, is_partition_key=bool(tokenizer))
    schema.add_field("document_id", DataType.VARCHAR, max_length=36)
    schema.add_field("version_id", DataType.VARCHAR, max_length=36)
    for name in ("ordinal", "start", "end", "page"):
        schema.add_field(name, DataType.INT64)
    schema.add_field("heading", DataType.VARCHAR, max_length=HEADING_BYTES)
    schema.add_field("text", DataType.VARCHAR, max_length=TEXT_BYTES)
    analyzed = {"enable_analyzer": True, "analyzer_params": {"tokenizer": tokenizer}} if tokenizer else {}
    schema.add_field("terms", DataType.VARCHAR, max_length=TEXT_BYTES, **analyzed)
    schema.add_field("enabled", DataType.BOOL)
    schema.add_field("dense", DataType.FLOAT_VECTOR, dim=dimension)
    if tokenizer:
        schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
        schema.add_function(
            Function(
                name="bm25",
                function_type=FunctionType.BM25,
                input_field_names=["terms"],
                output_field_names=["sparse"],
            )
        )
    return schema


def index_params(index: IndexSettings, with_bm25: bool) -> IndexParams:
    params = MilvusClient.prepare_index_params()
    params.add_index("dense", index_type=index.index_type, metric_type=index.metric, params=_build_params(index))
    if with_bm25:
        bm25 = {"bm25_k1": 1.2, "bm25_b": 0.75}
        params.add_index("sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25", params=bm25)
    return params


def _build_params(index: IndexSettings) -> dict[str, Any]:
    build: dict[str, Any] = {}
    if index.index_type == "HNSW":
        build = {"M": index.m, "efConstruction": index.ef_construction}
    elif index.index_type.startswith("IVF"):
        build = {"nlist": index.nlist}
    # Servers read the values that pymilvus sends one by one; Milvus Lite reads the older form under `params`.
    return build | {"params": dict(build)} if build else {}


def search_params(index: IndexSettings, ef: int, limit: int) -> dict[str, Any]:
    """The parameters of a dense search; HNSW refuses an `ef` below `limit`."""
    if index.index_type == "HNSW":
        return {"metric_type": index.metric, "params": {"ef": max(ef, limit)}}
    nprobe = {"nprobe": min(index.nlist, max(8, index.nlist // 4))} if index.index_type.startswith("IVF") else {}
    return {"metric_type": index.metric, "params": nprobe}


def to_row(chunk: Chunk, vector: np.ndarray, partition: UUID | None) -> dict[str, Any]:
    shared = {"knowledge_base_id": str(partition)} if partition else {}
    return shared | {
        "id": chunk.id,
        "document_id": str(chunk.document_id),
        "version_id": str(chunk.version_id),
        "ordinal": chunk.ordinal,
        "start": chunk.start,
        "end": chunk.end,
        "page": chunk.page,
        "heading": cut_bytes(chunk.heading, HEADING_BYTES),
        "text": cut_bytes(chunk.text, TEXT_BYTES),
        "terms": cut_bytes(chunk.terms, TEXT_BYTES),
        "enabled": chunk.enabled,
        "dense": vector,
    }


def to_chunk(row: Mapping[str, Any]) -> Chunk:
    return Chunk(
        id=row["id"],
        document_id=UUID(row["document_id"]),
        version_id=UUID(row["version_id"]),
        ordinal=row["ordinal"],
        start=row["start"],
        end=row["end"],
        page=row["page"],
        heading=row["heading"],
        text=row["text"],
        terms=row["terms"],
        enabled=row["enabled"],
    )


def cut_bytes(text: str, limit: int) -> str:
    """`text`, cut between characters to at most `limit` bytes of UTF-8."""
    return text if len(text) * 4 <= limit else text.encode()[:limit].decode(errors="ignore")


def rows(chunks: Sequence[Chunk], vectors: np.ndarray, partition: UUID | None) -> list[dict[str, Any]]:
    return [to_row(chunk, vector, partition) for chunk, vector in zip(chunks, vectors, strict=True)]
