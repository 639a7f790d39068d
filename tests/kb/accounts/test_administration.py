"""What administrators, and only they, do with accounts."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from kb.access import GranteeKind, Permission, Principal
from kb.accounts import Administration
from kb.database.tables import users
from kb.errors import AdministratorsOnly, LastAdministrator, NotFound
from kb.library import KnowledgeBases
from kb.library.sharing import Grantee, Sharing
from kb.models import UserRole
from tests.fakes.queue import RecordingQueue
from tests.kb.accounts.people import ADDRESS, PASSWORD, People
from tests.real_services import wait_until

CALLS: dict[str, Callable[[Administration, Principal, Principal], object]] = {
    "accounts": lambda calls, by, _whom: calls.accounts(by),
    "stored_bytes": lambda calls, by, _whom: calls.stored_bytes(by),
    "approve": lambda calls, by, whom: calls.approve(by, whom.user_id),
    "suspend": lambda calls, by, whom: calls.suspend(by, whom.user_id),
    "resume": lambda calls, by, whom: calls.resume(by, whom.user_id),
    "set_role": lambda calls, by, whom: calls.set_role(by, whom.user_id, UserRole.ADMINISTRATOR),
    "reject": lambda calls, by, whom: calls.reject(by, whom.user_id),
}


def test_every_call_is_in_the_table() -> None:
    assert CALLS.keys() == {name for name in vars(Administration) if not name.startswith("_")}


@pytest.mark.parametrize("name", CALLS)
def test_only_active_administrators_may(people: People, name: str) -> None:
    ada = people.first()
    member, former = people.invited(ada, "Member"), people.invited(ada, "Former")
    people.administration.set_role(ada.principal, former.id, UserRole.ADMINISTRATOR)
    people.administration.suspend(ada.principal, former.id)
    for who in (member.principal, former.principal, Principal(uuid4())):
        with pytest.raises(AdministratorsOnly):
            CALLS[name](people.administration, who, member.principal)


@pytest.mark.parametrize("name", sorted(CALLS.keys() - {"accounts", "stored_bytes"}))
def test_unknown_user_is_not_found(people: People, name: str) -> None:
    ada = people.first()
    with pytest.raises(NotFound):
        CALLS[name](people.administration, ada.principal, Principal(uuid4()))


def test_last_administrator_stays(people: People) -> None:
    ada = people.first()
    ben = people.invited(ada)
    with pytest.raises(LastAdministrator):
        people.administration.suspend(ada.principal, ada.id)
    with pytest.raises(LastAdministrator):
        people.administration.set_role(ada.principal, ada.id, UserRole.MEMBER)
    people.administration.set_role(ada.principal, ben.id, UserRole.ADMINISTRATOR)
    people.administration.set_role(ben.principal, ada.id, UserRole.MEMBER)
    with pytest.raises(AdministratorsOnly):
        people.administration.accounts(ada.principal)


def test_account_that_is_in_use_cannot_be_rejected(people: People) -> None:
    ada = people.first()
    ben = people.invited(ada)
    with pytest.raises(NotFound):
        people.administration.reject(ada.principal, ben.id)


def test_nothing_stays_shared_with_an_account_that_is_rejected(people: People) -> None:
    ada = people.first()
    people.set_mode("open")
    people.registration.register("Ben", PASSWORD, ADDRESS)
    (ben,) = (each for each in people.administration.accounts(ada.principal) if each.awaits_approval)
    base = KnowledgeBases(people.database, RecordingQueue()).create(ada.principal, "Harbour", "test", 32)
    sharing = Sharing(people.database)
    sharing.grant(ada.principal, base.id, Grantee(GranteeKind.USER, ben.id), Permission.VIEW)
    people.administration.reject(ada.principal, ben.id)
    assert sharing.list(ada.principal, base.id) == []


def test_administrators_are_locked_in_one_order(people: People) -> None:
    """Whoever waits for the first of them holds no other: two changes at once would wait for each other."""
    if people.database.is_sqlite:  # which has one writer at a time
        return
    low, high = (UUID(int=number << 64) for number in (1, 2))
    for user_id in (high, low):  # as they lie in the table
        row = {"id": user_id, "name": str(user_id), "folded_name": str(user_id), "role": UserRole.ADMINISTRATOR.value}
        with people.database.write() as connection:
            connection.execute(sa.insert(users), row)
    lock = sa.select(users.c.id).with_for_update(key_share=True, nowait=True)
    with people.database.write() as connection, people.database.read() as other:
        connection.execute(lock.where(users.c.id == low))
        change = Thread(target=people.administration.set_role, args=(Principal(low), high, UserRole.ADMINISTRATOR))
        change.start()
        waits = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        wait_until(lambda: other.scalar(waits), what="the change that waits")
        assert connection.scalar(lock.where(users.c.id == high)) == high
    change.join()
