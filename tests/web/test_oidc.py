"""Signing in with a provider: the whole way over a real one, what is refused, and who gets an account."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from kb.accounts import Accounts
from kb.accounts.throttle import FROM_ADDRESS
from kb.audit import Action
from kb.audit.log import AuditLog, Filter
from kb.database import Database
from kb.models import Account
from kb.oidc import session
from tests.conftest import Clock, MakeSettings, copy_sqlite
from tests.fakes.oidc_server import CLIENT_SECRET, OidcServer, new_key
from tests.kb.accounts.people import PASSWORD, make_accounts
from web.login import Login
from web.oidc import FLOW_SECONDS, OidcLogin
from web.signed_in import SignedInOnly

ADDRESS = "192.0.2.7"


@pytest.fixture
def server() -> Iterator[OidcServer]:
    with OidcServer() as server:
        yield server


class Site:
    """An installation with one provider and browsers of it."""

    def __init__(self, database: Database, accounts: Accounts, server: OidcServer) -> None:
        self.database = database
        self.accounts = accounts
        self.server = server
        login, by_provider = Login(lambda: accounts, lambda: True), OidcLogin(lambda: accounts, lambda: True)
        gate = Middleware(SignedInOnly, has_login=lambda: True, find=accounts.sessions.find)
        routes = [*login.routes(), *by_provider.routes(), Route("/{path:path}", _page)]
        self.app = Starlette(routes=routes, middleware=[gate])

    def browser(self, language: str = "en", address: str = ADDRESS) -> TestClient:
        headers = {"accept-language": language}
        url = "http://testserver"
        return TestClient(self.app, url, follow_redirects=False, headers=headers, client=(address, 50000))

    def first(self, browser: TestClient, name: str = "Root") -> Account:
        """The administrator, by a password."""
        token = self.accounts.registration.first_token()
        post(browser, "/signup", token=token, name=name, password=PASSWORD, again=PASSWORD)
        account = self.account(browser)
        assert account
        return account

    def account(self, browser: TestClient) -> Account | None:
        (token, *_others) = [value for name, value in browser.cookies.items() if "session" in name] or [""]
        return self.accounts.sessions.find(token)

    def client_clock(self, seconds: float) -> None:
        self.accounts.identities.clients["corp"]._clock = lambda: seconds


async def _page(_request: Request) -> Response:
    return PlainTextResponse("secret")


def post(browser: TestClient, path: str, page: str = "", **fields: str) -> Any:
    (token,) = set(re.findall(r'name="form" value="(\w+)"', browser.get(page or path).text))
    return browser.post(path, data={"form": token, **fields})


@pytest.fixture
def site(make_settings: MakeSettings, migrated_sqlite: Path, clock: Clock, server: OidcServer) -> Iterator[Site]:
    settings = make_settings()
    copy_sqlite(migrated_sqlite, settings)
    database = Database(settings, durable=False)
    accounts = make_accounts(database, settings.home, clock, (server.provider(),))
    yield Site(database, accounts, server)
    database.close()


@pytest.fixture
def root(site: Site) -> Account:
    return site.first(site.browser())


@pytest.fixture
def open_to_all(site: Site, root: Account) -> Account:
    """Whoever comes has an account by now: `u-1` of the provider, called Ada."""
    site.accounts.registration.mode = "open"
    come(site.browser())
    for account in site.accounts.administration.accounts(root.principal):
        if account.awaits_approval:
            site.accounts.administration.approve(root.principal, account.id)
            return account
    raise AssertionError


def go(browser: TestClient, path: str = "/login/corp") -> str:
    """To the provider, and to where that sends the browser back."""
    to_provider = browser.get(path)
    assert to_provider.status_code == 303, to_provider.text
    back = httpx.get(to_provider.headers["location"], verify=False).headers["location"]
    assert back.startswith("http://testserver/login/corp/callback?")
    return str(back)


def come(browser: TestClient, path: str = "/login/corp") -> Any:
    return browser.get(go(browser, path))


# --- the way in ---


def test_known_identity_signs_in(site: Site, open_to_all: Account) -> None:
    browser = site.browser()
    page = browser.get("/login?next=%2Ftesting%3Fa%3D1").text
    (link,) = re.findall(r'class="button" href="([^"]+)">Sign in with Corp<', page)
    answer = come(browser, link)
    assert (answer.status_code, answer.headers["location"]) == (303, "/testing?a=1")
    account = site.account(browser)
    assert account
    assert account.name == "Ada"
    assert browser.get("/").text == "secret"
    assert [name for name in browser.cookies if "flow" in name] == []


def test_session_is_renewed_and_ends_as_any_other(site: Site, open_to_all: Account) -> None:
    browser = site.browser()
    come(browser)
    (before,) = [value for name, value in browser.cookies.items() if "session" in name]
    come(browser)
    assert site.accounts.sessions.find(before) is None
    assert site.account(browser)
    post(browser, "/logout", "/account")
    assert site.account(browser) is None


def test_request_to_the_provider_holds_state_nonce_and_challenge(site: Site, root: Account) -> None:
    browser = site.browser()
    asked = [parse_qs(urlsplit(browser.get("/login/corp").headers["location"]).query) for _ in range(2)]
    for name in ("state", "nonce", "code_challenge"):
        assert len(asked[0][name][0]) >= 43
        assert asked[0][name] != asked[1][name]
    assert len({asked[0][name][0] for name in ("state", "nonce", "code_challenge")}) == 3
    assert asked[0]["redirect_uri"] == ["http://testserver/login/corp/callback"]


def test_two_tabs_do_not_disturb_each_other(site: Site, open_to_all: Account) -> None:
    browser = site.browser()
    first, second = go(browser), go(browser)
    assert browser.get(second).status_code == browser.get(first).status_code == 303


def test_client_that_names_itself_in_the_body(site: Site, open_to_all: Account, server: OidcServer) -> None:
    for place, methods in enumerate((["client_secret_post"], 7, None)):
        server.tells = {"token_endpoint_auth_methods_supported": methods}
        site.client_clock(1e9 * (place + 1))
        assert come(site.browser()).status_code == 303


def test_new_key_of_the_provider_is_read(site: Site, open_to_all: Account, server: OidcServer) -> None:
    server.key = server.signing_key = new_key("k-2")
    client = site.accounts.identities.clients["corp"]
    assert client._keys
    client._keys = (client._keys[0] - 61, client._keys[1])
    assert come(site.browser()).status_code == 303


def test_provider_is_asked_about_itself_once(site: Site, open_to_all: Account, server: OidcServer) -> None:
    for _again in range(3):
        come(site.browser())
    assert server.requests.count("/.well-known/openid-configuration") == server.requests.count("/keys") == 1


# --- who gets an account ---


def names(site: Site, root: Account) -> list[str]:
    return sorted(account.name for account in site.accounts.administration.accounts(root.principal))


def test_closed_registration_makes_no_account(site: Site, root: Account) -> None:
    for mode in ("closed", "invitation"):
        site.accounts.registration.mode = mode
        browser = site.browser()
        answer = come(browser)
        assert answer.status_code == 403
        assert "No account here is connected with yours at Corp." in answer.text
        assert site.account(browser) is None
    assert names(site, root) == ["Root"]


def test_invitation_makes_one_account(site: Site, root: Account) -> None:
    token, browser = site.accounts.registration.invite(root.principal), site.browser()
    (link,) = re.findall(r'class="button" href="([^"]+)"', browser.get(f"/signup?invitation={token}").text)
    assert come(browser, link).status_code == 303
    account = site.account(browser)
    assert account
    assert (account.name, account.is_administrator) == ("Ada", False)
    site.server.user = {"sub": "u-2"}
    assert "not valid (any more)" in come(site.browser(), link).text
    assert names(site, root) == ["Ada", "Root"]


def test_open_registration_waits_for_approval(site: Site, root: Account) -> None:
    site.accounts.registration.mode = "open"
    browser = site.browser()
    for _again in range(2):
        answer = come(browser)
        assert answer.status_code == 403
        assert "waits for the approval" in answer.text
    assert site.account(browser) is None
    assert names(site, root) == ["Ada", "Root"]


def test_neither_name_nor_email_connects(site: Site, root: Account) -> None:
    """Somebody who calls himself as the administrator does gets another account."""
    site.accounts.registration.mode = "open"
    site.server.user = {"sub": "u-9", "name": "ROOT", "email": "root@corp.example", "email_verified": True}
    come(site.browser())
    assert names(site, root) == ["ROOT 2", "Root"]


def test_suspended_account_is_told(site: Site, open_to_all: Account, root: Account) -> None:
    site.accounts.administration.suspend(root.principal, open_to_all.id)
    browser = site.browser()
    answer = come(browser)
    assert answer.status_code == 403
    assert "Your account is suspended." in answer.text
    assert site.account(browser) is None
    log = AuditLog(site.database, 365)
    (failed,) = [each for each in log.search(root.principal, Filter()) if each.action == Action.SIGN_IN_FAILED]
    assert failed.user_name == "Ada"


def test_before_the_first_account_there_is_none(site: Site) -> None:
    site.accounts.registration.mode = "open"
    assert "No account here is connected" in come(site.browser()).text
    assert site.accounts.registration.needs_first()


def test_sign_in_is_recorded_with_its_provider(site: Site, open_to_all: Account, root: Account) -> None:
    come(site.browser())
    event = AuditLog(site.database, 365).search(root.principal, Filter(), limit=1)[0]
    assert (event.action, event.user_name, event.details) == (Action.SIGNED_IN, "Ada", {"provider": "Corp"})


# --- connecting ---


def connect_path(browser: TestClient) -> str:
    (link,) = re.findall(r'href="/(login/corp\?connect=\w+)">Connect with Corp<', browser.get("/account").text)
    return f"/{link}"


def test_user_connects_and_disconnects(site: Site) -> None:
    browser = site.browser()
    root = site.first(browser)
    answer = come(browser, connect_path(browser))
    assert answer.headers["location"] == "/account?connected=1"
    other = site.browser()
    come(other)
    assert site.account(other).id == root.id  # type: ignore[union-attr]
    assert "Disconnect from Corp" in browser.get("/account").text
    post(browser, "/disconnect", "/account", provider="corp")
    assert come(site.browser()).status_code == 403


def test_other_sites_cannot_connect(site: Site) -> None:
    browser = site.browser()
    site.first(browser)
    assert browser.get("/login/corp?connect=1").status_code == 403
    back = go(browser, connect_path(browser))
    browser.cookies.pop(next(name for name in browser.cookies if "session" in name))
    assert browser.get(back).status_code == 401


def test_identity_of_another_is_refused(site: Site, open_to_all: Account, root: Account) -> None:
    browser = site.browser()
    post(browser, "/login", name="root", password=PASSWORD)
    answer = come(browser, connect_path(browser))
    assert answer.status_code == 409
    assert "is connected with another account" in answer.text


def test_last_way_in_stays(site: Site, open_to_all: Account) -> None:
    browser = site.browser()
    come(browser)
    assert 'name="present"' not in browser.get("/account").text  # there is no password to change
    answer = post(browser, "/disconnect", "/account", provider="corp")
    assert "Without Corp you could not sign in any more." in answer.text
    assert come(site.browser()).status_code == 303


# --- what is refused ---


def refusal(site: Site, change: Callable[[OidcServer], None]) -> str:
    """What the browser is told, who then has not signed in."""
    browser = site.browser()
    change(site.server)
    begun = browser.get("/login/corp")
    answer = begun if begun.status_code != 303 else browser.get(go(browser))
    assert answer.status_code >= 400
    assert site.account(browser) is None
    return answer.text


@pytest.mark.parametrize(
    ("claims", "told"),
    [
        ({"iss": "https://evil.example"}, "Somebody else than Corp has answered."),
        ({"aud": "another"}, "meant for another program"),
        ({"aud": ["another", "zhiwen"]}, "is not valid"),  # without azp
        ({"azp": "another"}, "is not valid"),
        ({"nonce": "other"}, "is not valid"),
        ({"nonce": None}, "is not valid"),
        ({"exp": 1000}, "is not valid"),
        ({"exp": None}, "is not valid"),
        ({"sub": None}, "is not valid"),
        ({"sub": 7}, "is not valid"),
        ({"sub": "nul\0"}, "is not valid"),
        ({"iat": 9e9}, "is not valid"),
    ],
)
def test_wrong_claims(site: Site, open_to_all: Account, claims: dict[str, Any], told: str) -> None:
    assert told in refusal(site, lambda server: server.claims.update(claims))


def test_wrong_signature(site: Site, open_to_all: Account) -> None:
    def change(server: OidcServer) -> None:
        server.signing_key = new_key("k-1", "forged")

    assert "is not valid" in refusal(site, change)


def test_provider_that_lies_about_its_issuer(site: Site, open_to_all: Account) -> None:
    def change(server: OidcServer) -> None:
        server.tells = {"issuer": "https://evil.example"}
        site.client_clock(1e9)

    assert "Somebody else than Corp has answered." in refusal(site, change)


def test_answer_of_another_provider(site: Site, open_to_all: Account) -> None:
    browser = site.browser()
    back = re.sub(r"iss=[^&]+", "iss=https://evil.example", go(browser))
    assert "Somebody else than Corp has answered." in browser.get(back).text


@pytest.mark.parametrize(
    "tells",
    [{"token_endpoint": "http://192.0.2.1/token"}, {"jwks_uri": None}, {"authorization_endpoint": "javascript:"}],
)
def test_endpoint_without_tls(site: Site, open_to_all: Account, tells: dict[str, Any]) -> None:
    def change(server: OidcServer) -> None:
        server.tells = tells
        site.client_clock(1e9)

    assert "Corp is not responding as it should." in refusal(site, change)


def test_provider_that_is_away(site: Site, open_to_all: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the beginning, or when the browser comes back."""
    monkeypatch.setattr(session, "TOTAL_SECONDS", 0.3)
    browser = site.browser()
    back = go(browser)
    site.server.is_silent = True
    answers = [browser.get(back)]
    site.client_clock(1e9)
    answers.append(browser.get("/login/corp"))
    for answer in answers:
        assert answer.status_code == 503
        assert "Corp is not responding as it should." in answer.text


def test_provider_that_says_too_much(site: Site, open_to_all: Account) -> None:
    assert "Corp is not responding as it should." in refusal(
        site, lambda server: setattr(server, "size", session.MOST_BYTES)
    )


def test_code_that_has_expired(site: Site, open_to_all: Account) -> None:
    browser = site.browser()
    back = go(browser)
    site.server.codes.clear()
    assert "has expired, or was used already" in browser.get(back).text


def test_state_serves_once(site: Site, open_to_all: Account) -> None:
    browser = site.browser()
    back = go(browser)
    assert browser.get(back).status_code == 303
    again = browser.get(back)
    assert again.status_code == 400
    assert "was completed already" in again.text


def test_state_of_another_browser(site: Site, open_to_all: Account) -> None:
    back, victim = go(site.browser()), site.browser()
    go(victim)
    assert "was begun in another browser" in victim.get(back).text
    assert site.account(victim) is None


def test_state_that_is_too_old(site: Site, open_to_all: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = site.browser()
    back = go(browser)
    moment = time.time() + FLOW_SECONDS + 1
    monkeypatch.setattr("web.oidc.time.time", lambda: moment)
    assert "This sign-in has expired" in browser.get(back).text


@pytest.mark.parametrize("cookie", ["nonsense", "e30=", "W10=", "eyJzZWNyZXQiOjF9"])
def test_cookie_that_was_changed(site: Site, root: Account, cookie: str) -> None:
    browser = site.browser()
    back = go(browser)
    (name,) = [name for name in browser.cookies if "flow" in name]
    browser.cookies.clear()
    browser.cookies.set(name, cookie)
    assert browser.get(back).status_code == 400


def test_user_who_declines(site: Site, open_to_all: Account) -> None:
    text = refusal(site, lambda server: setattr(server, "error", "access_denied<script>"))
    assert "Corp did not sign you in." in text
    assert "access_denied" not in text


def test_guesses_are_throttled(site: Site, open_to_all: Account) -> None:
    browser = site.browser(address="198.51.100.1")
    answers = [browser.get("/login/corp/callback?state=x&code=y").status_code for _ in range(FROM_ADDRESS + 1)]
    assert set(answers[:-1]) == {400}
    assert answers[-1] == 429


def test_unknown_provider(site: Site, root: Account) -> None:
    for path in ("/login/other", "/login/other/callback"):
        assert site.browser().get(path).status_code == 404


def test_gate_opens_for_nothing_else(site: Site, root: Account) -> None:
    for path in ("/login/corp/api/uploads/1", "/login/corp/callback/x", "/login/../x", "/login/CORP/_stcore"):
        assert site.browser().get(path, headers={"accept": "*/*"}).status_code == 401


def test_nothing_leaks(site: Site, open_to_all: Account, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    site.server.claims = {"aud": "another"}
    browser = site.browser()
    back = go(browser)
    code = parse_qs(urlsplit(back).query)["code"][0]
    answer = browser.get(back)
    shown = answer.text + str(answer.headers)
    for secret in (CLIENT_SECRET, code, "opaque"):
        assert secret not in shown
    assert CLIENT_SECRET not in caplog.text


def test_texts_are_in_the_browsers_language(site: Site, root: Account) -> None:
    page = site.browser("zh-CN").get("/login").text
    assert "使用 Corp 登录" in page
