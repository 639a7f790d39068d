"""What a ranking is worth; pure. A ranking is a list of document ids, the best first, each once."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence

Quality = dict[str, float]


def recall(ranking: Sequence[str], relevant: Collection[str], depth: int) -> float:
    """The share of `relevant` among the first `depth`."""
    return len(set(ranking[:depth]) & set(relevant)) / len(relevant)


def reciprocal_rank(ranking: Sequence[str], relevant: Collection[str], depth: int = 10) -> float:
    """1 / the place of the first relevant one; 0 if there is none among the first `depth`."""
    return next((1 / place for place, found in enumerate(ranking[:depth], 1) if found in relevant), 0.0)


def ndcg(ranking: Sequence[str], relevant: Collection[str], depth: int = 10) -> float:
    """Discounted gain over the best that is possible; every relevant document counts 1."""
    gain = sum(1 / math.log2(place + 1) for place, found in enumerate(ranking[:depth], 1) if found in relevant)
    best = sum(1 / math.log2(place + 1) for place in range(1, min(len(relevant), depth) + 1))
    return gain / best


def quality(rankings: Iterable[tuple[Sequence[str], Collection[str]]]) -> Quality:
    """The means over all questions of each measure, given each question's ranking and its relevant documents."""
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
    """The smallest value that `share` (0 to 1) of all values do not exceed; 0 if there are none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0
