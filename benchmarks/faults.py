"""What is lost when everything goes wrong at once: `python -m benchmarks.faults [--seed N] [--schedules N]`.

Each schedule uploads files into a knowledge base and mixes what users do (deletes, cancels, retries, replaced and
repeated uploads, questions) with faults (`benchmarks.fault_kinds`). Then everything must be as the user left it, at
the latest after “Index again” where chunks were lost, which counts as a press of the button by a user who sees it.

lost, duplicated     chunks
orphaned             chunks of no live version, leftover processes and sockets
wrong_state          sound files that end as failed, and others that are not as the user left them
silent               questions, also in the middle of it, that do not find what a ready document holds and do not say
                     that something cannot be searched
slowest_recovery_s   from the last fault or action until all of this holds

Loopback only: the embedding model is a server of this process. The exit code is 1 if a count is not 0, or if a recovery
takes longer than a minute.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar
from uuid import UUID

from benchmarks.fault_kinds import FAULTS, Fault, Target, draw_fault, keep_milvus, small_disk
from benchmarks.installation import Installation, report_failures, temporary_home
from benchmarks.kill import end
from benchmarks.web import WebProcess, joined
from kb.errors import KbError, Unavailable, WrongState
from kb.models import Document, KnowledgeBase, Retrieval, Scope, VersionState
from kb.reconciling import index_again
from tests.fakes.model_server import ModelServer

FILES = (3, 9)
ACTS = (4, 10)
PAUSES = (0.0, 1.5)  # seconds between two acts
MOST_PARAGRAPHS = 60  # of a file; a paragraph is about a chunk
BAR_SECONDS = 60.0
PATIENCE_SECONDS = 150.0  # gives up on a recovery after this time
COMPARED_SECONDS = 20.0  # after a restart of Milvus, a worker has compared what it has
POLL_SECONDS = 0.25
EMBEDDING = "openai:fake-embedding"
WRONGS = ("lost", "duplicated", "orphaned", "wrong_state", "silent")

T = TypeVar("T")


@dataclass(slots=True)
class File:
    """An uploaded file as its user knows it. `word` stands nowhere else, and is asked for."""

    document_id: UUID
    name: str
    word: str
    text: str
    is_deleted: bool = False
    was_cancelled: bool = False


@dataclass(slots=True)
class Schedule:
    """One knowledge base and what was done to it."""

    number: int
    base: KnowledgeBase
    chance: random.Random
    files: list[File] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    silent: int = 0  # questions, in the middle of it

    @property
    def kept(self) -> list[File]:
        return [file for file in self.files if not file.is_deleted]


def main() -> None:
    arguments = _arguments()
    totals: Counter[str] = Counter()
    slowest = 0.0
    faults: Counter[str] = Counter()
    with (
        temporary_home() as home,
        small_disk(home) as is_small_disk,
        ModelServer() as models,
    ):
        # For this process, too, which embeds the questions.
        os.environ |= {"EMBEDDING_MODEL": EMBEDDING, "OPENAI_BASE_URL": models.base_url, "OPENAI_API_KEY": "none"}
        web = WebProcess(home)
        web.start()
        try:
            for number in range(arguments.schedules):
                chance = random.Random(f"{arguments.seed}/{number}")
                schedule, counts, seconds = run(Target(web, chance, is_small_disk), number, arguments.only)
                totals += counts
                faults += schedule.faults
                slowest = max(slowest, seconds)
                done = ", ".join(f"{name} {count}" for name, count in schedule.faults.items())
                wrong = {name: count for name, count in counts.items() if name != "files" and count}
                print(f"{number}: {done}; {counts['files']} files; {seconds:.1f} s; {wrong or 'sound'}", flush=True)
        finally:
            totals["orphaned"] += end(web)
    print({"faults": dict(faults.most_common()), "small_disk": is_small_disk})
    result = {"schedules": arguments.schedules, "seed": arguments.seed}
    result |= {"kills": sum(faults[name] for name in ("kill", "kill_web", "kill_parser")), "files": totals["files"]}
    result |= {name: totals[name] for name in WRONGS}
    print(json.dumps(result | {"slowest_recovery_s": round(slowest, 1)}))
    sys.exit(1 if any(totals[name] for name in WRONGS) or slowest > BAR_SECONDS else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--schedules", type=int, default=200)
    names = [fault.name for fault in FAULTS]
    parser.add_argument("--only", nargs="*", choices=names, default=[], metavar="FAULT", help=f"of: {', '.join(names)}")
    return parser.parse_args()


# --- one schedule ---


def run(target: Target, number: int, only: Sequence[str]) -> tuple[Schedule, Counter[str], float]:
    """Run one; returns it, what was wrong in the end, and how many seconds the recovery took."""
    target.web.wait_for_services()
    with joined(target.web) as installation:
        base = _patient(partial(installation.create_knowledge_base, f"Schedule {number}"))
        schedule = Schedule(number, base, target.chance)
        _upload(schedule, installation)
        installation.wait_until_done(base.id, BAR_SECONDS)
        keep_milvus(target)  # with a document that may be deleted before this comes back
        for _ in range(target.chance.randint(*FILES) - 1):
            _upload(schedule, installation)
        for _ in range(target.chance.randint(*ACTS)):
            time.sleep(target.chance.uniform(*PAUSES))
            if target.chance.random() < 0.5:
                fault: Fault = draw_fault(target, frozenset(only))
                if fault.strike(target) is not False:
                    schedule.faults[fault.name] += 1
            else:
                target.chance.choice(ACTIONS)(schedule, installation)
        began = time.monotonic()
    with joined(target.web) as installation:
        wrong = recover(schedule, installation, began + PATIENCE_SECONDS)
        seconds = time.monotonic() - began
        wrong["files"] = len(schedule.files)
        wrong["silent"] += schedule.silent
        _patient(lambda: installation.services.knowledge_bases.delete(installation.principal, base.id))
    return schedule, wrong, seconds


def recover(schedule: Schedule, installation: Installation, deadline: float) -> Counter[str]:
    """Wait until all is as the user left it, pressing “Index again” where it is offered; count what is not in time."""
    while True:
        try:
            wrong = _look(schedule, installation)
        except Unavailable:
            wrong = Counter(wrong_state=1)  # a service is not back
        silent = wrong.pop("silent", 0)  # never right, not even for a while
        if silent or not wrong.total() or time.monotonic() > deadline:
            if silent or wrong.total():
                report_failures(installation.list_documents(schedule.base.id))
                _tell_states(schedule, installation)
            wrong["silent"] = silent
            return wrong
        time.sleep(POLL_SECONDS)


def _tell_states(schedule: Schedule, installation: Installation) -> None:
    """What SQL and Milvus hold of each document, and which the user kept."""
    try:
        stored = installation.services.vectors.count_by_version(schedule.base.collection)
    except KbError as error:
        print(f"  not known, as Milvus says: {error}")
        return
    kept = {file.document_id: file for file in schedule.kept}
    for document in installation.list_documents(schedule.base.id):
        latest = document.latest
        chunks = (
            f"{latest.chunks} chunks, {stored.pop(latest.id, 0)} in Milvus, {latest.missing_chunks} told as missing"
        )
        print(f"  {document.name}: {latest.state.value}, {chunks}, {'kept' if document.id in kept else 'deleted'}")
    print(f"  in Milvus of other versions: {dict(stored)}")


def _look(schedule: Schedule, installation: Installation) -> Counter[str]:
    wrong: Counter[str] = Counter()
    documents = {document.id: document for document in installation.list_documents(schedule.base.id)}
    _index_again(installation, schedule.base)
    for file in schedule.kept:
        _ask_for(schedule, installation, file, documents, wrong)
        document = documents.pop(file.document_id, None)
        if document is None or not _is_as_left(file, document):
            wrong["wrong_state"] += 1
    wrong["wrong_state"] += len(documents)  # deleted ones
    if not wrong["wrong_state"]:
        _count_chunks(schedule, installation, wrong)
    return wrong


def _is_as_left(file: File, document: Document) -> bool:
    state = document.latest.state
    return state is VersionState.READY or (file.was_cancelled and state is VersionState.CANCELLED)


def _count_chunks(schedule: Schedule, installation: Installation, wrong: Counter[str]) -> None:
    vectors, collection = installation.services.vectors, schedule.base.collection
    stored = vectors.count_by_version(collection)
    for document in installation.list_documents(schedule.base.id):
        if version := document.live_version_id:
            found = stored.pop(version, 0)
            wrong["lost"] += max(0, document.latest.chunks - found)
            wrong["duplicated"] += max(0, found - document.latest.chunks)
    wrong["orphaned"] += stored.total()


def _ask_for(
    schedule: Schedule, installation: Installation, file: File, documents: dict[UUID, Document], wrong: Counter[str]
) -> None:
    """Ask for what a ready file holds. Until its chunks are back, the answer must say that something is missing."""
    document = documents.get(file.document_id)
    if document is None or document.latest.state is not VersionState.READY:
        return
    scope, question = Scope.of(schedule.base.id), f"What is kept in locker {file.word}?"
    found = installation.services.retriever.retrieve(installation.principal, scope, question)
    if not _holds(found, file):
        wrong["wrong_state" if found.passages or found.unsearchable else "silent"] += 1


def _holds(found: Retrieval, file: File) -> bool:
    return any(file.word in passage.chunk.text for passage in found.passages)


def _index_again(installation: Installation, base: KnowledgeBase) -> None:
    """Press “Index again”, where it is offered."""
    services = installation.services
    if services.knowledge_bases.get(installation.principal, base.id).unsearchable_count:
        index_again(services.database, services.files, installation.principal, base.id)


# --- what users do ---


def _upload(schedule: Schedule, installation: Installation) -> None:
    chance = schedule.chance
    word = f"Q{schedule.number}x{len(schedule.files)}z{chance.randrange(10**6)}"
    paragraphs = [_paragraph(chance) for _ in range(chance.randint(1, MOST_PARAGRAPHS))]
    paragraphs.insert(chance.randint(0, len(paragraphs)), f"In locker {word} the spare keys are kept.")
    _register(schedule, installation, f"note {len(schedule.files)}.md", word, "\n\n".join(paragraphs))


def _register(schedule: Schedule, installation: Installation, name: str, word: str, text: str) -> None:
    (document,) = _patient(lambda: installation.upload(schedule.base.id, [(name, io.BytesIO(text.encode()))]))
    schedule.files.append(File(document.id, name, word, text))


def _repeat(schedule: Schedule, installation: Installation) -> None:
    if schedule.kept:
        file = schedule.chance.choice(schedule.kept)
        _register(schedule, installation, file.name, file.word, file.text)


def _replace(schedule: Schedule, installation: Installation) -> None:
    """Delete a file, and upload another one of its name."""
    if file := _delete(schedule, installation):
        word = f"{file.word}r"
        _register(schedule, installation, file.name, word, file.text.replace(file.word, word))


def _delete(schedule: Schedule, installation: Installation) -> File | None:
    if not schedule.kept:
        return None
    file = schedule.chance.choice(schedule.kept)
    _patient(lambda: installation.services.documents.delete(installation.principal, file.document_id))
    file.is_deleted = True
    return file


def _cancel(schedule: Schedule, installation: Installation) -> None:
    if schedule.kept:
        file = schedule.chance.choice(schedule.kept)
        with suppress(WrongState):  # it is ready
            _patient(lambda: installation.services.documents.cancel(installation.principal, file.document_id))
            file.was_cancelled = True


def _retry(schedule: Schedule, installation: Installation) -> None:
    for file in schedule.kept:
        with suppress(WrongState):  # it is no failed or cancelled one
            _patient(partial(installation.services.documents.retry, installation.principal, file.document_id))
            file.was_cancelled = False


def _ask(schedule: Schedule, installation: Installation) -> None:
    """Ask for what a ready file holds, in the middle of it."""
    if schedule.kept:
        with suppress(KbError):
            schedule.silent += _is_silent(installation, schedule.base, schedule.chance.choice(schedule.kept))


def _is_silent(installation: Installation, base: KnowledgeBase, file: File) -> bool:
    """Whether the file is ready, and not found without a word. Other passages may hide a loss until it is noticed."""
    services, principal = installation.services, installation.principal
    question = f"What is kept in locker {file.word}?"
    deadline = time.monotonic() + COMPARED_SECONDS
    while services.documents.get(principal, file.document_id).latest.state is VersionState.READY:
        found = services.retriever.retrieve(principal, Scope.of(base.id), question)
        if found.unsearchable or _holds(found, file):
            return False
        if not found.passages or time.monotonic() > deadline:
            return True
        time.sleep(POLL_SECONDS)
    return False


ACTIONS: Sequence[Callable[[Schedule, Installation], object]] = (
    _upload,
    _repeat,
    _replace,
    _delete,
    _cancel,
    _retry,
    _ask,
)


def _paragraph(chance: random.Random) -> str:
    words = ("harbour", "valve", "ledger", "winter", "keeper", "signal", "barrel", "lantern", "canal", "report")
    return " ".join(chance.choice(words) for _ in range(chance.randint(60, 160))).capitalize() + "."


def _patient(act: Callable[[], T]) -> T:
    """As a user who tries again while a service is away."""
    deadline = time.monotonic() + BAR_SECONDS
    while True:
        try:
            return act()
        except Unavailable:
            if time.monotonic() > deadline:
                raise
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main()
