"""How long documents take yet: nothing is told before it was measured."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from kb.database.tables import versions
from kb.ingestion import Backlog
from kb.ingestion.pace import SPEED_SECONDS, Speed
from kb.models import Document, Progress, VersionState
from kb.models.documents import MEASURED_SECONDS
from kb.progress import WorkerInfo
from tests.conftest import Clock, Library, make_claims


def progress(done: int, total: int, page: int = 0, pages: int = 0, measured: float = 60.0) -> Progress:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return Progress(VersionState.EMBEDDING, done, total, 2.0, moment, "worker", page, pages, measured)


def test_time_left_follows_from_the_rate() -> None:
    assert progress(40, 100).seconds_left == 30
    assert progress(40, 0, page=10, pages=25).seconds_left == 30


@pytest.mark.parametrize(
    "unknown",
    [
        progress(40, 100, measured=3.0),
        progress(40, 0),
        progress(40, 0, page=25, pages=25),  # the last page tells nothing about the chunks after it
        Progress(VersionState.PARSING, 0, 5, 0.0, datetime(2026, 1, 1, tzinfo=UTC), measured_seconds=60.0),
    ],
)
def test_time_left_is_unknown_before_it_was_measured(unknown: Progress) -> None:
    assert unknown.seconds_left is None


def test_speed_is_that_of_the_last_minutes_of_work() -> None:
    now = [0.0]
    speed = Speed(lambda: now[0])
    for _ in range(2):
        speed.begin()
        assert speed.per_second() == (0.0, 0.0)  # too early
        now[0] += MEASURED_SECONDS / 2
        speed.note(25)
        speed.end()
    assert speed.per_second() == (5.0, MEASURED_SECONDS)
    speed.begin()
    now[0] += 2 * SPEED_SECONDS
    assert speed.per_second() == (5.0, MEASURED_SECONDS)  # reading a large file slows nothing down
    speed.note(60)
    assert speed.per_second() == (60 / SPEED_SECONDS, SPEED_SECONDS)
    speed.end()
    now[0] += 1_000.0
    speed.begin()
    now[0] += 10.0
    speed.note(100)
    assert speed.per_second() == (10.0, 10.0)  # idle time does not count


def set_effort(library: Library, document: Document, effort: int, stored: int = 0) -> None:
    change = {"effort": effort, "stored_chunks": stored}
    with library.database.write() as connection:
        connection.execute(sa.update(versions).where(versions.c.id == document.latest.id).values(change))


def test_knowledge_bases_share_the_workers(library: Library, clock: Clock) -> None:
    many, single = library.knowledge_base("many"), library.knowledge_base("single")
    workers = [WorkerInfo("a", speed=6.0, measured_seconds=60.0), WorkerInfo("b", speed=4.0, measured_seconds=60.0)]
    running = library.upload(many)
    set_effort(library, running, 5_000, stored=4_000)
    set_effort(library, library.upload(many), 2_000, stored=500)
    set_effort(library, library.upload(many), 500)
    assert make_claims(library.database, "worker", clock).claim(running.latest.id)
    assert Backlog(library.database).seconds_left(single.id, workers) is None
    assert Backlog(library.database).seconds_left(many.id, workers) == 300.0
    set_effort(library, library.upload(single), 10)
    assert Backlog(library.database).seconds_left(single.id, workers) == 2.0
    assert Backlog(library.database).seconds_left(many.id, workers) == 301.0
    assert Backlog(library.database).seconds_left(many.id, [WorkerInfo("a")]) is None


def test_users_share_the_workers(library: Library) -> None:
    workers = [WorkerInfo("a", speed=10.0, measured_seconds=600.0)]
    theirs = library.knowledge_base("theirs", owner=library.stranger)
    mine = [library.knowledge_base(str(number)) for number in range(10)]
    for base in mine:
        set_effort(library, library.upload(base), 500)
    document = library.arrivals.register(library.stranger, theirs.id, "b.md", io.BytesIO(b"b")).document
    set_effort(library, document, 1_000)
    backlog = Backlog(library.database)
    assert backlog.seconds_left(theirs.id, workers) == 200.0  # half of the workers, however many those of the other are
    assert backlog.seconds_left(mine[0].id, workers) == 600.0


def test_few_small_files_do_not_tell_how_long_a_large_one_takes(library: Library) -> None:
    base = library.knowledge_base()
    set_effort(library, library.upload(base), 36_000)
    for measured, seconds_left in ((20.0, None), (60.0, 3_600.0), (SPEED_SECONDS, 3_600.0)):
        workers = [WorkerInfo("a", speed=10.0, measured_seconds=measured)]
        assert Backlog(library.database).seconds_left(base.id, workers) == seconds_left
    set_effort(library, library.upload(base), 3_600_000)
    assert Backlog(library.database).seconds_left(base.id, workers) == 363_600.0  # it is never known better


def test_backlog_is_not_read_each_second(library: Library) -> None:
    now = [0.0]
    backlog, base = Backlog(library.database, lambda: now[0]), library.knowledge_base()
    workers = [WorkerInfo("a", speed=1.0, measured_seconds=60.0)]
    set_effort(library, library.upload(base), 10)
    assert backlog.seconds_left(base.id, workers) == 10.0
    set_effort(library, library.upload(base), 10)
    assert backlog.seconds_left(base.id, workers) == 10.0
    now[0] = 60.0
    assert backlog.seconds_left(base.id, workers) == 20.0
