"""Delivers what is in the outbox: at least once, later each time that it fails, and not for ever."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
import structlog

from kb.access.keys import KNOWLEDGE_BASE
from kb.database import Database
from kb.database.locks import lock_rows
from kb.database.tables import now, webhook_deliveries, webhooks
from kb.errors import (
    FetchError,
    KbError,
    NotFound,
    PageBroken,
    PageTooSlow,
    WebhookCutOff,
    WebhookDefect,
    WebhookRefused,
    WebhookSecretLost,
    WebhookSilent,
)
from kb.fetching.addresses import read_address
from kb.providers.keys import KeySafe
from kb.webhooks.outbox import MAY_TELL, is_open
from kb.webhooks.signing import signed

Post = Callable[[str, bytes, Mapping[str, str]], int]

# After each attempt that failed, the pause before the next; after the last of them, none.
PAUSES_SECONDS = (5, 60, 300, 1800, 7200, 21_600, 43_200, 86_400)
LONGEST_PAUSE = timedelta(seconds=1.2 * PAUSES_SECONDS[-1])
DISABLED_AFTER = timedelta(hours=36)  # without a single success
GONE = 410  # the receiver wants no more
CLAIM_SECONDS = 60.0  # longer than an attempt takes: a killed worker's delivery is tried again after that
CLAIM = timedelta(seconds=CLAIM_SECONDS)
TURN_SECONDS = 20.0  # a worker's thread then does other work first
SLOW_SECONDS = 1.0  # an attempt that takes longer has its user's webhooks rest for a multiple of that
RESTS = 4
# Where nobody answers, the next attempt of all comes after this share of the time for which that has been so.
FAILING_SHARE = 10
LONGEST_REST = timedelta(hours=1)
KEPT = timedelta(days=7)  # longer than all attempts together

log = structlog.get_logger()


class Deliveries:
    """`post` sends to an address, and gives the status of the reply; it raises `FetchError`s."""

    def __init__(self, database: Database, safe: KeySafe, post: Post, clock: Callable[[], datetime] = now) -> None:
        self._database = database
        self._safe = safe
        self._post = post
        self._clock = clock

    def are_due(self) -> bool:
        """Whether anything waits, and nobody delivers: receivers may be slow, and workers have other work."""
        moment = self._clock()
        claimed = sa.select(webhook_deliveries.c.id).where(~_is_past(webhook_deliveries.c.claimed_until, moment, CLAIM))
        with self._database.read() as connection:
            if connection.scalar(_due(moment).limit(1)) is None:
                return False
            return connection.scalar(claimed.limit(1)) is None

    def deliver_due(self) -> int:
        """Deliver what is due, for a while; returns how many attempts were made."""
        attempts, until = 0, time.monotonic() + TURN_SECONDS
        while time.monotonic() < until:
            row = self._claim()
            if row is None:
                break
            self._attempt(row)
            attempts += 1
        return attempts

    def purge(self) -> int:
        """Forget old deliveries, whatever became of them; returns how many that were."""
        is_old = webhook_deliveries.c.created_at < self._clock() - KEPT
        with self._database.write() as connection:
            return connection.execute(sa.delete(webhook_deliveries).where(is_old)).rowcount

    def _claim(self) -> sa.Row[Any] | None:
        moment = self._clock()
        with self._database.write() as connection:
            chosen = connection.scalar(_due(moment).limit(1).with_for_update(skip_locked=True, of=webhook_deliveries))
            if chosen is None:
                return None
            claimed_until = moment + CLAIM
            attempts = webhook_deliveries.c.attempts + 1
            connection.execute(_change(chosen).values(claimed_until=claimed_until, attempts=attempts))
            found = (
                sa.select(
                    webhook_deliveries,
                    webhooks.c.address,
                    webhooks.c.encrypted_secret,
                    webhooks.c.user_id,
                    MAY_TELL.label("may_tell"),
                )
                .join(webhooks, webhooks.c.id == webhook_deliveries.c.webhook_id)
                .where(webhook_deliveries.c.id == chosen)
            )
            return connection.execute(found).one()

    def _attempt(self, row: sa.Row[Any]) -> None:
        bound = log.bind(webhook=str(row.webhook_id), delivery=str(row.id), webhook_event=row.event)
        if not row.may_tell:
            bound.info("webhook.withheld")
            self._withhold(row)
            return
        begun = self._clock()
        status, failure = self._try(row)
        taken = self._clock() - begun
        if failure is None:
            bound.info("webhook.delivered", status=status)
            self._note_delivered(row, status, taken)
        else:
            bound.warning("webhook.failed", reason=failure.code, status=status, attempts=row.attempts)
            self._note_failed(row, status, failure, taken)

    def _try(self, row: sa.Row[Any]) -> tuple[int, KbError | None]:
        """The status of the reply, 0 if there was none; and what went wrong.

        Whatever that is: an attempt whose end is not noted would be repeated for ever.
        """
        host = row.address
        try:
            host = read_address(row.address).host
            status = self._send(row)
        except PageTooSlow as error:
            return 0, WebhookSilent(host=host, seconds=error.values["seconds"])
        except PageBroken:
            return 0, WebhookCutOff(host=host)
        except (FetchError, WebhookSecretLost) as error:
            return 0, error
        except Exception as error:
            log.exception("webhook.defect", delivery=str(row.id))
            return 0, WebhookDefect(host=host, detail=type(error).__name__)
        return status, None if 200 <= status < 300 else WebhookRefused(host=host, status=status)

    def _send(self, row: sa.Row[Any]) -> int:
        secret = self._safe.decrypt(row.encrypted_secret)
        if secret is None:
            raise WebhookSecretLost
        body = row.body.encode()
        timestamp = int(self._clock().timestamp())
        return self._post(row.address, body, signed(secret.get_secret_value(), str(row.id), timestamp, body))

    def _withhold(self, row: sa.Row[Any]) -> None:
        """The user or the key no longer sees what it tells of."""
        error = NotFound(what=KNOWLEDGE_BASE)
        noted: dict[str, Any] = {"due_at": None, "claimed_until": None, "attempts": row.attempts - 1}
        with self._database.write() as connection:
            connection.execute(_change(row.id).values(noted | {"error": error.code, "error_values": error.values}))

    def _note_delivered(self, row: sa.Row[Any], status: int, taken: timedelta) -> None:
        done: dict[str, Any] = {"due_at": None, "claimed_until": None, "delivered_at": self._clock(), "status": status}
        done |= {"error": "", "error_values": {}}
        works = sa.update(webhooks).where(webhooks.c.id == row.webhook_id, webhooks.c.failing_since.is_not(None))
        with self._database.write() as connection:
            _hold(connection, row.user_id)
            connection.execute(_change(row.id).values(done))
            connection.execute(works.values(failing_since=None))
            self._let_rest(connection, row, taken)

    def _note_failed(self, row: sa.Row[Any], status: int, failure: KbError, taken: timedelta) -> None:
        moment, webhook = self._clock(), webhooks.c.id == row.webhook_id
        noted: dict[str, Any] = {"claimed_until": None, "status": status}
        noted |= {"error": failure.code, "error_values": failure.values}
        waiting = sa.update(webhook_deliveries).where(
            webhook_deliveries.c.webhook_id == row.webhook_id, webhook_deliveries.c.due_at.is_not(None)
        )
        state = sa.select(webhooks.c.failing_since, webhooks.c.disabled_at).where(webhook)
        with self._database.write() as connection:
            _hold(connection, row.user_id)
            known = connection.execute(state).one_or_none()
            if known is None:  # it was deleted meanwhile
                return
            since = known.failing_since or moment
            retry_at = _retry_at(moment, row.attempts)
            connection.execute(_change(row.id).values(noted | {"due_at": retry_at}))
            if known.failing_since is None and known.disabled_at is None:
                connection.execute(sa.update(webhooks).where(webhook).values(failing_since=moment))
            if known.disabled_at:  # it was switched off meanwhile
                connection.execute(waiting.values(due_at=None))
            elif status == GONE or moment - since > DISABLED_AFTER:
                connection.execute(sa.update(webhooks).where(webhook).values(disabled_at=moment))
                connection.execute(waiting.values(due_at=None))
                log.warning("webhook.disabled", webhook=str(row.webhook_id))
            elif status == 0:
                # Nobody answers there: one attempt at a time, so that others need not wait for those that follow; and
                # the less often, the longer that has been so.
                next_at = max(retry_at or moment, moment + min((moment - since) / FAILING_SHARE, LONGEST_REST))
                connection.execute(waiting.where(webhook_deliveries.c.due_at < next_at).values(due_at=next_at))
            self._let_rest(connection, row, taken)

    def _let_rest(self, connection: sa.Connection, row: sa.Row[Any], taken: timedelta) -> None:
        """Serve others first after a slow attempt: receivers of one user take a fifth of the time at most."""
        if taken.total_seconds() > SLOW_SECONDS:
            of_user = sa.update(webhooks).where(webhooks.c.user_id == row.user_id)
            rest = min(taken, CLAIM) * RESTS  # a clock may have been set meanwhile
            connection.execute(of_user.values(rests_until=self._clock() + rest))


def _due(moment: datetime) -> sa.Select[UUID]:
    """The ids of what is to be sent now, what was tried least often first."""
    return (
        sa.select(webhook_deliveries.c.id)
        .join(webhooks, webhooks.c.id == webhook_deliveries.c.webhook_id)
        .where(
            webhook_deliveries.c.due_at.is_not(None),
            sa.or_(
                _is_past(webhook_deliveries.c.due_at, moment, LONGEST_PAUSE),
                # The clock was set back since; the first attempt, which may have been cut off, waits for nothing else.
                sa.and_(webhook_deliveries.c.attempts <= 1, webhook_deliveries.c.created_at > moment),
            ),
            sa.or_(
                webhook_deliveries.c.claimed_until.is_(None),
                _is_past(webhook_deliveries.c.claimed_until, moment, CLAIM),
            ),
            sa.or_(webhooks.c.rests_until.is_(None), _is_past(webhooks.c.rests_until, moment, CLAIM * RESTS)),
            is_open(moment),
        )
        .order_by(webhook_deliveries.c.attempts, webhook_deliveries.c.created_at, webhook_deliveries.c.id)
    )


def _is_past(column: sa.ColumnElement[datetime], moment: datetime, longest: timedelta) -> sa.ColumnElement[bool]:
    """Or further in the future than it can have been set to, before the clock was set back."""
    return sa.or_(column <= moment, column > moment + longest)


def _hold(connection: sa.Connection, user_id: UUID) -> None:
    """Lock a user's webhooks, in one order and before their deliveries: two workers never wait for each other."""
    lock_rows(connection, webhooks, webhooks.c.user_id == user_id)


def _retry_at(moment: datetime, attempts: int) -> datetime | None:
    """None after the last attempt. Somewhat later by chance, so that what failed together is not tried together."""
    if attempts > len(PAUSES_SECONDS):
        return None
    return moment + timedelta(seconds=PAUSES_SECONDS[attempts - 1] * random.uniform(1, 1.2))


def _change(delivery_id: UUID) -> sa.Update:
    return sa.update(webhook_deliveries).where(webhook_deliveries.c.id == delivery_id)
