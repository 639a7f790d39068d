"""The patched HNSW index finds what passes a filter, however little that is."""

from __future__ import annotations

import numpy as np
import pytest
from milvus_lite.index.brute_force import BruteForceIndex
from milvus_lite.index.faiss_hnsw import FaissHnswIndex

from kb.local.milvus_filtered import search_filtered

ROWS, DIMENSION = 3_000, 32


@pytest.mark.parametrize("metric", ["COSINE", "IP", "L2"])
def test_few_rows_that_pass_are_all_compared(metric: str) -> None:
    chance = np.random.default_rng(1)
    vectors = chance.normal(size=(ROWS, DIMENSION)).astype(np.float32)
    queries = chance.normal(size=(5, DIMENSION)).astype(np.float32)
    index = FaissHnswIndex.build(vectors, metric, {"M": 16, "efConstruction": 40})
    exact = BruteForceIndex.build(vectors, metric, {})
    for passing in (1, 20, ROWS // 10):
        mask = np.zeros(ROWS, bool)
        mask[chance.choice(ROWS, passing, replace=False)] = True
        ids, distances = search_filtered(index, queries, 50, mask, {"ef": 100})
        wanted_ids, wanted = exact.search(queries, 50, mask)
        np.testing.assert_array_equal(ids, wanted_ids)
        np.testing.assert_allclose(distances, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.5, None])
def test_other_filters_search_as_in_milvus_lite(share: float | None) -> None:
    chance = np.random.default_rng(2)
    vectors = chance.normal(size=(300, DIMENSION)).astype(np.float32)
    index = FaissHnswIndex.build(vectors, "COSINE", {"M": 16, "efConstruction": 40})
    mask = None if share is None else np.arange(300) < share * 300
    mine, theirs = search_filtered(index, vectors[:3], 10, mask), index.search(vectors[:3], 10, mask)
    np.testing.assert_array_equal(mine[0], theirs[0])
    np.testing.assert_array_equal(mine[1], theirs[1])
