"""The fake model server, through the clients that the project uses."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.fakes.model_server import BROKEN_AFTER_TOKENS, CHAT, EMBEDDINGS, LONG_TOKENS, ModelServer, answer, embed
from tests.real_services import wait_until


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def client(server: ModelServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_url, api_key="good", max_retries=0, timeout=5) as client:
        yield client


def _ask(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


def _stream(client: openai.OpenAI, model: str, text: str = "What is Milvus?") -> Generator[str]:
    with client.chat.completions.create(model=model, messages=_ask(text), stream=True) as stream:
        for event in stream:
            if event.choices and event.choices[0].delta.content:
                yield event.choices[0].delta.content


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert "fake" in [model.id for model in client.models.list()]


@pytest.mark.parametrize(("question", "start"), [("What is Milvus?", "You asked: "), ("什么是向量？", "你问的是：")])
def test_question_is_echoed_in_its_language(client: openai.OpenAI, question: str, start: str) -> None:
    whole = client.chat.completions.create(model="fake", messages=_ask(question)).choices[0].message.content
    assert whole == start + question
    assert "".join(_stream(client, "fake", question)) == whole


def test_paced_model_numbers_the_tokens_of_each_answer(client: openai.OpenAI) -> None:
    assert [*_stream(client, "paced", "What is Milvus? q7x3")] == ["q7x3-0 ", "q7x3-1 ", "q7x3-2 "]


def test_numbered_passages_are_quoted_and_cited() -> None:
    prompt = "Passages:\n\n[1] guide.pdf, page 3\nHNSW is a graph. It is fast.\n[2] other.md\nNo.\n\nWhat is HNSW?"
    assert answer([{"role": "user", "content": prompt}]) == "According to the passages, HNSW is a graph [1]."
    system = {"role": "system", "content": "[1] 索引是图。速度快。"}
    assert answer([system, {"role": "user", "content": "什么是索引？"}]) == "根据资料，索引是图 [1]。"


def test_texts_that_share_words_have_close_embeddings(client: openai.OpenAI) -> None:
    data = client.embeddings.create(model="fake-embedding", input=["red apple", "green apple", "配置文件"]).data
    red, green, chinese = ([*item.embedding] for item in data)
    assert red == pytest.approx(embed("red apple"), abs=1e-6)
    assert _dot(red, green) > max(0.3, _dot(red, chinese))


def _dot(left: list[float], right: list[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("wrong", openai.AuthenticationError),
        ("unknown", openai.NotFoundError),
        ("rate-limited", openai.RateLimitError),
        ("error-500", openai.InternalServerError),
    ],
)
def test_model_or_key_chooses_the_failure(
    server: ModelServer, client: openai.OpenAI, name: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        client.chat.completions.create(model=name, messages=_ask("?"))
    with pytest.raises(error):
        client.with_options(api_key=name).embeddings.create(model="fake-embedding", input="?")
    assert [request.key for request in server.requests] == ["good", name]


def test_broken_stream_ends_early(server: ModelServer, client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIConnectionError):
        list(_stream(client, "broken"))
    assert server.requests[0].tokens_sent == BROKEN_AFTER_TOKENS
    assert not server.requests[0].disconnected


def test_silent_model_never_answers(server: ModelServer, client: openai.OpenAI) -> None:
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.3).chat.completions.create(model="silent", messages=_ask("?"))
    wait_until(lambda: server.requests)
    assert server.requests[0].ended.wait(5)
    assert server.requests[0].disconnected


def test_disconnected_client_is_recorded(server: ModelServer, client: openai.OpenAI) -> None:
    tokens = _stream(client, "long")
    assert next(tokens) == "word0 "
    tokens.close()
    request = server.requests[0]
    assert request.ended.wait(5)
    assert request.disconnected
    assert request.tokens_sent < LONG_TOKENS


def test_held_answer_stops_halfway_and_continues(server: ModelServer, client: openai.OpenAI) -> None:
    tokens = _stream(client, "long")
    with server.held(CHAT):
        half = [next(tokens) for _ in range(LONG_TOKENS // 2)]
        assert not server.requests[0].ended.wait(0.2)
        wait_until(lambda: server.requests[0].tokens_sent == len(half))
    assert len(half) + len(list(tokens)) == LONG_TOKENS


def test_held_embeddings_wait(server: ModelServer, client: openai.OpenAI) -> None:
    impatient = client.with_options(timeout=0.3)
    with server.held(EMBEDDINGS):
        with pytest.raises(openai.APITimeoutError):
            impatient.embeddings.create(model="fake-embedding", input=["text"])
        wait_until(lambda: server.requests)
    assert server.requests[0].ended.wait(5)
    assert server.requests[0].disconnected
    assert client.embeddings.create(model="fake-embedding", input=["text"]).data


def test_stopping_the_server_ends_running_requests() -> None:
    server = ModelServer()
    server.start()
    with openai.OpenAI(base_url=server.base_url, api_key="good", max_retries=0) as client:
        tokens = _stream(client, "slow")
        next(tokens)
        began = time.monotonic()
        server.stop()
        with pytest.raises(openai.APIConnectionError):
            list(tokens)
    assert time.monotonic() - began < 5
