"""Recently embedded texts are not embedded again."""

from __future__ import annotations

import numpy as np
import pytest

from kb.embedding import EmbeddingCache
from kb.errors import EmbeddingUnavailable
from tests.fakes.embedding import HashedWords


def test_only_new_texts_reach_the_model() -> None:
    model = HashedWords()
    cache = EmbeddingCache()
    first = cache.embed_documents(model, ["apples", "pears", "apples"])
    again = cache.embed_documents(model, ["plums", "pears", "\udcff"])
    assert model.batches == [["apples", "pears"], ["plums", "\udcff"]]
    np.testing.assert_array_equal(first, HashedWords().embed_documents(["apples", "pears", "apples"]))
    np.testing.assert_array_equal(again, HashedWords().embed_documents(["plums", "pears", "\udcff"]))


def test_each_model_has_vectors_of_its_own() -> None:
    model, other = HashedWords(), HashedWords()
    other.name = "another"
    cache = EmbeddingCache()
    for each in (model, other, model):
        cache.embed_documents(each, ["apples"])
    assert model.batches == other.batches == [["apples"]]


def test_least_recently_used_is_evicted_first() -> None:
    model = HashedWords()
    cache = EmbeddingCache(capacity_bytes=2 * 4 * model.dimension)
    for text in ("apples", "pears", "apples", "plums", "apples", "pears"):
        cache.embed_documents(model, [text])
    assert model.batches == [["apples"], ["pears"], ["plums"], ["pears"]]


def test_failure_is_not_cached() -> None:
    model = HashedWords()
    cache = EmbeddingCache()

    def fail(_texts: object) -> None:
        raise EmbeddingUnavailable(model="test", detail="away")

    model.before_batch = fail
    with pytest.raises(EmbeddingUnavailable):
        cache.embed_documents(model, ["apples"])
    model.before_batch = None
    assert cache.embed_documents(model, ["apples"]).shape == (1, model.dimension)
