"""Reranking models over HTTP, in the forms that servers give `/rerank`; and what retrieval makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr

from kb.access import Principal
from kb.errors import (
    KbError,
    ModelError,
    ModelKeyLost,
    ModelKeyRefused,
    ModelRefused,
    ModelTimeout,
    ModelUnreachable,
)
from kb.models import Chunk, Passage, RouteHit
from kb.providers.connection import Connection, Purpose, Source
from kb.reranking import NO_RERANKING, HttpReranker, Rerankers
from kb.retrieval.ranking import merge_indexes
from kb.retrieval.selection import MOST_RERANKED, rerank
from kb.retrieval.steps import Steps
from tests.conftest import MakeSettings
from tests.fakes.model_server import ModelServer
from tests.fakes.reranking import MOST_TEXTS
from tests.real_services import free_port, wait_until

TEXTS = ["Apples are red.", "Pears are green.", "Plums are blue.", "Quinces are yellow.", "Figs are purple."]
USER = Principal(UUID(int=1))
Open = Callable[..., HttpReranker]


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        server.favourite = "Pears"
        yield server


@pytest.fixture
def opened(server: ModelServer) -> Iterator[Open]:
    """Opens a reranker of the server, or of another address."""
    with ExitStack() as stack:

        def open_one(model: str = "fake-rerank", base_url: str = "", key: str = "good", **options: Any) -> HttpReranker:
            connection = Connection(Source.USER, "test", base_url or server.base_url, SecretStr(key))
            reranker = HttpReranker(connection, model, **({"timeout_seconds": 5.0} | options))
            stack.callback(reranker.close)
            return reranker

        yield open_one


# --- the forms of servers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["fake-rerank", "rerank-voyage", "rerank-tei", "rerank-logits"])
def test_every_form_gives_a_score_to_each_text(opened: Open, model: str) -> None:
    scores = opened(model).scores("What is green?", TEXTS)
    assert len(scores) == len(TEXTS)
    assert max(scores) == scores[1]
    assert all(0 <= score <= 1 for score in scores)


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/rerank", "", "/compatible-mode/v1"])
def test_path_is_found(opened: Open, server: ModelServer, path: str) -> None:
    root = server.base_url.removesuffix("/v1")
    assert opened(base_url=root + path).scores("What is green?", TEXTS)[1] == 0.95
    assert server.requests[-1].key == "good"


def test_what_a_server_takes_is_remembered(opened: Open, server: ModelServer) -> None:
    reranker = opened("rerank-tei")
    reranker.scores("What is green?", TEXTS[:MOST_TEXTS])
    server.requests.clear()
    reranker.scores("What is red?", TEXTS[:MOST_TEXTS])
    assert [request.path for request in server.requests] == ["/rerank"]


def test_texts_are_cut_for_a_server_that_refuses_long_ones(opened: Open) -> None:
    long = [text + " and sweet" * 100 for text in TEXTS]
    assert opened("rerank-short").scores("What is green?", long)[1] == 0.95


@pytest.mark.parametrize(
    ("model", "key", "kind", "words"),
    [
        ("fake-rerank", "wrong", ModelKeyRefused, "Incorrect API key"),
        ("fake-rerank", "error-500", ModelRefused, "The GPU is on fire."),
        ("rerank-incomplete", "good", ModelRefused, "no score for some passages"),
        ("rerank-error-in-200", "good", ModelRefused, "balance is insufficient"),
        ("rerank-words", "good", ModelRefused, "no score for some passages"),
    ],
)
def test_failures_are_told(opened: Open, model: str, key: str, kind: type[ModelError], words: str) -> None:
    with pytest.raises(kind, match=words):
        opened(model, key=key).scores("What is green?", TEXTS)


def test_wrong_address_is_told(opened: Open, server: ModelServer) -> None:
    with pytest.raises(ModelRefused, match="check the base URL"):
        opened(base_url=f"{server.base_url}/nowhere").scores("What is green?", TEXTS)


def test_server_that_does_not_respond_is_left_alone_for_a_while(opened: Open, server: ModelServer) -> None:
    moment = 0.0
    silent = opened("silent", timeout_seconds=0.2, now=lambda: moment)
    with pytest.raises(ModelTimeout, match=r"within 0\.2 s"):
        silent.scores("What is green?", TEXTS)
    wait_until(lambda: len(server.requests) == 1)  # the client gave up first, perhaps
    with pytest.raises(ModelTimeout):
        silent.scores("What is green?", TEXTS)
    assert len(server.requests) == 1
    moment = 60.0
    with pytest.raises(ModelTimeout):
        silent.scores("What is green?", TEXTS)
    wait_until(lambda: len(server.requests) == 2)
    with pytest.raises(ModelUnreachable):
        opened(base_url=f"http://127.0.0.1:{free_port()}/v1").scores("What is green?", TEXTS)


def test_lost_key_is_told_without_a_request(server: ModelServer) -> None:
    connection = Connection(Source.USER, "test", server.base_url, error=ModelKeyLost(name="test"))
    with pytest.raises(ModelKeyLost):
        HttpReranker(connection, "fake-rerank", 5.0).scores("What is green?", TEXTS)
    assert server.requests == []


# --- which one a user has --------------------------------------------------------------------------------------


@dataclass
class Stored:
    chosen: str = ""
    connections: dict[UUID, Connection] = field(default_factory=dict)

    def connection(self, provider_id: UUID) -> Connection | None:
        return self.connections.get(provider_id)

    def chosen_model(self, principal: Principal, purpose: Purpose) -> str:
        assert (principal, purpose) == (USER, Purpose.RERANKING)
        return self.chosen


def test_chosen_model_comes_before_that_of_the_settings(make_settings: MakeSettings, server: ModelServer) -> None:
    stored = Stored()
    assert Rerankers(make_settings(), stored).find(USER) is None
    rerankers = Rerankers(make_settings(rerank_model="fake-rerank", rerank_base_url=server.base_url), stored)
    own = rerankers.find(USER)
    assert own is not None
    assert own.model == "fake-rerank"
    assert rerankers.find(USER) is own
    provider = UUID(int=2)
    stored.chosen = f"{provider}/BAAI/bge-reranker"
    assert rerankers.find(USER) is None  # deleted meanwhile
    stored.connections[provider] = Connection(Source.USER, "test", server.base_url)
    chosen = rerankers.find(USER)
    assert chosen is not None
    assert chosen.model == "BAAI/bge-reranker"
    stored.chosen = NO_RERANKING
    assert rerankers.find(USER) is None
    rerankers.close()


@pytest.mark.parametrize(("base_url", "key"), [("", "sk-openai"), ("elsewhere", "")])
def test_key_for_chat_goes_to_no_other_server(
    make_settings: MakeSettings, server: ModelServer, base_url: str, key: str
) -> None:
    settings = make_settings(
        rerank_model="fake-rerank",
        rerank_base_url=base_url and server.base_url,
        openai_base_url=server.base_url,
        openai_api_key="sk-openai",
    )
    with closing(Rerankers(settings, Stored())) as rerankers:
        found = rerankers.find(USER)
        assert found is not None
        found.scores("What is green?", TEXTS)
    assert server.requests[-1].key == key


# --- in retrieval ----------------------------------------------------------------------------------------------


def passages(count: int = len(TEXTS), version: int = 7) -> list[Passage]:
    return [
        Passage(
            Chunk(f"{version}-{number}", UUID(int=8), UUID(int=version), number, text=TEXTS[number % 5] + str(number)),
            fused=1 - number / 100,
            relevance=0.6,
            dense=RouteHit(number + 1, 0.9, 1.0),
        )
        for number in range(count)
    ]


class Scripted:
    """Gives these scores, or fails."""

    model = "scripted"

    def __init__(self, scores: Sequence[float] = (), error: KbError | None = None) -> None:
        self._scores, self._error = scores, error

    def scores(self, question: str, texts: Sequence[str]) -> list[float]:
        if self._error:
            raise self._error
        return [*self._scores, *[0.0] * len(texts)][: len(texts)]


def numbers(found: Sequence[Passage]) -> list[int]:
    return [passage.chunk.ordinal for passage in found]


def test_reranking_orders_and_shows_its_scores() -> None:
    steps = Steps()
    found = rerank("?", passages(), Scripted([0.1, 0.9, 0.2, 0.9, 0.3]), steps)
    assert numbers(found) == [1, 3, 4, 2, 0]
    assert [passage.rerank for passage in found] == [0.9, 0.9, 0.3, 0.2, 0.1]
    (step,) = steps.taken
    assert (step.name, step.remaining, step.note_values) == ("rerank", 5, {"count": "5", "model": "scripted"})


def test_passages_beyond_the_first_stay_behind_them() -> None:
    found = rerank("?", passages(MOST_RERANKED + 2), Scripted([0.0]), Steps())
    assert numbers(found)[-2:] == [MOST_RERANKED, MOST_RERANKED + 1]
    assert [passage.rerank for passage in found[-2:]] == [None, None]


def test_failing_reranker_changes_nothing_and_is_told() -> None:
    steps, given = Steps(), passages()
    assert rerank("?", given, Scripted(error=ModelTimeout(host="h", model="m", seconds="8")), steps) == given
    assert steps.taken[0].note == ModelTimeout.message
    assert steps.taken[0].note_values["host"] == "h"


def test_without_a_reranker_there_is_no_step() -> None:
    steps, given = Steps(), passages()
    assert rerank("?", given, None, steps) == given
    assert rerank("?", [], Scripted(), steps) == []
    assert steps.taken == []


def test_several_knowledge_bases_are_merged_by_what_the_reranker_says() -> None:
    first = rerank("?", passages(2), Scripted([0.3, 0.8]), Steps())
    second = rerank("?", [replace(each, relevance=0.9) for each in passages(2, version=9)], Scripted([0.5]), Steps())
    assert [passage.rerank for passage in merge_indexes([first, second, []])] == [0.8, 0.5, 0.3, 0.0]
    # Where one of them could not be reranked, what both have decides.
    plain = [replace(each, relevance=0.9) for each in passages(2, version=9)]
    assert merge_indexes([first, plain])[0].chunk.version_id == UUID(int=9)
