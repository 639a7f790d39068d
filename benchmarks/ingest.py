"""Ingestion speed: `python -m benchmarks.ingest PATH…` (files or folders).

A warm worker ingests the files. Then, while the worker is idle, the embedding model alone embeds the same texts;
`ratio` is ingestion's speed divided by the model's. The speed of a machine varies from second to second, so the two
take turns for several rounds. Each model that people may choose has a turn; the JSON line that is printed holds the
figures of the default one, and under `models` the speeds of all. Recognising a scanned page (OCR) takes as long as
embedding some fifty chunks; OCR=False leaves it out.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any, BinaryIO

from benchmarks.installation import Installation, ready, report_failures, temporary_installation
from benchmarks.memory import PeakMemory
from kb.embedding import EmbeddingModels, embedded_text
from kb.environment import available_cpus
from kb.models import Document, KnowledgeBase
from kb.notes import NoteKind

PAGE_CHUNKS = 1_000
SAMPLE_TEXTS = 100
LIMIT_SECONDS = 10.0
POLL_SECONDS = 1.0

SPEEDS = ("chunks_per_second", "embedding_limit_chunks_per_second", "ratio", "ratios")

Result = dict[str, Any]


def main() -> None:
    arguments = _arguments()
    files = find_files(arguments.paths)
    if not files:
        sys.exit("Found no files to ingest.")
    # Each round has its own process, installation and worker, so that no embedding is cached.
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        rounds = [
            pool.submit(run, number, files, arguments.timeout).result() for number in range(max(1, arguments.rounds))
        ]
    results = {name: combine([measured[name] for measured in rounds]) for name in rounds[0]}
    default, *_ = results.values()
    speeds = {name: {key: result[key] for key in SPEEDS} for name, result in results.items()}
    print(json.dumps(default | {"models": speeds}, ensure_ascii=False))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest", description=__doc__)
    parser.add_argument("paths", type=Path, nargs="+", metavar="PATH")
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=3600.0, help="seconds until unfinished files count as failed")
    return parser.parse_args()


def run(number: int, files: Sequence[Path], timeout: float) -> dict[str, Result]:
    """Run one round, with the default model first. The first one (0) prints the outcome of each file."""
    with redirect_stdout(None if number else sys.stdout), temporary_installation() as installation:
        models = installation.services.embeddings.offered()
        for model in models:
            warm_up(installation, model, timeout)
        return {model: run_model(installation, model, files, timeout) for model in models}


def run_model(installation: Installation, model: str, files: Sequence[Path], timeout: float) -> Result:
    knowledge_base = installation.create_knowledge_base("ingestion", model)
    try:
        return measure(installation, knowledge_base, files, timeout)
    finally:
        installation.clear(knowledge_base)


def combine(rounds: Sequence[Result]) -> Result:
    """The round with the median ratio, with the outcome of the files in the worst round."""
    middle = sorted(rounds, key=lambda result: float(result["ratio"]))[(len(rounds) - 1) // 2]
    worst = min(rounds, key=lambda result: int(result["ready"]))
    return middle | {
        "ready": worst["ready"],
        "failed": worst["failed"],
        "ratios": [result["ratio"] for result in rounds],
        "peak_rss_mb": max(result["peak_rss_mb"] for result in rounds),
        "peak_rss_parsers_mb": max(result["peak_rss_parsers_mb"] for result in rounds),
        "worker_restarts": sum(result["worker_restarts"] for result in rounds),
    }


def find_files(paths: Sequence[Path]) -> list[Path]:
    """List the files and those below the folders, in a fixed order, without hidden ones."""
    found: list[Path] = []
    for path in paths:
        below = sorted(path.rglob("*")) if path.is_dir() else [path]
        found += [file for file in below if file.is_file() and not file.name.startswith(".")]
    return found


def warm_up(installation: Installation, model: str, timeout: float) -> None:
    """Ingest one line of text, so that the worker has loaded its libraries and the model."""
    knowledge_base = installation.create_knowledge_base("warm-up", model)
    installation.upload(knowledge_base.id, [("warm-up.txt", io.BytesIO(b"A line of text."))])
    installation.wait_until_done(knowledge_base.id, timeout)
    installation.clear(knowledge_base)


def measure(installation: Installation, base: KnowledgeBase, files: Sequence[Path], timeout: float) -> Result:
    workers = {worker.pid for worker in installation.services.board.workers()}
    with PeakMemory(workers) as memory:
        began = datetime.now(UTC)
        installation.upload(base.id, _open_all(files))
        installation.wait_until_done(base.id, timeout, POLL_SECONDS)
    documents = installation.list_documents(base.id)
    seconds = (_ended(documents) - began).total_seconds()
    chunks = sum(document.latest.chunks for document in ready(documents))
    rate = chunks / seconds
    texts = [text for document in ready(documents) for text in _texts(installation, document)]
    limit = measure_limit(installation, base.embedding_model, texts)
    return {
        "files": len(files),
        "ready": len(ready(documents)),
        "failed": report_failures(documents),
        "pages": sum(document.latest.pages for document in ready(documents)),
        "recognised_pages": sum(_recognised(document) for document in ready(documents)),
        "chunks": chunks,
        "distinct_chunks": len(set(texts)),  # a worker embeds equal texts once
        "seconds": round(seconds, 1),
        "chunks_per_second": round(rate, 1),
        "embedding_limit_chunks_per_second": round(limit, 1),
        "ratio": round(rate / limit, 3) if limit else 0.0,
        "peak_rss_mb": memory.own_mb,
        "peak_rss_parsers_mb": memory.children_mb,
        "worker_restarts": _worker_restarts(installation),
    }


def _recognised(document: Document) -> int:
    return sum(note.count for note in document.latest.notes if note.kind == NoteKind.RECOGNISED)


def _ended(documents: Sequence[Document]) -> datetime:
    """When the last document finished, as the worker recorded it. Polling faster would slow the worker down."""
    return max(document.latest.finished_at or datetime.now(UTC) for document in documents)


def _open_all(files: Sequence[Path]) -> Iterator[tuple[str, BinaryIO]]:
    for file in files:
        with file.open("rb") as content:
            yield file.name, content


def measure_limit(installation: Installation, model: str, texts: Sequence[str]) -> float:
    """Texts per second of the embedding model alone, with its best number of threads."""
    if not texts:
        return 0.0
    cores = available_cpus()
    sample = texts[:: max(1, len(texts) // SAMPLE_TEXTS)]
    threads = max({1, cores // 2 or 1, cores}, key=lambda count: _rate(installation, model, sample, count))
    return _rate(installation, model, texts, threads, LIMIT_SECONDS)


def _texts(installation: Installation, document: Document) -> Iterator[str]:
    for first in range(0, document.latest.chunks, PAGE_CHUNKS):
        found = installation.services.documents.chunks(installation.principal, document.id, first, PAGE_CHUNKS)
        yield from (embedded_text(chunk) for chunk in found)


def _rate(installation: Installation, name: str, texts: Sequence[str], threads: int, seconds: float = 0.0) -> float:
    """Texts per second in a new session: all texts at least once, repeated for `seconds`."""
    model = EmbeddingModels(installation.services.settings, threads).get(name)
    model.embed_documents(texts[:4])  # loads the model
    embedded = 0
    began = time.perf_counter()
    while not embedded or time.perf_counter() - began < seconds:
        model.embed_documents(texts)
        embedded += len(texts)
    return embedded / (time.perf_counter() - began)


def _worker_restarts(installation: Installation) -> int:
    states = installation.local.states() if installation.local else []
    return sum(state.restarts for state in states if state.name == "worker")


if __name__ == "__main__":
    main()
