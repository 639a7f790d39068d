"""Signing in with a name and a password, and changing the password."""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

import sqlalchemy as sa
import structlog

from kb.access import Principal
from kb.accounts.passwords import Passwords
from kb.accounts.rows import folded_name
from kb.accounts.sessions import Sessions, end_sessions
from kb.accounts.throttle import Throttle
from kb.audit import Action, record, record_failed_sign_in
from kb.database import Database
from kb.database.tables import invitations, users
from kb.errors import KbError, PasswordWrong, SignInFailed

log = structlog.get_logger()


class SignIn:
    def __init__(self, database: Database, sessions: Sessions, passwords: Passwords, throttle: Throttle) -> None:
        self._database = database
        self._sessions = sessions
        self._passwords = passwords
        self._throttle = throttle

    def sign_in(self, name: str, password: str, address: str, former_token: str = "") -> str:
        """The token of a new session. `former_token` is that of the browser's last one, which ends.

        Errors: `SignInFailed`, whatever was wrong, after about the same time; `TooManyAttempts`.
        """
        folded = folded_name(name)
        self._throttle.check(folded, address)
        columns = users.c.id, users.c.name, users.c.password_hash, users.c.suspended_at, users.c.awaits_approval
        with self._database.read() as connection:
            row = connection.execute(sa.select(*columns).where(users.c.folded_name == folded)).one_or_none()
        is_right, renewed = self._passwords.verify(password, row.password_hash if row else "")
        if row is None or not is_right or row.suspended_at is not None or row.awaits_approval:
            self._throttle.count_failure(folded, address)
            self._note_failure(row.id if row else None, row.name if row else "", address)
            raise SignInFailed
        self._throttle.forget(folded, address)
        principal = Principal(row.id)
        with self._database.write() as connection:
            if _has_still(connection, principal, row.password_hash):
                if renewed:
                    _store(connection, principal, renewed)
                record(connection, principal, Action.SIGNED_IN)
                return self._sessions.begin(connection, principal, former_token)
        return self.sign_in(name, password, address, former_token)

    def change_password(self, principal: Principal, present: str, new: str, address: str) -> str:
        """Ends all sessions of this user. Returns the token of a new one.

        Errors: `PasswordWrong` if `present` is not it; `TooManyAttempts`, `PasswordTooShort`, `PasswordTooLong`.
        """
        self._passwords.check(new)
        account = principal.user_id.hex
        self._throttle.check(account, address)
        own = sa.select(users.c.name, users.c.password_hash).where(users.c.id == principal.user_id)
        with self._database.read() as connection:
            row = connection.execute(own).one_or_none()
        if row is None or not self._passwords.verify(present, row.password_hash)[0]:
            self._throttle.count_failure(account, address)
            self._note_failure(principal.user_id, row.name if row else "", address)
            raise PasswordWrong
        renewed = self._passwords.hash(new)
        with self._database.write() as connection:
            if _has_still(connection, principal, row.password_hash):
                replace_password(connection, principal, renewed)
                record(connection, principal, Action.PASSWORD_CHANGED)
                return self._sessions.begin(connection, principal)
        return self.change_password(principal, present, new, address)

    def _note_failure(self, user_id: UUID | None, name: str, address: str) -> None:
        log.warning("sign_in.failed", address=address)
        with suppress(KbError), self._database.write() as connection:  # what was wrong is answered all the same
            record_failed_sign_in(connection, user_id, name)


def replace_password(connection: sa.Connection, user: Principal, hashed: str) -> None:
    """With it end what the old one allowed, and what could replace it: sessions, and links for a new password."""
    _store(connection, user, hashed)
    end_sessions(connection, user)
    links = sa.delete(invitations).where(invitations.c.user_id == user.user_id, invitations.c.used_at.is_(None))
    connection.execute(links)


def _has_still(connection: sa.Connection, user: Principal, hashed: str) -> bool:
    """Whether the password is the one that was compared, which takes a while. Nobody changes it meanwhile."""
    same = sa.and_(users.c.id == user.user_id, users.c.password_hash == hashed)
    return connection.scalar(sa.select(users.c.id).where(same).with_for_update(key_share=True)) is not None


def _store(connection: sa.Connection, user: Principal, hashed: str) -> None:
    connection.execute(sa.update(users).where(users.c.id == user.user_id).values(password_hash=hashed))
