"""How accounts are made."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from kb.accounts import FIRST_TOKEN_FILE, FirstToken, Passwords
from kb.errors import (
    AccountNameTaken,
    AdministratorsOnly,
    InvalidName,
    InvitationsClosed,
    KbError,
    NotFound,
    PasswordTooShort,
    RegistrationClosed,
    SetupError,
    SignInFailed,
    TooManyAttempts,
    WrongFirstToken,
)
from kb.library import KnowledgeBases
from kb.models import Account, UserRole
from kb.users import Users
from tests.fakes.queue import RecordingQueue
from tests.kb.accounts.people import ADDRESS, PASSWORD, People

NEW = "another long password"


@pytest.mark.parametrize("place", ["a folder", "garbage"])
def test_first_token_is_made_in_spite_of_what_stands_there(tmp_path: Path, place: str) -> None:
    if place == "a folder":
        (tmp_path / FIRST_TOKEN_FILE).mkdir()
    else:
        (tmp_path / FIRST_TOKEN_FILE).write_bytes(b"\xff\xfe\0")
    token = FirstToken(tmp_path).ensure()
    assert token
    assert FirstToken(tmp_path).matches(token)


def test_first_token_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "home").write_bytes(b"a file")
    with pytest.raises(SetupError, match="cannot be written"):
        FirstToken(tmp_path / "home").ensure()


def test_first_token_names_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("kb.accounts.first_token._write", fill)
    with pytest.raises(SetupError, match="the disk is full"):
        FirstToken(tmp_path).ensure()


def test_first_token_is_kept_privately_and_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    token = FirstToken(home).ensure()
    assert FirstToken(home).ensure() == token
    (path,) = home.iterdir()
    assert path.name == FIRST_TOKEN_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert FirstToken(home).matches(f" {token}\n")
    for wrong in ("", token[:-1], "\ud800"):
        assert not FirstToken(home).matches(wrong)


@pytest.mark.parametrize("has_links", [True, False])
def test_first_token_of_the_fastest_process_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    home = tmp_path / "home"

    class Slower(FirstToken):
        """Another process makes the token once this one saw that there is none."""

        others = ""

        def _read(self) -> str:
            kept = super()._read()
            self.others = self.others or FirstToken(home).ensure()
            return kept

    def refuse(_source: Path, _target: Path) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    if not has_links:
        monkeypatch.setattr(os, "link", refuse)
    token = (slower := Slower(home)).ensure()
    assert token == slower.others == FirstToken(home).ensure()
    assert [path.name for path in home.iterdir()] == [FIRST_TOKEN_FILE]


def test_blank_first_token_is_replaced(tmp_path: Path) -> None:
    (tmp_path / FIRST_TOKEN_FILE).touch()
    assert FirstToken(tmp_path).ensure()


def test_first_account_takes_over_what_the_local_user_owns(people: People) -> None:
    bases = KnowledgeBases(people.database, RecordingQueue())
    local = Users(people.database).local_principal()
    base = bases.create(local, "Kitchen", "m")
    assert people.registration.needs_first()
    ada = people.first("Ada 愛達")
    assert [each.id for each in bases.list(ada.principal)] == [base.id]
    assert (ada.name, ada.role, ada.principal) == ("Ada 愛達", UserRole.ADMINISTRATOR, local)
    assert Users(people.database).local().name == "Ada 愛達"  # without the login again
    assert not people.registration.needs_first()
    assert people.registration.first_token() == ""


def test_first_token_is_good_once(people: People) -> None:
    token = people.registration.first_token()
    with pytest.raises(WrongFirstToken):
        people.registration.create_first("wrong", "Ada", PASSWORD, ADDRESS)
    with pytest.raises(PasswordTooShort):
        people.registration.create_first(token, "Ada", "short", ADDRESS)
    people.registration.create_first(token, "Ada", PASSWORD, ADDRESS)
    with pytest.raises(RegistrationClosed):
        people.registration.create_first(token, "Ben", PASSWORD, ADDRESS)


def test_invitation_makes_one_account(people: People) -> None:
    ada = people.first()
    token = people.registration.invite(ada.principal, UserRole.ADMINISTRATOR)
    (listed,) = people.registration.invitations(ada.principal)
    assert people.registration.invitation(token) == listed
    found = people.account(people.registration.accept(token, "Ben", PASSWORD, ADDRESS))
    assert (found.name, found.role) == ("Ben", UserRole.ADMINISTRATOR)
    with pytest.raises(RegistrationClosed):
        people.registration.accept(token, "Cem", PASSWORD, ADDRESS)
    assert people.registration.invitations(ada.principal) == []


@pytest.mark.parametrize(
    ("name", "password", "error"),
    [("ADA", PASSWORD, AccountNameTaken), (" \u202e ", PASSWORD, InvalidName), ("Ben", "short", PasswordTooShort)],
)
def test_refused_account_leaves_the_invitation(people: People, name: str, password: str, error: type[KbError]) -> None:
    ada = people.first()
    token = people.registration.invite(ada.principal)
    with pytest.raises(error):
        people.registration.accept(token, name, password, ADDRESS)
    assert people.registration.accept(token, "Ben", PASSWORD, ADDRESS)


def test_invitation_expires_and_can_be_withdrawn(people: People) -> None:
    ada = people.first()
    token, withdrawn = (people.registration.invite(ada.principal) for _ in "12")
    invitation = people.registration.invitation(withdrawn)
    assert invitation
    people.registration.withdraw(ada.principal, invitation.id)
    with pytest.raises(RegistrationClosed):
        people.registration.accept(withdrawn, "Ben", PASSWORD, ADDRESS)
    people.clock.advance(7 * 24 * 3600)
    with pytest.raises(RegistrationClosed):
        people.registration.accept(token, "Ben", PASSWORD, ADDRESS)


@pytest.mark.parametrize("what", ["suspend", "demote"])
def test_links_end_with_the_rights_of_their_maker(people: People, what: str) -> None:
    ada = people.first()
    ben, cem = people.invited(ada), people.invited(ada, "Cem")
    people.administration.set_role(ada.principal, ben.id, UserRole.ADMINISTRATOR)
    link = people.registration.invite(ben.principal, UserRole.ADMINISTRATOR)
    of_password = people.registration.offer_new_password(ben.principal, cem.id)
    if what == "suspend":
        people.administration.suspend(ada.principal, ben.id)
    else:
        people.administration.set_role(ada.principal, ben.id, UserRole.MEMBER)
    assert people.registration.invitations(ada.principal) == []
    for token in (link, of_password):
        assert people.registration.invitation(token) is None
        with pytest.raises(RegistrationClosed):
            people.registration.accept(token, "Dan", PASSWORD, ADDRESS)
    with people.database.write() as connection, pytest.raises(RegistrationClosed):
        people.registration.admit(connection, "Dan", link)


def test_maker_who_is_demoted_while_a_link_is_used_ends_it(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """The link was good when it was looked up; the hash takes a while."""
    ada = people.first()
    ben = people.invited(ada)
    people.administration.set_role(ada.principal, ben.id, UserRole.ADMINISTRATOR)
    link = people.registration.invite(ben.principal, UserRole.ADMINISTRATOR)

    def hash_slowly(_passwords: Passwords, _password: str) -> str:
        people.administration.suspend(ada.principal, ben.id)
        return "hash"

    monkeypatch.setattr(Passwords, "hash", hash_slowly)
    with pytest.raises(RegistrationClosed):
        people.registration.accept(link, "Dan", PASSWORD, ADDRESS)


SET_PASSWORD: dict[str, Callable[[People, Account, Account, str], object]] = {
    "by a link": lambda people, _ada, _ben, link: people.registration.accept(link, "", NEW, ADDRESS),
    "by an administrator": lambda people, ada, ben, _link: people.registration.set_password(ada.principal, ben.id, NEW),
    "by the user": lambda people, _ada, ben, _link: people.sign_in.change_password(
        ben.principal, PASSWORD, NEW, ADDRESS
    ),
}


@pytest.mark.parametrize("how", SET_PASSWORD)
def test_new_password_ends_the_links_for_another(people: People, how: str) -> None:
    ada = people.first()
    ben = people.invited(ada)
    link, other = (people.registration.offer_new_password(ada.principal, ben.id) for _ in "12")
    of_ada = people.registration.offer_new_password(ada.principal, ada.id)
    SET_PASSWORD[how](people, ada, ben, link)
    with pytest.raises(RegistrationClosed):
        people.registration.accept(other, "", PASSWORD, ADDRESS)
    assert people.registration.invitation(of_ada)


def test_members_invite_nobody(people: People) -> None:
    ada = people.first()
    ben = people.invited(ada)
    for call in (people.registration.invite, people.registration.invitations):
        with pytest.raises(AdministratorsOnly):
            call(ben.principal)
    with pytest.raises(AdministratorsOnly):
        people.registration.offer_new_password(ben.principal, ada.id)


def test_closed_registration_takes_nobody(people: People) -> None:
    ada = people.first()
    token = people.registration.invite(ada.principal)
    people.set_mode("closed")
    with pytest.raises(InvitationsClosed):
        people.registration.invite(ada.principal)
    with pytest.raises(RegistrationClosed):
        people.registration.accept(token, "Ben", PASSWORD, ADDRESS)
    with pytest.raises(RegistrationClosed):
        people.registration.register("Ben", PASSWORD, ADDRESS)


def test_open_registration_waits_for_approval(people: People) -> None:
    people.set_mode("open")
    with pytest.raises(RegistrationClosed):  # before there is anybody who could approve
        people.registration.register("Ben", PASSWORD, ADDRESS)
    ada = people.first()
    people.registration.register("Ben", PASSWORD, ADDRESS)
    people.registration.register("Cem", PASSWORD, ADDRESS)
    ben, cem, _ada = people.administration.accounts(ada.principal)
    assert (ben.awaits_approval, ben.role) == (True, UserRole.MEMBER)
    people.administration.approve(ada.principal, ben.id)
    assert people.account(people.enter("ben")).id == ben.id
    people.administration.reject(ada.principal, cem.id)
    assert [each.name for each in people.administration.accounts(ada.principal)] == ["Ada", "Ben"]


def test_forgotten_password_is_replaced_by_a_link(people: People) -> None:
    ada = people.first()
    ben = people.invited(ada)
    people.set_mode("closed")  # concerns new accounts only
    before = people.enter("ben")
    token = people.registration.offer_new_password(ada.principal, ben.id)
    with pytest.raises(PasswordTooShort):
        people.registration.accept(token, "", "short", ADDRESS)
    assert people.account(people.registration.accept(token, "", NEW, ADDRESS)).id == ben.id
    assert people.sessions.find(before) is None
    with pytest.raises(SignInFailed):
        people.enter("ben")
    with pytest.raises(RegistrationClosed):
        people.registration.accept(token, "", NEW, ADDRESS)


def test_administrators_add_accounts_and_set_passwords(people: People) -> None:
    ada = people.first()
    people.set_mode("closed")
    people.registration.add(ada.principal, "Ben", PASSWORD, UserRole.ADMINISTRATOR)
    people.registration.add(ada.principal, "Cem", PASSWORD)
    cem = people.account(people.enter("cem"))
    assert cem.role is UserRole.MEMBER
    with pytest.raises(AdministratorsOnly):
        people.registration.add(cem.principal, "Dan", PASSWORD)
    with pytest.raises(AdministratorsOnly):
        people.registration.set_password(cem.principal, ada.id, NEW)
    with pytest.raises(NotFound):
        people.registration.set_password(ada.principal, uuid4(), NEW)
    before = people.enter("ben")
    people.registration.set_password(ada.principal, people.account(before).id, NEW)
    assert people.sessions.find(before) is None
    assert people.account(people.enter("ben", NEW)).is_administrator


def test_guessed_links_are_throttled(people: People) -> None:
    people.first()
    for _ in range(50):
        with pytest.raises(RegistrationClosed):
            people.registration.accept("guess", "Ben", PASSWORD, ADDRESS)
    with pytest.raises(TooManyAttempts):
        people.registration.accept("guess", "Ben", PASSWORD, ADDRESS)


def test_account_that_was_rejected_gets_no_link(people: People) -> None:
    ada = people.first()
    people.set_mode("open")
    people.registration.register("Waiting", PASSWORD, ADDRESS)
    (waiting,) = (each for each in people.administration.accounts(ada.principal) if each.awaits_approval)
    people.administration.reject(ada.principal, waiting.id)
    with pytest.raises(NotFound):
        people.registration.offer_new_password(ada.principal, waiting.id)
