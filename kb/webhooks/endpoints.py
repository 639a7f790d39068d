"""Where programs are told of events, and what came of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.exc import IntegrityError

from kb.access import Principal
from kb.audit import Action, record
from kb.database import Database
from kb.database.tables import now, users, webhook_deliveries, webhooks
from kb.errors import N_, AddressInvalid, NotFound, TooManyWebhooks, WebhookOff
from kb.fetching.addresses import AllowedHosts, check_public, read_address, show_address
from kb.providers.keys import KeySafe
from kb.webhooks.outbox import Event, has_valid_key, new_delivery
from kb.webhooks.signing import new_secret

WEBHOOK = N_("webhook")
MOST = 20  # of a user
ADDRESS_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Webhook:
    """`events`: only these; none: all. `failing_since`: nothing arrived since then.

    `has_lost_key`: the key that made it was revoked or has expired, so nothing is sent any more.
    """

    id: UUID
    address: str
    events: frozenset[Event]
    created_at: datetime
    failing_since: datetime | None = None
    disabled_at: datetime | None = None
    has_lost_key: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """`due_at`: of the next attempt; None: it has ended. `status`: that of the last reply; 0: there was none."""

    id: UUID
    event: str
    created_at: datetime
    due_at: datetime | None
    delivered_at: datetime | None
    attempts: int
    status: int
    error: str
    error_values: dict[str, str] = field(default_factory=dict)


class Webhooks:
    """Those of each user. A key that is limited to knowledge bases sees those that it made."""

    def __init__(self, database: Database, safe: KeySafe, allowed_hosts: str = "") -> None:
        self._database = database
        self._safe = safe
        self._allowed = AllowedHosts.of(allowed_hosts)

    def create(
        self, principal: Principal, address: str, events: Collection[Event] = (), new_id: UUID | None = None
    ) -> tuple[Webhook, SecretStr]:
        """A new webhook, and the secret that signs what it is sent; with `new_id`, the one that was made with it.

        Errors: `AddressInvalid`, `AddressHasPassword`, `PortBlocked`, `HostNotPublic`; `TooManyWebhooks`.
        """
        self._check(address)
        secret = SecretStr(new_secret())
        key, webhook_id = principal.key, new_id or uuid4()
        row = {
            "id": webhook_id,
            "user_id": principal.user_id,
            "key_id": key.id if key else None,
            "limiting_key_id": principal.limiting_key_id,
            "address": address.strip(),
            "events": sorted(event.value for event in set(events)),
            "encrypted_secret": self._safe.encrypt(secret),
            "created_at": now(),
        }
        own = webhooks.c.user_id == principal.user_id
        # Two at once count one after the other.
        its_user = sa.select(users.c.id).where(users.c.id == principal.user_id).with_for_update(key_share=True)
        try:
            with self._database.write() as connection:
                connection.execute(its_user)
                made = connection.scalar(sa.select(webhooks.c.id).where(webhooks.c.id == webhook_id))
                if made is None:
                    if (connection.scalar(sa.select(sa.func.count()).where(own)) or 0) >= MOST:
                        raise TooManyWebhooks(limit=MOST)
                    connection.execute(sa.insert(webhooks), row)
                    record(connection, principal, Action.WEBHOOK_ADDED, webhook_id, show_address(address))
                    return _webhook(self._own(connection, principal, webhook_id)), secret
        except IntegrityError:
            pass  # the same request, a moment before
        with self._database.read() as connection:
            found = self._own(connection, principal, webhook_id)
        return _webhook(found), self._safe.decrypt(found.encrypted_secret) or SecretStr("")

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
        statement = _shown().where(_are_own(principal)).order_by(webhooks.c.created_at.desc())
        with self._database.read() as connection:
            return [_webhook(row) for row in connection.execute(statement)]

    def get(self, principal: Principal, webhook_id: UUID) -> Webhook:
        """Errors: `NotFound`."""
        with self._database.read() as connection:
            return _webhook(self._own(connection, principal, webhook_id))

    def delete(self, principal: Principal, webhook_id: UUID) -> None:
        """With what waits to be sent. Errors: `NotFound`."""
        with self._database.write() as connection:
            row = self._own(connection, principal, webhook_id)
            connection.execute(sa.delete(webhooks).where(webhooks.c.id == webhook_id))
            record(connection, principal, Action.WEBHOOK_DELETED, webhook_id, show_address(row.address))

    def enable(self, principal: Principal, webhook_id: UUID) -> Webhook:
        """Use it again after it was disabled. What was missed is not sent. Errors: `NotFound`."""
        with self._database.write() as connection:
            self._own(connection, principal, webhook_id)
            again = sa.update(webhooks).where(webhooks.c.id == webhook_id)
            connection.execute(again.values(disabled_at=None, failing_since=None))
        return self.get(principal, webhook_id)

    def test(self, principal: Principal, webhook_id: UUID) -> Delivery:
        """Send an event that tells of nothing, in place of one that still waits. Errors: `NotFound`, `WebhookOff`."""
        waiting = sa.update(webhook_deliveries).where(
            webhook_deliveries.c.webhook_id == webhook_id,
            webhook_deliveries.c.event == Event.TEST.value,
            webhook_deliveries.c.due_at.is_not(None),
        )
        with self._database.write() as connection:
            found = self._own(connection, principal, webhook_id)
            if found.disabled_at or found.has_lost_key:
                raise WebhookOff
            connection.execute(waiting.values(due_at=None))
            row = new_delivery(webhook_id, Event.TEST, {})
            connection.execute(sa.insert(webhook_deliveries), row)
            made = connection.execute(sa.select(webhook_deliveries).where(webhook_deliveries.c.id == row["id"])).one()
        return _delivery(made)

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

    def _own(self, connection: sa.Connection, principal: Principal, webhook_id: UUID) -> sa.Row[Any]:
        own = _shown().where(webhooks.c.id == webhook_id, _are_own(principal))
        row = connection.execute(own).one_or_none()
        if row is None:
            raise NotFound(what=WEBHOOK)
        return row


def _shown() -> sa.Select[Any]:
    return sa.select(webhooks, sa.not_(has_valid_key(now())).label("has_lost_key"))


def _are_own(principal: Principal) -> sa.ColumnElement[bool]:
    own = webhooks.c.user_id == principal.user_id
    key_id = principal.limiting_key_id
    return sa.and_(own, webhooks.c.limiting_key_id == key_id) if key_id else own


def _webhook(row: sa.Row[Any]) -> Webhook:
    events = frozenset(Event(each) for each in row.events if each in list(Event))
    return Webhook(
        id=row.id,
        address=row.address,
        events=events,
        created_at=row.created_at,
        failing_since=row.failing_since,
        disabled_at=row.disabled_at,
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
    )
