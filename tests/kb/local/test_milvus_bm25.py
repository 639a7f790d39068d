"""The patched BM25 gives the same scores as Milvus Lite, but with the statistics of all segments."""

from __future__ import annotations

import random

import numpy as np
import pytest
from milvus_lite.analyzer.sparse import bytes_to_sparse, sparse_to_bytes
from milvus_lite.index.sparse_inverted import SparseInvertedIndex

from kb.local.milvus_bm25 import Counts, Statistics, build_index, search_index, unpack

ROWS = 300


def some_rows(seed: int) -> list[Counts]:
    chance = random.Random(seed)
    words = [int(2**32 * chance.random()) for _ in range(400)]
    sizes = [chance.randint(0, 40) for _ in range(ROWS)]
    return [*({chance.choice(words): float(chance.randint(1, 5)) for _ in range(size)} for size in sizes), {}]


def index_of(rows: list[Counts], mask: np.ndarray | None = None) -> SparseInvertedIndex:
    index = SparseInvertedIndex(k1=1.2, b=0.75)
    build_index(index, rows, mask)
    return index


@pytest.mark.parametrize("masked", [False, True])
def test_one_segment_scores_as_in_milvus_lite(masked: bool) -> None:
    rows = some_rows(1)
    built = np.array([place % 7 != 0 for place in range(len(rows))]) if masked else None
    wanted = np.array([place % 5 != 0 for place in range(len(rows))]) if masked else None
    queries = [dict.fromkeys(list(row)[:5], 1.0) | {7: 1.0} for row in rows[:20]] + [{}, {7: 1.0}]
    theirs = SparseInvertedIndex(k1=1.2, b=0.75)
    theirs.build(rows, built)
    ids, distances = search_index(index_of(rows, built), queries, 10, wanted)
    np.testing.assert_allclose(distances, theirs.search(queries, 10, wanted)[1], rtol=1e-5)
    all_ids, all_distances = theirs.search(queries, len(rows), wanted)
    for number in range(len(queries)):  # rows with the same score come in any order
        score = dict(zip(all_ids[number].tolist(), all_distances[number].tolist(), strict=True))
        found = ids[number][ids[number] >= 0].tolist()
        assert [score[place] for place in found] == pytest.approx(distances[number][: len(found)].tolist(), rel=1e-5)
    assert (ids >= 0).sum() > 100


def test_statistics_cover_all_segments() -> None:
    rows = some_rows(2)
    terms = np.array([*list(rows[0])[:3], 7])
    segments: list[list[Counts]] = [rows[:10], rows[10:250], rows[250:], [{}]]
    parts = [index_of(segment) for segment in segments]
    apart, together = Statistics(parts), Statistics([index_of([*rows, {}])])
    np.testing.assert_allclose(apart.idf(terms), together.idf(terms))
    assert apart.average_length == pytest.approx(together.average_length)


def test_empty_segment_finds_nothing() -> None:
    empty: list[list[Counts]] = [[], [{}]]
    for rows in empty:
        ids, _distances = search_index(index_of(rows), [{7: 1.0}], 3)
        assert ids.tolist() == [[-1, -1, -1]]


def test_unpacking_equals_milvus_lite() -> None:
    for row in some_rows(3):
        assert unpack(sparse_to_bytes(row)) == bytes_to_sparse(sparse_to_bytes(row))
