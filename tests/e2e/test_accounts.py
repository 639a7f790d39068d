"""A login: the first account, a session that ends in mid-answer, guessed passwords, and a second user."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing

import pytest
import redis
from playwright.sync_api import Browser, FilePayload, Page, expect

from kb.accounts import FIRST_TOKEN_FILE, Sessions
from kb.accounts.throttle import FOR_ACCOUNT_FROM_ADDRESS
from tests.e2e.conftest import Desk
from tests.e2e.screen import SECONDS, Screen
from tests.e2e.web import Web
from tests.fakes.model_server import CHAT, ModelServer

PASSWORD = "correct horse battery"
NOTES: FilePayload = {"name": "notes.md", "mimeType": "text/markdown", "buffer": b"Tea grows on hills."}
LOOK_AT_ONCE = "window.dispatchEvent(new Event('focus'))"  # who is signed in, as a tab does that comes into view
ALERT = re.compile(r'role="alert">(.*?)</p>')
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


@pytest.fixture
def desk(guarded: Web, models: ModelServer) -> Iterator[Desk]:
    """Of the first account, which takes over what the local user has."""
    with closing(Desk(guarded, models)) as desk:
        yield desk


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


def guess(page: Page, web: Web, name: str) -> str:
    """Send wrong passwords from the browser's login page until they are refused unseen; returns what that says."""
    form: dict[str, str | float | bool] = {}
    form |= {"form": page.locator("input[name=form]").first.input_value(), "name": name, "password": "a wrong password"}
    replies = (page.request.post(f"{web.url}/login", form=form) for _ in range(FOR_ACCOUNT_FROM_ADDRESS + 1))
    (told,) = ALERT.findall(next(reply for reply in replies if reply.status == 429).text())
    return str(told)


def end_the_wait(web: Web) -> None:
    """Let the time run out after which passwords can be tried again, which Redis keeps."""
    state = web.run_state
    with closing(redis.Redis.from_url(state.redis_url, password=state.redis_password)) as client:
        keys = list(client.scan_iter("zhiwen:throttle*"))
        assert keys
        for key in keys:
            client.pexpire(key, 0)


def end_sessions(desk: Desk) -> None:
    Sessions(desk.database).end_all(desk.user)


def sign_out(page: Page) -> None:
    """On the page of the account."""
    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page).to_have_url(re.compile("/login$"))


def test_accounts(browser: Browser, guarded: Web, desk: Desk, models: ModelServer) -> None:
    assert guarded.get("/knowledge-bases")[0] == 401
    ada = open_browser(browser, guarded)
    ada.page.goto(f"{guarded.url}/")
    expect(ada.page).to_have_url(f"{guarded.url}/signup")
    token = (guarded.home / FIRST_TOKEN_FILE).read_text().strip()
    fill(ada.page, token=token, name="Ada", password=PASSWORD, again=PASSWORD)
    expect(ada.page.get_by_role("link", name="Ada")).to_be_visible()

    # Her session is ended elsewhere while an answer is written to her and she types the next question.
    desk.choose_model("fake")
    ada.switch_mode("LLM chat")
    files = ada.key("question")
    question, signed_out = files.locator("textarea"), ada.page.get_by_text("You are signed out.")
    with models.held(CHAT):
        ada.ask("What is green tea?")
        expect(ada.messages.last).to_contain_text("You asked")
        question.fill("And black tea?")
        files.locator("input[type=file]").set_input_files([NOTES])
        expect(files).to_contain_text("notes.md")
        conversation = ada.page.url.removeprefix(guarded.url)
        end_sessions(desk)
        expect(signed_out).to_be_visible()
        expect(ada.page.get_by_text("The answer is still being written.")).to_be_visible()
        expect(ada.messages).to_have_count(0)
    ada.page.get_by_role("link", name="Sign in").click()

    # Her password was guessed at, too. Whether there is an account of a name is not told.
    fill(ada.page, name="ada", password="a wrong password")
    alert = ada.page.get_by_role("alert")
    expect(alert).to_contain_text("did not work")
    told = {re.sub(r"1[45]", "…", guess(ada.page, guarded, name)) for name in ("ada", "nobody")}
    assert told == {"<strong>Too many attempts.</strong> Try again in … min."}
    fill(ada.page, name="ada", password=PASSWORD)
    expect(alert).to_contain_text("Too many attempts.")
    end_the_wait(guarded)
    fill(ada.page, name="ada", password=PASSWORD)
    expect(ada.messages).to_have_count(2)
    expect(ada.messages.last).to_contain_text("You asked: What is green tea?")
    expect(question).to_have_value("And black tea?")
    expect(files).to_contain_text("notes.md")

    # The session ends before she sends that, file and all.
    ada.settle()
    end_sessions(desk)
    question.press("Enter")
    expect(signed_out).to_be_visible()
    ada.page.get_by_role("link", name="Sign in").click()
    fill(ada.page, name="ada", password=PASSWORD)
    expect(question).to_have_value("And black tea?")
    expect(files).to_contain_text("notes.md")
    expect(files.get_by_test_id("stFileChipIconSpinner")).to_have_count(0)
    question.press("Enter")
    expect(ada.messages).to_have_count(4)
    expect(ada.messages.nth(2)).to_contain_text("notes.md")

    # Somebody else has an account, and sees nothing of hers but what she shares, which he may only read.
    desk.create_knowledge_bases("Tea house")
    ada.go_to("Users")
    ada.click("invite")
    link = ada.key("new_link").locator("code").inner_text()
    ben = open_browser(browser, guarded)
    ben.page.goto(link)
    fill(ben.page, name="Ben", password=PASSWORD, again=PASSWORD)
    expect(ben.page.get_by_role("link", name="Ben")).to_be_visible()
    ben.go_to("Knowledge bases")
    expect(ben.page.get_by_role("link", name="Users")).to_have_count(0)
    for text in ("What is green tea?", "Tea house"):
        expect(ben.page.get_by_text(text)).to_have_count(0)
    ada.go_to("Knowledge bases")
    expect(ada.key("upload")).to_be_visible()
    ada.click("more_knowledge_base")
    ada.click("share_knowledge_base")
    ada.choose("share_who", "Ben")
    ada.click("share")
    expect(ada.drawer).to_contain_text("Withdraw")
    ben.page.reload()
    expect(ben.page.get_by_text("shares this knowledge base with you")).to_be_visible()
    expect(ben.page.get_by_text("No documents yet.")).to_be_visible()
    expect(ben.key("upload")).to_have_count(0)
    ben.open(conversation)
    expect(ben.messages).to_have_count(0)

    # He signs out and in again in another tab. What this one shows goes away, and comes back.
    other = ben.page.context.new_page()
    other.goto(f"{guarded.url}/account")
    sign_out(other)
    ben.page.evaluate(LOOK_AT_ONCE)
    expect(ben.page.get_by_text("You are signed out.")).to_be_visible()
    other.goto(f"{guarded.url}/login?next=%2Faccount")
    fill(other, name="ben", password=PASSWORD)
    expect(other).to_have_url(f"{guarded.url}/account")
    ben.page.evaluate(LOOK_AT_ONCE)
    expect(ben.key("question")).to_be_visible()

    # He signs out once more, while this tab is not connected.
    sign_out(other)
    ben.page.evaluate("sockets.forEach((socket) => socket.close())")
    expect(ben.page).to_have_url(re.compile(r"/login\?next=%2F%3F"))
    for screen in (ada, ben):
        screen.page.context.close()
