"""What every page shares: what an empty installation says, the language, and a start that fails."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.pages.conftest import Installation, Visit
from tests.real_services import ROOT

EMPTY = {
    "chat": ("What would you like to know?", "想了解什么？", "想知道什麼？"),
    "knowledge_bases": ("A knowledge base is a group", "知识库是一组可以提问的文件", "知識庫是一組可以提問的檔案"),
    "testing": ("There is no knowledge base yet.", "还没有知识库。", "還沒有知識庫。"),
    "history": ("You have not asked anything yet.", "还没有提过问题。", "還沒有提過問題。"),
    "system": ("Where the data is", "数据位置", "資料位置"),
}


@pytest.mark.parametrize("page", EMPTY)
def test_empty_page_explains_itself_in_the_browsers_language(page: str, visit: Visit) -> None:
    english, simplified, traditional = EMPTY[page]
    texts = {"en-US": english, "zh-CN": simplified, "zh-TW": traditional, "zh-Hant-HK": traditional, "fr-FR": english}
    for locale, text in texts.items():
        visitor = visit(locale)
        visitor.go_to(page)
        assert text in visitor.text()
        assert not visitor.errors


def test_chosen_language_applies_to_every_page(visit: Visit) -> None:
    visitor = visit("en-US")
    assert visitor.app.selectbox(key="language").value == "en"
    visitor.choose("language", "zh_CN")
    assert "想了解什么？" in visitor.text()
    visitor.go_to("history")
    assert "还没有提过问题。" in visitor.text()
    visitor.choose("language", "en")
    visitor.go_to("chat")
    assert "What would you like to know?" in visitor.text()


def test_language_in_the_address_overrides_the_browsers(visit: Visit) -> None:
    visitor = visit("en-US", language="简体中文")
    assert "想了解什么？" in visitor.text()
    assert visitor.app.selectbox(key="language").value == "zh_CN"


def test_unknown_language_in_the_address_is_ignored(visit: Visit) -> None:
    visitor = visit("en-US", language="Klingon")
    assert "What would you like to know?" in visitor.text()


def test_invalid_setting_is_shown_with_its_name(installation: Installation, visit: Visit) -> None:
    installation.set_up(WORKER_THREADS="many")
    visitor = visit()
    assert "WORKER_THREADS" in visitor.errors
    installation.set_up(WORKER_THREADS="1")
    visitor.click("start_again")
    assert not visitor.errors


def test_unreachable_database_is_shown(installation: Installation, visit: Visit, dead_url: str) -> None:
    installation.set_up(DATABASE_URL=dead_url.replace("redis://", "postgresql://test@"))
    visitor = visit()
    assert "The database is not responding" in visitor.errors
    assert visitor.has("start_again")


@pytest.mark.parametrize("page", EMPTY)
def test_pages_work_while_redis_and_milvus_are_down(
    page: str, installation: Installation, visit: Visit, dead_url: str
) -> None:
    base = installation.filled()
    installation.upload(base, "waiting.md")
    installation.set_up(REDIS_URL=dead_url, MILVUS_URI=dead_url.replace("redis", "http").removesuffix("/0"))
    visitor = visit()
    visitor.go_to(page)
    assert ("Redis is not responding" in visitor.errors) == (page in ("knowledge_bases", "system"))
    assert visitor.has("language")


FIRST_RUN = """
import sys
from streamlit.testing.v1 import AppTest
from kb.config import load_settings
from pages.ui import resources
from web.app import build_web
resources.provide(lambda: build_web(load_settings()))
app = AppTest.from_file(sys.argv[1], default_timeout=30)
app.context = {"locale": "zh-CN", "timezone": "Asia/Shanghai"}
app.run()
print([error.value for error in app.exception], app.error[0].value)
"""


def test_invalid_redis_url_is_shown_on_the_page() -> None:
    """In a process of its own: what the page imports must not read the settings before it can say what is wrong."""
    environment = {**os.environ, "REDIS_URL": "localhost:6379", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-c", FIRST_RUN, str(ROOT / "pages" / "app.py")]
    shown = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert shown.startswith("[] ")
    assert "请写成 redis://host:6379/0 的形式" in shown.replace("\\", "")
