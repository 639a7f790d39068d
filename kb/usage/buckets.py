"""Times as counts in buckets that grow by 15 %, so that sums of many of them give percentiles to within 7 %."""

from __future__ import annotations

import math
from collections.abc import Mapping

_PER_DOUBLING = 5
SHORTEST_MS = 0.01


def bucket_of(milliseconds: float) -> int:
    return round(math.log2(max(milliseconds, SHORTEST_MS)) * _PER_DOUBLING)


def milliseconds_of(bucket: int) -> float:
    """The middle of a bucket."""
    return float(2 ** (bucket / _PER_DOUBLING))


def percentile(counts: Mapping[int, int], share: float) -> float:
    """The milliseconds within which this share of the times are; 0 if there are none. `counts`: by bucket."""
    wanted = share * sum(counts.values())
    seen = 0
    for bucket in sorted(counts):
        seen += counts[bucket]
        if counts[bucket] and seen >= wanted:
            return milliseconds_of(bucket)
    return 0.0
