"""With whom a knowledge base is shared. Only its owner sees and changes that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
import structlog

from kb.access import EVERYBODY, GranteeKind, Permission, Principal
from kb.accounts.rows import IS_ACTIVE
from kb.audit import Action, record
from kb.database import Database
from kb.database.tables import grants, groups, users
from kb.errors import N_, NotFound
from kb.library.rows import find_knowledge_base

log = structlog.get_logger()

USER = N_("user")
GROUP = N_("group")


@dataclass(frozen=True, slots=True)
class Grantee:
    """A user, a group, or everybody, who has no name."""

    kind: GranteeKind
    id: UUID = EVERYBODY
    name: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """What somebody else may do with a knowledge base: view it or edit it."""

    grantee: Grantee
    permission: Permission


class Sharing:
    """Grants and withdraws. What changes counts from the next statement of whoever it concerns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, principal: Principal, knowledge_base_id: UUID) -> Sequence[Grant]:
        """The grants by kind and name. Errors: `NotFound`, `OwnerOnly`."""
        names = sa.case(
            (grants.c.grantee_kind == GranteeKind.USER.value, users.c.name),
            (grants.c.grantee_kind == GranteeKind.GROUP.value, groups.c.name),
            else_="",
        ).label("name")
        statement = (
            sa.select(grants.c.grantee_kind, grants.c.grantee_id, grants.c.permission, names)
            .outerjoin(users, users.c.id == grants.c.grantee_id)
            .outerjoin(groups, groups.c.id == grants.c.grantee_id)
            .where(grants.c.knowledge_base_id == knowledge_base_id)
            .order_by(grants.c.grantee_kind, names)
        )
        with self._database.read() as connection:
            find_knowledge_base(connection, principal, knowledge_base_id, Permission.OWN)
            rows = connection.execute(statement).all()
        return [
            Grant(Grantee(GranteeKind(row.grantee_kind), row.grantee_id, row.name or ""), Permission(row.permission))
            for row in rows
        ]

    def offered(self, principal: Principal, knowledge_base_id: UUID) -> Sequence[Grantee]:
        """With whom it can be shared: users who can sign in, then groups, each by name; everybody, if there is anyone.

        Errors: `NotFound`, `OwnerOnly`.
        """
        with self._database.read() as connection:
            base = find_knowledge_base(connection, principal, knowledge_base_id, Permission.OWN)
            others = _others(base.owner_id).order_by(users.c.folded_name)
            people = [Grantee(GranteeKind.USER, row.id, row.name) for row in connection.execute(others)]
            named = sa.select(groups.c.id, groups.c.name).order_by(groups.c.name)
            teams = [Grantee(GranteeKind.GROUP, row.id, row.name) for row in connection.execute(named)]
        return [*people, *teams, *([Grantee(GranteeKind.EVERYBODY)] if people or teams else [])]

    def has_others(self, principal: Principal) -> bool:
        """Whether there is anyone to share with."""
        anyone = sa.select(sa.or_(_others(principal.user_id).exists(), sa.exists().select_from(groups)))
        with self._database.read() as connection:
            return bool(connection.scalar(anyone))

    def grant(self, principal: Principal, knowledge_base_id: UUID, grantee: Grantee, permission: Permission) -> None:
        """Let `grantee` view or edit the knowledge base, in place of what they were allowed before.

        Errors: `NotFound`, also of the grantee; `OwnerOnly`. To own it cannot be granted: `ValueError`.
        """
        if permission is Permission.OWN:
            raise ValueError("a knowledge base has one owner")
        with self._database.write() as connection:
            base = find_knowledge_base(connection, principal, knowledge_base_id, Permission.OWN, lock=True)
            name = _name_of(connection, grantee, lock=True)
            if grantee.kind is GranteeKind.USER and grantee.id == base.owner_id:
                return  # may do everything already
            connection.execute(sa.delete(grants).where(_is_to(knowledge_base_id, grantee)))
            row = {"knowledge_base_id": knowledge_base_id, "grantee_kind": grantee.kind.value}
            connection.execute(sa.insert(grants), row | {"grantee_id": grantee.id, "permission": permission.value})
            details = {"to": name, "grantee": grantee.kind.value, "permission": permission.value}
            record(connection, principal, Action.SHARED, knowledge_base_id, base.name, **details)
        log.info("sharing.granted", knowledge_base=str(knowledge_base_id), to=grantee.kind.value, permission=permission)

    def withdraw(self, principal: Principal, knowledge_base_id: UUID, grantee: Grantee) -> None:
        """Errors: `NotFound`, `OwnerOnly`. What was withdrawn already stays so."""
        with self._database.write() as connection:
            base = find_knowledge_base(connection, principal, knowledge_base_id, Permission.OWN, lock=True)
            if connection.execute(sa.delete(grants).where(_is_to(knowledge_base_id, grantee))).rowcount:
                details = {"to": _name_of(connection, grantee), "grantee": grantee.kind.value}
                record(connection, principal, Action.UNSHARED, knowledge_base_id, base.name, **details)
        log.info("sharing.withdrawn", knowledge_base=str(knowledge_base_id), to=grantee.kind.value)


def _others(user_id: UUID) -> sa.Select[tuple[UUID, str]]:
    """The users who can sign in, without this one."""
    return sa.select(users.c.id, users.c.name).where(IS_ACTIVE, users.c.id != user_id)


def _is_to(knowledge_base_id: UUID, grantee: Grantee) -> sa.ColumnElement[bool]:
    return sa.and_(
        grants.c.knowledge_base_id == knowledge_base_id,
        grants.c.grantee_kind == grantee.kind.value,
        grants.c.grantee_id == grantee.id,
    )


def _name_of(connection: sa.Connection, grantee: Grantee, lock: bool = False) -> str:
    """`lock`: nobody deletes it meanwhile, with all that it was granted. Errors: `NotFound`."""
    if grantee.kind is GranteeKind.EVERYBODY:
        return ""
    table, what = (users, USER) if grantee.kind is GranteeKind.USER else (groups, GROUP)
    called = sa.select(table.c.name).where(table.c.id == grantee.id)
    name: str | None = connection.scalar(called.with_for_update(read=True, key_share=True) if lock else called)
    if name is None:
        raise NotFound(what=what)
    return name
