"""The policy: who may do what with what."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

import kb
from kb.access import Permission, Principal, can
from kb.database.tables import conversations, knowledge_bases
from tests.conftest import Library

CODE = Path(kb.__file__).parent
OWNER = re.compile(r"owner_id\b\s*(?:==|\.in_\()|==\s*[\w.]*owner_id\b")


def test_only_the_policy_compares_owners() -> None:
    """Else there were two policies. `kb.users` joins what a user has chosen, whoever asks."""
    found = [
        f"{path.relative_to(CODE)}: {line.strip()}"
        for path in sorted(CODE.rglob("*.py"))
        if "migrations" not in path.parts
        for line in path.read_text(encoding="utf-8").splitlines()
        if OWNER.search(line)
    ]
    assert [line.split(":")[0] for line in found] == ["access/policy.py", "users.py"], found


@pytest.mark.parametrize("permission", list(Permission))
def test_statement_without_a_principal_is_refused(library: Library, permission: Permission) -> None:
    library.knowledge_base()
    statement = sa.select(knowledge_bases.c.name).where(can(permission, knowledge_bases))
    with library.database.read() as connection:
        assert connection.scalars(statement, library.user.binds).all() == ["Test"]
        with pytest.raises(SQLAlchemyError, match="of_user"):
            connection.execute(statement)


@pytest.mark.parametrize("permission", list(Permission))
def test_owner_may_do_everything_and_a_stranger_nothing(library: Library, permission: Permission) -> None:
    base = library.knowledge_base()
    for principal, expected in ((library.user, [base.id]), (library.stranger, []), (Principal(uuid4()), [])):
        statement = sa.select(knowledge_bases.c.id).where(can(permission, knowledge_bases, principal))
        with library.database.read() as connection:
            assert connection.scalars(statement).all() == expected
            own = sa.select(conversations.c.id).where(can(permission, conversations, principal))
            assert connection.scalars(own).all() == []
