"""Groups of users, with which knowledge bases can be shared. Administrators keep them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import IntegrityError

from kb.access import GranteeKind, Principal
from kb.accounts.administration import require_administrator
from kb.accounts.rows import IS_ACCOUNT, delete_grants
from kb.audit import Action, record
from kb.database import Database
from kb.database.tables import group_members, groups, users
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
        with self._named(principal, group.name) as connection:
            connection.execute(sa.insert(groups).values(id=group.id, name=group.name))
            record(connection, principal, Action.GROUP_CREATED, group.id, group.name)
        log.info("groups.created", group=str(group.id), by=str(principal.user_id))
        return group

    def rename(self, principal: Principal, group_id: UUID, name: str) -> None:
        """Errors: `InvalidName`, `GroupNameTaken`."""
        cleaned = clean_name(name)
        with self._named(principal, cleaned) as connection:
            before = _name_of(connection, group_id)
            connection.execute(sa.update(groups).where(groups.c.id == group_id).values(name=cleaned))
            record(connection, principal, Action.GROUP_RENAMED, group_id, cleaned, before=before)

    def delete(self, principal: Principal, group_id: UUID) -> None:
        """Its members keep what is shared with them otherwise."""
        with self._database.write() as connection:
            require_administrator(connection, principal)
            name = _name_of(connection, group_id)
            delete_grants(connection, GranteeKind.GROUP, group_id)
            connection.execute(sa.delete(group_members).where(group_members.c.group_id == group_id))
            connection.execute(sa.delete(groups).where(groups.c.id == group_id))
            record(connection, principal, Action.GROUP_DELETED, group_id, name)
        log.info("groups.deleted", group=str(group_id), by=str(principal.user_id))

    def add(self, principal: Principal, group_id: UUID, user_id: UUID) -> None:
        """Who is a member already stays one."""
        user = sa.select(users.c.name).where(users.c.id == user_id, IS_ACCOUNT)
        with self._database.write() as connection:
            require_administrator(connection, principal)
            name, member = _name_of(connection, group_id), connection.scalar(user)
            if member is None:
                raise NotFound(what="user")
            was_member = connection.execute(sa.delete(group_members).where(_is_member(group_id, user_id))).rowcount
            connection.execute(sa.insert(group_members), {"group_id": group_id, "user_id": user_id})
            if not was_member:
                record(connection, principal, Action.MEMBER_ADDED, group_id, name, member=member)
        log.info("groups.added", group=str(group_id), user=str(user_id), by=str(principal.user_id))

    def remove(self, principal: Principal, group_id: UUID, user_id: UUID) -> None:
        """Who is no member stays none."""
        with self._database.write() as connection:
            require_administrator(connection, principal)
            if connection.execute(sa.delete(group_members).where(_is_member(group_id, user_id))).rowcount:
                member = connection.scalar(sa.select(users.c.name).where(users.c.id == user_id)) or ""
                name = _name_of(connection, group_id)
                record(connection, principal, Action.MEMBER_REMOVED, group_id, name, member=member)
        log.info("groups.removed", group=str(group_id), user=str(user_id), by=str(principal.user_id))

    @contextmanager
    def _named(self, principal: Principal, name: str) -> Iterator[sa.Connection]:
        """A transaction of an administrator who gives a group this name."""
        try:
            with self._database.write() as connection:
                require_administrator(connection, principal)
                yield connection
        except IntegrityError as error:
            raise GroupNameTaken(name=name) from error


def _name_of(connection: sa.Connection, group_id: UUID) -> str:
    name: str | None = connection.scalar(sa.select(groups.c.name).where(groups.c.id == group_id).with_for_update())
    if name is None:
        raise NotFound(what="group")
    return name


def _is_member(group_id: UUID, user_id: UUID) -> sa.ColumnElement[bool]:
    return sa.and_(group_members.c.group_id == group_id, group_members.c.user_id == user_id)
