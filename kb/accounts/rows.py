"""Rows of users as accounts, the names that accounts have, and what goes with them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from kb.access import GranteeKind
from kb.database.tables import grants, users
from kb.models import Account, UserRole
from kb.models.stored import known
from kb.names import clean_name, clean_text, fold

FOLDED_CHARACTERS = 500

ACCOUNT = (
    users.c.id,
    users.c.name,
    users.c.role,
    users.c.created_at,
    users.c.signed_in_at,
    users.c.suspended_at,
    users.c.awaits_approval,
)
IS_ACCOUNT = users.c.folded_name.is_not(None)
IS_ACTIVE = sa.and_(IS_ACCOUNT, users.c.suspended_at.is_(None), sa.not_(users.c.awaits_approval))


def account(row: Any) -> Account:
    """Of a row with the columns `ACCOUNT`."""
    return Account(
        id=row.id,
        name=row.name,
        role=known(row.role, UserRole.MEMBER),
        created_at=row.created_at,
        signed_in_at=row.signed_in_at,
        suspended_at=row.suspended_at,
        awaits_approval=row.awaits_approval,
    )


def delete_grants(connection: sa.Connection, kind: GranteeKind, grantee_id: UUID) -> None:
    """Delete what was shared with a user or a group, which is deleted in this transaction: no foreign key does it."""
    granted = sa.and_(grants.c.grantee_kind == kind.value, grants.c.grantee_id == grantee_id)
    connection.execute(sa.delete(grants).where(granted))


def account_name(name: str) -> str:
    """As it is shown. Errors: `InvalidName`."""
    return clean_name(name)


def folded_name(name: str) -> str:
    """As it is unique, and as it is looked up, whatever was typed."""
    return fold(" ".join(clean_text(name[: FOLDED_CHARACTERS * 2]).split()))[:FOLDED_CHARACTERS]
