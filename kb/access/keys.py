"""API keys: a program acts with one for the user who made it. A key is shown once; its digest is stored."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
import structlog
from pydantic import SecretStr

from kb.access.policy import can
from kb.access.tokens import digest, new_token
from kb.audit import Action, record
from kb.database import Database
from kb.database.tables import api_key_bases, api_keys, knowledge_bases, now, users
from kb.errors import N_, KeyRefused, NoScopeChosen, NotFound, PersonOnly
from kb.names import clean_name
from kb.principals import KeyLimits, KeyScope, Permission, Principal

PREFIX = "zw_"  # so that people and scanners for secrets know what it is
API_KEY = N_("API key")
KNOWLEDGE_BASE = N_("knowledge base")
HINT_CHARACTERS = len(PREFIX) + 6
USED_SECONDS = 60  # the last use is noted at most as often

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as its user may see it, without the key itself."""

    id: UUID
    name: str
    hint: str
    scopes: frozenset[KeyScope]
    knowledge_base_ids: tuple[UUID, ...] | None  # None: all that its user may view
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None


class ApiKeys:
    """Makes, lists, revokes and checks keys. A program makes none, whatever the scopes of its own key are."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        principal: Principal,
        name: str,
        scopes: Collection[KeyScope],
        knowledge_base_ids: Iterable[UUID] | None = None,
        lifetime: timedelta | None = None,
    ) -> tuple[ApiKey, SecretStr]:
        """A new key, and what programs send. `knowledge_base_ids` limits it to these.

        Errors: `InvalidName`, `NoScopeChosen`; `NotFound` for a knowledge base; `PersonOnly`.
        """
        _require_person(principal)
        if not scopes:
            raise NoScopeChosen
        secret, moment = PREFIX + new_token(), now()
        wanted = None if knowledge_base_ids is None else tuple(dict.fromkeys(knowledge_base_ids))
        key = ApiKey(
            id=uuid4(),
            name=clean_name(name),
            hint=secret[:HINT_CHARACTERS],
            scopes=frozenset(scopes),
            knowledge_base_ids=wanted,
            created_at=moment,
            expires_at=moment + lifetime if lifetime else None,
            used_at=None,
        )
        row = {"id": key.id, "user_id": principal.user_id, "name": key.name, "hint": key.hint}
        row |= {"digest": digest(secret), "scopes": sorted(key.scopes), "is_limited": wanted is not None}
        with self._database.write() as connection:
            if wanted:
                require_seen(connection, principal, wanted)
            connection.execute(sa.insert(api_keys), row | {"created_at": key.created_at, "expires_at": key.expires_at})
            if wanted:
                reached = [{"key_id": key.id, "knowledge_base_id": base_id} for base_id in wanted]
                connection.execute(sa.insert(api_key_bases), reached)
            allowed = ", ".join(sorted(key.scopes))
            record(connection, principal, Action.KEY_CREATED, key.id, key.name, scopes=allowed)
        log.info(
            "api_key.created",
            key=str(key.id),
            user=str(principal.user_id),
            scopes=[scope.value for scope in sorted(key.scopes)],
        )
        return key, SecretStr(secret)

    def list(self, principal: Principal) -> Sequence[ApiKey]:
        """The user's keys that are not revoked, the newest first. Errors: `PersonOnly`."""
        _require_person(principal)
        own = sa.and_(can(Permission.OWN, api_keys, principal), api_keys.c.revoked_at.is_(None))
        reached = sa.select(api_key_bases).join(api_keys, api_keys.c.id == api_key_bases.c.key_id).where(own)
        with self._database.read() as connection:
            rows = connection.execute(sa.select(api_keys).where(own).order_by(api_keys.c.created_at.desc())).all()
            bases: dict[UUID, list[UUID]] = {}
            for row in connection.execute(reached):
                bases.setdefault(row.key_id, []).append(row.knowledge_base_id)
        return [_to_key(row, tuple(bases.get(row.id, ()))) for row in rows]

    def revoke(self, principal: Principal, key_id: UUID) -> None:
        """From now on it is refused. Errors: `NotFound`, `PersonOnly`."""
        _require_person(principal)
        own = sa.and_(
            api_keys.c.id == key_id, can(Permission.OWN, api_keys, principal), api_keys.c.revoked_at.is_(None)
        )
        with self._database.write() as connection:
            revoked = sa.update(api_keys).where(own).values(revoked_at=now()).returning(api_keys.c.name)
            name = connection.scalar(revoked)
            if name is None:
                raise NotFound(what=API_KEY)
            record(connection, principal, Action.KEY_REVOKED, key_id, name)
        log.info("api_key.revoked", key=str(key_id), user=str(principal.user_id))

    def authenticate(self, secret: str) -> Principal:
        """Who acts with the key. Notes its use, to the minute. Errors: `KeyRefused`, whatever is wrong with it."""
        moment = now()
        user_may = sa.and_(users.c.id == api_keys.c.user_id, users.c.suspended_at.is_(None))
        found = sa.select(api_keys).join(users, user_may).where(api_keys.c.digest == digest(secret))
        with self._database.read() as connection:
            row = connection.execute(found).one_or_none()
        if row is None or row.revoked_at or (row.expires_at and row.expires_at <= moment):
            raise KeyRefused
        if row.used_at is None or moment - row.used_at > timedelta(seconds=USED_SECONDS):
            with self._database.write() as connection:
                connection.execute(sa.update(api_keys).where(api_keys.c.id == row.id).values(used_at=moment))
        return Principal(row.user_id, KeyLimits(row.id, _scopes(row.scopes), row.is_limited))


def _require_person(principal: Principal) -> None:
    if principal.key:
        raise PersonOnly


def require_seen(connection: sa.Connection, principal: Principal, wanted: Sequence[UUID]) -> None:
    """Errors: `NotFound` for a knowledge base that the principal cannot view."""
    seen = sa.select(knowledge_bases.c.id).where(
        knowledge_bases.c.id.in_(wanted),
        can(Permission.VIEW, knowledge_bases, principal),
        knowledge_bases.c.deleted_at.is_(None),
    )
    if set(wanted) - set(connection.scalars(seen)):
        raise NotFound(what=KNOWLEDGE_BASE)


def _scopes(kept: Iterable[str]) -> frozenset[KeyScope]:
    """Those that this release knows."""
    return frozenset(KeyScope(each) for each in kept if each in list(KeyScope))


def _to_key(row: sa.Row[Any], bases: tuple[UUID, ...]) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        hint=row.hint,
        scopes=_scopes(row.scopes),
        knowledge_base_ids=bases if row.is_limited else None,
        created_at=row.created_at,
        expires_at=row.expires_at,
        used_at=row.used_at,
    )
