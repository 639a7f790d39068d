"""What administrators do with accounts. Each call is refused to others, whoever calls it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
import structlog

from kb.access import GranteeKind, Principal
from kb.accounts.rows import ACCOUNT, IS_ACCOUNT, IS_ACTIVE, account, delete_grants
from kb.accounts.sessions import end_sessions
from kb.audit import Action, record
from kb.database import Database
from kb.database.locks import lock_rows
from kb.database.tables import now, users
from kb.errors import AdministratorsOnly, LastAdministrator, NotFound
from kb.library.quotas import stored_by_user
from kb.models import Account, UserRole

_IS_ADMINISTRATOR = sa.and_(IS_ACTIVE, users.c.role == UserRole.ADMINISTRATOR.value)
ADMINISTRATORS = sa.select(users.c.id).where(_IS_ADMINISTRATOR).correlate(None)  # the ids of those who are active

log = structlog.get_logger()


def require_administrator(connection: sa.Connection, principal: Principal) -> None:
    """A program with an API key of an administrator is none. Errors: `AdministratorsOnly`."""
    found = sa.select(users.c.id).where(users.c.id == principal.user_id, _IS_ADMINISTRATOR)
    if principal.key or connection.scalar(found) is None:
        raise AdministratorsOnly


def first_administrator(database: Database) -> Principal | None:
    """The active administrator who has been here longest, as whom the command line acts; None without accounts."""
    longest = sa.select(users.c.id).where(_IS_ADMINISTRATOR).order_by(users.c.created_at, users.c.id).limit(1)
    with database.read() as connection:
        found: UUID | None = connection.scalar(longest)
    return Principal(found) if found else None


class Administration:
    """Errors of every call: `AdministratorsOnly`; `NotFound` for a user who is not there."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = now) -> None:
        self._database = database
        self._clock = clock

    def accounts(self, principal: Principal) -> list[Account]:
        """All of them: those who wait for approval first, then by name."""
        statement = sa.select(*ACCOUNT).where(IS_ACCOUNT).order_by(users.c.awaits_approval.desc(), users.c.folded_name)
        with self._database.read() as connection:
            require_administrator(connection, principal)
            return [account(row) for row in connection.execute(statement)]

    def stored_bytes(self, principal: Principal) -> dict[UUID, int]:
        """How much each user keeps in files; who has none is left out."""
        with self._database.read() as connection:
            require_administrator(connection, principal)
            return stored_by_user(connection)

    def approve(self, principal: Principal, user_id: UUID) -> None:
        self._change(principal, user_id, Action.ACCOUNT_APPROVED, awaits_approval=False)

    def suspend(self, principal: Principal, user_id: UUID) -> None:
        """End the user's sessions and let nobody sign in; what the user owns stays. Errors: `LastAdministrator`."""
        self._change(principal, user_id, Action.ACCOUNT_SUSPENDED, suspended_at=self._clock())

    def resume(self, principal: Principal, user_id: UUID) -> None:
        self._change(principal, user_id, Action.ACCOUNT_RESUMED, suspended_at=None)

    def set_role(self, principal: Principal, user_id: UUID, role: UserRole) -> None:
        """Errors: `LastAdministrator`."""
        self._change(principal, user_id, Action.ROLE_CHANGED, role=role.value)

    def reject(self, principal: Principal, user_id: UUID) -> None:
        """Delete an account that waits for approval, which owns nothing, with what was shared with it."""
        statement = sa.delete(users).where(users.c.id == user_id, users.c.awaits_approval).returning(users.c.name)
        with self._database.write() as connection:
            require_administrator(connection, principal)
            name = connection.scalar(statement)
            if name is None:
                raise NotFound(what="user")
            delete_grants(connection, GranteeKind.USER, user_id)
            record(connection, principal, Action.ACCOUNT_REJECTED, user_id, name)

    def _change(self, principal: Principal, user_id: UUID, action: Action, **values: object) -> None:
        with self._database.write() as connection:
            # Two administrators cannot suspend each other at once.
            lock_rows(connection, users, _IS_ADMINISTRATOR)
            require_administrator(connection, principal)
            changed = sa.update(users).where(users.c.id == user_id, IS_ACCOUNT).values(**values)
            name = connection.scalar(changed.returning(users.c.name))
            if name is None:
                raise NotFound(what="user")
            if connection.scalar(sa.select(users.c.id).where(_IS_ADMINISTRATOR).limit(1)) is None:
                raise LastAdministrator(name=name)
            if action is Action.ACCOUNT_SUSPENDED:
                end_sessions(connection, Principal(user_id))
            details = {"role": str(values["role"])} if action is Action.ROLE_CHANGED else {}
            record(connection, principal, action, user_id, name, **details)
        log.info("accounts.changed", user=str(user_id), by=str(principal.user_id), what=sorted(values))
