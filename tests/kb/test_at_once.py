"""Two things at the same moment, of which neither fails or undoes the other. SQLite has one writer at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from io import BytesIO
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
import sqlalchemy as sa

from kb.access import GranteeKind, Permission
from kb.accounts.groups import Groups
from kb.audit import record, record_failed_sign_in
from kb.conversations import Conversations, Messages, rows
from kb.database import tables
from kb.database.tables import audit_events, documents, index_checks, leftovers, now, versions
from kb.errors import CollectionMissing, NotFound
from kb.ingestion import Claims
from kb.library import mark_deleted, mark_sent
from kb.library.counts import count_document, count_move, count_moves, recount
from kb.library.quotas import Quotas
from kb.library.sharing import Grantee, Sharing
from kb.models import Document, Mode, UserRole, VersionState
from kb.progress import new_worker_id
from kb.reconciling import Checks, Leftover, index_again, reconciled
from kb.reconciling.leftovers import COLLECTION, note_leftovers
from kb.vectors import VectorStore
from kb.webhooks.outbox import tell_ended
from tests.conftest import Clock, Library, add_user, make_claims
from tests.kb.talks import answered, start
from tests.real_services import wait_until

Work = Callable[[Library, list[UUID]], None]
OLD = f"kb_{0:032}"  # a collection that SQL does not know


pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


@pytest.fixture
def claims(library: Library, clock: Clock) -> Claims:
    return make_claims(library.database, "worker", clock)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


class Meanwhile:
    """Does something else in the middle of a transaction, and goes on once that waits for a lock or has ended."""

    def __init__(self, library: Library, pool: ThreadPoolExecutor, work: Callable[..., object], *given: object) -> None:
        self._database, self._pool, self._work = library.database, pool, lambda: work(*given)
        self._done: Future[object] | None = None

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, before whose first call it is begun."""

        def call(*given: Any, **named: Any) -> Any:
            if self._done is None:
                self.begin()
            return function(*given, **named)

        return call

    def begin(self) -> None:
        done = self._done = self._pool.submit(self._work)
        waits = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        with self._database.read() as connection:
            wait_until(lambda: done.done() or connection.scalar(waits), what="the lock")

    def result(self) -> object:
        assert self._done
        return self._done.result(timeout=30)


def milvus(*collections: str) -> VectorStore:
    """One with these collections, of which SQL knows none; they are empty."""

    def size(_collection: str) -> int:
        raise CollectionMissing

    server = SimpleNamespace(is_lite=True)
    calls = SimpleNamespace(size=size, names=lambda: list(collections), stored=lambda _collection: 0, server=server)
    return cast("VectorStore", calls)


def make_ready(claims: Claims, document: Document) -> None:
    job = claims.claim(document.latest.id)
    assert job
    claims.enter(job, VersionState.INDEXING)
    claims.switch(job, chunks=1)


def make_failed(claims: Claims, document: Document) -> None:
    job = claims.claim(document.latest.id)
    assert job
    claims.cancel(job)


def replace(library: Library, document: Document) -> Document:
    return library.arrivals.replace(library.user, document.id, BytesIO(b"# New")).document


def retry(library: Library, document: Document) -> object:
    return library.documents.retry(library.user, document.id)


def miscounted(library: Library, document: Document) -> dict[str, int]:
    with library.database.write() as connection:
        return recount(connection, document.knowledge_base_id)


# --- what changes many versions: of which documents, it is told or finds out ---


def mark_all_sent(library: Library, version_ids: list[UUID]) -> None:
    mark_sent(library.database, version_ids, now())


def delete_base(library: Library, _version_ids: list[UUID]) -> None:
    (base,) = library.knowledge_bases.list(library.user)
    library.knowledge_bases.delete(library.user, base.id)


def begin_clearing(library: Library) -> None:
    """As a worker that had our process id before and has died over it."""
    dead = {"lease_owner": f"{new_worker_id()}/1", "lease_until": now(), "state": VersionState.CANCELLED.value}
    with library.database.write() as connection:
        connection.execute(sa.update(versions).values(dead))


def release_clearings(library: Library, _version_ids: list[UUID]) -> None:
    make_claims(library.database, new_worker_id(), now).expire()


def check(library: Library, _version_ids: list[UUID]) -> None:
    """Everything is lost."""
    (base,) = library.knowledge_bases.list(library.user)
    Checks(library.database, milvus(), library.files).check(base.collection)


def queue_again(library: Library, _version_ids: list[UUID]) -> None:
    index_again(library.database, library.files)


# --- the deletion of a knowledge base ---


def test_knowledge_base_is_deleted_while_a_document_becomes_ready(
    library: Library, claims: Claims, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = library.upload(library.knowledge_base())
    delete = Meanwhile(library, pool, library.knowledge_bases.delete, library.user, document.knowledge_base_id)
    job = claims.claim(document.latest.id)
    assert job
    monkeypatch.setattr("kb.ingestion.claims.count_move", delete.before(count_move))
    claims.switch(job)
    delete.result()


@pytest.mark.parametrize("is_replaced", [False, True])
def test_nothing_is_queued_in_a_knowledge_base_that_is_deleted_meanwhile(
    library: Library, claims: Claims, pool: ThreadPoolExecutor, is_replaced: bool
) -> None:
    document = library.upload(library.knowledge_base())
    make_failed(claims, document)
    queue = replace if is_replaced else retry
    queued = Meanwhile(library, pool, queue, library, document)
    with library.database.write() as connection:
        mark_deleted(connection, document.knowledge_base_id)
        queued.begin()
    with pytest.raises(NotFound):
        queued.result()


def test_content_that_arrives_while_its_knowledge_base_is_deleted_is_given_up(
    library: Library, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = library.upload(library.knowledge_base())
    delete = Meanwhile(library, pool, library.knowledge_bases.delete, library.user, document.knowledge_base_id)
    monkeypatch.setattr("kb.library.arrivals.count_moves", delete.before(count_moves))
    replace(library, document)
    delete.result()
    with library.database.read() as connection:
        assert connection.scalars(sa.select(versions.c.cancel_requested)).all() == [True, True]


# --- the order of locks ---


@pytest.mark.parametrize(
    "work", [mark_all_sent, delete_base, check, queue_again, release_clearings], ids=lambda work: work.__name__
)
def test_versions_are_locked_in_one_order(
    library: Library, claims: Claims, pool: ThreadPoolExecutor, work: Work
) -> None:
    """Whoever waits for the first of them holds no other: two who change some at once would wait for each other."""
    base = library.knowledge_base()
    high, low = UUID(int=2 << 64), UUID(int=1 << 64)
    for version_id in (high, low):  # as they lie in the table
        make_ready(claims, library.upload(base))
        renamed = sa.update(versions).where(versions.c.id.not_in([high, low]))
        with library.database.write() as connection:
            connection.execute(
                sa.update(documents)
                .where(documents.c.live_version_id.not_in([high, low]))
                .values(live_version_id=version_id)
            )
            connection.execute(renamed.values(id=version_id))
    if work is queue_again:
        check(library, [])
    if work is release_clearings:
        begin_clearing(library)
    lock = sa.select(versions.c.id).with_for_update(key_share=True, nowait=True)
    working = Meanwhile(library, pool, work, library, [high, low])
    with library.database.write() as connection:
        connection.execute(lock.where(versions.c.id == low))
        working.begin()
        assert connection.scalar(lock.where(versions.c.id == high)) == high
    working.result()


@pytest.mark.parametrize("is_deleted", [False, True])
def test_old_conversations_are_removed_without_waiting(
    library: Library, conversations: Conversations, pool: ThreadPoolExecutor, is_deleted: bool
) -> None:
    """Of many at once, while others change some of them, too."""
    held, other = (start(conversations, library).id for _ in range(2))
    long_ago = now() - timedelta(days=30)
    values = {"updated_at": long_ago, "deleted_at": long_ago if is_deleted else None}
    work = conversations.purge if is_deleted else partial(conversations.expire, 7)
    with library.database.write() as connection:
        connection.execute(sa.update(tables.conversations).values(values))
    with library.database.write() as connection:
        of_one = sa.select(tables.conversations).where(tables.conversations.c.id == held)
        connection.execute(of_one.with_for_update(key_share=True))
        assert pool.submit(work).result(timeout=30) == 1
    assert work() == 1
    with pytest.raises(NotFound):
        conversations.get(library.user, other)


def test_heartbeat_waits_for_nobody(library: Library, clock: Clock, claims: Claims, pool: ThreadPoolExecutor) -> None:
    base = library.knowledge_base()
    changed, other = (claims.claim(library.upload(base).latest.id) for _ in range(2))
    assert changed
    assert other
    clock.advance(10)
    with library.database.write() as connection:
        held = sa.select(versions.c.id).where(versions.c.id == changed.version_id)
        connection.execute(held.with_for_update(key_share=True))
        pool.submit(claims.renew).result(timeout=30)
    clock.advance(15)
    assert claims.expire() == 1  # what was changed is renewed by the next one
    claims.check(other)


def test_content_is_replaced_within_the_quotas_while_it_is_claimed(
    library: Library, clock: Clock, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.limit(Quotas(most_queued=5))
    claims = Claims(library.database, "worker", lease_seconds=20, clock=clock, most_per_user=1)
    document = library.upload(library.knowledge_base())
    claim = Meanwhile(library, pool, claims.claim, document.latest.id)
    monkeypatch.setattr(Quotas, "admit", claim.before(Quotas.admit))
    new = replace(library, document)
    assert claim.result() is None
    assert claims.claim(new.latest.id)


# --- what was seen, and what is counted or kept ---


@pytest.mark.parametrize("is_deleted", [False, True])
def test_document_that_is_replaced_or_deleted_meanwhile_does_not_count_as_lost(
    library: Library, claims: Claims, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, is_deleted: bool
) -> None:
    document = library.upload(library.knowledge_base())
    make_ready(claims, document)
    new = replace(library, document)
    checking = Meanwhile(library, pool, check, library, [])
    if is_deleted:
        monkeypatch.setattr("kb.library.documents.count_document", checking.before(count_document))
        library.documents.delete(library.user, document.id)
    else:
        monkeypatch.setattr("kb.ingestion.claims.tell_ended", checking.before(tell_ended))
        make_ready(claims, new)
    checking.result()
    assert miscounted(library, document) == {}


def test_old_content_that_is_queued_again_is_not_counted(
    library: Library, claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor if it was replaced while the files were looked for, by one that was given up since."""
    document = library.upload(library.knowledge_base())
    make_ready(claims, document)
    check(library, [])
    is_whole = library.files.is_whole

    def replace_meanwhile(key: str, size_bytes: int) -> bool:
        make_failed(claims, replace(library, document))
        return is_whole(key, size_bytes)

    monkeypatch.setattr(library.files, "is_whole", replace_meanwhile)
    assert index_again(library.database, library.files).queued == 1
    assert miscounted(library, document) == {}


def test_two_workers_note_the_same_check(library: Library, claims: Claims, pool: ThreadPoolExecutor) -> None:
    document = library.upload(library.knowledge_base())
    make_ready(claims, document)
    checking = Meanwhile(library, pool, check, library, [])
    base = library.knowledge_bases.get(library.user, document.knowledge_base_id)
    with library.database.write() as connection:
        connection.execute(sa.insert(index_checks), {"collection": base.collection, "checked_at": now()})
        checking.begin()
    checking.result()


def test_two_workers_note_the_same_leftovers(library: Library, pool: ThreadPoolExecutor) -> None:
    noting = Meanwhile(library, pool, note_leftovers, library.database, milvus(OLD), library.files)
    with library.database.write() as connection:
        row = {"kind": COLLECTION, "name": OLD, "items": 0, "size_bytes": 0}
        connection.execute(sa.insert(leftovers), row)
        noting.begin()
    noting.result()
    assert reconciled(library.database).unknown_collections == (Leftover(OLD, 0),)


def test_group_that_is_deleted_meanwhile_is_granted_nothing(
    library: Library, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, sharing, groups = library.knowledge_base(), Sharing(library.database), Groups(library.database)
    ada = add_user(library.database, "Ada", role=UserRole.ADMINISTRATOR.value)
    group_id = groups.create(ada, "Harbour").id
    delete = Meanwhile(library, pool, groups.delete, ada, group_id)
    monkeypatch.setattr("kb.library.sharing.record", delete.before(record))
    sharing.grant(library.user, base.id, Grantee(GranteeKind.GROUP, group_id), Permission.VIEW)
    delete.result()
    assert sharing.list(library.user, base.id) == []


def test_each_failed_sign_in_is_counted_once(library: Library) -> None:
    """Also where the first two came at the same moment, and are two events."""
    with library.database.write() as first, library.database.write() as second:
        record_failed_sign_in(first, None, "")
        record_failed_sign_in(second, None, "")
    for _attempt in range(3):
        with library.database.write() as connection:
            record_failed_sign_in(connection, None, "")
    with library.database.read() as connection:
        assert sorted(connection.scalars(sa.select(audit_events.c.times))) == [1, 4]


def test_conversation_is_shown_while_its_mode_is_switched(
    library: Library, conversations: Conversations, messages: Messages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notice takes the place of the one that ended the branch."""
    conversation = start(conversations, library)
    answered(messages, library, conversation, "one")
    conversations.choose(library.user, conversation.id, Mode.WEB)
    own = rows.own

    def switch_meanwhile(*given: Any) -> Any:
        found = own(*given)
        monkeypatch.undo()
        conversations.choose(library.user, conversation.id, Mode.LLM)
        return found

    monkeypatch.setattr(rows, "own", switch_meanwhile)
    assert len(messages.shown(library.user, conversation.id)) == 3
