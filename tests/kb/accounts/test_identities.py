"""Identities at providers in SQL, on SQLite and PostgreSQL. The whole way is in `tests/web/oidc`."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from kb.accounts import Accounts
from kb.database import Database
from kb.errors import AccountSuspended, AwaitsApproval, IdentityTaken, LastWayIn, NotConnected, RegistrationClosed
from kb.models import Account, UserRole
from kb.oidc.client import Identity
from kb.oidc.settings import OidcProvider
from tests.conftest import Clock
from tests.kb.accounts.people import ADDRESS, PASSWORD, make_accounts

CORP = OidcProvider("corp", "Corp", "https://sso.example", "zhiwen", SecretStr(""))


def identity(subject: str = "u-1", name: str = "Ada") -> Identity:
    return Identity(CORP, CORP.issuer, subject, name)


@pytest.fixture
def accounts(database: Database, clock: Clock, tmp_path: Path) -> Accounts:
    return make_accounts(database, tmp_path / "home", clock, (CORP,))


@pytest.fixture
def root(accounts: Accounts) -> Account:
    registration = accounts.registration
    found = accounts.sessions.find(registration.create_first(registration.first_token(), "Ada", PASSWORD, ADDRESS))
    assert found
    return found


def test_invitation_gives_its_role_and_a_free_name(accounts: Accounts, root: Account) -> None:
    with pytest.raises(NotConnected):
        accounts.identities.sign_in(identity())
    link = accounts.registration.invite(root.principal, UserRole.ADMINISTRATOR)
    made = accounts.sessions.find(accounts.identities.sign_in(identity(), link))
    assert made
    assert (made.name, made.is_administrator) == ("Ada 2", True)
    again = accounts.sessions.find(accounts.identities.sign_in(identity()))
    assert again
    assert again.id == made.id
    with pytest.raises(RegistrationClosed):
        accounts.identities.sign_in(identity("u-2"), link)
    with pytest.raises(RegistrationClosed):  # it sets a password, and makes no account
        accounts.identities.sign_in(identity("u-3"), accounts.registration.offer_new_password(root.principal, made.id))


def test_account_that_waits_or_is_suspended(accounts: Accounts, root: Account) -> None:
    accounts.registration.mode = "open"
    for _again in range(2):
        with pytest.raises(AwaitsApproval):
            accounts.identities.sign_in(identity(name=""))
    waiting, _root = accounts.administration.accounts(root.principal)
    assert waiting.name == "Corp"
    accounts.administration.approve(root.principal, waiting.id)
    assert accounts.identities.sign_in(identity())
    accounts.administration.suspend(root.principal, waiting.id)
    with pytest.raises(AccountSuspended):
        accounts.identities.sign_in(identity())


def test_connecting_and_disconnecting(accounts: Accounts, root: Account) -> None:
    identities = accounts.identities
    for _again in range(2):
        identities.connect(root.principal, identity())
    assert identities.connected(root.principal) == {"corp"}
    link = accounts.registration.invite(root.principal)
    other = accounts.sessions.find(identities.sign_in(identity("u-2", "Ben"), link))
    assert other
    with pytest.raises(IdentityTaken):
        identities.connect(other.principal, identity())
    with pytest.raises(LastWayIn):
        identities.disconnect(other.principal, "corp")
    assert identities.connected(other.principal) == {"corp"}
    for _again in range(2):
        identities.disconnect(root.principal, "corp")
    assert identities.connected(root.principal) == set()
