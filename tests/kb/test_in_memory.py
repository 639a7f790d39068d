"""Both routes over chunks in memory; pure."""

from __future__ import annotations

from uuid import UUID

import numpy as np
import pytest

from kb import lexical
from kb.embedding.model import normalised
from kb.models import Chunk
from kb.retrieval.in_memory import search_dense, search_lexical

TEXTS = ("The pump needs oil.", "The pump needs water and oil and oil.", "A garden with roses.", "")


def chunks() -> list[Chunk]:
    return [
        Chunk(str(n), UUID(int=n), UUID(int=n), text=text, terms=lexical.terms(text)) for n, text in enumerate(TEXTS)
    ]


def found(question: str, limit: int = 10) -> list[str]:
    return [hit.chunk.id for hit in search_lexical(lexical.weighted_terms(question), chunks(), limit)]


def test_rare_terms_and_short_texts_count_more() -> None:
    assert found("pump") == ["0", "1"]  # the shorter one
    assert found("roses or oil") == ["2", "1", "0"]
    assert found("roses or oil", limit=1) == ["2"]


def test_text_without_the_terms_is_not_found() -> None:
    assert found("engine") == []
    assert found("") == []
    assert search_lexical("pump", [], 10) == []


def test_scores_are_those_of_bm25() -> None:
    """k1 is 1.2 and b .75: two texts of three and one term, with one term in common."""
    texts = [Chunk("a", UUID(int=1), UUID(int=1), terms="x y z"), Chunk("b", UUID(int=2), UUID(int=2), terms="x")]
    idf = np.log(1 + 0.5 / 2.5)
    scores = [idf * 2.2 / (1 + 1.2 * (0.25 + 0.75 * length / 2)) for length in (1, 3)]
    assert [hit.score for hit in search_lexical("x", texts, 2)] == pytest.approx(scores)
    assert [hit.score for hit in search_lexical("x x", texts, 2)] == pytest.approx([2 * score for score in scores])


def test_dense_hits_are_ordered_by_cosine() -> None:
    vectors = normalised([[1, 0], [1, 1], [0, 1], [-1, 0]])
    hits = search_dense(normalised([1, 0]), chunks(), vectors, 3)
    assert [(hit.chunk.id, round(hit.score, 3)) for hit in hits] == [("0", 1.0), ("1", 0.707), ("2", 0.0)]
