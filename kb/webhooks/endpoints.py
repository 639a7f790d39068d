"""Where programs are told of events, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.exc import IntegrityError

from kb.access import Permission, Principal, can
from kb.access.keys import require_seen
from kb.audit import Action, record
from kb.database import Database
from kb.database.locks import lock_rows
from kb.database.tables import api_keys, now, users, webhook_bases, webhook_deliveries, webhooks
from kb.errors import N_, AddressInvalid, NoKnowledgeBaseChosen, NotFound, TooManyWebhooks, WebhookOff
from kb.fetching.addresses import AllowedHosts, check_public, read_address, show_address
from kb.providers.keys import KeySafe
from kb.webhooks.outbox import Event, has_valid_key, is_open, new_delivery
from kb.webhooks.signing import new_secret

WEBHOOK, DELIVERY = N_("webhook"), N_("delivery")
MOST = 20  # of a user
ADDRESS_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Webhook:
    """`events`: only these; none: all. `knowledge_base_ids`: only of these; None: of all that its user may view.

    `failing_since`: nothing arrived since then. `disabled_at`: nothing is sent; its owner switched it off or, if it was
    failing, it was given up. `key_name`: of the key that made it; `has_lost_key`: that was revoked or has expired, so
    nothing is sent any more.
    """

    id: UUID
    address: str
    events: frozenset[Event]
    knowledge_base_ids: tuple[UUID, ...] | None
    created_at: datetime
    failing_since: datetime | None = None
    disabled_at: datetime | None = None
    key_name: str = ""
    has_lost_key: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """`due_at`: of the next attempt; None: it has ended. `status`: that of the last reply; 0: there was none.

    `document_name`: of the document that it told of; empty if nothing was sent yet, as its user may have lost access.
    """

    id: UUID
    event: str
    created_at: datetime
    due_at: datetime | None
    delivered_at: datetime | None
    attempts: int
    status: int
    error: str
    error_values: dict[str, str] = field(default_factory=dict)
    document_name: str = ""


class Webhooks:
    """Those of each user. A key that is limited to knowledge bases sees those that it made."""

    def __init__(self, database: Database, safe: KeySafe, allowed_hosts: str = "") -> None:
        self._database = database
        self._safe = safe
        self._allowed = AllowedHosts.of(allowed_hosts)

    def create(
        self,
        principal: Principal,
        address: str,
        events: Collection[Event] = (),
        knowledge_base_ids: Iterable[UUID] | None = None,
        new_id: UUID | None = None,
    ) -> tuple[Webhook, SecretStr]:
        """A new webhook, and the secret that signs what it is sent; with `new_id`, the one that was made with it.

        Errors: `AddressInvalid`, `AddressHasPassword`, `PortBlocked`, `HostNotPublic`; `NoKnowledgeBaseChosen`;
        `NotFound` for a knowledge base; `TooManyWebhooks`.
        """
        self._check(address)
        secret = SecretStr(new_secret())
        key, webhook_id = principal.key, new_id or uuid4()
        bases = _listed(knowledge_base_ids)
        row = {
            "id": webhook_id,
            "is_limited": bases is not None,
            "user_id": principal.user_id,
            "key_id": key.id if key else None,
            "limiting_key_id": principal.limiting_key_id,
            "address": address.strip(),
            "events": _stored(events),
            "encrypted_secret": self._safe.encrypt(secret),
            "created_at": now(),
        }
        of_user = can(Permission.OWN, webhooks, Principal(principal.user_id))  # also those that the key does not reach
        try:
            with self._database.write() as connection:
                lock_rows(connection, users, users.c.id == principal.user_id)  # two at once count one after the other
                made = connection.scalar(sa.select(webhooks.c.id).where(webhooks.c.id == webhook_id))
                if made is None:
                    if (connection.scalar(sa.select(sa.func.count()).where(of_user)) or 0) >= MOST:
                        raise TooManyWebhooks(limit=MOST)
                    connection.execute(sa.insert(webhooks), row)
                    _keep_bases(connection, principal, webhook_id, bases)
                    record(connection, principal, Action.WEBHOOK_ADDED, webhook_id, show_address(address))
                    return self._found(connection, principal, webhook_id), secret
        except IntegrityError:
            pass  # the same request, a moment before
        with self._database.read() as connection:
            kept = self._own(connection, principal, webhook_id).encrypted_secret
            return self._found(connection, principal, webhook_id), self._safe.decrypt(kept) or SecretStr("")

    def change(
        self,
        principal: Principal,
        webhook_id: UUID,
        address: str,
        events: Collection[Event] = (),
        knowledge_base_ids: Iterable[UUID] | None = None,
    ) -> Webhook:
        """Send other events, or elsewhere; the secret stays. What waits is sent to the new address.

        A key that sends it elsewhere counts as the one that made it: revoking the key ends what it has set up.
        Errors: as of `create`, and `NotFound`.
        """
        self._check(address)
        bases = _listed(knowledge_base_ids)
        values: dict[str, Any] = {
            "address": address.strip(),
            "events": _stored(events),
            "is_limited": bases is not None,
        }
        with self._database.write() as connection:
            row = self._own(connection, principal, webhook_id, lock=True)
            if row.address != values["address"]:
                values |= {} if row.disabled_at else {"failing_since": None}
                values |= {"key_id": principal.key.id} if principal.key else {}
            connection.execute(sa.update(webhooks).where(webhooks.c.id == webhook_id).values(values))
            connection.execute(sa.delete(webhook_bases).where(webhook_bases.c.webhook_id == webhook_id))
            _keep_bases(connection, principal, webhook_id, bases)
            record(connection, principal, Action.WEBHOOK_CHANGED, webhook_id, show_address(address))
            return self._found(connection, principal, webhook_id)

    def _check(self, address: str) -> None:
        """What its name stands for is checked at each delivery."""
        if len(address) > ADDRESS_CHARACTERS:
            raise AddressInvalid(address=show_address(address))
        found = read_address(address)
        try:
            ip_address(found.host)
        except ValueError:
            return
        check_public(found, [found.host], self._allowed)

    def list(self, principal: Principal) -> Sequence[Webhook]:
        """The newest first."""
        statement = _shown().where(can(Permission.OWN, webhooks, principal)).order_by(webhooks.c.created_at.desc())
        with self._database.read() as connection:
            rows = connection.execute(statement).all()
            bases = _bases(connection, [row.id for row in rows])
        return [_webhook(row, bases.get(row.id, ())) for row in rows]

    def get(self, principal: Principal, webhook_id: UUID) -> Webhook:
        """Errors: `NotFound`."""
        with self._database.read() as connection:
            return self._found(connection, principal, webhook_id)

    def delete(self, principal: Principal, webhook_id: UUID) -> None:
        """With what waits to be sent. Errors: `NotFound`."""
        with self._database.write() as connection:
            row = self._own(connection, principal, webhook_id, lock=True)
            connection.execute(sa.delete(webhooks).where(webhooks.c.id == webhook_id))
            record(connection, principal, Action.WEBHOOK_DELETED, webhook_id, show_address(row.address))

    def enable(self, principal: Principal, webhook_id: UUID) -> Webhook:
        """Use it again after it was disabled. What was missed is not sent. Errors: `NotFound`."""
        return self._switch(principal, webhook_id, None)

    def disable(self, principal: Principal, webhook_id: UUID) -> Webhook:
        """Send it nothing, and nothing that waits, until it is enabled. Errors: `NotFound`."""
        return self._switch(principal, webhook_id, now())

    def _switch(self, principal: Principal, webhook_id: UUID, disabled_at: datetime | None) -> Webhook:
        waiting = sa.update(webhook_deliveries).where(webhook_deliveries.c.webhook_id == webhook_id)
        switched = sa.update(webhooks).where(webhooks.c.id == webhook_id)
        with self._database.write() as connection:
            row = self._own(connection, principal, webhook_id, lock=True)
            connection.execute(switched.values(disabled_at=disabled_at, failing_since=None))
            if disabled_at:
                connection.execute(waiting.values(due_at=None))
            if bool(row.disabled_at) != bool(disabled_at):
                action = Action.WEBHOOK_DISABLED if disabled_at else Action.WEBHOOK_ENABLED
                record(connection, principal, action, webhook_id, show_address(row.address))
            return self._found(connection, principal, webhook_id)

    def test(self, principal: Principal, webhook_id: UUID) -> Delivery:
        """Send an event that tells of nothing, in place of one that still waits. Errors: `NotFound`, `WebhookOff`."""
        waiting = sa.update(webhook_deliveries).where(
            webhook_deliveries.c.webhook_id == webhook_id,
            webhook_deliveries.c.event == Event.TEST.value,
            webhook_deliveries.c.due_at.is_not(None),
        )
        with self._database.write() as connection:
            found = self._own(connection, principal, webhook_id, lock=True)
            if found.disabled_at or found.has_lost_key:
                raise WebhookOff
            connection.execute(waiting.values(due_at=None))
            row = new_delivery(webhook_id, Event.TEST, {})
            connection.execute(sa.insert(webhook_deliveries), row)
            made = connection.execute(sa.select(webhook_deliveries).where(webhook_deliveries.c.id == row["id"])).one()
        return _delivery(made)

    def resend(self, principal: Principal, webhook_id: UUID, delivery_id: UUID) -> Delivery:
        """Send what did not arrive once more, now; what did stays as it is. Errors: `NotFound`, `WebhookOff`."""
        delivery = webhook_deliveries.c.id == delivery_id, webhook_deliveries.c.webhook_id == webhook_id
        again = sa.update(webhook_deliveries).where(*delivery, webhook_deliveries.c.delivered_at.is_(None))
        with self._database.write() as connection:
            found = self._own(connection, principal, webhook_id, lock=True)
            if found.disabled_at or found.has_lost_key:
                raise WebhookOff
            connection.execute(again.values(due_at=now()))
            row = connection.execute(sa.select(webhook_deliveries).where(*delivery)).one_or_none()
            if row is None:
                raise NotFound(what=DELIVERY)
            return _delivery(row)

    def deliveries(
        self, principal: Principal, webhook_id: UUID, after: tuple[datetime, UUID] | None, limit: int
    ) -> Sequence[Delivery]:
        """What was sent or is to be sent, the newest first, `after` the last one before. Errors: `NotFound`."""
        created, own_id = webhook_deliveries.c.created_at, webhook_deliveries.c.id
        statement = sa.select(webhook_deliveries).where(webhook_deliveries.c.webhook_id == webhook_id)
        if after:
            place = (sa.literal(value, column.type) for value, column in zip(after, (created, own_id), strict=True))
            statement = statement.where(sa.tuple_(created, own_id) < sa.tuple_(*place))
        with self._database.read() as connection:
            self._own(connection, principal, webhook_id)
            rows = connection.execute(statement.order_by(created.desc(), own_id.desc()).limit(limit))
            return [_delivery(row) for row in rows]

    def last_deliveries(self, principal: Principal) -> Mapping[UUID, Delivery]:
        """Of each webhook that is listed the newest, if it has any."""
        own = sa.select(webhooks.c.id).where(can(Permission.OWN, webhooks, principal))
        newest = webhook_deliveries.alias()
        its_last = (
            sa.select(newest.c.id)
            .where(newest.c.webhook_id == webhooks.c.id)
            .order_by(newest.c.created_at.desc(), newest.c.id.desc())
            .limit(1)
            .scalar_subquery()
        )
        last = sa.select(its_last).where(webhooks.c.id.in_(own)).select_from(webhooks)
        with self._database.read() as connection:
            rows = connection.execute(sa.select(webhook_deliveries).where(webhook_deliveries.c.id.in_(last)))
            return {row.webhook_id: _delivery(row) for row in rows}

    def is_due(self, principal: Principal, until: datetime) -> bool:
        """Whether anything is to be sent to one of those listed before `until`."""
        own = can(Permission.OWN, webhooks, principal), is_open(now())
        due = sa.select(webhook_deliveries.c.id).join(webhooks).where(*own, webhook_deliveries.c.due_at < until)
        with self._database.read() as connection:
            return connection.execute(due.limit(1)).first() is not None

    def _found(self, connection: sa.Connection, principal: Principal, webhook_id: UUID) -> Webhook:
        row = self._own(connection, principal, webhook_id)
        return _webhook(row, _bases(connection, [webhook_id]).get(webhook_id, ()))

    def _own(
        self, connection: sa.Connection, principal: Principal, webhook_id: UUID, lock: bool = False
    ) -> sa.Row[Any]:
        """`lock`: nobody changes or deletes it meanwhile. Errors: `NotFound`."""
        own = _shown().where(webhooks.c.id == webhook_id, can(Permission.OWN, webhooks, principal))
        own = own.with_for_update(of=webhooks, key_share=True) if lock else own
        row = connection.execute(own).one_or_none()
        if row is None:
            raise NotFound(what=WEBHOOK)
        return row


def _shown() -> sa.Select[Any]:
    has_lost_key = sa.not_(has_valid_key(now())).label("has_lost_key")
    its_key = api_keys.c.id == webhooks.c.key_id
    return sa.select(webhooks, has_lost_key, api_keys.c.name.label("key_name")).outerjoin(api_keys, its_key)


def _listed(knowledge_base_ids: Iterable[UUID] | None) -> Sequence[UUID] | None:
    listed = None if knowledge_base_ids is None else list(dict.fromkeys(knowledge_base_ids))
    if listed == []:
        raise NoKnowledgeBaseChosen
    return listed


def _stored(events: Collection[Event]) -> list[str]:
    return sorted({event.value for event in events})


def _keep_bases(
    connection: sa.Connection, principal: Principal, webhook_id: UUID, listed: Sequence[UUID] | None
) -> None:
    if listed:
        require_seen(connection, principal, listed)
        rows = [{"webhook_id": webhook_id, "knowledge_base_id": each} for each in listed]
        connection.execute(sa.insert(webhook_bases), rows)


def _bases(connection: sa.Connection, webhook_ids: Sequence[UUID]) -> Mapping[UUID, tuple[UUID, ...]]:
    found: dict[UUID, tuple[UUID, ...]] = {}
    for row in connection.execute(sa.select(webhook_bases).where(webhook_bases.c.webhook_id.in_(webhook_ids))):
        found[row.webhook_id] = (*found.get(row.webhook_id, ()), row.knowledge_base_id)
    return found


def _webhook(row: sa.Row[Any], bases: tuple[UUID, ...]) -> Webhook:
    events = frozenset(Event(each) for each in row.events if each in list(Event))
    return Webhook(
        id=row.id,
        address=row.address,
        events=events,
        knowledge_base_ids=bases if row.is_limited else None,
        created_at=row.created_at,
        failing_since=row.failing_since,
        disabled_at=row.disabled_at,
        key_name=row.key_name or "",
        has_lost_key=row.has_lost_key,
    )


def _delivery(row: sa.Row[Any]) -> Delivery:
    return Delivery(
        id=row.id,
        event=row.event,
        created_at=row.created_at,
        due_at=row.due_at,
        delivered_at=row.delivered_at,
        attempts=row.attempts,
        status=row.status,
        error=row.error,
        error_values=row.error_values,
        document_name=str(json.loads(row.body)["data"].get("name", "")) if row.attempts else "",
    )
