"""Signing in with a provider: the whole way over a real one, and who gets an account."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

from starlette.testclient import TestClient

from kb.audit import Action
from kb.audit.log import AuditLog, Filter
from kb.models import Account
from tests.fakes.oidc_server import OidcServer, new_key
from tests.kb.accounts.people import PASSWORD
from tests.web.oidc.site import Site, come, go, post

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
    assert "no longer valid" in come(site.browser(), link).text
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
