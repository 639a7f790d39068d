"""Groups of users, with which knowledge bases can be shared. Administrators keep them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import IntegrityError

from kb.access import GranteeKind, Principal
from kb.accounts.administration import require_administrator
from kb.accounts.rows import IS_ACCOUNT
from kb.database import Database
from kb.database.tables import grants, group_members, groups, users
from kb.errors import GroupNameTaken, NotFound
from kb.names import clean_name

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Group:
    id: UUID
    name: str
    member_ids: frozenset[UUID]


class Groups:
    """Errors of every call: `AdministratorsOnly`; `NotFound` for a group or a user who is not there."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, principal: Principal) -> Sequence[Group]:
        """All of them, by name."""
        with self._database.read() as connection:
            require_administrator(connection, principal)
            members: dict[UUID, set[UUID]] = {}
            for row in connection.execute(sa.select(group_members.c.group_id, group_members.c.user_id)):
                members.setdefault(row.group_id, set()).add(row.user_id)
            found = connection.execute(sa.select(groups.c.id, groups.c.name).order_by(groups.c.name)).all()
        return [Group(row.id, row.name, frozenset(members.get(row.id, ()))) for row in found]

    def create(self, principal: Principal, name: str) -> Group:
        """Errors: `InvalidName`, `GroupNameTaken`."""
        group = Group(uuid4(), clean_name(name), frozenset())
        self._write(principal, sa.insert(groups).values(id=group.id, name=group.name), group.name)
        log.info("groups.created", group=str(group.id), by=str(principal.user_id))
        return group

    def rename(self, principal: Principal, group_id: UUID, name: str) -> None:
        """Errors: `InvalidName`, `GroupNameTaken`."""
        cleaned = clean_name(name)
        self._write(principal, sa.update(groups).where(groups.c.id == group_id).values(name=cleaned), cleaned)

    def delete(self, principal: Principal, group_id: UUID) -> None:
        """Its members keep what is shared with them otherwise."""
        granted = sa.and_(grants.c.grantee_kind == GranteeKind.GROUP.value, grants.c.grantee_id == group_id)
        with self._database.write() as connection:
            require_administrator(connection, principal)
            connection.execute(sa.delete(grants).where(granted))
            connection.execute(sa.delete(group_members).where(group_members.c.group_id == group_id))
            if connection.execute(sa.delete(groups).where(groups.c.id == group_id)).rowcount == 0:
                raise NotFound(what="group")
        log.info("groups.deleted", group=str(group_id), by=str(principal.user_id))

    def add(self, principal: Principal, group_id: UUID, user_id: UUID) -> None:
        """Who is a member already stays one."""
        group = sa.select(groups.c.id).where(groups.c.id == group_id)
        user = sa.select(users.c.id).where(users.c.id == user_id, IS_ACCOUNT)
        with self._database.write() as connection:
            require_administrator(connection, principal)
            for wanted, what in ((group, "group"), (user, "user")):
                if connection.scalar(wanted) is None:
                    raise NotFound(what=what)
            connection.execute(sa.delete(group_members).where(_is_member(group_id, user_id)))
            connection.execute(sa.insert(group_members), {"group_id": group_id, "user_id": user_id})
        log.info("groups.added", group=str(group_id), user=str(user_id), by=str(principal.user_id))

    def remove(self, principal: Principal, group_id: UUID, user_id: UUID) -> None:
        """Who is no member stays none."""
        with self._database.write() as connection:
            require_administrator(connection, principal)
            connection.execute(sa.delete(group_members).where(_is_member(group_id, user_id)))
        log.info("groups.removed", group=str(group_id), user=str(user_id), by=str(principal.user_id))

    def _write(self, principal: Principal, statement: sa.Insert | sa.Update, name: str) -> None:
        try:
            with self._database.write() as connection:
                require_administrator(connection, principal)
                if connection.execute(statement).rowcount == 0:
                    raise NotFound(what="group")
        except IntegrityError as error:
            raise GroupNameTaken(name=name) from error


def _is_member(group_id: UUID, user_id: UUID) -> sa.ColumnElement[bool]:
    return sa.and_(group_members.c.group_id == group_id, group_members.c.user_id == user_id)
