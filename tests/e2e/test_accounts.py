"""A login, in one installation: each step of `test_accounts` goes on where the last one ended.

The first account, a session that ends in mid-answer, guessed passwords, an account elsewhere, and a second user.
"""

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
from tests.fakes.oidc_server import CLIENT_ID, CLIENT_SECRET, OidcServer

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
def provider() -> Iterator[OidcServer]:
    with OidcServer() as server:
        yield server


@pytest.fixture
def guarded(tmp_path_factory: pytest.TempPathFactory, models: ModelServer, provider: OidcServer) -> Iterator[Web]:
    """An installation of its own, with a login."""
    web = Web(
        tmp_path_factory.mktemp("guarded"),
        OPENAI_BASE_URL=models.base_url,
        EMBEDDING_MODEL="openai:fake-embedding",
        AUTH="local",
        REGISTRATION="invitation",
        OIDC_PROVIDERS="corp",
        OIDC_CORP_ISSUER=provider.url,
        OIDC_CORP_CLIENT_ID=CLIENT_ID,
        OIDC_CORP_CLIENT_SECRET=CLIENT_SECRET,
        OIDC_CORP_NAME="Corp",
    )
    web.start()
    yield web
    web.stop()


@pytest.fixture
def desk(guarded: Web, models: ModelServer) -> Iterator[Desk]:
    """Of the first account, which takes over what the local user has."""
    with closing(Desk(guarded, models)) as desk:
        yield desk


class Visitor(Screen):
    """Somebody with a browser of their own."""

    def __init__(self, browser: Browser, web: Web, name: str) -> None:
        page = browser.new_context(locale="en-US").new_page()
        page.add_init_script(NOTE_SOCKETS)
        page.set_default_timeout(30 * SECONDS)
        super().__init__(page, web.url)
        self.name = name
        self.field = self.key("question")
        self.question = self.field.locator("textarea")
        self.signed_out = page.get_by_text("You are signed out.")

    def sign_up(self, **values: str) -> None:
        fill(self.page, name=self.name, password=PASSWORD, again=PASSWORD, **values)
        expect(self.page.get_by_role("link", name=self.name)).to_be_visible()

    def sign_in(self) -> None:
        fill(self.page, name=self.name, password=PASSWORD)


def fill(page: Page, **values: str) -> None:
    """Fill in the first form of a page without Streamlit, and send it."""
    for name, value in values.items():
        page.locator(f"input[name={name}]").first.fill(value)
    page.locator("form button").first.click()


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
    ada, ben = Visitor(browser, guarded, "Ada"), Visitor(browser, guarded, "Ben")
    make_the_first_account(ada, guarded)
    desk.choose_model("fake")
    lose_the_session_in_mid_answer(ada, desk, models)
    guess_passwords(ada, guarded)
    come_back_to_the_answer(ada)
    lose_the_session_before_sending(ada, desk)
    conversation = ada.page.url.removeprefix(guarded.url)
    invite(ada, ben)
    ben.open(conversation)
    expect(ben.messages).to_have_count(0)
    share_for_reading(ada, ben, desk)
    sign_out_in_another_tab(ben)
    take_over_the_browser(ben, ada)
    use_an_account_elsewhere(ada)
    for visitor in (ada, ben):
        visitor.page.context.close()


def make_the_first_account(ada: Visitor, web: Web) -> None:
    ada.page.goto(f"{web.url}/")
    expect(ada.page).to_have_url(f"{web.url}/signup")
    ada.sign_up(token=(web.home / FIRST_TOKEN_FILE).read_text().strip())


def lose_the_session_in_mid_answer(ada: Visitor, desk: Desk, models: ModelServer) -> None:
    """The session is ended elsewhere while an answer is written and the next question typed."""
    ada.switch_mode("LLM chat")
    with models.held(CHAT):
        ada.ask("What is green tea?")
        expect(ada.messages.last).to_contain_text("You asked")
        ada.question.fill("And black tea?")
        ada.field.locator("input[type=file]").set_input_files([NOTES])
        expect(ada.field).to_contain_text("notes.md")
        end_sessions(desk)
        expect(ada.signed_out).to_be_visible()
        expect(ada.page.get_by_text("The answer is still being written.")).to_be_visible()
        expect(ada.messages).to_have_count(0)
    ada.page.get_by_role("link", name="Sign in").click()


def guess_passwords(ada: Visitor, web: Web) -> None:
    """Whether there is an account of a name is not told."""
    alert = ada.page.get_by_role("alert")
    fill(ada.page, name="ada", password="a wrong password")
    expect(alert).to_contain_text("did not work")
    told = {re.sub(r"1[45]", "…", guess(ada.page, web, name)) for name in ("ada", "nobody")}
    assert told == {"<strong>Too many attempts.</strong><br>Try again in … min."}
    ada.sign_in()
    expect(alert).to_contain_text("Too many attempts.")
    end_the_wait(web)
    ada.sign_in()


def come_back_to_the_answer(ada: Visitor) -> None:
    expect(ada.messages).to_have_count(2)
    expect(ada.messages.last).to_contain_text("You asked: What is green tea?")
    expect(ada.question).to_have_value("And black tea?")
    expect(ada.field).to_contain_text("notes.md")
    ada.settle()


def lose_the_session_before_sending(ada: Visitor, desk: Desk) -> None:
    end_sessions(desk)
    ada.question.press("Enter")
    expect(ada.signed_out).to_be_visible()
    ada.page.get_by_role("link", name="Sign in").click()
    ada.sign_in()
    expect(ada.question).to_have_value("And black tea?")
    expect(ada.field).to_contain_text("notes.md")
    expect(ada.field.get_by_test_id("stFileChipIconSpinner")).to_have_count(0)
    ada.question.press("Enter")
    expect(ada.messages).to_have_count(4)
    expect(ada.messages.nth(2)).to_contain_text("notes.md")


def invite(ada: Visitor, ben: Visitor) -> None:
    ada.go_to("Users")
    ada.click("invite")
    ben.page.goto(ada.key("new_link").locator("code").inner_text())
    ben.sign_up()
    ben.settle()
    expect(ben.page.get_by_role("link", name="Users")).to_have_count(0)
    expect(ben.page.get_by_text("What is green tea?")).to_have_count(0)


def share_for_reading(ada: Visitor, ben: Visitor, desk: Desk) -> None:
    is_shared = ben.page.get_by_text("shares this knowledge base with you")
    desk.create_knowledge_bases("Tea house")
    ben.go_to("Knowledge bases")
    expect(ben.key("new_knowledge_base")).to_be_visible()
    expect(is_shared).to_have_count(0)
    ada.go_to("Knowledge bases")
    expect(ada.key("upload")).to_be_visible()
    ada.click("more_knowledge_base")
    ada.click("share_knowledge_base")
    expect(ada.drawer).to_contain_text("Only you can see it.")
    ada.settle()  # else the list of names may be drawn anew while it is open
    ada.choose("share_who", "Ben")
    ada.click("share")
    expect(ada.drawer).to_contain_text("Withdraw")
    ben.page.reload()
    expect(is_shared).to_be_visible()
    expect(ben.page.get_by_text("No documents yet.")).to_be_visible()
    expect(ben.key("upload")).to_have_count(0)


def sign_out_in_another_tab(ben: Visitor) -> None:
    """What the first tab shows goes away, and comes back with the next sign-in; then it is not even connected."""
    ben.open("/")
    ben.question.fill("My own question")
    other = ben.page.context.new_page()
    other.goto(f"{ben.url}/account")
    sign_out(other)
    ben.page.evaluate(LOOK_AT_ONCE)
    expect(ben.signed_out).to_be_visible()
    other.goto(f"{ben.url}/login?next=%2Faccount")
    fill(other, name="ben", password=PASSWORD)
    expect(other).to_have_url(f"{ben.url}/account")
    ben.page.evaluate(LOOK_AT_ONCE)
    expect(ben.question).to_have_value("My own question")
    sign_out(other)
    ben.page.evaluate("sockets.forEach((socket) => socket.close())")
    expect(ben.page).to_have_url(re.compile(r"/login\?next=%2F%3F"))


def take_over_the_browser(ben: Visitor, ada: Visitor) -> None:
    """Who signs in next in a browser sees nothing of what the last user typed there."""
    fill(ben.page, name=ada.name, password=PASSWORD)
    expect(ben.page.get_by_role("link", name=ada.name)).to_be_visible()
    ben.settle()
    expect(ben.question).to_have_value("")


def use_an_account_elsewhere(ada: Visitor) -> None:
    """Connect it, and sign in with it: cookies, redirects and the content security policy."""
    page = ada.page
    page.goto(f"{ada.url}/account")
    page.get_by_role("link", name="Connect with Corp").click()
    expect(page.get_by_text("The accounts are connected.")).to_be_visible()
    sign_out(page)
    page.goto(f"{ada.url}/audit")
    page.get_by_role("link", name="Sign in with Corp").click()
    expect(page).to_have_url(f"{ada.url}/audit")
    expect(page.get_by_text("Connected the account with Corp")).to_be_visible()
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download as CSV").click()
    assert '"account.identity_connected"' in downloading.value.path().read_text(encoding="utf-8")
    page.reload()
    downloaded = page.locator("[class*=st-key-audit_event-]", has_text="Downloaded the audit log")
    expect(downloaded).to_contain_text("from 127.0.0.1")
