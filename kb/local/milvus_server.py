"""Milvus Lite, scoring BM25 over the whole collection: `python -m kb.local.milvus_server server …`.

Milvus Lite 3.2 scores every segment by that segment's own statistics (its source says so, as a TODO). What was uploaded
last stands alone in a small segment, where no word is rare, and so is hardly ever found. Here all segments are scored
by the statistics of all of them, as a Milvus server does.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from milvus_lite.cmdline import main
from milvus_lite.engine.collection import Collection
from milvus_lite.index.sparse_common import empty_results, validate_mask
from milvus_lite.index.sparse_inverted import SparseInvertedIndex

CORRECTED_VERSIONS = "3.2."


@dataclass(frozen=True, slots=True)
class Statistics:
    """What BM25 needs to know of a collection."""

    indexes: tuple[SparseInvertedIndex, ...]
    documents: int
    average_length: float

    def idf(self, term: int) -> float:
        frequency = sum(index._df.get(term, 0) for index in self.indexes)
        return math.log((self.documents - frequency + 0.5) / (frequency + 0.5) + 1.0)


def statistics_of(indexes: Iterable[SparseInvertedIndex]) -> Statistics | None:
    known = tuple(index for index in indexes if index.doc_count)
    documents = sum(index.doc_count for index in known)
    length = sum(index.avgdl * index.doc_count for index in known)
    return Statistics(known, documents, length / documents) if length else None


_searching = threading.local()
_search_sparse = Collection._search_sparse
_search_index = SparseInvertedIndex.search


def search_collection(self: Any, query_vectors: list[Any], vector_field: str, **search: Any) -> Any:
    """`Collection._search_sparse` with the statistics of all its segments at hand."""
    segments, _ = self._read_snapshot()
    indexes = [segment.sparse_indexes.get(vector_field) for segment in segments if segment.table is not None]
    if not all(isinstance(index, SparseInvertedIndex) for index in indexes):
        if search["metric_type"] != "BM25":
            return _search_sparse(self, query_vectors, vector_field, **search)
        _search_sparse(self, query_vectors, vector_field, **search)  # builds the indexes that are missing
        indexes = [segment.sparse_indexes.get(vector_field) for segment in segments]
    _searching.statistics = statistics_of(index for index in indexes if isinstance(index, SparseInvertedIndex))
    try:
        return _search_sparse(self, query_vectors, vector_field, **search)
    finally:
        _searching.statistics = None


def search_index(
    self: Any, queries: Sequence[Mapping[int, float]], top_k: int, valid_mask: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """`SparseInvertedIndex.search`, by the collection's statistics."""
    statistics: Statistics | None = getattr(_searching, "statistics", None)
    if statistics is None:
        return _search_index(self, queries, top_k, valid_mask=valid_mask)  # type: ignore[no-any-return]
    mask = validate_mask(valid_mask, len(self._doc_lengths))
    ids, distances = empty_results(len(queries), top_k)
    for row, query in enumerate(queries):
        scores: dict[int, float] = {}
        for term, weight in query.items():
            if postings := self._posting_lists.get(term):
                idf = statistics.idf(term) * weight
                for place, count in postings:
                    if mask is None or mask[place]:
                        relative = self._doc_lengths[place] / statistics.average_length
                        saturated = count * (self.k1 + 1.0) / (count + self.k1 * (1.0 - self.b + self.b * relative))
                        scores[place] = scores.get(place, 0.0) + idf * saturated
        best = sorted(scores.items(), key=lambda item: -item[1])[:top_k]
        for column, (place, score) in enumerate(best):
            ids[row, column], distances[row, column] = place, -score
    return ids, distances


def correct() -> None:
    """Put the two functions in place of Milvus Lite's own, whose names belong to the versions this was written for."""
    Collection._search_sparse = search_collection
    SparseInvertedIndex.search = search_index


if __name__ == "__main__":
    if version("milvus-lite").startswith(CORRECTED_VERSIONS):
        correct()
    raise SystemExit(main())
