"""Chats on the services of the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import UUID

import pytest

from kb.conversations import Messages, Streaming
from kb.services import WorkerParts
from tests.conftest import Core, MakeSettings, open_core
from tests.fakes.embedding import HashedWords
from tests.fakes.model_server import CHAT, ModelServer
from tests.kb.answers.chat import Chat, build_answers
from tests.real_services import Redis


@pytest.fixture(scope="module")
def model_server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def held(model_server: ModelServer) -> Iterator[None]:
    """Answers stop halfway."""
    with model_server.held(CHAT):
        yield


@pytest.fixture
def chat(core: Core, model_server: ModelServer) -> Iterator[Chat]:
    model_server.requests.clear()
    answers = build_answers(core.services, model_server)
    yield Chat(core, answers, model_server)
    answers.close()


@pytest.fixture
def own_chat(
    own_redis: Redis, make_settings: MakeSettings, milvus_url: str, embedding: HashedWords, model_server: ModelServer
) -> Iterator[Chat]:
    """A chat with a Redis of its own, which the test may stop."""
    with open_core(make_settings(redis_url=own_redis.url, milvus_uri=milvus_url), embedding) as core:
        answers = build_answers(core.services, model_server)
        yield Chat(core, answers, model_server)
        answers.close()


@pytest.fixture
def fruit(core: Core, worker: WorkerParts) -> UUID:
    knowledge_base = core.knowledge_base()
    document = core.upload(knowledge_base, "pears.md", "# Pears\n\nA pear is green. Its tree grows slowly.")
    worker.ingestion.ingest(document.latest.id)
    return knowledge_base.id


@pytest.fixture(autouse=True)
def quick_reaper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kb.answers.reaper.REAP_SECONDS", 0.1)


@pytest.fixture
def reaper_looks(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Counts the looks of all reapers."""
    looks: list[int] = []
    streaming = Messages.streaming

    def see(messages: Messages) -> list[Streaming]:
        looks.append(1)
        return streaming(messages)

    monkeypatch.setattr(Messages, "streaming", see)
    return lambda: len(looks)
