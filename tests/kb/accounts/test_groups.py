"""What administrators, and only they, do with groups."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest
import sqlalchemy as sa

from kb.access import GranteeKind, Permission, Principal
from kb.accounts import Groups
from kb.accounts.groups import Group
from kb.database.tables import grants
from kb.errors import AdministratorsOnly, GroupNameTaken, InvalidName, NotFound
from kb.library import KnowledgeBases
from kb.library.sharing import Grantee, Sharing
from kb.models import Account
from tests.fakes.queue import RecordingQueue
from tests.kb.accounts.people import People

CALLS: dict[str, Callable[[Groups, Principal, Group, Account], object]] = {
    "list": lambda calls, by, group, whom: calls.list(by),
    "create": lambda calls, by, group, whom: calls.create(by, "New"),
    "rename": lambda calls, by, group, whom: calls.rename(by, group.id, "New"),
    "add": lambda calls, by, group, whom: calls.add(by, group.id, whom.id),
    "remove": lambda calls, by, group, whom: calls.remove(by, group.id, whom.id),
    "delete": lambda calls, by, group, whom: calls.delete(by, group.id),
}


@pytest.fixture
def groups(people: People) -> Groups:
    return Groups(people.database)


def test_only_administrators_may(people: People, groups: Groups) -> None:
    assert CALLS.keys() == {name for name in vars(Groups) if not name.startswith("_")}
    ada = people.first()
    ben, group = people.invited(ada), groups.create(ada.principal, "Developers")
    for call in CALLS.values():
        with pytest.raises(AdministratorsOnly):
            call(groups, ben.principal, group, ben)
    assert groups.list(ada.principal) == [group]


def test_group_gets_and_loses_members(people: People, groups: Groups) -> None:
    ada = people.first()
    ben, group = people.invited(ada), groups.create(ada.principal, "  Developers ")
    for _time in range(2):
        groups.add(ada.principal, group.id, ben.id)
    groups.rename(ada.principal, group.id, "Builders")
    assert groups.list(ada.principal) == [Group(group.id, "Builders", frozenset({ben.id}))]
    for _time in range(2):
        groups.remove(ada.principal, group.id, ben.id)
    assert groups.list(ada.principal) == [Group(group.id, "Builders", frozenset())]


def test_group_that_is_deleted_shares_nothing(people: People, groups: Groups) -> None:
    ada = people.first()
    ben, group = people.invited(ada), groups.create(ada.principal, "Developers")
    groups.add(ada.principal, group.id, ben.id)
    bases = KnowledgeBases(people.database, RecordingQueue())
    base = bases.create(ada.principal, "Harbour", "test", 32)
    Sharing(people.database).grant(ada.principal, base.id, Grantee(GranteeKind.GROUP, group.id), Permission.VIEW)
    assert [each.name for each in bases.list(ben.principal)] == ["Harbour"]
    groups.delete(ada.principal, group.id)
    assert (bases.list(ben.principal), groups.list(ada.principal)) == ([], [])
    with people.database.read() as connection:
        assert connection.execute(sa.select(grants)).all() == []


def test_wrong_names_and_ids_are_refused(people: People, groups: Groups) -> None:
    ada = people.first()
    group, other = (groups.create(ada.principal, name) for name in ("One", "Two"))
    for create in (lambda: groups.create(ada.principal, "One"), lambda: groups.rename(ada.principal, other.id, "One")):
        with pytest.raises(GroupNameTaken):
            create()
    with pytest.raises(InvalidName):
        groups.create(ada.principal, " ")
    nowhere: list[Callable[[], object]] = [
        lambda: groups.rename(ada.principal, uuid4(), "New"),
        lambda: groups.delete(ada.principal, uuid4()),
        lambda: groups.add(ada.principal, uuid4(), ada.id),
        lambda: groups.add(ada.principal, group.id, uuid4()),
    ]
    for call in nowhere:
        with pytest.raises(NotFound):
            call()
