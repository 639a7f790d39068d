"""`zhiwen ingest`: a folder becomes a knowledge base, and a second run does only what is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from kb.cli import ingest
from kb.database.tables import versions
from kb.errors import RedisUnavailable
from kb.library import Arrivals
from kb.models import VersionState
from kb.progress import WorkerInfo
from kb.services import WorkerParts
from tests.conftest import Core
from tests.kb.cli.conftest import Run

pytestmark = pytest.mark.usefixtures("configured")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.md").write_text("Apples are red.")
    (folder / "sub" / "b.md").write_text("Bananas are yellow.")
    return folder


@pytest.fixture
def working(core: Core, worker: WorkerParts, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A worker that ingests all that waits whenever the command pauses."""
    core.services.board.announce_worker(WorkerInfo("one", "host", 7, threads=1))

    def work(_seconds: float = 0) -> None:
        with core.services.database.read() as connection:
            queued = list(connection.scalars(sa.select(versions.c.id).where(versions.c.state == "queued")))
        for version_id in queued:
            worker.ingestion.ingest(version_id)

    monkeypatch.setattr(ingest, "time", type("Clock", (), {"monotonic": time.monotonic, "sleep": work}))
    return work


def states(core: Core) -> dict[str, VersionState]:
    (base,) = core.services.knowledge_bases.list(core.user)
    return {each.name: each.latest.state for each in core.services.documents.list(core.user, base.id)}


def counts(found: dict[str, Any]) -> tuple[int, int, int, int]:
    return len(found["new"]), len(found["changed"]), found["unchanged"], len(found["failed"])


def test_second_run_uploads_what_is_new_or_changed(
    core: Core, zhiwen: Run, folder: Path, working: Callable[[], None]
) -> None:
    first = zhiwen("ingest", str(folder), "--knowledge-base", "Fruit", "--create", "--json")
    assert (first.code, counts(first.json)) == (0, (2, 0, 0, 0)), first
    assert states(core) == {"a.md": VersionState.READY, "sub/b.md": VersionState.READY}
    (folder / "a.md").write_text("Apples are green.")
    (folder / "c.md").write_text("Cherries are dark.")
    (folder / "sub" / "b.md").unlink()
    second = zhiwen("ingest", str(folder), "-k", "fruit")
    assert second.code == 0, second
    assert "1 new, 1 changed, 0 unchanged" in second.out
    assert "1 document, kept" in second.out
    assert set(states(core)) == {"a.md", "c.md", "sub/b.md"}
    third = zhiwen("ingest", str(folder), "-k", "Fruit", "--delete-missing", "--json")
    assert (third.code, counts(third.json), third.json["deleted"]) == (0, (0, 0, 2, 0), ["sub/b.md"])
    assert set(states(core)) == {"a.md", "c.md"}


def test_failed_and_skipped_files_are_named(core: Core, zhiwen: Run, folder: Path, working: Callable[[], None]) -> None:
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 nothing else")
    (folder / "program.bin").write_bytes(bytes(range(32)) * 20)
    ended = zhiwen("ingest", str(folder), "-k", "Fruit", "--create")
    assert ended.code == 1
    assert "Skipped: 1 file\n  program.bin: The format" in ended.out
    assert "Failed: 1 file\n  broken.pdf: " in ended.out
    again = zhiwen("ingest", str(folder), "-k", "Fruit", "--json").json
    assert counts(again) == (0, 0, 2, 1)
    assert again["tried_again"] == []  # it would fail as before


def test_interrupted_run_is_resumed(
    core: Core, zhiwen: Run, folder: Path, working: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uploads stop in the middle; the next run neither repeats nor forgets one, and waits for the first one, too."""
    register = Arrivals.register

    def interrupt(*arguments: Any) -> Any:
        if arguments[3] == "sub/b.md":
            raise KeyboardInterrupt
        return register(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Arrivals, "register", interrupt)
        first = zhiwen("ingest", str(folder), "-k", "Fruit", "--create")
    assert first.code == 130
    assert "Not processed yet: 1 file" in first.out
    assert states(core) == {"a.md": VersionState.QUEUED}
    second = zhiwen("ingest", str(folder), "-k", "Fruit", "--json")
    assert (second.code, second.json["new"], second.json["pending"]) == (0, ["sub/b.md"], [])
    assert set(states(core).values()) == {VersionState.READY}


def test_cancelled_documents_are_tried_again(
    core: Core, zhiwen: Run, folder: Path, working: Callable[[], None]
) -> None:
    zhiwen("ingest", str(folder), "-k", "Fruit", "--create", "--no-wait")
    (base,) = core.services.knowledge_bases.list(core.user)
    for document in core.services.documents.list(core.user, base.id):
        core.services.documents.cancel(core.user, document.id)
    ended = zhiwen("ingest", str(folder), "-k", "Fruit", "--json")
    assert (ended.code, ended.json["tried_again"]) == (0, ["a.md", "sub/b.md"])


def test_documents_beyond_the_queue_are_not_tried_again(
    core: Core, zhiwen: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zhiwen("ingest", str(folder), "-k", "Fruit", "--create", "--no-wait")
    (base,) = core.services.knowledge_bases.list(core.user)
    for document in core.services.documents.list(core.user, base.id):
        core.services.documents.cancel(core.user, document.id)
    monkeypatch.setenv("USER_DOCUMENTS_QUEUED", "1")
    ended = zhiwen("ingest", str(folder), "-k", "Fruit", "--no-wait", "--json")
    assert (ended.json["tried_again"], [each["name"] for each in ended.json["failed"]]) == (["a.md"], ["sub/b.md"])


def test_no_wait_leaves_the_rest_to_the_workers(core: Core, zhiwen: Run, folder: Path) -> None:
    ended = zhiwen("ingest", str(folder), "-k", "Fruit", "--create", "--no-wait", "--json")
    assert (ended.code, ended.json["pending"]) == (0, ["a.md", "sub/b.md"])


def test_without_a_worker_it_does_not_wait_for_ever(
    core: Core, zhiwen: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "LONGEST_WITHOUT_WORKER", 0.0)
    ended = zhiwen("ingest", str(folder), "-k", "Fruit", "--create")
    assert ended.code == 1
    assert "No worker is alive" in ended.out


def test_service_that_is_away_ends_the_run_with_what_was_done(
    core: Core, zhiwen: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise RedisUnavailable(detail="away")

    monkeypatch.setattr("kb.progress.ProgressBoard.workers", fail)
    ended = zhiwen("ingest", str(folder), "-k", "Fruit", "--create")
    assert ended.code == 1
    assert "2 new" in ended.out
    assert "away" in ended.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "-k", "Fruit"], "is not a folder"),
        (["{folder}", "-k", "Fruit"], "--create"),
        (["{empty}", "-k", "Fruit", "--create", "--delete-missing"], "would delete every document"),
    ],
    ids=["folder", "knowledge base", "delete all"],
)
def test_what_cannot_be_done_says_why(
    core: Core, zhiwen: Run, folder: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    core.knowledge_base("Vegetables")
    ended = zhiwen("ingest", *(each.format(folder=folder, empty=tmp_path / "empty") for each in arguments))
    assert ended.code == 1
    assert said in ended.err


def test_nothing_runs(zhiwen: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REDIS_URL", "MILVUS_URI"):
        monkeypatch.delenv(name)
    ended = zhiwen("ingest", str(folder), "-k", "Fruit")
    assert ended.code == 1
    assert "not running" in ended.err
    assert "zhiwen run" in ended.err
