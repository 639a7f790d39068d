"""Webhooks: what programs are told, and what becomes of it when they cannot be told."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from kb.access import GranteeKind, KeyScope, Permission
from kb.access.keys import ApiKeys
from kb.database import tables
from kb.database.tables import now, users, webhook_deliveries
from kb.errors import (
    AddressInvalid,
    Cancelled,
    EmptyFile,
    HostNotPublic,
    LeaseLost,
    MilvusUnavailable,
    NoKnowledgeBaseChosen,
    NotFound,
    PageTooSlow,
    TooManyWebhooks,
    WebhookOff,
)
from kb.fetching import Fetcher
from kb.ingestion import Claims
from kb.ingestion.cleanup import LONGEST_PAUSE_SECONDS, TOLD_FAILURES, Cleanup
from kb.library.sharing import Grantee, Sharing
from kb.models import Document, VersionState
from kb.providers.keys import KeySafe
from kb.vectors import VectorStore
from kb.webhooks import ADDRESS_CHARACTERS, Deliveries, Event, Webhooks
from kb.webhooks.deliveries import CLAIM_SECONDS, DISABLED_AFTER, KEPT, LONGEST_REST, PAUSES_SECONDS, RESTS
from kb.webhooks.endpoints import MOST
from kb.webhooks.outbox import new_delivery, tell
from kb.webhooks.signing import signed
from tests.conftest import Clock, Library, MakeSettings, make_claims
from tests.fakes.receiver import Receiver
from tests.real_services import wait_until


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def safe(make_settings: MakeSettings) -> KeySafe:
    return KeySafe(make_settings())


@pytest.fixture
def webhooks(library: Library, safe: KeySafe, receiver: Receiver) -> Webhooks:
    return Webhooks(library.database, safe, receiver.authority)


@pytest.fixture
def later() -> Clock:
    """A clock that begins after what the tests write down now."""
    clock = Clock()
    clock.now = now() + timedelta(minutes=5)  # however slow the machine is
    return clock


@pytest.fixture
def deliveries(library: Library, safe: KeySafe, receiver: Receiver, later: Clock) -> Deliveries:
    return Deliveries(library.database, safe, Fetcher(receiver.authority).post, later)


@pytest.fixture
def claims(library: Library, clock: Clock) -> Claims:
    return make_claims(library.database, "worker", clock)


def end(claims: Claims, document: Document, is_good: bool = True) -> None:
    job = claims.claim(document.latest.id)
    assert job
    if is_good:
        claims.enter(job, VersionState.INDEXING)
        claims.switch(job, chunks=3)
    else:
        claims.fail(job, EmptyFile(name=document.name))


def tell_of(library: Library, count: int) -> None:
    """Have events told, to whoever may view a new knowledge base of the user's."""
    base = library.knowledge_base(f"Base {uuid4()}")
    with library.database.write() as connection:
        for _ in range(count):
            tell(connection, Event.CLEAN_UP_FAILED, base.id, {})


def events(receiver: Receiver) -> list[str]:
    return [each.event["type"] for each in receiver.received]


def test_signature_is_that_of_the_standard() -> None:
    """The example of https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md"""
    body = b'{"event_type":"ping","data":{"success":true}}'
    headers = signed("whsec_plJ3nmyCDGBKInavdOK15jsl", "msg_loFOjxBNrRLzqYUf", 1731705121, body)
    assert headers["webhook-signature"] == "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="


def test_webhook_that_is_deleted_meanwhile_fails_nothing(
    library: Library, webhooks: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither what an event tells of, which may be somebody else's, nor what its user asks for."""
    deleting: list[threading.Thread] = []

    def delete_first(webhook_id: UUID, *given: Any) -> Any:
        deleting.append(threading.Thread(target=webhooks.delete, args=(library.user, webhook_id)))
        deleting[-1].start()
        deleting[-1].join(0.3)  # it waits for this transaction
        return new_delivery(webhook_id, *given)

    for module in ("outbox", "endpoints"):
        monkeypatch.setattr(f"kb.webhooks.{module}.new_delivery", delete_first)
    webhooks.create(library.user, "https://hooks.example/")
    tell_of(library, 1)
    deleting[-1].join()
    webhooks.test(library.user, webhooks.create(library.user, "https://hooks.example/")[0].id)
    deleting[-1].join()
    assert (len(deleting), webhooks.list(library.user)) == (2, [])


def test_end_of_an_attempt_waits_for_the_webhook_first(library: Library, webhooks: Webhooks, safe: KeySafe) -> None:
    """Who holds a delivery and waits for its webhook would wait for ever for somebody who does the opposite."""
    if library.database.is_sqlite:  # which has one writer at a time
        return
    webhook, _secret = webhooks.create(library.user, "https://hooks.example/")
    delivery = webhooks.test(library.user, webhook.id)
    delivering = threading.Thread(target=Deliveries(library.database, safe, lambda *_given: 500).deliver_due)
    held = sa.select(tables.webhooks.c.id).where(tables.webhooks.c.id == webhook.id).with_for_update(key_share=True)
    free = sa.select(webhook_deliveries.c.id).where(webhook_deliveries.c.id == delivery.id)
    with library.database.write() as connection, library.database.read() as other:
        connection.execute(held)
        delivering.start()
        waits = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        wait_until(lambda: other.scalar(waits), what="the end of the attempt")
        assert connection.scalar(free.with_for_update(nowait=True)) == delivery.id
    delivering.join()
    assert webhooks.deliveries(library.user, webhook.id, None, 1)[0].status == 500


def test_end_of_a_document_is_told_and_signed(
    library: Library, claims: Claims, webhooks: Webhooks, deliveries: Deliveries, receiver: Receiver
) -> None:
    webhook, secret = webhooks.create(library.user, receiver.address)
    base = library.knowledge_base()
    good, bad = library.upload(base, "手册.md"), library.upload(base, "empty.md")
    assert not deliveries.are_due()
    end(claims, good)
    end(claims, bad, is_good=False)
    assert deliveries.are_due()
    assert deliveries.deliver_due() == 2
    assert not deliveries.are_due()
    first, second = (each.event for each in receiver.received)
    assert (first["type"], first["data"]["name"], first["data"]["chunks"]) == ("document.ready", "手册.md", 3)
    assert (first["data"]["document_id"], first["data"]["is_searchable"]) == (str(good.id), True)
    assert (second["type"], second["data"]["error"]) == ("document.failed", "empty_file")
    sent = receiver.received[0]
    content = f"{sent.headers['webhook-id']}.{sent.headers['webhook-timestamp']}.".encode() + sent.body
    key = base64.b64decode(secret.get_secret_value().removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    assert sent.headers["webhook-signature"] == f"v1,{expected}"
    assert sent.headers["content-type"] == "application/json"
    kept = webhooks.deliveries(library.user, webhook.id, None, 10)
    assert {str(each.id) for each in kept} == {each.headers["webhook-id"] for each in receiver.received}
    assert [(each.status, each.attempts, each.due_at, each.error) for each in kept] == [(204, 1, None, "")] * 2
    assert {each.document_name for each in kept} == {"手册.md", "empty.md"}


def test_only_those_who_may_view_it_and_want_it_are_told(
    library: Library, claims: Claims, webhooks: Webhooks, deliveries: Deliveries, receiver: Receiver
) -> None:
    base, other = library.knowledge_base(), library.knowledge_base("Other")
    keys = ApiKeys(library.database)

    _key, secret = keys.create(library.user, "Program", [KeyScope.WRITE], [other.id])
    limited = keys.authenticate(secret.get_secret_value())
    webhooks.create(limited, f"{receiver.address}/limited")
    webhooks.create(library.user, f"{receiver.address}/failed", [Event.DOCUMENT_FAILED])
    webhooks.create(library.stranger, f"{receiver.address}/stranger")
    webhooks.create(library.user, f"{receiver.address}/all")
    end(claims, library.upload(base))
    deliveries.deliver_due()
    assert [each.path for each in receiver.received] == ["/hook/all"]
    Sharing(library.database).grant(library.user, base.id, Grantee(GranteeKind.EVERYBODY), Permission.VIEW)
    end(claims, library.upload(base))
    deliveries.deliver_due()
    assert sorted(each.path for each in receiver.received[1:]) == ["/hook/all", "/hook/stranger"]
    end(claims, library.upload(other))
    deliveries.deliver_due()
    assert sorted(each.path for each in receiver.received[3:]) == ["/hook/all", "/hook/limited"]
    assert limited.key
    keys.revoke(library.user, limited.key.id)
    with library.database.write() as connection:
        stranger = users.c.id == library.stranger.user_id
        connection.execute(sa.update(users).where(stranger).values(suspended_at=sa.func.current_timestamp()))
    end(claims, library.upload(other))
    end(claims, library.upload(base))
    deliveries.deliver_due()
    assert [each.path for each in receiver.received[5:]] == ["/hook/all"] * 2


def test_webhooks_belong_to_their_user_and_to_a_limited_key_its_own(
    library: Library, webhooks: Webhooks, receiver: Receiver
) -> None:
    webhook, _secret = webhooks.create(library.user, receiver.address)
    keys, base = ApiKeys(library.database), library.knowledge_base()
    _key, secret = keys.create(library.user, "Program", [KeyScope.WRITE], [base.id])
    limited = keys.authenticate(secret.get_secret_value())
    own, _secret = webhooks.create(limited, receiver.address)
    assert [each.id for each in webhooks.list(limited)] == [own.id]
    assert {each.id for each in webhooks.list(library.user)} == {own.id, webhook.id}
    for acting in (library.stranger, limited):
        for call in (webhooks.get, webhooks.delete, webhooks.enable, webhooks.disable, webhooks.test):
            with pytest.raises(NotFound):
                call(acting, webhook.id)
        with pytest.raises(NotFound):
            webhooks.deliveries(acting, webhook.id, None, 10)
        with pytest.raises(NotFound):
            webhooks.change(acting, webhook.id, receiver.address)
    webhooks.delete(library.user, webhook.id)
    with pytest.raises(NotFound):
        webhooks.get(library.user, webhook.id)


def test_failed_attempt_is_repeated_later_with_the_same_id_and_body(
    library: Library, webhooks: Webhooks, deliveries: Deliveries, receiver: Receiver, later: Clock
) -> None:
    webhook, _secret = webhooks.create(library.user, receiver.address)
    webhooks.test(library.user, webhook.id)
    receiver.statuses = [500, 302]
    assert deliveries.deliver_due() == 1
    (kept,) = webhooks.deliveries(library.user, webhook.id, None, 10)
    assert (kept.status, kept.error, kept.error_values["status"]) == (500, "webhook_refused", "500")
    assert webhooks.get(library.user, webhook.id).failing_since
    assert deliveries.deliver_due() == 0
    later.advance(PAUSES_SECONDS[0] * 1.2)
    assert deliveries.deliver_due() == 1
    later.advance(PAUSES_SECONDS[1] / 2)
    assert deliveries.deliver_due() == 0
    later.advance(PAUSES_SECONDS[1])
    assert deliveries.deliver_due() == 1
    assert [each.path for each in receiver.received] == ["/hook"] * 3  # the redirect was not followed
    assert len({each.headers["webhook-id"] for each in receiver.received}) == 1
    assert len({each.body for each in receiver.received}) == 1
    assert len({each.headers["webhook-signature"] for each in receiver.received}) == 3
    assert webhooks.get(library.user, webhook.id).failing_since is None


def test_delivery_of_a_killed_worker_is_not_lost(
    library: Library, webhooks: Webhooks, deliveries: Deliveries, receiver: Receiver, later: Clock
) -> None:
    webhook, _secret = webhooks.create(library.user, receiver.address)
    webhooks.test(library.user, webhook.id)
    assert deliveries._claim()  # and then it is killed
    assert not deliveries.are_due()
    assert deliveries.deliver_due() == 0
    later.advance(CLAIM_SECONDS + 1)
    assert deliveries.are_due()
    assert deliveries.deliver_due() == 1
    assert events(receiver) == ["webhook.test"]


@pytest.mark.parametrize("hours", [1, 48])
def test_nothing_waits_for_a_clock_that_was_set_back(
    library: Library, webhooks: Webhooks, deliveries: Deliveries, receiver: Receiver, later: Clock, hours: int
) -> None:
    webhook, _secret = webhooks.create(library.user, receiver.address)
    webhooks.test(library.user, webhook.id)
    later.advance(-3600 * hours)
    assert deliveries._claim()  # of a worker that is killed then
    later.advance(-3600 * hours)
    with library.database.write() as connection:
        connection.execute(sa.update(tables.webhooks).values(rests_until=later.now + timedelta(hours=hours)))
    assert deliveries.are_due()
    assert deliveries.deliver_due() == 1
    assert events(receiver) == ["webhook.test"]


def test_what_did_not_happen_is_not_told(
    library: Library, claims: Claims, webhooks: Webhooks, deliveries: Deliveries, receiver: Receiver
) -> None:
    webhooks.create(library.user, receiver.address)
    document = library.upload(library.knowledge_base())
    job = claims.claim(document.latest.id)
    assert job
    claims.enter(job, VersionState.INDEXING)
    library.documents.cancel(library.user, document.id)
    with pytest.raises(Cancelled):
        claims.switch(job, chunks=1)
    assert deliveries.deliver_due() == 0


@pytest.mark.parametrize("stage", ["queued", "running", "abandoned"])
def test_cancel_is_told_as_an_end(
    library: Library,
    claims: Claims,
    webhooks: Webhooks,
    deliveries: Deliveries,
    receiver: Receiver,
    clock: Clock,
    stage: str,
) -> None:
    """Whether nobody works on it yet, a worker does, or one that died."""
    webhooks.create(library.user, receiver.address)
    document = library.upload(library.knowledge_base())
    job = None if stage == "queued" else claims.claim(document.latest.id)
    library.documents.cancel(library.user, document.id)
    if stage == "running":
        assert job
        claims.cancel(job)
    elif stage == "abandoned":
        clock.advance(3600)
        assert claims.expire() == 1
    deliveries.deliver_due()
    (told,) = receiver.received
    assert (told.event["type"], told.event["data"]["state"]) == ("document.cancelled", "cancelled")
    assert (told.event["data"]["document_id"], told.event["data"]["is_searchable"]) == (str(document.id), False)


def test_content_that_is_replaced_is_not_told_as_cancelled(
    library: Library, claims: Claims, webhooks: Webhooks, deliveries: Deliveries, receiver: Receiver
) -> None:
    """Its document has not ended: a newer content waits."""
    webhooks.create(library.user, receiver.address)
    document = library.upload(library.knowledge_base())
    job = claims.claim(document.latest.id)
    assert job
    library.arrivals.replace(library.user, document.id, io.BytesIO(b"newer"))
    claims.cancel(job)
    assert deliveries.deliver_due() == 0


def test_dead_receiver_is_disabled_and_can_be_enabled(
    library: Library, webhooks: Webhooks, deliveries: Deliveries, receiver: Receiver, later: Clock
) -> None:
    webhook, _secret = webhooks.create(library.user, receiver.address)
    webhooks.test(library.user, webhook.id)
    receiver.statuses = [503] * (len(PAUSES_SECONDS) + 1)
    while webhooks.deliveries(library.user, webhook.id, None, 1)[0].due_at:
        deliveries.deliver_due()
        later.advance(3600)
    disabled = webhooks.get(library.user, webhook.id)
    assert disabled.disabled_at
    assert disabled.failing_since
    assert disabled.disabled_at - disabled.failing_since > DISABLED_AFTER
    with pytest.raises(WebhookOff):
        webhooks.test(library.user, webhook.id)
    assert webhooks.enable(library.user, webhook.id).disabled_at is None
    receiver.statuses = []
    webhooks.test(library.user, webhook.id)
    later.advance(1)
    assert deliveries.deliver_due() == 1


def test_receiver_that_is_gone_is_disabled_at_once(
    library: Library, webhooks: Webhooks, deliveries: Deliveries, receiver: Receiver
) -> None:
    webhook, _secret = webhooks.create(library.user, receiver.address)
    tell_of(library, 2)
    receiver.statuses = [410]
    assert deliveries.deliver_due() == 1
    disabled = webhooks.get(library.user, webhook.id)
    assert disabled.disabled_at
    assert disabled.failing_since
    assert [each.due_at for each in webhooks.deliveries(library.user, webhook.id, None, 10)] == [None, None]


def test_silent_receiver_holds_up_one_attempt_at_a_time(
    library: Library, safe: KeySafe, webhooks: Webhooks, receiver: Receiver, later: Clock
) -> None:
    silent = webhooks.create(library.user, "https://silent.example/")[0]
    good = webhooks.create(library.user, receiver.address, [Event.DOCUMENT_READY])[0]
    webhooks.test(library.user, good.id)
    tell_of(library, 3)
    unresolved = Fetcher(receiver.authority, resolver=lambda host, _port: [host] if host[0].isdigit() else [])
    deliveries = Deliveries(library.database, safe, unresolved.post, later)
    assert deliveries.deliver_due() == 2
    assert events(receiver) == ["webhook.test"]
    assert {each.error for each in webhooks.deliveries(library.user, silent.id, None, 10)} == {"", "host_not_found"}


def test_private_addresses_are_refused(
    library: Library, safe: KeySafe, webhooks: Webhooks, receiver: Receiver, later: Clock
) -> None:
    for address in ("http://127.0.0.1:8099/", "http://10.0.0.1/", "http://[::1]/", "http://169.254.169.254/"):
        with pytest.raises(HostNotPublic):
            webhooks.create(library.user, address)
    webhook, _secret = webhooks.create(library.user, "http://inside.example/hook")
    webhooks.test(library.user, webhook.id)
    bound = Fetcher(resolver=lambda _host, _port: ["127.0.0.1"])  # a name that stands for this machine
    Deliveries(library.database, safe, bound.post, later).deliver_due()
    (kept,) = webhooks.deliveries(library.user, webhook.id, None, 10)
    assert (kept.error, receiver.received) == ("host_not_public", [])


class _Away:
    """A vector store that does not respond."""

    def __getattr__(self, _name: str) -> Any:
        def fail(*_given: object) -> None:
            raise MilvusUnavailable(detail="away")

        return fail


def test_clean_up_that_keeps_failing_is_told_once(
    library: Library, claims: Claims, webhooks: Webhooks, deliveries: Deliveries, receiver: Receiver, later: Clock
) -> None:
    webhooks.create(library.user, receiver.address, [Event.CLEAN_UP_FAILED])
    document = library.upload(library.knowledge_base())
    end(claims, document)
    library.documents.delete(library.user, document.id)
    cleanup = Cleanup(library.database, cast(VectorStore, _Away()), library.files, "worker", later)
    for attempt in range(TOLD_FAILURES + 2):
        with pytest.raises(MilvusUnavailable):
            cleanup.clear_document(document.id)
        later.advance(LONGEST_PAUSE_SECONDS)
        deliveries.deliver_due()
        assert len(receiver.received) == (attempt + 1 >= TOLD_FAILURES)
    (told,) = receiver.received
    base_id = str(document.knowledge_base_id)
    expected = {"knowledge_base_id": base_id, "document_id": str(document.id), "error": "milvus_unavailable"}
    assert (told.event["type"], told.event["data"]) == ("clean_up.failed", expected)


def test_webhooks_are_bounded_and_old_deliveries_forgotten(
    library: Library, webhooks: Webhooks, deliveries: Deliveries, receiver: Receiver, later: Clock
) -> None:
    made = [webhooks.create(library.user, receiver.address)[0] for _ in range(MOST)]
    with pytest.raises(TooManyWebhooks):
        webhooks.create(library.user, receiver.address)
    webhooks.test(library.user, made[0].id)
    assert deliveries.purge() == 0
    deliveries.deliver_due()
    later.advance(KEPT.total_seconds() + 60)
    assert deliveries.purge() == 1
    with library.database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(webhook_deliveries)) == 0


def test_repeated_creation_gives_the_same_webhook_and_secret(
    library: Library, webhooks: Webhooks, receiver: Receiver
) -> None:
    """Also once there may be no more."""
    create = partial(webhooks.create, library.user, receiver.address, new_id=library.knowledge_base().id)
    first = create()
    assert create() == first
    assert [each.address for each in webhooks.list(library.user)] == [receiver.address]
    for _ in range(MOST - 1):
        webhooks.create(library.user, receiver.address)
    assert create() == first


def test_address_is_bounded(library: Library, webhooks: Webhooks, receiver: Receiver) -> None:
    longest = f"{receiver.address}?".ljust(ADDRESS_CHARACTERS, "x")
    assert webhooks.create(library.user, longest)[0].address == longest
    with pytest.raises(AddressInvalid):
        webhooks.create(library.user, f"{longest}x")


def test_event_of_a_deleted_knowledge_base_is_not_told(
    library: Library, claims: Claims, webhooks: Webhooks, deliveries: Deliveries, receiver: Receiver
) -> None:
    """Neither one that happens then, nor one that waits."""
    webhook, _secret = webhooks.create(library.user, receiver.address)
    base = library.knowledge_base()
    before, after = library.upload(base, "before.md"), library.upload(base, "after.md")
    end(claims, before)
    job = claims.claim(after.latest.id)
    assert job
    library.knowledge_bases.delete(library.user, base.id)
    with suppress(LeaseLost):
        claims.fail(job, EmptyFile(name=after.name))
    assert deliveries.deliver_due() == 1
    assert receiver.received == []
    (kept,) = webhooks.deliveries(library.user, webhook.id, None, 10)
    assert (kept.error, kept.due_at, kept.attempts, kept.document_name) == ("not_found", None, 0, "")
    assert webhooks.get(library.user, webhook.id).failing_since is None


def test_who_lost_access_is_not_told_what_waits(
    library: Library, claims: Claims, webhooks: Webhooks, deliveries: Deliveries, receiver: Receiver, later: Clock
) -> None:
    webhooks.create(library.stranger, receiver.address)
    base, sharing = library.knowledge_base(), Sharing(library.database)
    sharing.grant(library.user, base.id, Grantee(GranteeKind.EVERYBODY), Permission.VIEW)
    end(claims, library.upload(base))
    receiver.statuses = [500]
    deliveries.deliver_due()
    sharing.withdraw(library.user, base.id, Grantee(GranteeKind.EVERYBODY))
    later.advance(PAUSES_SECONDS[0] * 1.2)
    deliveries.deliver_due()
    assert len(receiver.received) == 1


class _Slow:
    """A receiver, or several, each of whose answers takes a while on the clock."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self.asked: list[str] = []
        self.is_silent = False

    def post(self, address: str, body: bytes, headers: Mapping[str, str]) -> int:
        self.asked.append(address)
        if address.startswith("https://slow"):
            self._clock.advance(self._seconds)
            if self.is_silent:
                raise PageTooSlow(host="slow.example", seconds="10")
        return 204


def test_slow_receivers_of_one_user_leave_time_for_others(
    library: Library, safe: KeySafe, claims: Claims, webhooks: Webhooks, later: Clock
) -> None:
    for name in ("a", "b"):
        webhooks.create(library.user, f"https://slow.example/{name}")
    webhooks.create(library.stranger, "https://quick.example/")
    base = library.knowledge_base()
    Sharing(library.database).grant(library.user, base.id, Grantee(GranteeKind.EVERYBODY), Permission.VIEW)
    for _ in range(2):
        end(claims, library.upload(base))
    slow = _Slow(later, 9)
    deliveries = Deliveries(library.database, safe, slow.post, later)
    deliveries.deliver_due()
    assert sorted(slow.asked)[:2] == ["https://quick.example/"] * 2
    assert len(slow.asked) == 3
    later.advance(9 * RESTS)
    assert deliveries.deliver_due() == 1


def test_silent_receiver_is_asked_less_often_the_longer_it_is_silent(
    library: Library, safe: KeySafe, webhooks: Webhooks, later: Clock
) -> None:
    webhook, _secret = webhooks.create(library.user, "https://slow.example/")
    slow = _Slow(later, 10)
    slow.is_silent = True
    deliveries = Deliveries(library.database, safe, slow.post, later)
    tell_of(library, 100)
    deliveries.deliver_due()
    (newest,) = webhooks.deliveries(library.user, webhook.id, None, 1)
    assert newest.error in ("", "webhook_silent")
    later.advance(LONGEST_REST.total_seconds() * 10)
    deliveries.deliver_due()
    assert len(slow.asked) == 2
    later.advance(LONGEST_REST.total_seconds() - 60)
    assert deliveries.deliver_due() == 0
    webhooks.test(library.user, webhook.id)  # somebody mended it, and wants to see that
    later.advance(1)
    slow.is_silent = False
    deliveries.deliver_due()
    assert len(slow.asked) == 3
    assert webhooks.get(library.user, webhook.id).failing_since is None


def test_defect_ends_an_attempt_like_any_failure(
    library: Library, safe: KeySafe, webhooks: Webhooks, receiver: Receiver, later: Clock
) -> None:
    def fail(*_given: object) -> int:
        raise ZeroDivisionError

    webhook, _secret = webhooks.create(library.user, receiver.address)
    webhooks.test(library.user, webhook.id)
    Deliveries(library.database, safe, fail, later).deliver_due()
    (kept,) = webhooks.deliveries(library.user, webhook.id, None, 10)
    assert (kept.error, kept.error_values["detail"]) == ("webhook_defect", "ZeroDivisionError")
    assert kept.due_at
    assert kept.due_at > later()


def test_what_did_not_arrive_is_sent_again_on_demand(
    library: Library, claims: Claims, webhooks: Webhooks, deliveries: Deliveries, receiver: Receiver, later: Clock
) -> None:
    """With the same id and body, also after the last attempt; what arrived is not sent twice."""
    webhook, _secret = webhooks.create(library.user, receiver.address)
    end(claims, library.upload(library.knowledge_base()))
    with library.database.write() as connection:  # the last attempt is due
        connection.execute(sa.update(webhook_deliveries).values(attempts=len(PAUSES_SECONDS)))
    receiver.statuses = [500]
    assert deliveries.deliver_due() == 1
    (lost,) = webhooks.deliveries(library.user, webhook.id, None, 9)
    assert (lost.due_at, lost.delivered_at) == (None, None)
    assert webhooks.resend(library.user, webhook.id, lost.id).due_at
    assert deliveries.deliver_due() == 1
    assert len({(each.headers["webhook-id"], each.body) for each in receiver.received}) == 1
    assert webhooks.resend(library.user, webhook.id, lost.id).delivered_at
    assert deliveries.deliver_due() == 0
    other, _secret = webhooks.create(library.user, receiver.address)
    for who, of in ((library.stranger, webhook.id), (library.user, other.id)):
        with pytest.raises(NotFound):
            webhooks.resend(who, of, lost.id)
    webhooks.disable(library.user, webhook.id)
    with pytest.raises(WebhookOff):
        webhooks.resend(library.user, webhook.id, lost.id)


def test_new_test_replaces_one_that_waits(
    library: Library, webhooks: Webhooks, deliveries: Deliveries, receiver: Receiver, later: Clock
) -> None:
    webhook, _secret = webhooks.create(library.user, receiver.address)
    for _ in range(3):
        webhooks.test(library.user, webhook.id)
    assert deliveries.deliver_due() == 1
    assert len(receiver.received) == 1


def test_chosen_knowledge_bases_limit_what_is_told(
    library: Library, claims: Claims, webhooks: Webhooks, deliveries: Deliveries, receiver: Receiver
) -> None:
    base, other = library.knowledge_base(), library.knowledge_base("Other")
    with pytest.raises(NoKnowledgeBaseChosen):
        webhooks.create(library.user, receiver.address, (), [])
    with pytest.raises(NotFound):
        webhooks.create(library.stranger, receiver.address, (), [base.id])
    webhook, _secret = webhooks.create(library.user, receiver.address, (), [base.id])
    assert webhook.knowledge_base_ids == (base.id,)
    for each in (base, other):
        end(claims, library.upload(each))
    deliveries.deliver_due()
    assert [each.event["data"]["knowledge_base_id"] for each in receiver.received] == [str(base.id)]
    changed = webhooks.change(library.user, webhook.id, receiver.address, [Event.DOCUMENT_FAILED], [other.id])
    assert changed.events == {Event.DOCUMENT_FAILED}
    assert changed.knowledge_base_ids == (other.id,)
    assert webhooks.list(library.user) == [changed]
    for each in (base, other):
        end(claims, library.upload(each))
        end(claims, library.upload(each), is_good=False)
    deliveries.deliver_due()
    assert [each.event["data"]["knowledge_base_id"] for each in receiver.received[1:]] == [str(other.id)]
    assert webhooks.change(library.user, webhook.id, receiver.address).knowledge_base_ids is None
    with pytest.raises(HostNotPublic):
        webhooks.change(library.user, webhook.id, "http://10.0.0.1/")


def test_webhook_that_was_switched_off_is_told_nothing(
    library: Library, webhooks: Webhooks, deliveries: Deliveries, receiver: Receiver
) -> None:
    webhook, _secret = webhooks.create(library.user, receiver.address)
    tell_of(library, 1)
    off = webhooks.disable(library.user, webhook.id)
    assert off.disabled_at
    assert off.failing_since is None
    tell_of(library, 1)
    assert webhooks.enable(library.user, webhook.id).disabled_at is None
    assert deliveries.deliver_due() == 0
    tell_of(library, 1)
    assert deliveries.deliver_due() == 1


def test_attempt_that_fails_while_it_is_switched_off_is_not_repeated(
    library: Library, safe: KeySafe, webhooks: Webhooks, receiver: Receiver, later: Clock
) -> None:
    webhook, _secret = webhooks.create(library.user, receiver.address)

    def fail(*_given: object) -> int:
        webhooks.disable(library.user, webhook.id)
        return 500

    webhooks.test(library.user, webhook.id)
    Deliveries(library.database, safe, fail, later).deliver_due()
    webhooks.enable(library.user, webhook.id)
    later.advance(PAUSES_SECONDS[0] * 2)
    assert Deliveries(library.database, safe, fail, later).deliver_due() == 0


def test_whether_anything_is_to_be_sent_soon(library: Library, webhooks: Webhooks, receiver: Receiver) -> None:
    webhook, _secret = webhooks.create(library.user, receiver.address)
    soon = datetime.now(UTC) + timedelta(minutes=2)
    lost = webhooks.test(library.user, webhook.id)
    webhooks.test(library.user, webhook.id)  # in place of the one that waited
    with library.database.write() as connection:
        connection.execute(sa.update(webhook_deliveries).values(due_at=soon + timedelta(hours=1)))
    assert not webhooks.is_due(library.user, soon)
    webhooks.resend(library.user, webhook.id, lost.id)  # not the newest one
    assert webhooks.is_due(library.user, soon)
    assert not webhooks.is_due(library.stranger, soon)
    webhooks.disable(library.user, webhook.id)
    assert not webhooks.is_due(library.user, soon)


def test_lost_key_and_last_deliveries_are_shown(library: Library, webhooks: Webhooks, receiver: Receiver) -> None:
    keys = ApiKeys(library.database)
    key, secret = keys.create(library.user, "Program", [KeyScope.WRITE])
    program = keys.authenticate(secret.get_secret_value())
    made, _secret = webhooks.create(program, receiver.address)
    quiet, _secret = webhooks.create(library.user, receiver.address)
    foreign, _secret = webhooks.create(library.stranger, receiver.address)
    assert (made.key_name, made.has_lost_key, quiet.key_name) == ("Program", False, "")
    webhooks.test(library.stranger, foreign.id)
    tests = [webhooks.test(library.user, made.id) for _ in range(2)]
    assert webhooks.last_deliveries(library.user) == {made.id: tests[-1]}
    keys.revoke(library.user, key.id)
    assert webhooks.get(library.user, made.id).has_lost_key
    assert not webhooks.get(library.user, quiet.id).has_lost_key
    with pytest.raises(WebhookOff):
        webhooks.test(library.user, made.id)


def test_webhook_that_a_key_sends_elsewhere_ends_with_the_key(
    library: Library, webhooks: Webhooks, receiver: Receiver
) -> None:
    keys = ApiKeys(library.database)
    key, secret = keys.create(library.user, "Program", [KeyScope.WRITE])
    program = keys.authenticate(secret.get_secret_value())
    same, moved = (webhooks.create(library.user, receiver.address)[0] for _ in range(2))
    webhooks.change(program, same.id, receiver.address, [Event.DOCUMENT_READY])
    webhooks.change(program, moved.id, f"{receiver.address}/elsewhere")
    keys.revoke(library.user, key.id)
    assert webhooks.get(library.user, moved.id).has_lost_key
    assert not webhooks.get(library.user, same.id).has_lost_key
