"""The policy. No other module compares owners, or looks into grants and links."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from kb.database.tables import (
    api_key_bases,
    api_keys,
    conversation_links,
    conversations,
    grants,
    group_members,
    knowledge_bases,
    users,
    webhooks,
)
from kb.errors import OutOfScope
from kb.principals import GranteeKind, KeyScope, Permission, Principal

EVERYBODY = UUID(int=0)  # the id of a grant to everybody

# What a limited key reaches of its user's, apart from knowledge bases: what came about with it.
_OF_KEY = {conversations: conversations.c.key_id, webhooks: webhooks.c.limiting_key_id}

_KEY = sa.bindparam("of_key", type_=sa.Uuid())
_RANK = sa.bindparam("of_rank", type_=sa.Integer())


def can(permission: Permission, resource: sa.Table, principal: Principal | None = None) -> sa.ColumnElement[bool]:
    """Whether the principal may do this with a row of `resource`, which the statement selects or changes.

    An owner may do everything. A knowledge base can be shared with others; all else is its owner's alone. A key allows
    what its scopes and its user allow; one that is limited to knowledge bases reaches these, and the conversations that
    were begun and the webhooks that were made with it. Without `principal`, for statements that are built once: these
    are executed with `principal.binds`. A thing that was deleted has the same owner and grants still; whether that
    matters, the statement says.
    """
    return _condition(permission, resource, *_bound(principal))


def is_viewed_by(user: sa.ColumnElement[Any], key: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """Whether the user of a row may view a knowledge base, for those who are told of it. `key`: as `of_key`."""
    return _condition(Permission.VIEW, knowledge_bases, user, key, sa.literal(0))


def _condition(
    permission: Permission,
    resource: sa.Table,
    user: sa.ColumnElement[Any],
    key: sa.ColumnElement[Any],
    rank: sa.ColumnElement[Any],
) -> sa.ColumnElement[bool]:
    owner = resource.c.user_id if resource in (api_keys, webhooks) else resource.c.owner_id
    owns: sa.ColumnElement[bool] = owner == user
    if resource in _OF_KEY:
        return sa.and_(owns, sa.or_(key.is_(None), _OF_KEY[resource] == key))
    if resource is not knowledge_bases:
        return owns
    # All sides can use an index, and the grants are read once, not for each knowledge base.
    allows = owns if permission is Permission.OWN else sa.or_(owns, resource.c.id.in_(_granted(permission, user)))
    reached = sa.select(api_key_bases.c.knowledge_base_id).where(api_key_bases.c.key_id == key)
    conditions = [allows, sa.or_(key.is_(None), resource.c.id.in_(reached))]
    if permission is not Permission.VIEW:
        conditions.append(rank >= permission.rank)
    return sa.and_(*conditions)


def is_shared_by(link: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Whether whoever holds this link may read a row of `conversations`, up to where it was shared.

    Not while its owner is suspended.
    """
    shared = sa.select(conversation_links.c.conversation_id).where(conversation_links.c.token == link)
    suspended = sa.select(users.c.id).where(users.c.suspended_at.is_not(None))
    return sa.and_(conversations.c.id.in_(shared), conversations.c.owner_id.not_in(suspended))


def permission_on(resource: sa.Table, principal: Principal | None = None) -> sa.ColumnElement[str]:
    """What the principal may do at most with a row of `resource` that it may view."""
    first, *others = list(Permission)
    known = [(can(each, resource, principal), each.value) for each in reversed(others)]
    return sa.case(*known, else_=first.value)


def require_scope(principal: Principal, scope: KeyScope, is_for_all: bool = False) -> None:
    """Errors: `OutOfScope`. `is_for_all`: what concerns more than the knowledge bases of a limited key."""
    if not principal.has(scope) or (is_for_all and principal.limiting_key_id):
        raise OutOfScope(scope=scope.value)


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


def _bound(principal: Principal | None) -> tuple[sa.ColumnElement[Any], sa.ColumnElement[Any], sa.ColumnElement[Any]]:
    """The user, the key that limits what is reached, and the rank of what is allowed at most."""
    if principal is None:
        return sa.bindparam("of_user", type_=sa.Uuid()), _KEY, _RANK
    values = principal.binds
    user, key = (sa.literal(values[name], sa.Uuid()) for name in ("of_user", "of_key"))
    return user, key, sa.literal(values["of_rank"], sa.Integer())
