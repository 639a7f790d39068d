"""Users: the local user of an installation without a login, and what each of them chose last."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from kb.access import Principal
from kb.database import Database
from kb.database.tables import model_choices, users
from kb.errors import NotFound
from kb.models import Choices, User, UserRole
from kb.providers.connection import Purpose

LOCAL_USER = "local"  # its name until the first account takes it over
_CHAT_MODEL = sa.and_(model_choices.c.owner_id == users.c.id, model_choices.c.purpose == Purpose.CHAT.value)
_USERS = sa.select(users.c.id, users.c.name, users.c.last_choices, model_choices.c.model).outerjoin(
    model_choices, _CHAT_MODEL
)
_LOCAL = _USERS.where(users.c.is_local)
_ONE = _USERS.where(users.c.id == sa.bindparam("user_id"))


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
        """The one user of an installation without login, made at the first call.

        With a login it is the first administrator, who keeps what it owned.
        """
        return self._find(_LOCAL) or self._create_local()

    def get(self, principal: Principal) -> User:
        """Errors: `NotFound`."""
        user = self._find(_ONE, principal)
        if user is None:
            raise NotFound(what="user")
        return user

    def remember_choices(self, principal: Principal, choices: Choices) -> None:
        """Remember what this user chose last, for the next tab."""
        statement = sa.update(users).where(users.c.id == principal.user_id).values(last_choices=choices.to_json())
        with self._database.write() as connection:
            if connection.execute(statement).rowcount == 0:
                raise NotFound(what="user")

    def _find(self, statement: sa.Select[Any], principal: Principal | None = None) -> User | None:
        values = {"user_id": principal.user_id} if principal else {}
        with self._database.read() as connection:
            row = connection.execute(statement, values).one_or_none()
        return User(row.id, row.name, row.model or "", Choices.from_json(row.last_choices)) if row else None

    def _create_local(self) -> User:
        local = {"name": LOCAL_USER, "is_local": True, "role": UserRole.ADMINISTRATOR.value}
        try:
            with self._database.write() as connection:
                connection.execute(sa.insert(users), local)
        except IntegrityError:
            pass  # another process was faster
        user = self._find(_LOCAL)
        if user is None:
            raise NotFound(what="user")
        return user
