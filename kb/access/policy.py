"""The policy. No other module compares owners, or looks into grants."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from kb.access.principals import GranteeKind, Permission, Principal
from kb.database.tables import grants, group_members, knowledge_bases

EVERYBODY = UUID(int=0)  # the id of a grant to everybody


def can(permission: Permission, resource: sa.Table, principal: Principal | None = None) -> sa.ColumnElement[bool]:
    """Whether the principal may do this with a row of `resource`, which the statement selects or changes.

    An owner may do everything. A knowledge base can be shared with others; all else is its owner's alone. Without
    `principal`, for statements that are built once: these are executed with `principal.binds`. A thing that was deleted
    has the same owner and grants still; whether that matters, the statement says.
    """
    user = _user(principal)
    owns: sa.ColumnElement[bool] = resource.c.owner_id == user
    if resource is not knowledge_bases or permission is Permission.OWN:
        return owns
    # Both sides can use an index, and the grants are read once, not for each knowledge base.
    return sa.or_(owns, resource.c.id.in_(_granted(permission, user)))


def permission_on(resource: sa.Table, principal: Principal | None = None) -> sa.ColumnElement[str]:
    """What the principal may do at most with a row of `resource` that it may view."""
    first, *others = list(Permission)
    known = [(can(each, resource, principal), each.value) for each in reversed(others)]
    return sa.case(*known, else_=first.value)


def _granted(permission: Permission, user: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """The ids of the knowledge bases that are shared with the user, with a group of theirs, or with everybody."""
    enough = [each.value for each in Permission if each.includes(permission)]
    groups = sa.select(group_members.c.group_id).where(group_members.c.user_id == user)
    kind, grantee = grants.c.grantee_kind, grants.c.grantee_id
    return sa.select(grants.c.knowledge_base_id).where(
        grants.c.permission.in_(enough),
        sa.or_(
            sa.and_(kind == GranteeKind.USER.value, grantee == user),
            sa.and_(kind == GranteeKind.GROUP.value, grantee.in_(groups)),
            sa.and_(kind == GranteeKind.EVERYBODY.value, grantee == EVERYBODY),
        ),
    )


def _user(principal: Principal | None) -> sa.ColumnElement[Any]:
    if principal is None:
        return sa.bindparam("of_user", type_=sa.Uuid())
    return sa.literal(principal.user_id, sa.Uuid())
