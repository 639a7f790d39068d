"""A login: the first account, a session that ends while somebody writes, and a second user."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from kb.accounts import FIRST_TOKEN_FILE, Sessions
from kb.config import load_settings
from kb.database import Database
from tests.e2e.conftest import Desk
from tests.e2e.screen import SECONDS, Screen
from tests.e2e.web import Web
from tests.fakes.model_server import ModelServer

PASSWORD = "correct horse battery"
NOTE_SOCKETS = """
  window.sockets = [];
  window.WebSocket = class extends WebSocket {
    constructor(...given) { super(...given); sockets.push(this); }
  };
"""


@pytest.fixture
def guarded(tmp_path_factory: pytest.TempPathFactory, models: ModelServer) -> Iterator[Web]:
    """An installation of its own, with a login."""
    web = Web(
        tmp_path_factory.mktemp("guarded"),
        OPENAI_BASE_URL=models.base_url,
        EMBEDDING_MODEL="openai:fake-embedding",
        AUTH="local",
        REGISTRATION="invitation",
    )
    web.start()
    yield web
    web.stop()


def fill(page: Page, **values: str) -> None:
    """Fill in the first form of a page without Streamlit, and send it."""
    for name, value in values.items():
        page.locator(f"input[name={name}]").first.fill(value)
    page.locator("form button").first.click()


def open_browser(browser: Browser, web: Web) -> Screen:
    page = browser.new_context(locale="en-US").new_page()
    page.add_init_script(NOTE_SOCKETS)
    page.set_default_timeout(30 * SECONDS)
    return Screen(page, web.url)


def test_accounts(browser: Browser, guarded: Web, models: ModelServer) -> None:
    assert guarded.get("/knowledge-bases")[0] == 401
    ada = open_browser(browser, guarded)
    ada.page.goto(f"{guarded.url}/")
    expect(ada.page).to_have_url(f"{guarded.url}/signup")
    token = (guarded.home / FIRST_TOKEN_FILE).read_text().strip()
    fill(ada.page, token=token, name="Ada", password=PASSWORD, again=PASSWORD)
    expect(ada.page.get_by_role("link", name="Ada")).to_be_visible()
    desk = Desk(guarded, models)
    path = desk.store_conversation(("What is green tea?", "Leaves."))
    desk.close()

    # The session ends while she writes.
    ada.open(path)
    expect(ada.messages).to_have_count(2)
    database = Database(load_settings(_env_file=None, zhiwen_home=guarded.home))
    Sessions(database).end_all(desk.user)
    database.close()
    ada.key("question").locator("textarea").fill("And black tea?")
    ada.page.keyboard.press("Enter")
    expect(ada.page.get_by_text("You are signed out.")).to_be_visible()
    ada.page.get_by_role("link", name="Sign in").click()
    fill(ada.page, name="ada", password="a wrong password")
    expect(ada.page.get_by_role("alert")).to_contain_text("did not work")
    fill(ada.page, name="ada", password=PASSWORD)
    expect(ada.messages).to_have_count(2)
    assert path in ada.page.url
    expect(ada.key("question").locator("textarea")).to_have_value("And black tea?")

    # Somebody else has an account, and sees nothing of hers.
    ada.settle()
    ada.go_to("Users")
    ada.click("invite")
    link = ada.key("new_link").locator("code").inner_text()
    ben = open_browser(browser, guarded)
    ben.page.goto(link)
    fill(ben.page, name="Ben", password=PASSWORD, again=PASSWORD)
    expect(ben.page.get_by_role("link", name="Ben")).to_be_visible()
    ben.settle()
    expect(ben.page.get_by_role("link", name="Users")).to_have_count(0)
    expect(ben.page.get_by_text("What is green tea?")).to_have_count(0)
    ben.open(path)
    expect(ben.messages).to_have_count(0)

    # He signs out in another tab while this one is not connected.
    other = ben.page.context.new_page()
    other.goto(f"{guarded.url}/account")
    other.get_by_role("button", name="Sign out", exact=True).click()
    expect(other).to_have_url(f"{guarded.url}/login")
    ben.page.evaluate("sockets.forEach((socket) => socket.close())")
    expect(ben.page).to_have_url(re.compile(r"/login\?next=%2F%3F"))
    for screen in (ada, ben):
        screen.page.context.close()
