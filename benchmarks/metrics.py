"""What counting costs: `python -m benchmarks.metrics` prints microseconds for each call, and the size of a scrape.

A request is measured through the middleware and beside it, on an app that does nothing.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from prometheus_client import generate_latest

from kb import metrics
from kb.config import load_settings
from kb.models import MessageState, Mode, RetrievalProfile, Step, Trace, VersionState
from kb.redis import QuickRedis, quick
from tests.real_services import Redis
from web.metrics import RequestCounts

CALLS = 20_000
ROUNDS = 5
STEPS = ("documents", "analyze", "embed", "dense", "lexical", "live", "fuse", "threshold", "neighbours", "budget")


def main() -> None:
    trace = Trace(tuple(Step(name, 1.0) for name in STEPS), RetrievalProfile(), 10.0)
    counted, plain = RequestCounts(_app), _app
    calls: dict[str, Callable[[], object]] = {
        "chunks": lambda: metrics.note_chunks(64),
        "document": _count_document,
        "answer": lambda: metrics.note_answer(Mode.KNOWLEDGE, MessageState.DONE, None, 1.0, 0.5),
        "tokens": lambda: metrics.note_tokens("gpt", 900, 200),
        "retrieval": lambda: metrics.note_retrieval(trace, has_found=True),
    }
    found = {f"{name}_us": _microseconds(call) for name, call in calls.items()}
    found["request_us"] = round(_request_microseconds(counted) - _request_microseconds(plain), 2)
    with _redis() as redis:
        publisher = metrics.Publisher(redis)
        began = time.perf_counter()
        publisher.publish()
        found["idle_publish_ms"] = round((time.perf_counter() - began) * 1000, 2)
        _count_document()
        began = time.perf_counter()
        publisher.publish()
        found["publish_ms"] = round((time.perf_counter() - began) * 1000, 2)
        began = time.perf_counter()
        metrics.read_shared(redis)
        found["read_ms"] = round((time.perf_counter() - began) * 1000, 2)
    began = time.perf_counter()
    text = generate_latest(metrics.PROCESS)
    found["scrape_ms"] = round((time.perf_counter() - began) * 1000, 2)
    found["scrape_kb"] = round(len(text) / 1024, 1)
    print(json.dumps(found))


def _count_document() -> None:
    """All that one small document counts."""
    times = metrics.StageTimes()
    list(times.spend_on_each(VersionState.PARSING, iter([1])))
    for stage in (VersionState.EMBEDDING, VersionState.INDEXING, VersionState.INDEXING):
        with times.spend(stage):
            pass
    times.note()
    metrics.note_chunks(1)
    metrics.note_ingested("ready")
    metrics.note_message("ingestion", "ingest_version", 20.0, has_failed=False)


def _microseconds(call: Callable[[], object]) -> float:
    found = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(CALLS):
            call()
        found.append((time.perf_counter() - began) / CALLS * 1e6)
    return round(median(found), 2)


def _request_microseconds(app: Any) -> float:
    async def ask() -> float:
        began = time.perf_counter()
        for _ in range(CALLS):
            scope = {"type": "http", "method": "GET", "path": "/testing", "headers": [], "path_params": {}}
            await app(scope, _receive, _send)
        return (time.perf_counter() - began) / CALLS * 1e6

    return median(asyncio.run(ask()) for _ in range(ROUNDS))


async def _app(_scope: Any, _receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _receive() -> dict[str, Any]:
    return {"type": "http.request"}


async def _send(_message: object) -> None:
    pass


@contextmanager
def _redis() -> Iterator[QuickRedis]:
    with TemporaryDirectory() as folder:
        server = Redis(Path(folder))
        server.start()
        client = quick(load_settings(redis_url=server.url))
        yield client
        client.close()
        server.stop()


if __name__ == "__main__":
    main()
