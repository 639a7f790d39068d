"""The counters of all workers, summed in Redis.

Each worker adds what it counted since the last time. So a sum never falls when a worker ends, a killed one loses a few
seconds of its counts, and nothing is left to clean up. When Redis loses its data, sums begin again, as counters may.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import Metric
from prometheus_client.registry import Collector

from kb import redis as kb_redis
from kb.metrics.registries import WORKERS

FORMAT = 1  # other buckets must not be added to those before
KEY = f"{kb_redis.PREFIX}:metrics:{FORMAT}"
KEPT_SECONDS = 30 * 86_400  # without a worker

_Sample = tuple[str, tuple[tuple[str, str], ...]]  # name and labels


class Publisher:
    """Adds the counters of this process to the sums. Belongs to one thread at a time."""

    def __init__(self, quick: kb_redis.QuickRedis, registry: Collector = WORKERS) -> None:
        self._redis = quick
        self._registry = registry
        self._published = self._counted()

    def publish(self) -> None:
        """Add what was counted since the last time. Errors: `RedisUnavailable`; the next call makes up for it."""
        counted = self._counted()
        grown = {child for child in counted if counted[child] != self._published.get(child)}
        if not grown:
            return
        with self._redis.asked() as client:
            pipeline = client.pipeline()
            for child in grown:
                before = self._published.get(child, {})
                for sample, value in counted[child].items():  # all buckets of it, also those that hold nothing yet
                    pipeline.hincrbyfloat(KEY, json.dumps(sample), value - before.get(sample, 0.0))
            pipeline.expire(KEY, KEPT_SECONDS)
            pipeline.execute()
        self._published = counted

    def _counted(self) -> dict[_Sample, dict[_Sample, float]]:
        """The samples of each counter or histogram by its labels."""
        found: defaultdict[_Sample, dict[_Sample, float]] = defaultdict(dict)
        for metric in self._registry.collect():
            for sample in metric.samples:
                labels = tuple(sorted(sample.labels.items()))
                child = (metric.name, tuple(label for label in labels if label[0] != "le"))
                found[child][sample.name, labels] = sample.value
        return dict(found)


def read_shared(quick: kb_redis.QuickRedis, registry: Collector = WORKERS) -> list[Metric]:
    """The sums of what `registry` declares. Errors: `RedisUnavailable`."""
    with quick.asked() as client:
        stored: Any = client.hgetall(KEY)
    metrics = {metric.name: Metric(metric.name, metric.documentation, metric.type) for metric in registry.collect()}
    for name, labels, value in sorted(_samples(stored), key=_order):
        metric = metrics.get(_family(name))
        if metric is not None:  # else it is another release's
            metric.add_sample(name, labels, value)
    return list(metrics.values())


def _samples(stored: Mapping[str, str]) -> Iterator[tuple[str, dict[str, str], float]]:
    for field, value in stored.items():
        name, labels = json.loads(field)
        yield name, dict(labels), float(value)


def _order(sample: tuple[str, dict[str, str], float]) -> tuple[str, list[tuple[str, str]], str, float]:
    """All of a histogram together, its buckets by size."""
    name, labels, _ = sample
    others = sorted(label for label in labels.items() if label[0] != "le")
    return _family(name), others, name, float(labels.get("le", "0"))


def _family(name: str) -> str:
    for suffix in ("_total", "_bucket", "_count", "_sum"):
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return name
