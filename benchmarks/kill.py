"""What an ingestion loses when a process is killed: `python -m benchmarks.kill`.

The benchmark kills the worker, redis-server, Milvus Lite and the web process, each at three moments while 20 files are
ingested. Afterwards every file must be ready with exactly the chunks that parsing and chunking produce here. `lost` and
`duplicated` count chunks; `orphaned` counts chunks of no live version, leftover processes and sockets.
Recovery takes from the kill (for the web process, from its restart) until the last file is ready.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psutil

from benchmarks.installation import Installation, temporary_home
from benchmarks.samples import write_samples
from benchmarks.web import WebProcess, joined, wait_until
from kb.local.sockets import MILVUS, REDIS, is_listening
from kb.models import Document, KnowledgeBase, VersionState
from kb.parsing import detect_media_type, parse_source
from kb.parsing.builder import Source
from kb.ranges import read_ranges

TARGETS = ("worker", "redis", "milvus", "web")
MOMENTS = (VersionState.PARSING, VersionState.EMBEDDING, VersionState.INDEXING)
MOMENT_SECONDS = 120.0
RECOVERY_SECONDS = 300.0  # gives up after this time
BAR_SECONDS = 60.0
LEFTOVER_SECONDS = 10.0
POLL_SECONDS = 0.003
PAGE_CHUNKS = 1_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one kill."""

    recovery_seconds: float
    lost: int
    duplicated: int
    orphaned: int


def main() -> None:
    arguments = _arguments()
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder, temporary_home() as home:
        files = write_samples(Path(folder))
        expected = {path.name: count_chunks(path) for path in files}
        web = WebProcess(home)
        web.start()
        try:
            for target in arguments.targets:
                for moment in MOMENTS:
                    outcomes.append(run(web, target, moment, files, expected))
                    print(f"{target} killed while {moment}: {outcomes[-1]}", flush=True)
        finally:
            leftovers = end(web)
    result = {
        "kills": len(outcomes),
        "files": len(outcomes) * len(files),
        "lost": sum(outcome.lost for outcome in outcomes),
        "duplicated": sum(outcome.duplicated for outcome in outcomes),
        "orphaned": sum(outcome.orphaned for outcome in outcomes) + leftovers,
        "slowest_recovery_seconds": round(max(outcome.recovery_seconds for outcome in outcomes), 1),
    }
    print(json.dumps(result))
    failed = result["lost"] or result["duplicated"] or result["orphaned"]
    sys.exit(1 if failed or result["slowest_recovery_seconds"] > BAR_SECONDS else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kill", description=__doc__)
    parser.add_argument("targets", nargs="*", default=TARGETS, metavar="TARGET", help=f"some of: {', '.join(TARGETS)}")
    return parser.parse_args()


def count_chunks(path: Path) -> int:
    source = Source(path, path.name, detect_media_type(path, path.name))
    return sum(len(stretch.spans) for stretch in read_ranges(parse_source(source)))


def run(web: WebProcess, target: str, moment: VersionState, files: Sequence[Path], expected: dict[str, int]) -> Outcome:
    """Run one ingestion with one kill."""
    web.wait_for_services()
    with joined(web) as installation:
        knowledge_base = installation.create_knowledge_base(f"{target} {moment}")
        installation.upload(knowledge_base.id, ((path.name, path.open("rb")) for path in files))
        wait_until(
            lambda: _has_come(installation, knowledge_base.id, moment),
            MOMENT_SECONDS,
            f"no file became {moment}",
        )
        began, victims = kill(web, target)
    with joined(web) as installation:  # a new connection
        installation.wait_until_done(knowledge_base.id, RECOVERY_SECONDS - (time.monotonic() - began))
        seconds = time.monotonic() - began
        lost, duplicated, orphaned = compare(installation, knowledge_base, expected)
        orphaned += len(_still_running(victims))
        installation.clear(knowledge_base)
    return Outcome(round(seconds, 1), lost, duplicated, orphaned)


def kill(web: WebProcess, target: str) -> tuple[float, list[psutil.Process]]:
    """Kill the target with SIGKILL. Returns when recovery began, and the processes that must be gone at its end."""
    if target != "web":
        pid = web.service_pid(target)
        if pid is None:
            sys.exit(f"{target} is not running.")
        victim = psutil.Process(pid)
        victims = [victim, *victim.children(recursive=True)]
        os.kill(pid, signal.SIGKILL)
        return time.monotonic(), victims
    victims = web.processes()
    web.kill()
    web.start()
    began = time.monotonic()
    web.wait_for_services()
    return began, victims


def compare(
    installation: Installation, knowledge_base: KnowledgeBase, expected: dict[str, int]
) -> tuple[int, int, int]:
    """Count lost, duplicated and orphaned chunks."""
    lost = duplicated = 0
    live: set[UUID] = set()
    for document in installation.list_documents(knowledge_base.id):
        count = expected[document.name]
        if document.live_version_id is None:
            print(f"“{document.name}” is {document.latest.state} ({document.latest.error or 'no error'})")
            lost += count
            continue
        live.add(document.live_version_id)
        stored = installation.services.vectors.count(knowledge_base.collection, document.live_version_id)
        ordinals = Counter(_ordinals(installation, document, max(stored, count)))
        lost += sum(ordinal not in ordinals for ordinal in range(count))
        duplicated += max(stored, ordinals.total()) - len(set(ordinals) & set(range(count)))
    stored = installation.services.vectors.count(knowledge_base.collection)
    of_live = sum(installation.services.vectors.count(knowledge_base.collection, version) for version in live)
    return lost, duplicated, stored - of_live


def _ordinals(installation: Installation, document: Document, count: int) -> Iterator[int]:
    for first in range(0, count, PAGE_CHUNKS):
        found = installation.services.documents.chunks(installation.principal, document.id, first, PAGE_CHUNKS)
        yield from (chunk.ordinal for chunk in found)


def end(web: WebProcess) -> int:
    """Stop the web process normally. Returns the number of leftover processes and listeners."""
    sockets = [Path(web.run_state.sockets, name) for name in (MILVUS, REDIS)]
    processes = web.processes()
    web.stop()
    left = _still_running(processes)
    for process in left:
        process.kill()
    return len(left) + sum(map(is_listening, sockets))


def _still_running(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    alive: list[psutil.Process] = psutil.wait_procs(processes, timeout=LEFTOVER_SECONDS)[1]
    return alive


def _has_come(installation: Installation, knowledge_base_id: UUID, moment: VersionState) -> bool:
    """Whether a file is at this stage (for embedding: in the middle of it)."""
    versions = [document.latest for document in installation.list_documents(knowledge_base_id)]
    if moment is VersionState.EMBEDDING:
        return any(version.state is moment and 0 < version.stored_chunks < version.chunks for version in versions)
    return any(version.state is moment for version in versions)


if __name__ == "__main__":
    main()
