"""Both routes over chunks that are in no index, because they are searched only once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kb.embedding import Vectors
from kb.models import Chunk
from kb.vectors import Hit

_K1, _B = 1.2, 0.75  # as for knowledge bases: see `kb.vectors.schema`


def search_lexical(terms: str, chunks: Sequence[Chunk], limit: int) -> list[Hit]:
    """The best chunks by BM25, those without any of the terms left out; `terms` as `kb.lexical.weighted_terms` gives.

    Rare is what few of these chunks hold.
    """
    counts = [Counter(chunk.terms.split()) for chunk in chunks]
    lengths = np.array([count.total() for count in counts], np.float64)
    damping = _K1 * (1 - _B + _B * lengths / max(lengths.mean(), 1.0)) if chunks else lengths
    scores = np.zeros(len(chunks))
    for term, weight in Counter(terms.split()).items():
        frequencies = np.array([count[term] for count in counts], np.float64)
        if holders := np.count_nonzero(frequencies):
            idf = np.log(1 + (len(chunks) - holders + 0.5) / (holders + 0.5))
            scores += weight * idf * frequencies * (_K1 + 1) / (frequencies + damping)
    return [hit for hit in _best(scores, chunks, limit) if hit.score > 0]


def search_dense(question: Vectors, chunks: Sequence[Chunk], vectors: Vectors, limit: int) -> list[Hit]:
    """The best chunks by their cosine; `question` is (dimension,), `vectors` (n, dimension), both of length 1."""
    return _best(vectors @ question, chunks, limit)


def _best(scores: NDArray[np.floating[Any]], chunks: Sequence[Chunk], limit: int) -> list[Hit]:
    order = np.argsort(-scores, kind="stable")[:limit]
    return [Hit(chunks[place], float(scores[place])) for place in order]
