"""Claims and leases on versions, and recovery from dead workers, on SQLite and PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from threading import Barrier
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from kb.database.tables import documents, now, versions
from kb.errors import Cancelled, DamagedFile, DatabaseUnavailable, LeaseLost, MilvusUnavailable, NotFound
from kb.ingestion import Claims, new_worker_id
from kb.ingestion.claims import CLEARING, LONGEST_WAIT_SECONDS, MAX_WAITS, RESEND_SECONDS, Job
from kb.library.rows import find_document, find_knowledge_base
from kb.models import Document, VersionState
from kb.progress import is_dead
from tests.conftest import Clock, Library, make_claims


@pytest.fixture
def claims(library: Library, clock: Clock) -> Claims:
    return make_claims(library.database, "worker 1", clock)


@pytest.fixture
def other(library: Library, clock: Clock) -> Claims:
    return make_claims(library.database, "worker 2", clock)


@pytest.fixture
def document(library: Library) -> Document:
    return library.upload(library.knowledge_base())


def claim(claims: Claims, document: Document) -> Job:
    job = claims.claim(document.latest.id)
    assert job is not None
    return job


def test_claim_returns_the_job(library: Library, claims: Claims, document: Document) -> None:
    job = claim(claims, document)
    assert (job.version_id, job.document_id, job.name) == (document.latest.id, document.id, "a.md")
    assert (job.file_key, job.stored_chunks, job.chunks_digest) == (document.latest.file_key, 0, "")
    assert job.knowledge_base.id == document.knowledge_base_id
    version = library.version(document)
    assert (version.state, version.attempts) == (VersionState.PARSING, 1)
    assert version.started_at == version.heartbeat_at == datetime(2026, 1, 1, tzinfo=UTC)


def test_version_is_claimed_once(claims: Claims, other: Claims, document: Document) -> None:
    claim(claims, document)
    assert other.claim(document.latest.id) is None
    assert claims.claim(document.latest.id) is None
    assert claims.claim(uuid4()) is None


def test_one_of_many_simultaneous_claims_succeeds(library: Library, clock: Clock, document: Document) -> None:
    workers = [make_claims(library.database, f"worker {number}", clock) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        jobs = list(pool.map(lambda worker: worker.claim(document.latest.id), workers))
    assert sum(job is not None for job in jobs) == 1


def test_cancelled_version_cannot_be_claimed(library: Library, claims: Claims, document: Document) -> None:
    library.documents.cancel(library.user, document.id)
    assert claims.claim(document.latest.id) is None
    assert claims.due(resend=True) == []


def test_check_distinguishes_cancel_from_lost_lease(
    library: Library, claims: Claims, other: Claims, document: Document, clock: Clock
) -> None:
    job = claim(claims, document)
    claims.check(job)
    clock.advance(21)
    assert other.expire() == 1
    successor = claim(other, document)
    with pytest.raises(LeaseLost):
        claims.check(job)
    library.documents.cancel(library.user, document.id)
    with pytest.raises(Cancelled):
        other.check(successor)


def test_two_claims_of_one_process_are_distinct(claims: Claims, document: Document, clock: Clock) -> None:
    """After a pause of the machine, a worker's own reaper can requeue a version before its heartbeat renews it."""
    first = claim(claims, document)
    clock.advance(21)
    assert claims.expire() == 1
    second = claim(claims, document)
    for stale in (claims.check, claims.switch, lambda job: claims.advance(job, 1)):
        with pytest.raises(LeaseLost):
            stale(first)
    claims.let_go(first)
    clock.advance(15)
    claims.renew()
    clock.advance(15)
    assert claims.expire() == 0  # releasing the first claim did not end the second one's heartbeat
    claims.switch(second)


def test_heartbeat_keeps_the_lease(claims: Claims, other: Claims, document: Document, clock: Clock) -> None:
    job = claim(claims, document)
    for _ in range(5):
        clock.advance(15)
        claims.renew()
        assert other.expire() == 0
    claims.check(job)
    clock.advance(20.5)
    assert other.expire() == 1


def test_heartbeat_does_not_revive_a_lost_lease(
    library: Library, claims: Claims, other: Claims, document: Document, clock: Clock
) -> None:
    job = claim(claims, document)
    clock.advance(21)
    other.expire()
    claims.renew()
    assert library.version(document).state is VersionState.QUEUED
    with pytest.raises(LeaseLost):
        claims.check(job)


def test_lost_lease_prevents_writes(
    library: Library, claims: Claims, other: Claims, document: Document, clock: Clock
) -> None:
    job = claim(claims, document)
    clock.advance(21)
    other.expire()
    other.claim(document.latest.id)
    before = library.version(document)
    for write in (
        lambda: claims.enter(job, VersionState.EMBEDDING, chunks=9),
        lambda: claims.advance(job, 7),
        lambda: claims.switch(job),
        lambda: claims.fail(job, DamagedFile(name="a.md", detail="x")),
        lambda: claims.cancel(job),
        lambda: claims.release(job),
        lambda: claims.postpone(job, MilvusUnavailable(detail="x")),
    ):
        with pytest.raises(LeaseLost):
            write()
    assert library.version(document) == before
    assert library.documents.get(library.user, document.id).live_version_id is None


def test_three_crashes_without_progress_fail_the_version(
    library: Library, claims: Claims, document: Document, clock: Clock
) -> None:
    for death in range(1, 4):
        job = claim(claims, document)
        claims.enter(job, VersionState.EMBEDDING, chunks=9)
        clock.advance(21)
        assert claims.expire() == 1
        assert library.version(document).crashes == death
    version = library.version(document)
    assert (version.state, version.error) == (VersionState.FAILED, "worker_died")
    assert version.error_values == {"name": "a.md", "attempts": "3", "stage": "embedding"}
    assert version.finished_at == clock.now
    assert claims.claim(document.latest.id) is None


def test_progress_resets_the_crash_count(library: Library, claims: Claims, document: Document, clock: Clock) -> None:
    for stored in range(1, 6):
        job = claim(claims, document)
        assert job.stored_chunks == stored - 1
        claims.enter(job, VersionState.EMBEDDING, chunks=9, chunks_digest="d")
        claims.advance(job, stored)
        clock.advance(21)
        claims.expire()
    version = library.version(document)
    assert (version.state, version.crashes, version.attempts) == (VersionState.QUEUED, 1, 5)


def test_crashes_far_apart_do_not_condemn_a_file(
    library: Library, claims: Claims, document: Document, clock: Clock
) -> None:
    for _ in range(5):
        claim(claims, document)
        clock.advance(7 * 24 * 3600)
        claims.expire()
        version = library.version(document)
        assert (version.state, version.crashes) == (VersionState.QUEUED, 1)


def test_power_cuts_do_not_count_as_crashes(library: Library, document: Document, clock: Clock) -> None:
    host, pid, namespace = new_worker_id().split(":")
    since_boot = time.clock_gettime(time.CLOCK_BOOTTIME)
    before = make_claims(library.database, f"{host}:{pid}:00000000.{namespace.partition('.')[2]}", clock)
    reaper = make_claims(library.database, new_worker_id(), clock)
    for _ in range(4):
        claim(before, document)
        clock.advance(since_boot + 60)
        reaper.expire()
        version = library.version(document)
        assert (version.state, version.crashes) == (VersionState.QUEUED, 0)
    claim(before, document)
    clock.advance(21)  # not so long ago: it ran on another machine with the same name
    reaper.expire()
    assert library.version(document).crashes == 1


DAY = 86_400.0


def reaper_with(library: Library, clock: Clock, monotonic: Clock) -> Claims:
    """One that looks at leases as workers do; `monotonic` is its clock that nobody sets."""
    return Claims(library.database, "reaper", 20, clock, elapsed=lambda: monotonic.now.timestamp())


@pytest.mark.parametrize("ahead", [-DAY, -30, 30, DAY])
def test_hosts_whose_clocks_differ_leave_one_another_their_work(
    library: Library, claims: Claims, document: Document, clock: Clock, ahead: float
) -> None:
    """Each taking counted as a crash: a sound document failed after three."""
    job, monotonic, elsewhere = claim(claims, document), Clock(), Clock()
    elsewhere.advance(ahead)
    reaper = reaper_with(library, elsewhere, monotonic)
    for _ in range(60):
        for each in (clock, elsewhere, monotonic):
            each.advance(2)
        claims.renew()
        assert reaper.expire() == 0
    claims.check(job)


@pytest.mark.parametrize("step", [-DAY, 0, DAY])
def test_lease_of_a_dead_worker_ends_soon_whatever_the_clock_says(
    library: Library, claims: Claims, document: Document, clock: Clock, step: float
) -> None:
    claim(claims, document)
    monotonic = Clock()
    reaper = reaper_with(library, clock, monotonic)
    assert reaper.expire() == 0
    clock.advance(step)
    monotonic.advance(20.5)
    clock.advance(20.5)
    assert reaper.expire() == 1
    assert library.version(document).state is VersionState.QUEUED


def test_work_goes_on_when_the_clock_is_set_back(
    library: Library, claims: Claims, document: Document, clock: Clock
) -> None:
    """A wait, a lost message and a clearing last no longer than they were meant to, and a little."""
    assert claims.postpone(claim(claims, document), MilvusUnavailable(detail="gone"))
    clock.advance(-DAY)
    claims.bound_waits()
    clock.advance(LONGEST_WAIT_SECONDS)
    assert claims.due(resend=False) == [document.latest.id]
    clock.advance(-DAY)
    claims.bound_waits()
    clock.advance(LONGEST_WAIT_SECONDS)
    assert claims.due(resend=False) == []
    assert claims.due(resend=True) == [document.latest.id]  # its message was lost
    with library.database.write() as connection:
        connection.execute(sa.update(versions).values(lease_owner="cleaner", lease_until=clock.now + CLEARING))
    assert claims.claim(document.latest.id) is None
    clock.advance(-DAY)
    claims.bound_waits()
    clock.advance(CLEARING.total_seconds() + 1)
    claim(claims, document)


def test_crashes_before_the_clock_was_set_back_are_forgotten(
    library: Library, claims: Claims, document: Document, clock: Clock
) -> None:
    for _ in range(4):
        claim(claims, document)
        clock.advance(21)
        claims.expire()
        assert library.version(document).crashes == 1
        clock.advance(-DAY)


def test_lease_of_a_dead_worker_on_this_host_expires_at_once(
    library: Library, document: Document, clock: Clock
) -> None:
    host, _, namespace = new_worker_id().split(":")
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    dead = make_claims(library.database, f"{host}:{process.pid}:{namespace}", clock)
    successor = make_claims(library.database, new_worker_id(), clock)
    claim(dead, document)
    assert successor.expire() == 0
    process.communicate()
    assert successor.expire() == 1
    assert successor.claim(document.latest.id)


def test_worker_on_another_host_is_not_known_to_be_dead(library: Library, document: Document, clock: Clock) -> None:
    _, pid, namespace = new_worker_id().split(":")
    own = new_worker_id()
    for number, owner in enumerate((f"elsewhere:{pid}:{namespace}", own.replace(namespace[:6], "1"), "of a test")):
        assert not is_dead(owner, own), number
    assert not is_dead(own, own)
    assert is_dead(new_worker_id(), own)  # an earlier process with our process id


def test_version_stays_cancelled_when_its_worker_dies(
    library: Library, claims: Claims, document: Document, clock: Clock
) -> None:
    claim(claims, document)
    library.documents.cancel(library.user, document.id)
    clock.advance(21)
    claims.expire()
    assert library.version(document).state is VersionState.CANCELLED


def test_two_reapers_count_one_crash_once(
    library: Library, claims: Claims, other: Claims, document: Document, clock: Clock
) -> None:
    claim(claims, document)
    clock.advance(21)
    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(lambda reaper: reaper.expire(), [claims, other]))
    assert sorted(counts) == [0, 1]
    assert library.version(document).crashes == 1


def test_delay_grows_while_a_service_is_unavailable(
    library: Library, claims: Claims, document: Document, clock: Clock
) -> None:
    waits = []
    for _ in range(MAX_WAITS):
        job = claim(claims, document)
        assert claims.postpone(job, MilvusUnavailable(detail="gone"))
        version = library.version(document)
        assert (version.state, version.error) == (VersionState.QUEUED, "milvus_unavailable")
        assert version.retry_at is not None
        assert claims.claim(document.latest.id) is None
        assert claims.due(resend=True) == []
        waits.append((version.retry_at - clock.now).total_seconds())
        clock.advance(waits[-1])
        assert claims.due(resend=False) == [document.latest.id]
    assert waits[:5] == [1, 2, 4, 8, 16]
    assert waits == sorted(waits)
    assert max(waits) == LONGEST_WAIT_SECONDS
    job = claim(claims, document)
    assert not claims.postpone(job, MilvusUnavailable(detail="gone"))
    claims.check(job)  # the worker keeps the claim, so that it can fail the version


def test_progress_resets_the_wait_count(library: Library, claims: Claims, document: Document, clock: Clock) -> None:
    for _ in range(MAX_WAITS + 5):
        job = claim(claims, document)
        claims.enter(job, VersionState.EMBEDDING)
        claims.advance(job, 1)
        assert claims.postpone(job, MilvusUnavailable(detail="gone"))
        clock.advance(LONGEST_WAIT_SECONDS)


def test_cancelled_version_is_not_requeued(library: Library, claims: Claims, document: Document) -> None:
    """It would stay in the queue for ever, because workers skip cancelled versions."""
    job = claim(claims, document)
    library.documents.cancel(library.user, document.id)
    with pytest.raises(Cancelled):
        claims.postpone(job, MilvusUnavailable(detail="gone"))
    claims.release(job)
    version = library.version(document)
    assert (version.state, version.finished_at is None) == (VersionState.CANCELLED, False)


def test_claim_with_an_unconfirmed_commit_is_not_renewed(
    library: Library, claims: Claims, other: Claims, document: Document, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = library.database.write

    @contextmanager
    def commit_and_break_off() -> Iterator[Connection]:
        with write() as connection:
            yield connection
        raise DatabaseUnavailable(detail="the connection was lost")

    with monkeypatch.context() as patch:
        patch.setattr(library.database, "write", commit_and_break_off)
        with pytest.raises(DatabaseUnavailable):
            claims.claim(document.latest.id)
    assert library.version(document).state is VersionState.PARSING
    for _ in range(3):
        clock.advance(10)
        claims.renew()
    assert other.expire() == 1
    claim(other, document)


def test_simultaneous_switch_and_deletion_succeed(library: Library, claims: Claims) -> None:
    knowledge_base = library.knowledge_base()
    for number in range(20):
        document = library.upload(knowledge_base, f"{number}.md")
        job = claim(claims, document)
        start = Barrier(2)

        def switch(job: Job = job, start: Barrier = start) -> None:
            start.wait()
            with suppress(Cancelled):  # the deletion was quicker
                claims.switch(job)

        def delete(document: Document = document, start: Barrier = start) -> None:
            start.wait()
            library.documents.delete(library.user, document.id)

        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(switch), pool.submit(delete)]:
                done.result(timeout=30)


def test_switch_and_deletion_do_not_wait_for_a_registration(library: Library, claims: Claims) -> None:
    """A registration that locked the knowledge base updates the counters next, so waiting for it would deadlock."""
    if library.database.is_sqlite:
        pytest.skip("SQLite has one writer at a time")
    knowledge_base = library.knowledge_base()
    ready, new = library.upload(knowledge_base), library.upload(knowledge_base)
    claims.switch(claim(claims, ready))
    job = claim(claims, new)
    with ThreadPoolExecutor(1) as pool, library.database.write() as connection:
        find_knowledge_base(connection, library.user, knowledge_base.id, lock=True)
        pool.submit(claims.switch, job).result(timeout=30)
        pool.submit(library.documents.delete, library.user, ready.id).result(timeout=30)


def test_retry_after_a_concurrent_deletion_finds_nothing(library: Library, claims: Claims, document: Document) -> None:
    claims.fail(claim(claims, document), DamagedFile(name="a.md", detail="broken"))
    with ThreadPoolExecutor(1) as pool:
        with library.database.write() as connection:
            find_document(connection, library.user, document.id, lock=True)
            retry = pool.submit(library.documents.retry, library.user, document.id)
            wait([retry], timeout=0.3)
            assert not retry.done()
            connection.execute(sa.update(documents).where(documents.c.id == document.id).values(deleted_at=now()))
        with pytest.raises(NotFound):
            retry.result(timeout=30)


def test_released_version_is_due_at_once(library: Library, claims: Claims, other: Claims, document: Document) -> None:
    claims.release(claim(claims, document))
    version = library.version(document)
    assert (version.state, version.crashes) == (VersionState.QUEUED, 0)
    assert other.due(resend=False) == [document.latest.id]
    assert other.claim(document.latest.id)


def test_due_version_is_sent_again_only_after_a_delay(library: Library, claims: Claims, clock: Clock) -> None:
    library.queue.is_away = True
    knowledge_base = library.knowledge_base()
    ids = [library.upload(knowledge_base, f"{number}.md").latest.id for number in range(3)]
    assert claims.due(resend=False, limit=2) == ids[:2]
    assert claims.due(resend=False) == ids[2:]
    assert claims.due(resend=False) == claims.due(resend=True) == []
    clock.advance(RESEND_SECONDS + 1)
    assert claims.due(resend=False) == []
    assert claims.due(resend=True) == ids
    assert claims.due(resend=True) == []


def test_switch_makes_the_version_live(library: Library, claims: Claims, document: Document) -> None:
    job = claim(claims, document)
    assert claims.switch(job) is None
    found = library.documents.get(library.user, document.id)
    assert (found.live_version_id, found.latest.state) == (document.latest.id, VersionState.READY)
    with pytest.raises(LeaseLost):
        claims.switch(job)


def test_cancel_before_the_switch_wins(library: Library, claims: Claims, document: Document) -> None:
    job = claim(claims, document)
    library.documents.cancel(library.user, document.id)
    with pytest.raises(Cancelled):
        claims.switch(job)
    claims.cancel(job)
    with pytest.raises(LeaseLost):
        claims.switch(job)
    found = library.documents.get(library.user, document.id)
    assert found.live_version_id is None
    assert found.latest.state is VersionState.CANCELLED
