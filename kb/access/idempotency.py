"""Idempotency keys: a program that repeats a request, because its reply got lost, gets that reply and no second effect.

A request claims its key, and gives a sign of life while it runs. What it creates gets the claim's id, or ids that are
made of it: if its process dies, the next one with the key creates the same thing, or finds it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.exc import IntegrityError

from kb.database import Database
from kb.database.tables import idempotency_keys, now
from kb.errors import N_, IdempotencyKeyReused, NotFound, RequestRunning
from kb.principals import Principal
from kb.providers.keys import KeySafe

KEPT_HOURS = 24
ALIVE_SECONDS = 5.0  # between two signs of life
DEAD_SECONDS = 20.0  # without one: whoever ran it is gone
REPLY = N_("reply")


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run a request. `id` is the same for all who get it one after another."""

    id: UUID


@dataclass(frozen=True, slots=True)
class KeptReply:
    """What the first request got. `body`: the digest of what it sent."""

    status: int
    text: str
    body: str


class IdempotencyKeys:
    """The keys of requests, for each API key apart."""

    def __init__(self, database: Database, safe: KeySafe, clock: Callable[[], datetime] = now) -> None:
        self._database = database
        self._safe = safe  # replies may hold secrets
        self._clock = clock

    def claim(self, principal: Principal, name: str, request: str) -> Claim | KeptReply:
        """`request` tells what is asked, without the body.

        Errors: `IdempotencyKeyReused`, `RequestRunning`; `NotFound` for a reply that cannot be decrypted any more.
        """
        assert principal.key
        moment, key_id = self._clock(), principal.key.id
        named, asked = (hashlib.sha256(text.encode(errors="replace")).hexdigest() for text in (name, request))
        of_name = sa.and_(idempotency_keys.c.key_id == key_id, idempotency_keys.c.name == named)
        is_old = idempotency_keys.c.created_at < moment - timedelta(hours=KEPT_HOURS)
        with self._database.write() as connection:
            connection.execute(sa.delete(idempotency_keys).where(is_old))
            row = connection.execute(sa.select(idempotency_keys).where(of_name).with_for_update()).one_or_none()
            if row is None:
                claim = Claim(uuid4())
                new = {"id": claim.id, "key_id": key_id, "name": named, "request": asked}
                new |= {"created_at": moment, "alive_at": moment}
                try:
                    with connection.begin_nested():
                        connection.execute(sa.insert(idempotency_keys), new)
                except IntegrityError as error:  # another one came between
                    raise RequestRunning from error
                return claim
            if row.request != asked:
                raise IdempotencyKeyReused
            if row.status is None:
                # One that is to come tells that the clock was set back; a live one gives another soon.
                if abs(moment - row.alive_at) < timedelta(seconds=DEAD_SECONDS):
                    raise RequestRunning
                connection.execute(_change(row.id).values(alive_at=moment))
                return Claim(row.id)
        reply = self._safe.decrypt(row.encrypted_reply)
        if reply is None:
            raise NotFound(what=REPLY)
        return KeptReply(row.status, reply.get_secret_value(), row.body)

    def note_alive(self, claim: Claim) -> None:
        with self._database.write() as connection:
            connection.execute(_change(claim.id).values(alive_at=self._clock()))

    def keep(self, claim: Claim, status: int, text: str, body: str) -> None:
        """Keep the reply for those who repeat the request."""
        kept = {"status": status, "encrypted_reply": self._safe.encrypt(SecretStr(text)), "body": body}
        with self._database.write() as connection:
            connection.execute(_change(claim.id).values(kept))

    def release(self, claim: Claim) -> None:
        """Of a request that was refused and had no effect: the next one with its key is a new one."""
        with self._database.write() as connection:
            connection.execute(sa.delete(idempotency_keys).where(idempotency_keys.c.id == claim.id))


def _change(claim_id: UUID) -> sa.Update:
    return sa.update(idempotency_keys).where(idempotency_keys.c.id == claim_id)
