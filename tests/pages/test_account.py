"""Pages where there is a login."""

from __future__ import annotations

import pytest

from kb.config import load_settings
from kb.models import Account
from pages.ui import resources
from tests.kb.accounts.people import ADDRESS, PASSWORD, quick_passwords
from tests.pages.conftest import Installation
from tests.pages.visitor import Visitor
from web.app import build_web

ACCOUNT = "zhiwen.account"


class Browsers:
    """Which token the browser of the next page sends."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.token = ""
        accounts = installation.services.accounts
        passwords = quick_passwords()
        for part in (accounts.sign_in, accounts.registration):
            part._passwords = passwords
        accounts.registration.mode = "invitation"

    def sign_up_first(self) -> None:
        registration = self.installation.services.accounts.registration
        self.token = registration.create_first(registration.first_token(), "Ada", PASSWORD, ADDRESS)

    def invite(self, name: str) -> None:
        """And be the invited one from now on."""
        registration = self.installation.services.accounts.registration
        account = self.installation.services.accounts.sessions.find(self.token)
        assert account
        self.token = registration.accept(registration.invite(account.principal), name, PASSWORD, ADDRESS)

    def sign_in(self, name: str) -> None:
        self.token = self.installation.services.accounts.sign_in.sign_in(name, PASSWORD, ADDRESS)


@pytest.fixture
def browsers(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Browsers:
    installation.close()
    resources.provide(lambda: build_web(load_settings(), has_login=True))
    browsers = Browsers(installation)
    monkeypatch.setattr("pages.ui.resources.session_token", lambda: browsers.token)
    monkeypatch.setattr("pages.ui.account.session_token", lambda: browsers.token)
    return browsers


def is_signed_out(visitor: Visitor) -> bool:
    return "You are signed out" in visitor.errors


def test_page_shows_nothing_before_signing_in(browsers: Browsers) -> None:
    browsers.sign_up_first()
    browsers.installation.answered("What is green tea?", "Leaves.")
    browsers.token = ""
    visitor = Visitor()
    assert is_signed_out(visitor)
    assert visitor.component(ACCOUNT)["signIn"] == "Sign in"
    assert not visitor.has("question")
    assert "green tea" not in str(visitor.app._tree)


def test_users_see_their_own_things_only(browsers: Browsers) -> None:
    browsers.sign_up_first()
    browsers.installation.filled("Kitchen")
    browsers.installation.answered("What is green tea?", "Leaves.")
    ada = Visitor()
    assert ada.component(ACCOUNT, in_sidebar=True)["name"] == "Ada"
    assert ada.talks(in_sidebar=True) == {"Today": ["What is green tea?"]}
    browsers.invite("Ben")
    ben = Visitor()
    assert ben.component(ACCOUNT, in_sidebar=True)["name"] == "Ben"
    assert ben.talks(in_sidebar=True) == {}
    assert "Kitchen" not in str(ben.app._tree)
    browsers.sign_in("ada")
    assert Visitor().talks(in_sidebar=True) == {"Today": ["What is green tea?"]}


def test_session_that_ends_keeps_the_question(browsers: Browsers) -> None:
    browsers.sign_up_first()
    visitor = Visitor()
    browsers.installation.services.accounts.sessions.end(browsers.token)
    visitor.start_asking("What is lost?")
    assert is_signed_out(visitor)
    assert visitor.component("zhiwen_frame")["unsent"] == "What is lost?"


def test_suspended_user_is_out_with_the_next_run(browsers: Browsers) -> None:
    browsers.sign_up_first()
    accounts = browsers.installation.services.accounts
    ada = accounts.sessions.find(browsers.token)
    browsers.invite("Ben")
    ben = accounts.sessions.find(browsers.token)
    assert ada
    assert ben
    visitor = Visitor()
    assert not is_signed_out(visitor)
    accounts.administration.suspend(ada.principal, ben.id)
    visitor.run()
    assert is_signed_out(visitor)


def test_open_page_is_nobody_elses(browsers: Browsers) -> None:
    """A tab that connects again sends the cookie of whoever has signed in since."""
    browsers.sign_up_first()
    visitor = Visitor()
    browsers.invite("Ben")
    visitor.run()
    assert is_signed_out(visitor)


def test_run_asks_sql_once_who_it_is(browsers: Browsers, monkeypatch: pytest.MonkeyPatch) -> None:
    browsers.sign_up_first()
    visitor = Visitor()
    sessions = browsers.installation.services.accounts.sessions
    find, asked = sessions.find, list[str]()

    def find_and_count(token: str) -> Account | None:
        asked.append(token)
        return find(token)

    monkeypatch.setattr(sessions, "find", find_and_count)
    visitor.run()
    fragments = 6  # each of the page's may be told anew who it is
    assert 1 <= len(asked) <= fragments
