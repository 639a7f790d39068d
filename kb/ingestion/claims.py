"""Who works on which version: claims with a lease, kept in SQL by conditional updates.

queued ──claim──▶ parsing ▶ embedding ▶ indexing ──switch──▶ ready
   ▲                 │ the lease ran out, or a service was away
   └─────────────────┴──▶ failed (a bad file, too many crashes) or cancelled
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa

from kb.database import Database
from kb.database.locks import lock_rows
from kb.database.tables import documents, knowledge_bases, users, versions
from kb.effort import LARGE
from kb.errors import Cancelled, KbError, LeaseLost, WorkerDied
from kb.ingestion.leases import Lease, LeaseWatch
from kb.library import mark_sent
from kb.library.counts import RUNNING, count_answering, count_move, count_unsearchable, lacks_chunks
from kb.library.knowledge_bases import settle_dimension
from kb.library.rows import to_knowledge_base
from kb.metrics import note_ingested
from kb.models import KnowledgeBase, VersionState
from kb.progress import is_dead, went_down_with_machine
from kb.usage import TimeKind, record_ingested, record_times
from kb.webhooks.outbox import tell_ended

MAX_CRASHES = 3
CRASH_WINDOW = timedelta(hours=1)  # crashes further apart have nothing to do with each other
MAX_WAITS = 120  # an hour of a service's absence
LONGEST_WAIT_SECONDS = 30.0
CLEARING = timedelta(minutes=5)  # the lease of a clearing: longer than any wait for Milvus
# A message may be lost with Redis; it is sent again when the queue is empty and this long has passed.
RESEND_SECONDS = 8.0

# A version whose stored chunks are being cleared is given up, or queued again already.
CLEARED = [state.value for state in VersionState if state.is_given_up or state is VersionState.QUEUED]

# Each document needs these statements, and building them takes longer than executing them. `_HELD` is true as long as
# a claim is: a version loses its lease's name with the claim.
_HELD = sa.and_(
    versions.c.id == sa.bindparam("of_version"),
    versions.c.lease_owner == sa.bindparam("of_lease"),
)
_CLAIM = (
    sa.update(versions)
    .where(
        versions.c.id == sa.bindparam("of_version"),
        versions.c.state == VersionState.QUEUED.value,
        versions.c.cancel_requested.is_(False),
        sa.or_(versions.c.retry_at.is_(None), versions.c.retry_at <= sa.bindparam("moment")),
        # A lease on a queued version: what an earlier attempt stored is being cleared.
        sa.or_(versions.c.lease_until.is_(None), versions.c.lease_until < sa.bindparam("moment")),
    )
    .values(
        state=VersionState.PARSING.value,
        attempts=versions.c.attempts + 1,
        heartbeat_at=sa.bindparam("moment"),
        started_at=sa.func.coalesce(versions.c.started_at, sa.bindparam("moment")),
        error="",
        error_values={},
    )
)
# Whoever claims one of the same user's waits until it is seen: several workers stay within the limit together. The
# version before the user, as a new content of its document is admitted to the quotas.
_OWNER_LOCKED = (
    sa.select(users.c.id)
    .join(knowledge_bases, knowledge_bases.c.owner_id == users.c.id)
    .join(versions, versions.c.listed_in == knowledge_bases.c.id)
    .where(versions.c.id == sa.bindparam("of_version"))
    .with_for_update(of=(versions, users), key_share=True)
)
_IN_WORK = (
    sa.select(sa.func.count())
    .select_from(versions)
    .join(knowledge_bases, knowledge_bases.c.id == versions.c.listed_in)
    .where(versions.c.state.in_(RUNNING), knowledge_bases.c.owner_id == sa.bindparam("of_owner"))
)
_CLAIMED = (
    sa.select(
        *(versions.c.document_id, versions.c.file_key, versions.c.media_type),
        *(versions.c.stored_chunks, versions.c.chunks_digest, versions.c.effort, versions.c.counted_chunks),
        versions.c.size_bytes,
        documents.c.name.label("document_name"),
        knowledge_bases,
    )
    .join(documents, documents.c.id == versions.c.document_id)
    .join(knowledge_bases, knowledge_bases.c.id == documents.c.knowledge_base_id)
    .where(versions.c.id == sa.bindparam("of_version"))
)
_CHECK = sa.select(versions.c.lease_owner, versions.c.cancel_requested).where(
    versions.c.id == sa.bindparam("of_version")
)
_CHANGE = sa.update(versions).where(_HELD)
_CHANGE_UNLESS_CANCELLED = _CHANGE.where(versions.c.cancel_requested.is_(False))
_MARK = sa.update(versions).where(versions.c.id == sa.bindparam("of_version"))
_LOCK_DOCUMENT = (
    sa.select(documents.c.live_version_id).where(documents.c.id == sa.bindparam("of_document")).with_for_update()
)
# One that no list shows is indexed again because it answers: it does not replace what has done so meanwhile.
_IS_LISTED = sa.select(versions.c.id).where(
    versions.c.id == sa.bindparam("of_version"), versions.c.listed_in.is_not(None)
)
_GIVE_UP = (
    sa.update(versions)
    .where(versions.c.id == sa.bindparam("of_version"), versions.c.state.in_([VersionState.QUEUED.value, *RUNNING]))
    .values(
        cancel_requested=True,
        state=sa.case(
            (versions.c.state == VersionState.QUEUED.value, VersionState.CANCELLED.value), else_=versions.c.state
        ),
    )
)
_LACKING = sa.select(versions.c.id).where(versions.c.id == sa.bindparam("of_version"), lacks_chunks())
_MAKE_LIVE = sa.update(documents).where(documents.c.id == sa.bindparam("of_document"))


@dataclass(slots=True)
class Job:
    """A claimed version and what ingestion needs to know of it.

    `settle_dimension` may complete its knowledge base; `counted_chunks`, `effort` and `memory_peak_mb` are noted as the
    file is read.
    """

    version_id: UUID
    lease: str  # this claim's name: unlike any other's, of this process too
    document_id: UUID
    name: str
    file_key: str
    media_type: str
    size_bytes: int
    stored_chunks: int
    chunks_digest: str
    effort: int
    counted_chunks: int  # 0 if they were not counted yet
    knowledge_base: KnowledgeBase
    memory_peak_mb: int | None = None


class Claims:
    """Claims of one worker process, known as `owner`. `clock` gives the time in UTC.

    `most_per_user`: so many documents of one user are worked on at a time, by all workers together; 0: no limit.
    `patience_seconds`: see `LeaseWatch`; half of the lease if it is not given.
    """

    def __init__(
        self,
        database: Database,
        owner: str,
        lease_seconds: float,
        clock: Callable[[], datetime],
        most_per_user: int = 0,
        patience_seconds: float | None = None,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self.most_per_user = most_per_user
        self._database = database
        self._owner = owner
        self._lease = timedelta(seconds=lease_seconds)
        self._clock = clock
        self._held: set[str] = set()
        patience = lease_seconds / 2 if patience_seconds is None else patience_seconds
        self._watch = LeaseWatch(lease_seconds, patience, elapsed)

    def claim(self, version_id: UUID) -> Job | None:
        """Claim a queued version.

        Returns None if it is done, cancelled, or claimed by another worker, or if its user has enough in work.
        """
        moment, lease = self._clock(), f"{self._owner}#{uuid4().hex[:8]}"
        claim = {"moment": moment, "lease_owner": lease, "lease_until": moment + self._lease}
        with self._database.write() as connection:
            if self.most_per_user and not self._has_place(connection, version_id):
                return None
            if connection.execute(_CLAIM, {"of_version": version_id, **claim}).rowcount == 0:
                return None
            found = connection.execute(_CLAIMED, {"of_version": version_id}).one()
            count_move(connection, version_id, VersionState.QUEUED, VersionState.PARSING)
        self._held.add(lease)  # after the commit: if it fails, the caller has no job to let go of
        return Job(
            version_id=version_id,
            lease=lease,
            document_id=found.document_id,
            name=found.document_name,
            file_key=found.file_key,
            media_type=found.media_type,
            size_bytes=found.size_bytes,
            stored_chunks=found.stored_chunks,
            chunks_digest=found.chunks_digest,
            effort=found.effort,
            counted_chunks=found.counted_chunks,
            knowledge_base=to_knowledge_base(found),
        )

    def renew(self) -> None:
        """Prolong the leases of what this worker works on: its heartbeat."""
        held = list(self._held)
        if not held:
            return
        moment = self._clock()
        # What somebody else changes at this moment is left to the next heartbeat: who waits for one while it holds
        # others may be waited for.
        free = (
            sa.select(versions.c.id)
            .where(versions.c.lease_owner.in_(held), versions.c.state.in_(RUNNING))
            .with_for_update(key_share=True, skip_locked=True)
        )
        statement = sa.update(versions).where(versions.c.id.in_(free))
        with self._database.write() as connection:
            connection.execute(statement.values(lease_until=moment + self._lease, heartbeat_at=moment))

    def let_go(self, job: Job) -> None:
        """Stop renewing the job's lease. If the end of the work could not be stored, the lease now runs out."""
        self._held.discard(job.lease)

    def check(self, job: Job) -> None:
        """Raise `LeaseLost` or `Cancelled` if this worker should stop working on the version."""
        with self._database.read() as connection:
            _check(connection, job)

    def settle_dimension(self, job: Job, dimension: int) -> None:
        """Give the job's knowledge base its dimension: `dimension`, unless another worker found one first.

        Errors: `NotFound` if the knowledge base is gone.
        """
        job.knowledge_base = settle_dimension(self._database, job.knowledge_base, dimension)

    def enter(self, job: Job, state: VersionState, **values: Any) -> None:
        """Move on to the next running stage. Errors: `LeaseLost`, `Cancelled`."""
        with self._database.write() as connection:
            _change_unless_cancelled(connection, job, {"state": state.value, **values})

    def advance(self, job: Job, stored_chunks: int, state: VersionState = VersionState.EMBEDDING) -> None:
        """Note that so many chunks are stored, and the stage that follows. Progress clears the count of crashes.

        Errors: `LeaseLost`, `Cancelled`.
        """
        self.enter(job, state, stored_chunks=stored_chunks, crashes=0, waits=0)

    def switch(self, job: Job, seconds: Mapping[VersionState, float] | None = None, **values: Any) -> UUID | None:
        """Make the version, with `values`, the one that answers, in one transaction; returns the one it replaced.

        `seconds`: what its stages took, for `kb.usage`.
        Errors: `LeaseLost`; `Cancelled`, as a cancel may come after the last check.
        """
        with self._database.write() as connection:
            replaced: UUID | None = connection.scalar(_LOCK_DOCUMENT, {"of_document": job.document_id})
            is_other = replaced not in (None, job.version_id)
            if is_other and connection.scalar(_IS_LISTED, {"of_version": job.version_id}) is None:
                raise Cancelled
            was_lacking = replaced and connection.scalar(_LACKING, {"of_version": replaced})
            done = {"state": VersionState.READY.value, "crashes": 0, "waits": 0, **self._ended(job), **values}
            done |= {"missing_chunks": 0, "file_missing": False}
            _change_unless_cancelled(connection, job, done)
            connection.execute(_MAKE_LIVE, {"of_document": job.document_id, "live_version_id": job.version_id})
            if is_other:  # it may be under way to be indexed again
                connection.execute(_GIVE_UP, {"of_version": replaced})
            count_move(connection, job.version_id, VersionState.INDEXING, VersionState.READY)
            if was_lacking:
                count_unsearchable(connection, job.knowledge_base.id, -1)
            if replaced is None:
                count_answering(connection, job.knowledge_base.id, 1)
            tell_ended(connection, job.version_id)
            record_ingested(connection, [(VersionState.READY, "", job.size_bytes)])
            stages = (seconds or {}).items()
            record_times(connection, [(TimeKind.INGESTION, stage.value, taken * 1000) for stage, taken in stages])
            return replaced if is_other else None

    def fail(self, job: Job, error: KbError) -> None:
        """Give the version up, with the reason."""
        self._end(job, VersionState.FAILED, error=error.code, error_values=error.values)

    def cancel(self, job: Job) -> None:
        self._end(job, VersionState.CANCELLED)

    def release(self, job: Job) -> None:
        """Put the version back, untouched: this worker shuts down. Errors: `LeaseLost`."""
        try:
            self._put_back(job)
        except Cancelled:
            self.cancel(job)

    def make_way(self, job: Job) -> None:
        """Put the version back, as a large one: others go first. Errors: `LeaseLost`, `Cancelled`."""
        self._put_back(job, **({} if job.effort >= LARGE else {"effort": LARGE}))

    def postpone(self, job: Job, error: KbError) -> bool:
        """Put the version back in the queue, with a longer pause each time. Returns False after too many attempts.

        Errors: `LeaseLost`, `Cancelled`.
        """
        with self._database.read() as connection:
            waited = connection.scalar(sa.select(versions.c.waits).where(versions.c.id == job.version_id))
        if waited is None:
            raise LeaseLost  # deleted, and cleared already
        waits = waited + 1
        if waits > MAX_WAITS:
            return False
        delay = min(2.0 ** (waits - 1), LONGEST_WAIT_SECONDS)
        retry_at = self._clock() + timedelta(seconds=delay)
        self._put_back(job, waits=waits, retry_at=retry_at, error=error.code, error_values=error.values)
        return True

    # --- versions of dead workers, and lost messages ---

    def expire(self) -> int:
        """Requeue the versions of dead workers, or fail those that crashed too often. Returns how many were found."""
        self._end_dead_clearings()
        running = versions.c.state.in_(RUNNING)
        leases = sa.select(versions.c.id, versions.c.lease_owner, versions.c.lease_until).where(running)
        with self._database.read() as connection:
            dead = self._dead_owners(connection, running)
            seen = {Lease(*row) for row in connection.execute(leases)}
        over = self._watch.silent(seen, self._clock()) | {lease for lease in seen if lease.owner in dead}
        if not over:
            return 0  # the usual case takes no write lock
        statement = (
            sa.select(versions, documents.c.name.label("document_name"))
            .join(documents, documents.c.id == versions.c.document_id)
            .where(running, versions.c.id.in_([lease.version_id for lease in over]))
            .order_by(documents.c.knowledge_base_id)  # reapers that change counters at once do so in one order
            .with_for_update(of=versions, skip_locked=True)
        )
        with self._database.write() as connection:
            found = connection.execute(statement).all()
            expired = [row for row in found if Lease(row.id, row.lease_owner, row.lease_until) in over]
            ends = [(*self._expire(connection, version), version.size_bytes) for version in expired]
            record_ingested(connection, [end for end in ends if end[0] is not VersionState.QUEUED])
            return len(expired)

    def bound_waits(self) -> None:
        """Shorten what would last longer than it can have been meant to: the clock was set back meanwhile.

        Reads all that is queued.
        """
        moment = self._clock()
        queued, cleared = versions.c.state == VersionState.QUEUED.value, versions.c.state.in_(CLEARED)
        for column, chosen, longest in (
            (versions.c.retry_at, queued, timedelta(seconds=LONGEST_WAIT_SECONDS)),
            (versions.c.lease_until, cleared, CLEARING),
        ):
            too_late = sa.and_(chosen, column > moment + longest)
            with self._database.read() as connection:
                is_needed = connection.execute(sa.select(versions.c.id).where(too_late).limit(1)).first()
            if is_needed:
                with self._database.write() as connection:
                    lock_rows(connection, versions, too_late)
                    connection.execute(sa.update(versions).where(too_late).values({column: moment + longest}))

    def due(self, resend: bool, limit: int = 100) -> list[UUID]:
        """Due queued versions whose message was never sent; marks them as sent.

        With `resend` (the queue is empty), also those whose message was sent some seconds ago, because it was lost.
        """
        moment = self._clock()
        unsent = versions.c.sent_at.is_(None)
        # By a clock that was ahead, or before this one was set back: it cannot be told when.
        sent_later = versions.c.sent_at > moment
        lost = sa.or_(unsent, versions.c.sent_at < moment - timedelta(seconds=RESEND_SECONDS), sent_later)
        statement = (
            sa.select(versions.c.id)
            .where(
                versions.c.state == VersionState.QUEUED.value,
                versions.c.cancel_requested.is_(False),
                sa.or_(versions.c.retry_at.is_(None), versions.c.retry_at <= moment),
                lost if resend else unsent,
            )
            .order_by(versions.c.created_at)
            .limit(limit)
        )
        with self._database.read() as connection:
            found = list(connection.scalars(statement))
        if found:
            mark_sent(self._database, found, moment)
        return found

    # --- inside ---

    def _has_place(self, connection: sa.Connection, version_id: UUID) -> bool:
        owner_id = connection.scalar(_OWNER_LOCKED, {"of_version": version_id})
        return (connection.scalar(_IN_WORK, {"of_owner": owner_id}) or 0) < self.most_per_user

    def _end_dead_clearings(self) -> None:
        """Release the versions that a dead worker was clearing. Another worker clears them; a retry need not wait."""
        cleared = sa.and_(versions.c.state.in_(CLEARED), versions.c.lease_until.is_not(None))
        with self._database.read() as connection:
            dead = self._dead_owners(connection, cleared)
        if dead:
            theirs = sa.and_(cleared, versions.c.lease_owner.in_(dead))
            with self._database.write() as connection:
                lock_rows(connection, versions, theirs)
                connection.execute(sa.update(versions).where(theirs).values(lease_owner="", lease_until=None))

    def _dead_owners(self, connection: sa.Connection, leased: sa.ColumnElement[bool]) -> list[str]:
        """Those who hold such versions, but ran on this host and are gone."""
        owners = connection.scalars(sa.select(versions.c.lease_owner).where(leased).distinct())
        return [owner for owner in owners if is_dead(owner, self._owner)]

    def _expire(self, connection: sa.Connection, version: sa.Row[Any]) -> tuple[VersionState, str]:
        """Returns its state from now on, and the code of the error if it failed."""
        seen_at = version.heartbeat_at or self._clock()
        is_innocent = went_down_with_machine(version.lease_owner, self._clock() - seen_at)
        is_recent = version.crashed_at is not None and abs(seen_at - version.crashed_at) <= CRASH_WINDOW
        crashes = (version.crashes if is_recent else 0) + (0 if is_innocent else 1)
        state, values = VersionState.QUEUED, dict[str, Any]()
        if version.cancel_requested:
            state, values = VersionState.CANCELLED, {"finished_at": self._clock()}
        elif crashes >= MAX_CRASHES:
            error = WorkerDied(name=version.document_name, attempts=crashes, stage=version.state)
            state = VersionState.FAILED
            values = {"finished_at": self._clock(), "error": error.code, "error_values": error.values}
        if not is_innocent:
            values["crashed_at"] = seen_at
        values |= {"crashes": crashes, "lease_owner": "", "lease_until": None, "sent_at": None}
        connection.execute(_MARK, {"of_version": version.id, "state": state.value, **values})
        count_move(connection, version.id, VersionState(version.state), state)
        if state is not VersionState.QUEUED:
            tell_ended(connection, version.id)
        error_code = str(values.get("error", ""))
        note_ingested("crashed" if state is VersionState.QUEUED else state.value, error_code)
        return state, error_code

    def _put_back(self, job: Job, **values: Any) -> None:
        """Queue the version again, unless it was cancelled: no worker would ever claim it then."""
        free = {"lease_owner": "", "lease_until": None, "sent_at": None}
        with self._database.write() as connection:
            _change_unless_cancelled(connection, job, {"state": VersionState.QUEUED.value, **free, **values})
            count_move(connection, job.version_id, VersionState.PARSING, VersionState.QUEUED)

    def _end(self, job: Job, state: VersionState, **values: Any) -> None:
        with self._database.write() as connection:
            change = {"state": state.value, **self._ended(job), **values}
            if connection.execute(_CHANGE, _of(job) | change).rowcount == 0:
                raise LeaseLost
            count_move(connection, job.version_id, VersionState.PARSING, state)
            tell_ended(connection, job.version_id)
            record_ingested(connection, [(state, str(values.get("error", "")), job.size_bytes)])

    def _ended(self, job: Job) -> dict[str, Any]:
        ended = {"finished_at": self._clock(), "memory_peak_mb": job.memory_peak_mb}
        return ended | {"lease_owner": "", "lease_until": None}


def _of(job: Job) -> dict[str, Any]:
    """The parameters of `_HELD`."""
    return {"of_version": job.version_id, "of_lease": job.lease}


def _check(connection: sa.Connection, job: Job) -> None:
    found = connection.execute(_CHECK, {"of_version": job.version_id}).one_or_none()
    if found is None or found.lease_owner != job.lease:
        raise LeaseLost
    if found.cancel_requested:
        raise Cancelled


def _change_unless_cancelled(connection: sa.Connection, job: Job, values: dict[str, Any]) -> None:
    if connection.execute(_CHANGE_UNLESS_CANCELLED, _of(job) | values).rowcount == 0:
        _check(connection, job)
        raise LeaseLost
