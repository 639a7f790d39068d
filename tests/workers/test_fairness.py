"""Small files do not wait for large ones, nor one knowledge base for another, in a worker with one thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import pytest

from kb.ingestion import making_way
from kb.models import Document, VersionState
from tests.conftest import Core
from tests.real_services import wait_until
from tests.workers.conftest import Workers, ended, make_large

HUGE = "\n\n".join(f"# Huge {number}\n\n" + "Apples and pears. " * 40 for number in range(150))


@pytest.fixture
def held(core: Core) -> Iterator[threading.Event]:
    """Texts of `HUGE` are embedded once this is set."""
    release = threading.Event()

    def hold(texts: Sequence[str]) -> None:
        if any("Huge" in text for text in texts):
            release.wait(60)

    core.embedding.before_batch = hold
    yield release
    release.set()


def is_embedding(core: Core, document: Document) -> Callable[[], bool]:
    return lambda: core.document(document.id).latest.state is VersionState.EMBEDDING


def test_note_does_not_wait_for_large_files(core: Core, workers: Workers, held: threading.Event) -> None:
    base = core.knowledge_base()
    large = [core.upload(base, f"{number}.md", HUGE) for number in range(3)]
    make_large(core, *large)
    for document in large:
        workers.send(core, document)
    workers.start()
    wait_until(is_embedding(core, large[0]), 30, "a large file in work")
    note = core.upload(base, "note.md", "One line.")
    workers.send(core, note)
    assert ended(core, note, 30).state is VersionState.READY
    states = [core.document(document.id).latest.state for document in large]
    assert states.count(VersionState.QUEUED) == 2  # all threads but one may be busy with large files
    held.set()
    assert [ended(core, document).state for document in large] == [VersionState.READY] * 3


def test_knowledge_base_does_not_wait_for_another(core: Core, workers: Workers) -> None:
    many, single = core.knowledge_base("many"), core.knowledge_base("single")
    documents = [core.upload(many, f"{number}.md", f"# Page\n\nMany {number}") for number in range(20)]
    documents.append(core.upload(single, "note.md", "# Page\n\nThe single one"))
    for document in documents:
        workers.send(core, document)
    workers.start()
    started = {document.name: ended(core, document).started_at for document in documents}
    order = sorted(started, key=lambda name: started[name] or datetime.max.replace(tzinfo=UTC))
    assert order.index("note.md") < 3


def test_file_that_turns_out_to_be_large_makes_way(
    core: Core, workers: Workers, held: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making_way, "LARGE_SECONDS", 0.0)
    monkeypatch.setattr(making_way, "LOOK_SECONDS", 0.0)
    base = core.knowledge_base()
    large = [core.upload(base, f"{number}.md", HUGE) for number in range(2)]
    for document in large:
        workers.send(core, document)
    workers.start()
    for document in large:
        wait_until(is_embedding(core, document), 30, "both threads busy")
    note = core.upload(base, "note.md", "One line.")
    workers.send(core, note)
    held.set()  # the batches in hand end
    assert ended(core, note).state is VersionState.READY
    found = [ended(core, document) for document in large]
    assert [version.state for version in found] == [VersionState.READY] * 2
    assert sorted(version.attempts for version in found) == [1, 2]
    assert [core.count(document) for document in large] == [150] * 2
