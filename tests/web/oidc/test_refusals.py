"""What is refused when somebody comes back from a provider, and what then is told."""

from __future__ import annotations

import json
import logging
import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from kb.accounts.throttle import FROM_ADDRESS, Throttle
from kb.models import Account
from kb.oidc import session
from tests.fakes.oidc_server import CLIENT_SECRET, OidcServer, new_key
from tests.web.oidc.site import Site, come, go
from web.oidc import FLOW_SECONDS


def in_base64(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).decode()


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


@pytest.mark.parametrize("header", [{"crit": 1}, {"kid": [1]}, {"alg": "none"}, {"alg": ["RS256"]}])
def test_malformed_header_of_a_token(site: Site, open_to_all: Account, header: dict[str, Any]) -> None:
    token = ".".join(map(in_base64, ({"alg": "RS256", "kid": "k-1"} | header, {}, "x"))).replace("=", "")
    tokens = {"access_token": "opaque", "token_type": "Bearer", "id_token": token}
    assert "is not valid" in refusal(site, lambda server: setattr(server, "tokens", lambda *_: (200, tokens)))


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
    [
        {"token_endpoint": "http://192.0.2.1/token"},
        {"jwks_uri": None},
        {"authorization_endpoint": "javascript:"},
        {"authorization_endpoint": "https://\ud800/"},
    ],
    ids=["no TLS", "none", "no address", "no text"],
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


@pytest.mark.parametrize(
    "cookie",
    [
        "nonsense",
        *map(in_base64, ({}, [], {"secret": 1}, {"secret": "s", "to": "/", "at": 10**400})),
        "W1tb" * 500,  # 1,500 times [
    ],
    ids=["nonsense", "nothing", "list", "no texts", "huge moment", "deep"],
)
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


def test_office_without_accounts_is_not_locked_out(site: Site, root: Account) -> None:
    site.accounts.identities.throttle = FewAttempts()
    assert come(site.browser()).status_code == 403


class FewAttempts(Throttle):
    """Allows no failure."""

    def __init__(self) -> None:
        pass

    def check(self, account: str, address: str) -> None:
        pass

    def count_failure(self, account: str, address: str) -> None:
        raise AssertionError


def test_behind_a_proxy_with_tls(site: Site, open_to_all: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBLIC_URLS", "http://localhost:9000 https://zhiwen.example/")
    browser = site.browser(url="http://zhiwen.example")
    begun = browser.get("/login/corp")
    (to,) = parse_qs(urlsplit(begun.headers["location"]).query)["redirect_uri"]
    assert to == "https://zhiwen.example/login/corp/callback"
    assert "Secure" in begun.headers["set-cookie"]
    back = urlsplit(httpx.get(begun.headers["location"], verify=False).headers["location"])
    (name, value) = begun.headers["set-cookie"].split(";")[0].split("=", 1)
    answer = browser.get(f"{back.path}?{back.query}", headers={"cookie": f"{name}={value}"})
    assert answer.status_code == 303
    assert all("Secure" in cookie for cookie in answer.headers.get_list("set-cookie"))


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
