"""Users. Without a login there is one, the local user."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from kb.access import Principal
from kb.database import Database
from kb.database.tables import model_choices, users
from kb.errors import NotFound
from kb.models import Choices, User
from kb.providers.connection import Purpose

LOCAL_USER = "local"
_CHAT_MODEL = sa.and_(model_choices.c.owner_id == users.c.id, model_choices.c.purpose == Purpose.CHAT.value)
_LOCAL = (
    sa.select(users.c.id, users.c.name, users.c.last_choices, model_choices.c.model)
    .outerjoin(model_choices, _CHAT_MODEL)
    .where(users.c.name == LOCAL_USER)
)


class Users:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._local: Principal | None = None  # it never changes

    def local_principal(self) -> Principal:
        """Who `local` acts as, from memory after the first call."""
        if self._local is None:
            self._local = self.local().principal
        return self._local

    def local(self) -> User:
        """The one user of an installation without login, made at the first call."""
        return self._find_local() or self._create_local()

    def remember_choices(self, principal: Principal, choices: Choices) -> None:
        """Remember what this user chose last, for the next tab."""
        statement = sa.update(users).where(users.c.id == principal.user_id).values(last_choices=choices.to_json())
        with self._database.write() as connection:
            if connection.execute(statement).rowcount == 0:
                raise NotFound(what="user")

    def _find_local(self) -> User | None:
        with self._database.read() as connection:
            row = connection.execute(_LOCAL).one_or_none()
        return User(row.id, row.name, row.model or "", Choices.from_json(row.last_choices)) if row else None

    def _create_local(self) -> User:
        try:
            with self._database.write() as connection:
                connection.execute(sa.insert(users), {"name": LOCAL_USER})
        except IntegrityError:
            pass  # another process was faster
        user = self._find_local()
        if user is None:
            raise NotFound(what="user")
        return user
