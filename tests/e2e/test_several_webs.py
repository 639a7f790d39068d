"""Several web processes behind nginx, by docs/nginx.conf: one session, and answers that outlive a process."""

from __future__ import annotations

import re
import signal
import time
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from playwright.sync_api import Browser, expect

from kb.access import KeyScope
from kb.access.keys import ApiKeys
from kb.accounts import FIRST_TOKEN_FILE
from kb.config import load_settings
from kb.conversations import Messages
from kb.database import Database
from kb.models import MessageState
from kb.users import Users
from tests.e2e.nginx import NGINX, SITE, Nginx
from tests.e2e.screen import SECONDS, Screen
from tests.e2e.test_accounts import PASSWORD, fill
from tests.e2e.web import Web
from tests.fakes.model_server import CHAT, LONG_TOKENS, ModelServer
from tests.real_services import PostgreSQL, free_port, missing, wait_until

STICKY = re.compile(r"^.*\n *hash .*\n", re.MULTILINE)


class PlainWeb(Web):
    """Without Milvus, which these questions do not need."""

    def is_ready(self) -> bool:
        try:
            return self.get("/readyz")[0] == 200
        except OSError:
            return False

    def begin_to_end(self) -> None:
        """Like a rolling restart."""
        assert self._process
        self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float) -> None:
        assert self._process
        self._process.wait(timeout=seconds)


class Behind:
    """Two web processes and nginx in front of them."""

    def __init__(self, folder: Path, values: dict[str, str]) -> None:
        port = free_port()
        self.authority = f"127.0.0.1:{port}"
        self.url = f"http://{self.authority}"
        self.webs = [self._web(folder / name, self.url, values) for name in ("one", "two")]
        self.webs[1].environment()["ZHIWEN_HOME"] = str(self.webs[0].home)
        self._nginx = self.nginx(folder / "nginx", STICKY.sub("", SITE), port)

    def nginx(self, folder: Path, site: str, port: int) -> Nginx:
        folder.mkdir()
        return Nginx(folder, site, [web.port for web in self.webs], port)

    @staticmethod
    def _web(folder: Path, url: str, values: dict[str, str]) -> PlainWeb:
        folder.mkdir()
        return PlainWeb(folder, PUBLIC_URLS=url, **values)

    def start(self) -> None:
        for server in (*self.webs, self._nginx):
            server.start()

    def stop(self) -> None:
        for server in (self._nginx, *self.webs):
            server.stop()

    def producer(self) -> PlainWeb:
        """The process that writes the latest answer."""
        (web,) = [web for web in self.webs if web.is_running and "answer.started" in log_of(web)]
        return web


def log_of(web: Web) -> str:
    return (web.folder / "log").read_text(encoding="utf-8", errors="replace")


@pytest.fixture
def services(redis_url: str, postgresql: PostgreSQL, models: ModelServer) -> dict[str, str]:
    return {
        "REDIS_URL": redis_url,
        "DATABASE_URL": postgresql.new_database(),
        "MILVUS_URI": "http://127.0.0.1:1",
        "OPENAI_BASE_URL": models.base_url,
        "EMBEDDING_MODEL": "openai:fake-embedding",
        "LLM_MODEL": "long",
        "AUTH": "local",
    }


@pytest.fixture
def behind(tmp_path: Path, services: dict[str, str]) -> Iterator[Behind]:
    """Each request goes to the next process: what works so works with one that stays, too."""
    if not Path(NGINX).is_file():
        missing("nginx is not installed")
    assert STICKY.search(SITE)
    behind = Behind(tmp_path, services)
    behind.start()
    yield behind
    behind.stop()


def test_several_web_processes(browser: Browser, behind: Behind, models: ModelServer, tmp_path: Path) -> None:
    check_that_one_stays(behind, tmp_path / "sticky")
    check_that_a_flood_is_refused(behind, tmp_path / "flooded")
    context = browser.new_context(locale="en-US")
    page = context.new_page()
    page.set_default_timeout(30 * SECONDS)
    screen = Screen(page, behind.url)
    page.goto(f"{behind.url}/")
    token = (behind.webs[0].home / FIRST_TOKEN_FILE).read_text().strip()
    fill(page, token=token, name="Ada", password=PASSWORD, again=PASSWORD)
    expect(page.get_by_role("link", name="Ada")).to_be_visible()
    screen.settle()
    asked = len(models.chats)
    with models.held(CHAT):
        screen.switch_mode("LLM chat")
        screen.ask("Tell me all you know")
        expect(screen.messages.last).to_contain_text("word20")
        ending = behind.producer()
        ending.begin_to_end()
        wait_until(lambda: "web.draining" in log_of(ending), 30)
        expect(screen.key("stop")).to_be_visible()
    # The page has opened its websocket again, on the other process.
    expect(screen.messages.last).to_contain_text(f"word{LONG_TOKENS - 1}")
    expect(screen.key("stop")).to_have_count(0)
    assert len(re.findall(r"word\d+", screen.messages.last.inner_text())) == LONG_TOKENS
    ending.wait(20)
    assert len(models.chats) == asked + 1
    context.close()


def test_answer_that_outlasts_the_drain_is_interrupted(tmp_path: Path, redis_url: str, models: ModelServer) -> None:
    """By its own process, with what it has: nobody else looks."""
    services = {"REDIS_URL": redis_url, "MILVUS_URI": "http://127.0.0.1:1", "OPENAI_BASE_URL": models.base_url}
    named = {"EMBEDDING_MODEL": "openai:fake-embedding", "LLM_MODEL": "long", "DRAIN_SECONDS": "1"}
    web = PlainWeb(tmp_path, **services, **named)
    web.start()
    database = Database(load_settings(_env_file=None, zhiwen_home=web.home))
    try:
        user = Users(database).local_principal()
        _key, secret = ApiKeys(database).create(user, "Program", [KeyScope.ASK])
        headers = {"Authorization": f"Bearer {secret.get_secret_value()}"}
        with httpx.Client(base_url=f"{web.url}/api/v1", headers=headers, timeout=30) as client, models.held(CHAT):
            task = client.post("/generate", json={"question": "Tell me all you know", "mode": "llm"}).json()["id"]
            wait_until(lambda: "word20" in client.get(f"/tasks/{task}").json()["text"], 60, "the first words")
            web.begin_to_end()
            web.wait(60)
        answer = Messages(database).get(user, UUID(task))
        assert "web.draining" in log_of(web)
        assert answer.state is MessageState.INTERRUPTED
        assert "word20" in answer.content
    finally:
        database.close()
        web.stop()


def check_that_one_stays(behind: Behind, folder: Path) -> None:
    """With the configuration as it is."""
    nginx = behind.nginx(folder, SITE, free_port())
    nginx.start()
    try:
        for _ in range(4):
            request = urllib.request.Request(f"http://127.0.0.1:{nginx.port}/livez", headers={"Host": behind.authority})
            with urllib.request.urlopen(request, timeout=20) as reply:
                assert reply.status == 200
    finally:
        nginx.stop()
    assert len(nginx.asked()) == 4
    assert len(set(nginx.asked())) == 1


def check_that_a_flood_is_refused(behind: Behind, folder: Path) -> None:
    """Before it costs a web process anything, and only who floods. With limits that no machine is too slow for."""
    assert "rate=100r/s" in SITE
    assert "burst=500" in SITE
    site = SITE.replace("rate=100r/s", "rate=1r/s").replace("burst=500", "burst=20")
    nginx = behind.nginx(folder, site, free_port())
    nginx.start()
    try:
        begun = time.monotonic()
        statuses = [status_from("127.0.0.1", nginx.port, behind.authority) for _ in range(60)]
        assert set(statuses) == {200, 429}
        assert statuses.count(200) <= 21 + time.monotonic() - begun
        assert status_from("127.0.0.2", nginx.port, behind.authority) == 200
    finally:
        nginx.stop()
    passed_on = [upstream for upstream in nginx.asked() if upstream != "-"]
    assert len(passed_on) == statuses.count(200) + 1


def status_from(address: str, port: int, host: str) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=20, source_address=(address, 0))
    try:
        connection.request("GET", "/livez", headers={"Host": host})
        return connection.getresponse().status
    finally:
        connection.close()
