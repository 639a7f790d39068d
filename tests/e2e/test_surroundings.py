"""The web process on machines with a dead proxy and an old Redis, and a second one on the same data folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.screen import Screen
from tests.e2e.web import Web
from tests.fakes.model_server import ModelServer
from tests.fakes.proxy import DeadProxy
from tests.real_services import is_listening


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory, models: ModelServer, surroundings: dict[str, str]) -> Iterator[Web]:
    web = Web(
        tmp_path_factory.mktemp("web"),
        OPENAI_BASE_URL=models.base_url,
        LLM_MODEL="fake",
        EMBEDDING_MODEL="openai:fake-embedding",
        **surroundings,
    )
    web.start()
    yield web
    web.stop()


def test_local_services_and_models_bypass_a_dead_proxy(browser: Browser, web: Web, proxy: DeadProxy) -> None:
    status, health = web.health()
    assert status == 200
    assert {name for name, service in health["services"].items() if service["ok"]} == {
        "sql",
        "redis",
        "milvus",
        "worker",
    }
    page = browser.new_page(locale="en-US")
    screen = Screen(page, web.url)
    screen.open("/")
    screen.switch_mode("LLM chat")
    screen.ask("Hello")
    expect(screen.messages.last).to_contain_text("You asked: Hello")
    page.close()
    assert proxy.asked == []


def test_old_redis_on_the_path_is_passed_over(web: Web) -> None:
    _status, health = web.health()
    assert health["services"]["redis"]["detail"].startswith("Redis ")
    assert "6.0" not in health["services"]["redis"]["detail"]


def test_second_web_process_says_where_the_first_one_is(
    browser: Browser, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = Web(tmp_path, ZHIWEN_HOME=str(web.home))
    monkeypatch.setattr(second, "is_ready", lambda: is_listening(second.port))
    second.start()
    try:
        status, health = second.health()
        page = browser.new_page(locale="zh-CN")
        page.goto(second.url)
        expect(page.get_by_test_id("stApp")).to_contain_text(
            f"知问已在使用数据文件夹 {web.home} 运行：{web.url}/（进程 {web.pid}）"
        )
        expect(page.get_by_role("link", name=f"{web.url}/", exact=True)).to_have_attribute("href", f"{web.url}/")
        page.close()
    finally:
        second.stop()
    assert status == 503
    assert f"already runs on the data folder {web.home}: {web.url}/ (process {web.pid})" in health["detail"]
    assert web.health()[0] == 200
