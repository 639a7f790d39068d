"""An installation with one provider, and browsers of it."""

from __future__ import annotations

import re
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from kb.accounts import Accounts
from kb.database import Database
from kb.models import Account
from tests.fakes.oidc_server import OidcServer
from tests.kb.accounts.people import PASSWORD
from web.login import Login
from web.oidc import OidcLogin
from web.signed_in import SignedInOnly

ADDRESS = "192.0.2.7"


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

    def browser(self, language: str = "en", address: str = ADDRESS, url: str = "http://testserver") -> TestClient:
        headers = {"accept-language": language}
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


def go(browser: TestClient, path: str = "/login/corp") -> str:
    """To the provider, and to where that sends the browser back."""
    to_provider = browser.get(path)
    assert to_provider.status_code == 303, to_provider.text
    back = httpx.get(to_provider.headers["location"], verify=False).headers["location"]
    assert back.startswith("http://testserver/login/corp/callback?")
    return str(back)


def come(browser: TestClient, path: str = "/login/corp") -> Any:
    return browser.get(go(browser, path))
