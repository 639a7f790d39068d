"""Measures of a ranking, as pure functions. A ranking lists document ids without duplicates, best first."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence

Quality = dict[str, float]


def recall(ranking: Sequence[str], relevant: Collection[str], depth: int) -> float:
    """The share of `relevant` among the first `depth`."""
    return len(set(ranking[:depth]) & set(relevant)) / len(relevant)


def reciprocal_rank(ranking: Sequence[str], relevant: Collection[str], depth: int = 10) -> float:
    """1 / rank of the first relevant document; 0 if the first `depth` have none."""
    return next((1 / place for place, found in enumerate(ranking[:depth], 1) if found in relevant), 0.0)


def ndcg(ranking: Sequence[str], relevant: Collection[str], depth: int = 10) -> float:
    """Discounted cumulative gain divided by the ideal one, with binary relevance."""
    gain = sum(1 / math.log2(place + 1) for place, found in enumerate(ranking[:depth], 1) if found in relevant)
    best = sum(1 / math.log2(place + 1) for place in range(1, min(len(relevant), depth) + 1))
    return gain / best


def quality(rankings: Iterable[tuple[Sequence[str], Collection[str]]]) -> Quality:
    """The mean of each measure over all questions, each given as its ranking and its relevant documents."""
    rows = [
        (
            recall(ranking, relevant, 1),
            recall(ranking, relevant, 5),
            reciprocal_rank(ranking, relevant),
            ndcg(ranking, relevant),
        )
        for ranking, relevant in rankings
    ]
    means = [round(sum(column) / len(rows), 4) for column in zip(*rows, strict=True)]
    return dict(zip(("recall@1", "recall@5", "mrr@10", "ndcg@10"), means, strict=True))


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value such that `share` (0 to 1) of the values do not exceed it; 0 without values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0
