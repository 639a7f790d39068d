"""The policy. No other module compares owners."""

from __future__ import annotations

import sqlalchemy as sa

from kb.access.principals import Permission, Principal


def can(permission: Permission, resource: sa.Table, principal: Principal | None = None) -> sa.ColumnElement[bool]:
    """Whether the principal may do this with a row of `resource`, which the statement selects or changes.

    Without `principal`, for statements that are built once: these are executed with `principal.binds`. A thing that
    was deleted has the same owner still; whether that matters, the statement says.
    """
    del permission  # nothing is shared yet: an owner may do everything, others nothing
    return resource.c.owner_id == _user(principal)


def _user(principal: Principal | None) -> sa.ColumnElement[object]:
    if principal is None:
        return sa.bindparam("of_user", type_=sa.Uuid())
    return sa.literal(principal.user_id, sa.Uuid())
