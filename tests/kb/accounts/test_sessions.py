"""Who is signed in."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from kb.accounts import Passwords, sessions
from kb.database.tables import login_sessions
from kb.errors import SignInFailed, TooManyAttempts
from kb.models import UserRole
from tests.kb.accounts.people import ADDRESS, PASSWORD, People

NEW = "another long password"


@pytest.mark.parametrize("name", ["Ada", "ADA", "  ada ", "Ａｄａ"])
def test_name_counts_whatever_its_case(people: People, name: str) -> None:
    ada = people.first()
    found = people.account(people.enter(name))
    assert (found.id, found.name, found.role) == (ada.id, "Ada", UserRole.ADMINISTRATOR)
    assert found.signed_in_at == people.clock()


@pytest.mark.parametrize("token", ["", "x", "x" * 10_000, "\ud800"])
def test_unknown_token_is_nobody(people: People, token: str) -> None:
    people.first()
    assert people.sessions.find(token) is None


def test_token_is_kept_as_a_digest(people: People) -> None:
    people.first()
    token = people.enter("ada")
    with people.database.read() as connection:
        kept = connection.scalars(sa.select(login_sessions.c.token_hash)).all()
    assert kept
    assert token not in kept


def test_one_reply_whatever_was_wrong(people: People) -> None:
    ada = people.first()
    suspended, waiting = people.invited(ada, "Suspended"), "Waiting"
    people.administration.suspend(ada.principal, suspended.id)
    people.set_mode("open")
    people.registration.register(waiting, PASSWORD, ADDRESS)
    replies = set()
    wrong = [("Nobody", PASSWORD), ("Ada", "wrong"), ("Suspended", PASSWORD), (waiting, PASSWORD)]
    for name, password in [*wrong, ("\0", PASSWORD), ("\ud800", PASSWORD)]:  # which PostgreSQL takes for no text
        with pytest.raises(SignInFailed) as caught:
            people.enter(name, password)
        replies.add(str(caught.value))
    assert len(replies) == 1


def test_too_many_attempts_refuse_the_right_password_too(people: People) -> None:
    people.first()
    for _ in range(10):
        with pytest.raises(SignInFailed):
            people.enter("ada", "wrong")
    with pytest.raises(TooManyAttempts):
        people.enter("ADA")


def test_sign_in_ends_the_session_that_the_browser_had(people: People) -> None:
    people.first()
    before = people.enter("ada")
    after = people.sign_in.sign_in("ada", PASSWORD, ADDRESS, before)
    assert people.sessions.find(before) is None
    assert people.sessions.find(after)


def test_sign_out_here_and_everywhere(people: People) -> None:
    ada = people.first()
    ben = people.invited(ada)
    here, there, other = people.enter("ada"), people.enter("ada"), people.enter("ben")
    people.sessions.end(here)
    assert [bool(people.sessions.find(token)) for token in (here, there, other)] == [False, True, True]
    people.sessions.end_all(ada.principal)
    assert people.sessions.find(there) is None
    assert people.account(other) == people.account(people.enter("ben"))
    assert people.account(other).id == ben.id


def test_unused_session_ends(people: People) -> None:
    people.first()
    token = people.enter("ada")
    people.clock.advance(sessions.IDLE.total_seconds() - 1)
    assert people.sessions.find(token)  # and is seen by that
    people.clock.advance(sessions.IDLE.total_seconds() - 1)
    assert people.sessions.find(token)
    people.clock.advance(sessions.IDLE.total_seconds())
    assert people.sessions.find(token) is None


def test_open_page_that_asks_does_not_keep_a_session_alive(people: People) -> None:
    people.first()
    token = people.enter("ada")
    people.clock.advance(sessions.IDLE.total_seconds() - 1)
    assert people.sessions.find(token, is_use=False)
    people.clock.advance(1)
    assert people.sessions.find(token, is_use=False) is None


def test_session_ends_however_much_it_is_used(people: People) -> None:
    people.first()
    token, days = people.enter("ada"), sessions.LONGEST.days
    for _ in range(5):
        people.clock.advance(days / 5 * 24 * 3600 - 1)
        assert people.sessions.find(token)
    people.clock.advance(5)
    assert people.sessions.find(token) is None
    people.enter("ada")
    with people.database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(login_sessions)) == 1  # the old ones are gone


def test_suspended_user_is_out_at_once(people: People) -> None:
    ada = people.first()
    ben = people.invited(ada)
    token = people.enter("ben")
    people.administration.suspend(ada.principal, ben.id)
    assert people.sessions.find(token) is None
    people.administration.resume(ada.principal, ben.id)
    assert people.sessions.find(token) is None  # the session ended
    assert people.sessions.find(people.enter("ben"))


def test_changed_password_ends_all_sessions(people: People) -> None:
    ada = people.first()
    before = people.enter("ada")
    with pytest.raises(SignInFailed):
        people.sign_in.change_password(ada.principal, "wrong", NEW, ADDRESS)
    after = people.sign_in.change_password(ada.principal, PASSWORD, NEW, ADDRESS)
    assert people.sessions.find(before) is None
    assert people.sessions.find(after)
    with pytest.raises(SignInFailed):
        people.enter("ada")
    assert people.enter("ada", NEW)


def test_password_that_was_changed_while_it_was_compared_lets_nobody_in(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither to the chat, nor to a password that replaces the new one."""
    ada = people.first()
    verify = Passwords.verify

    def change_meanwhile(passwords: Passwords, password: str, hashed: str) -> tuple[bool, str]:
        found = verify(passwords, password, hashed)
        monkeypatch.setattr(Passwords, "verify", verify)
        people.registration.set_password(ada.principal, ada.id, NEW)
        return found

    monkeypatch.setattr(Passwords, "verify", change_meanwhile)
    with pytest.raises(SignInFailed):
        people.enter("ada")
    people.registration.set_password(ada.principal, ada.id, PASSWORD)
    monkeypatch.setattr(Passwords, "verify", change_meanwhile)
    with pytest.raises(SignInFailed):
        people.sign_in.change_password(ada.principal, PASSWORD, "a password of a thief", ADDRESS)
    assert people.enter("ada", NEW)
