"""Who is signed in. A browser holds a session's token in a cookie; SQL holds its digest.

What is asked of SQL counts at once: a session that was ended, or a user who was suspended, is gone with the next look.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

import sqlalchemy as sa

from kb.access import Principal
from kb.access.tokens import digest, new_token
from kb.accounts.rows import ACCOUNT, account
from kb.audit import Action, record
from kb.database import Database
from kb.database.tables import login_sessions, now, users
from kb.errors import KbError
from kb.models import Account

IDLE = timedelta(days=14)
LONGEST = timedelta(days=60)
NOTE_SEEN = timedelta(minutes=5)  # a look seldom writes

_SESSION = (
    sa.select(*ACCOUNT, login_sessions.c.seen_at)
    .join(users, users.c.id == login_sessions.c.user_id)
    .where(
        login_sessions.c.token_hash == sa.bindparam("digest"),
        login_sessions.c.expires_at > sa.bindparam("now"),
        login_sessions.c.seen_at > sa.bindparam("idle_since"),
        users.c.suspended_at.is_(None),
        sa.not_(users.c.awaits_approval),
    )
)


class Sessions:
    def __init__(self, database: Database, clock: Callable[[], datetime] = now) -> None:
        self._database = database
        self._clock = clock

    def find(self, token: str, is_use: bool = True) -> Account | None:
        """Who is signed in with this token; None if nobody is (any more).

        A session ends some time after its last use; `is_use`: this is one.
        """
        if not token:
            return None
        moment = self._clock()
        values = {"digest": digest(token), "now": moment, "idle_since": moment - IDLE}
        with self._database.read() as connection:
            row = connection.execute(_SESSION, values).one_or_none()
        if row is None:
            return None
        if is_use and moment - row.seen_at > NOTE_SEEN:
            with suppress(KbError):  # a database that only reads today still says who is signed in
                self._note_seen(token, moment)
        return account(row)

    def _note_seen(self, token: str, moment: datetime) -> None:
        statement = sa.update(login_sessions).where(login_sessions.c.token_hash == digest(token))
        with self._database.write() as connection:
            connection.execute(statement.values(seen_at=moment))

    def begin(self, connection: sa.Connection, principal: Principal, former_token: str = "") -> str:
        """A new session's token. `former_token` is what the browser has brought: it is good for nothing any more."""
        moment, token = self._clock(), new_token()
        is_over = (login_sessions.c.expires_at <= moment) | (login_sessions.c.seen_at <= moment - IDLE)
        connection.execute(
            sa.delete(login_sessions).where(is_over | (login_sessions.c.token_hash == digest(former_token)))
        )
        times = {"created_at": moment, "seen_at": moment, "expires_at": moment + LONGEST}
        session = {"token_hash": digest(token), "user_id": principal.user_id} | times
        connection.execute(sa.insert(login_sessions), session)
        signed_in = sa.update(users).where(users.c.id == principal.user_id).values(signed_in_at=moment)
        connection.execute(signed_in)
        return token

    def end(self, token: str) -> None:
        this = login_sessions.c.token_hash == digest(token)
        with self._database.write() as connection:
            user_id = connection.scalar(sa.select(login_sessions.c.user_id).where(this))
            if user_id is not None:
                connection.execute(sa.delete(login_sessions).where(this))
                record(connection, Principal(user_id), Action.SIGNED_OUT)

    def end_all(self, principal: Principal) -> None:
        """In every browser."""
        with self._database.write() as connection:
            end_sessions(connection, principal)
            record(connection, principal, Action.SIGNED_OUT_EVERYWHERE)


def end_sessions(connection: sa.Connection, principal: Principal) -> None:
    connection.execute(sa.delete(login_sessions).where(login_sessions.c.user_id == principal.user_id))
