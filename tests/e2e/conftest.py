"""A browser, and the web process as users start it, with all its embedded services."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright
from sqlalchemy import insert

from kb.config import load_settings
from kb.conversations import Conversations, Messages
from kb.database import Database
from kb.database.tables import webhook_deliveries
from kb.library import KnowledgeBases
from kb.models import Choices, MessageState, Mode, Retrieval
from kb.providers.connection import Purpose
from kb.providers.keys import KeySafe
from kb.providers.store import Providers
from kb.users import Users
from kb.webhooks import Event, Webhooks
from kb.webhooks.outbox import new_delivery
from tests import real_services
from tests.e2e.screen import SECONDS, OpenScreen, Screen
from tests.e2e.web import Web
from tests.fakes.model_server import ModelServer
from tests.fakes.proxy import DeadProxy
from tests.fakes.queue import RecordingQueue
from tests.fakes.search_server import SearchServer
from tests.fakes.web_pages import WebPages
from tests.messages import said

CHROMIUM = os.environ.get("CHROMIUM_BIN") or shutil.which("chromium") or "/usr/bin/chromium"
# Chromium has no sandbox in a container or as root. The other options stop its requests to other hosts.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker runs the browser tests. A failed one runs once more, and the summary names it if it passes then."""
    for item in items:
        if item.path.is_relative_to(FOLDER):
            item.add_marker(pytest.mark.flaky(reruns=1))
            if not item.get_closest_marker("xdist_group"):
                item.add_marker(pytest.mark.xdist_group("browser"))


# Package scope: the browser's event loop must be gone when other tests of this process run.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if not Path(CHROMIUM).is_file():
        real_services.missing(f"Chromium was not found at {CHROMIUM}. Set CHROMIUM_BIN to its path.")
    expect.set_options(timeout=20 * SECONDS)  # enough for a busy machine; a condition that holds ends the wait
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def models() -> Iterator[ModelServer]:
    with ModelServer() as server:
        server.streams["hostile"] = []  # the web process asks once which models there are; a test says what it sends
        yield server


@pytest.fixture(scope="package")
def engine() -> Iterator[SearchServer]:
    with SearchServer() as server:
        yield server


@pytest.fixture(scope="package")
def elsewhere() -> Iterator[WebPages]:
    """Another web server, which searches may find pages of."""
    with WebPages() as pages:
        yield pages


@pytest.fixture(scope="package")
def web(
    tmp_path_factory: pytest.TempPathFactory, models: ModelServer, engine: SearchServer, elsewhere: WebPages
) -> Iterator[Web]:
    """LLM_MODEL is unset: each test chooses one of the model server's models."""
    web = Web(
        tmp_path_factory.mktemp("web"),
        OPENAI_BASE_URL=models.base_url,
        EMBEDDING_MODEL="openai:fake-embedding",
        WEB_SEARCH_ENGINE="searxng",
        WEB_PAGES_TIMEOUT_SECONDS="60",  # the reader's process starts slowly on a busy machine
        SEARXNG_URL=f"{engine.url}/searxng",
        ALLOWED_FETCH_HOSTS=elsewhere.authority,
    )
    web.start()
    yield web
    web.stop()


@pytest.fixture(scope="package")
def proxy() -> Iterator[DeadProxy]:
    with DeadProxy() as proxy:
        yield proxy


@pytest.fixture(scope="package")
def surroundings(tmp_path_factory: pytest.TempPathFactory, proxy: DeadProxy) -> dict[str, str]:
    """The environment of an awkward machine: a dead proxy, and a redis-server 6.0 that comes first on the PATH."""
    old = tmp_path_factory.mktemp("surroundings") / "redis-server"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Redis server v=6.0.16 sha=0" && exit\nexit 1\n')
    old.chmod(0o755)
    proxies = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    path = f"{old.parent}{os.pathsep}{os.environ['PATH']}"
    return dict.fromkeys(proxies, proxy.url) | {"no_proxy": "", "NO_PROXY": "", "PATH": path}


class Desk:
    """Changes the stored data of the local user without the pages."""

    def __init__(self, web: Web, models: ModelServer) -> None:
        settings = load_settings(_env_file=None, zhiwen_home=web.home)
        self.database = Database(settings)
        self._users = Users(self.database)
        safe = KeySafe(settings)
        self._providers = Providers(self.database, safe)
        self._webhooks = Webhooks(self.database, safe)
        self._server = models.base_url.removeprefix("http://").removesuffix("/v1")
        self.user = self._users.local_principal()

    def clear(self) -> None:
        knowledge_bases, conversations = KnowledgeBases(self.database, RecordingQueue()), Conversations(self.database)
        for base in knowledge_bases.list(self.user):
            knowledge_bases.delete(self.user, base.id)
        self._users.remember_choices(self.user, Choices())
        for conversation in conversations.search(self.user, limit=1000):
            conversations.delete(self.user, conversation.id)
        for provider in self._providers.list(self.user):
            self._providers.delete(self.user, provider.id)
        for webhook in self._webhooks.list(self.user):
            self._webhooks.delete(self.user, webhook.id)

    def create_knowledge_bases(self, *names: str) -> None:
        for name in names:
            KnowledgeBases(self.database, RecordingQueue()).create(self.user, name, "openai:fake-embedding", 64)

    def store_conversation(
        self, *exchanges: tuple[str, str], retrieval: Retrieval | None = None, reasoning: str = ""
    ) -> str:
        """A conversation of these questions and answers, each with the retrieval and the thoughts; its address."""
        messages = Messages(self.database)
        conversation = Conversations(self.database).create(self.user, "Stored", Mode.LLM)
        for question, answer in exchanges:
            message = messages.ask(self.user, conversation.id, question)
            parts = said(answer, "m", reasoning, retrieval)
            messages.finish(self.user, message.id, MessageState.DONE, parts)
        return f"/?conversation={conversation.id}"

    def store_lost_delivery(self, document_name: str) -> None:
        """A webhook that was not told of this document."""
        webhook, _secret = self._webhooks.create(self.user, "https://hooks.example/")
        lost = new_delivery(webhook.id, Event.DOCUMENT_READY, {"name": document_name})
        lost |= {"due_at": None, "attempts": 9, "status": 500}
        with self.database.write() as connection:
            connection.execute(insert(webhook_deliveries), lost)

    def choose_model(self, name: str) -> None:
        self._providers.choose_model(self.user, Purpose.CHAT, f"{self._server}/{name}")

    def stored_keys(self) -> list[str]:
        """The API keys of the providers that were added on the Models page."""
        return [connection.key.get_secret_value() for connection in self._providers.connections(self.user)]

    def close(self) -> None:
        self.database.close()


@pytest.fixture
def desk(web: Web, models: ModelServer) -> Iterator[Desk]:
    """No knowledge bases and conversations yet; the plain model is chosen."""
    if not web.is_running:  # a test killed it, and failed before it restarted it
        web.start()
    desk = Desk(web, models)
    desk.clear()
    desk.choose_model("fake")
    yield desk
    desk.close()


@pytest.fixture
def open_screen(browser: Browser, web: Web, desk: Desk) -> Iterator[OpenScreen]:
    """Opens tabs. After every test, checks that the page contacted no other host and logged no error."""
    screens: list[Screen] = []

    def open_tab(path: str = "/", locale: str = "en-US") -> Screen:
        page = browser.new_page(locale=locale, viewport={"width": 1280, "height": 900})
        page.set_default_timeout(30 * SECONDS)
        screens.append(Screen(page, web.url))
        screens[-1].open(path)
        return screens[-1]

    yield open_tab
    for screen in screens:
        screen.page.close()
    assert [url for screen in screens for url in screen.foreign] == []
    assert [text for screen in screens for text in screen.complaints] == []
