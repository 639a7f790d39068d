"""The routes of the login, and the gate before all others."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import anyio.to_thread
import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from kb.accounts import Accounts
from kb.database import Database
from kb.errors import DatabaseUnavailable, TooManyAttempts
from tests.conftest import Clock, MakeSettings, copy_sqlite
from tests.fakes.stalling_client import send_and_stall
from tests.kb.accounts.people import PASSWORD, make_accounts
from web.form_pages import MOST_BYTES, own_path
from web.login import MOST_OF_NETWORK, Login
from web.missing import MissingPages
from web.signed_in import SignedInOnly

BASE = "http://testserver"
NEW = "another long password"
HTML = {"accept": "text/html"}
TEXT_PATHS = ("/", "/knowledge-bases", "/media/x.png", "/api/uploads/1", "/_stcore/host-config", "/component/x")


@pytest.fixture
def accounts(make_settings: MakeSettings, migrated_sqlite: Path, clock: Clock) -> Iterator[Accounts]:
    settings = make_settings()
    copy_sqlite(migrated_sqlite, settings)
    database = Database(settings, durable=False)
    yield make_accounts(database, settings.home, clock)
    database.close()


class Site:
    """An installation with a login, whose pages are stubs, and browsers of it."""

    def __init__(self, accounts: Accounts) -> None:
        self.accounts = accounts
        self.login = Login(lambda: accounts, lambda: True)
        routes = [
            *self.login.routes(),
            Route("/healthz", _page),
            Route("/static/main.js", _page),
            *(Route(path, _page, methods=["GET", "PUT"]) for path in TEXT_PATHS),
            WebSocketRoute("/_stcore/stream", _stream),
        ]
        gate = Middleware(SignedInOnly, has_login=lambda: True, find=accounts.sessions.find)
        missing = Middleware(MissingPages, routes=routes)
        self.app = Starlette(routes=routes, middleware=[gate, missing])

    def browser(self, url: str = BASE) -> TestClient:
        return TestClient(self.app, base_url=url, follow_redirects=False, headers={"accept-language": "en"})

    def first(self, browser: TestClient, name: str = "Ada") -> Any:
        token = self.accounts.registration.first_token()
        return send(browser, "/signup", token=token, name=name, password=PASSWORD, again=PASSWORD)


async def _page(_request: Request) -> Response:
    return PlainTextResponse("secret")


async def _stream(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


@pytest.fixture
def site(accounts: Accounts) -> Site:
    return Site(accounts)


def send(browser: TestClient, path: str, page: str = "", **fields: str) -> Any:
    """Fill in the form at `path`, or the one on another page that goes there."""
    shown = browser.get(page or path).text
    (token,) = set(re.findall(r'name="form" value="(\w+)"', shown))
    return browser.post(path, data={"form": token, **fields})


def sign_in(browser: TestClient, name: str = "ada", password: str = PASSWORD, to: str = "/login") -> Any:
    return send(browser, to, name=name, password=password)


def gets_in(browser: TestClient) -> bool:
    return browser.get("/").text == "secret"


# --- the gate ---


@pytest.mark.parametrize("path", TEXT_PATHS)
def test_nothing_is_open_before_signing_in(site: Site, path: str) -> None:
    browser = site.browser()
    asked = browser.get(f"{path}?conversation=1&x=2", headers=HTML)
    assert (asked.status_code, asked.headers["location"]) == (
        303,
        f"/login?next={quote(f'{path}?conversation=1&x=2', safe='')}",
    )
    for method in ("GET", "PUT"):
        refused = browser.request(method, path, headers={"accept": "*/*"})
        assert refused.status_code == 401
        assert "secret" not in refused.text


@pytest.mark.parametrize("name", ["rest-api/guide", "api/uploads", "rest-api/pages/1", "api/conversations 2026"])
def test_knowledge_base_may_be_called_like_a_route(site: Site, name: str) -> None:
    path = f"/v1/models/knowledge-base/{name}"
    assert site.browser().get(path, headers={"accept": "*/*"}).status_code == 404  # nothing is behind the gate here


@pytest.mark.parametrize("cookie", ["", "zhiwen_session_8501=x", "zhiwen_session_8501=" + "x" * 4000])
def test_websocket_needs_a_session(site: Site, cookie: str) -> None:
    with (
        pytest.raises(WebSocketDisconnect),
        site.browser().websocket_connect("/_stcore/stream", headers={"cookie": cookie}),
    ):
        pass


def test_signed_in_browser_gets_everywhere(site: Site) -> None:
    browser = site.browser()
    site.first(browser)
    assert {browser.get(path).text for path in TEXT_PATHS} == {"secret"}
    with browser.websocket_connect("/_stcore/stream"):
        pass


@pytest.mark.parametrize("path", ["/", "/session", "/account"])
def test_gate_and_login_share_no_thread_with_what_hangs(site: Site, path: str) -> None:
    browser, end = site.browser(), threading.Event()
    site.first(browser)

    async def ask() -> int:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        anyio.to_thread.current_default_thread_limiter().total_tokens = 1
        hanging = [asyncio.create_task(asyncio.to_thread(end.wait, 20))]
        hanging.append(asyncio.create_task(anyio.to_thread.run_sync(end.wait, 20)))
        await asyncio.sleep(0)
        try:
            transport = httpx.ASGITransport(site.app)
            async with httpx.AsyncClient(transport=transport, base_url=BASE, cookies=dict(browser.cookies)) as client:
                reply = await asyncio.wait_for(client.get(path), 10)
        finally:
            end.set()
            await asyncio.wait(hanging)
        return reply.status_code

    assert asyncio.run(ask()) == 200


@pytest.mark.parametrize("path", ["/healthz", "/static/main.js", "/login", "/signup"])
def test_login_and_probes_are_open(site: Site, path: str) -> None:
    assert site.browser().get(path).status_code in (200, 303)


def test_without_a_login_nothing_is_asked(accounts: Accounts) -> None:
    def find(_token: str) -> None:
        raise AssertionError

    gate = Middleware(SignedInOnly, has_login=lambda: False, find=find)
    routes = [Route("/", _page), *Login(lambda: accounts, lambda: False).routes()]
    browser = TestClient(Starlette(routes=routes, middleware=[gate]), follow_redirects=False)
    assert browser.get("/").text == "secret"
    for path in ("/login", "/signup", "/account"):
        assert browser.get(path).headers["location"] == "/"


def test_database_that_is_away_opens_nothing() -> None:
    def find(_token: str) -> None:
        raise DatabaseUnavailable(detail="away")

    gate = Middleware(SignedInOnly, has_login=lambda: True, find=find)
    browser = TestClient(Starlette(routes=[Route("/", _page)], middleware=[gate]))
    browser.cookies.set("zhiwen_session_8501", "x")
    for accept in ("text/html", "*/*"):
        reply = browser.get("/", headers={"accept": accept})
        assert reply.status_code == 503
        assert "away" in reply.text
    chinese = browser.get("/", headers={"accept": "text/html", "accept-language": "zh-CN"}).text
    assert "。" in chinese
    assert "。 " not in chinese


# --- the first account, in and out ---


def test_first_account_by_its_token(site: Site) -> None:
    browser = site.browser()
    assert browser.get("/login").headers["location"] == "/signup"
    refused = send(browser, "/signup", token="wrong", name="Ada", password=PASSWORD, again=PASSWORD)
    assert refused.status_code == 400
    assert "first-account-token" in refused.text.split('role="alert"')[1]  # not: ask an administrator
    assert 'value="Ada"' in refused.text
    token = site.accounts.registration.first_token()
    differ = send(browser, "/signup", token=token, name="Ada", password=PASSWORD, again=NEW)
    assert "not the same" in differ.text
    assert not gets_in(browser)
    assert f'value="{token}"' in differ.text
    assert 'value="Ada"' in differ.text
    assert PASSWORD not in differ.text
    done = site.first(browser)
    assert (done.status_code, done.headers["location"]) == (303, "/")
    assert gets_in(browser)
    assert not gets_in(site.browser())


def test_second_account_needs_an_invitation(site: Site) -> None:
    ada, ben = site.browser(), site.browser()
    site.first(ada)
    assert "need an invitation" in ben.get("/signup").text
    (account,) = [site.accounts.sessions.find(value) for name, value in ada.cookies.items() if "session" in name]
    assert account
    path = f"/signup?invitation={site.accounts.registration.invite(account.principal)}"
    done = send(ben, path, name="Ben", password=PASSWORD, again=PASSWORD)
    assert done.status_code == 303
    assert gets_in(ben)
    used = site.browser().get(path)
    assert used.status_code == 400
    assert "not valid" in used.text
    path = f"/signup?invitation={site.accounts.registration.offer_new_password(account.principal, account.id)}"
    assert "Ada" in ben.get(path).text
    assert send(site.browser(), path, password=NEW, again=NEW).status_code == 303
    assert not gets_in(ada)


def test_sign_in_leads_back(site: Site) -> None:
    site.first(site.browser())
    browser = site.browser()
    wrong = sign_in(browser, password="wrong", to="/login?next=%2Fhistory%3Fa%3D1%26b%3D2")
    assert wrong.status_code == 401
    assert 'value="ada"' in wrong.text
    right = sign_in(browser, to="/login?next=%2Fhistory%3Fa%3D1%26b%3D2")
    assert (right.status_code, right.headers["location"]) == (303, "/history?a=1&b=2")
    assert browser.get("/login?next=%2Fhistory").headers["location"] == "/history"  # is signed in already


def test_unknown_user_and_wrong_password_get_one_reply(site: Site) -> None:
    site.first(site.browser())
    replies = set()
    for name, password in (("ada", "wrong"), ("eve", PASSWORD)):
        reply = sign_in(site.browser(), name, password)
        replies.add((reply.status_code, re.sub(r'value="\w+"', "", reply.text)))
    assert len(replies) == 1


def test_cookie_is_for_this_site_alone(site: Site) -> None:
    site.first(site.browser())
    for url, is_secure in (("http://testserver", False), ("https://testserver", True)):
        cookie = sign_in(site.browser(url)).headers["set-cookie"]
        assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
        assert ("Secure" in cookie.split("; ")) is is_secure


def test_sign_in_changes_the_token(site: Site) -> None:
    browser, thief = site.browser(), site.browser()
    site.first(browser)
    thief.cookies.update(browser.cookies)
    assert gets_in(thief)
    (token,) = re.findall(r'name="form" value="(\w+)"', site.browser().get("/login").text) or [""]
    assert token
    browser.cookies.delete("zhiwen_form_8501")
    old = browser.cookies["zhiwen_session_8501"]
    browser.cookies.delete("zhiwen_session_8501")
    page = browser.get("/login").text
    form = re.findall(r'name="form" value="(\w+)"', page)[0]
    cookie = {"cookie": f"zhiwen_session_8501={old}; zhiwen_form_8501={browser.cookies['zhiwen_form_8501']}"}
    browser.cookies.clear()
    reply = browser.post("/login", data={"form": form, "name": "ada", "password": PASSWORD}, headers=cookie)
    assert reply.status_code == 303
    assert gets_in(browser)
    assert not gets_in(thief)


def test_open_page_is_told_who_is_signed_in(site: Site) -> None:
    browser = site.browser()
    assert browser.get("/session").status_code == 401
    site.first(browser)
    (token,) = [value for name, value in browser.cookies.items() if "session" in name]
    account = site.accounts.sessions.find(token)
    assert account
    assert browser.get("/session").json() == {"user": str(account.id)}
    site.accounts.sessions.end_all(account.principal)
    assert browser.get("/session").status_code == 401


def test_sign_out_here_and_everywhere(site: Site) -> None:
    here, there = site.browser(), site.browser()
    site.first(here)
    sign_in(there)
    replayed = dict(here.cookies)
    assert send(here, "/logout", page="/account").headers["location"] == "/login"
    assert not gets_in(here)
    assert gets_in(there)
    here.cookies.update(replayed)  # a copy of the cookie is good for nothing
    assert not gets_in(here)
    sign_in(here)
    send(here, "/logout", page="/account", everywhere="1")
    assert not gets_in(there)


def test_password_is_changed_with_the_present_one(site: Site) -> None:
    here, there = site.browser(), site.browser()
    site.first(here)
    sign_in(there)
    wrong = send(here, "/account", present="wrong", password=NEW, again=NEW)
    assert wrong.status_code == 401
    assert "The current password is wrong." in wrong.text
    differ = send(here, "/account", present=PASSWORD, password=NEW, again=PASSWORD)
    assert "not the same" in differ.text
    assert gets_in(there)
    done = send(here, "/account", present=PASSWORD, password=NEW, again=NEW)
    assert "was changed" in here.get(done.headers["location"]).text
    assert gets_in(here)
    assert not gets_in(there)
    assert sign_in(there, password=PASSWORD).status_code == 401
    assert sign_in(there, password=NEW).status_code == 303


# --- hostile requests ---


@pytest.mark.parametrize("path", ["/login", "/signup", "/logout", "/account"])
@pytest.mark.parametrize("token", ["", "x", "é"])
def test_form_of_another_site_does_nothing(site: Site, path: str, token: str) -> None:
    browser = site.browser()
    site.first(browser)
    fields = {"form": token, "name": "ada", "password": NEW, "again": NEW, "present": PASSWORD}
    reply = browser.post(path, data=fields)
    assert reply.status_code == 403
    assert "set-cookie" not in reply.headers or "session" not in reply.headers["set-cookie"]
    assert gets_in(browser)
    assert sign_in(site.browser()).status_code == 303


@pytest.mark.parametrize("body", [b"x" * (MOST_BYTES + 1), b"&" * 5000, b"\xff\xfe", b"form=%ff&name=%00"])
def test_odd_bodies_are_refused(site: Site, body: bytes) -> None:
    site.first(site.browser())
    browser = site.browser()
    browser.get("/login")
    refused = browser.post("/login", content=body)
    assert refused.status_code == 403
    assert (refused.headers.get("connection") == "close") == (len(body) > MOST_BYTES)  # the rest is not read


def test_form_that_stalls_ends_the_connection(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.first(site.browser())
    monkeypatch.setattr("web.form_pages.FORM_SECONDS", 0.05)
    start, body = send_and_stall(site.app, "POST", "/login", b"name=ada")
    assert start["status"] == 408
    assert (b"connection", b"close") in start["headers"]
    assert "did not arrive completely" in body["body"].decode()


@pytest.mark.parametrize("name", ["", "\0", "\u202eada", "a" * 10_000, "' OR 1=1 --", "Ada\n"])
def test_odd_names_sign_nobody_in(site: Site, name: str) -> None:
    site.first(site.browser())
    assert sign_in(site.browser(), name, "wrong").status_code == 401


@pytest.mark.parametrize(
    "wanted", ["//evil.example", "https://evil.example", "/\\evil.example", "\\/x", "javascript:x", "/\r\nx", "x", ""]
)
def test_only_own_paths_are_led_back_to(site: Site, wanted: str) -> None:
    assert own_path(wanted) == "/"
    site.first(site.browser())
    reply = sign_in(site.browser(), to=f"/login?next={quote(wanted, safe='')}")
    assert reply.headers["location"] == "/"


def test_text_of_others_is_shown_as_text(site: Site) -> None:
    site.first(site.browser())
    browser = site.browser()
    reply = sign_in(browser, '"><script>alert(1)</script>', "wrong", to="/login?next=%2F%22%3E%3Cscript%3E")
    assert "<script>alert" not in reply.text
    assert '"><script>' not in reply.text


@pytest.mark.parametrize("name", ["ada", "nobody"])
@pytest.mark.parametrize(
    ("language", "wait"), [("en", r"Try again in 1[45] min\."), ("zh-CN", r"请在 1[45] 分钟后再试")]
)
def test_guessing_is_throttled(site: Site, name: str, language: str, wait: str) -> None:
    site.first(site.browser())
    browser = site.browser()
    browser.headers["accept-language"] = language
    replies = [sign_in(browser, name, f"guess {attempt}").status_code for attempt in range(11)]
    assert replies == [401] * 10 + [429]
    right = sign_in(browser, name)
    assert right.status_code == 429
    assert re.search(wait, right.text)
    assert f'value="{name}"' in right.text
    assert re.findall(r'name="(\w+)"[^>]* autofocus', right.text) == ["password"]


def test_flood_is_refused_instead_of_queued(site: Site) -> None:
    site.first(site.browser())
    site.login._waiting["testclient"] = MOST_OF_NETWORK
    assert sign_in(site.browser()).status_code == 429
    site.login._waiting.clear()
    assert sign_in(site.browser()).status_code == 303


def test_flood_of_one_network_holds_up_no_other(site: Site) -> None:
    """While its hashes are computed and wait."""
    end = threading.Event()

    def sent_from(address: str) -> Request:
        return Request({"type": "http", "client": (address, 1)})

    async def hash_all() -> None:
        flood = [
            asyncio.create_task(site.login._hashed(sent_from(f"2001:db8::{number:x}"), lambda: end.wait(20)))
            for number in range(MOST_OF_NETWORK)
        ]
        await asyncio.sleep(0)
        try:
            with pytest.raises(TooManyAttempts):
                await site.login._hashed(sent_from("2001:db8::ffff"), lambda: "refused")
            other = site.login._hashed(sent_from("2001:db8:0:1::1"), lambda: "served")
            assert await asyncio.wait_for(other, 10) == "served"
        finally:
            end.set()
            await asyncio.wait(flood)
        assert await site.login._hashed(sent_from("2001:db8::ffff"), lambda: "served") == "served"
        assert not site.login._waiting

    asyncio.run(hash_all())


@pytest.mark.parametrize(("language", "title"), [("zh-CN", "登录"), ("zh-TW", "登入"), ("en", "Sign in")])
def test_pages_speak_the_browsers_language(site: Site, language: str, title: str) -> None:
    site.first(site.browser())
    reply = site.browser().get("/login", headers={"accept-language": language})
    assert f"<h1>{title}</h1>" in reply.text
    chosen = site.browser().get("/login?next=%2F%3Flanguage%3Dzh_TW", headers={"accept-language": language})
    assert "<h1>登入</h1>" in chosen.text
