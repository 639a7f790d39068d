"""Embeddings over HTTP."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import numpy as np
import pytest
from pydantic import SecretStr

from kb.embedding.openai import OpenAIModel
from kb.errors import (
    EmbeddingTextTooLong,
    EmbeddingTimeout,
    ModelKeyRefused,
    ModelNotFound,
    ModelRateLimited,
    ModelRefused,
    ModelTimeout,
    ModelUnreachable,
)
from tests.fakes.model_server import DIMENSION, ModelServer, embed
from tests.fakes.web_pages import WebPages

Connect = Callable[..., OpenAIModel]


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def connect(server: ModelServer) -> Iterator[Connect]:
    """Builds a model of the server by name; closes its connections at the end."""
    with ExitStack() as stack:

        def connect(name: str = "fake-embedding", timeout: float = 5, question: float = 5) -> OpenAIModel:
            model = OpenAIModel(name, SecretStr("good"), server.base_url, timeout, question)
            return stack.enter_context(closing(model))

        yield connect


def test_vectors_keep_the_order_of_the_texts(server: ModelServer, connect: Connect) -> None:
    texts = [f"text number {number}" for number in range(150)]
    vectors = connect().embed_documents(texts)
    assert vectors.dtype == np.float32
    assert np.allclose(vectors, [embed(text) for text in texts], atol=1e-6)
    assert [len(request.body["input"]) for request in server.requests] == [64, 64, 22]


def test_raw_text_is_sent_with_the_key(server: ModelServer, connect: Connect) -> None:
    connect().embed_question("什么是索引\ud800？")
    request = server.requests[0]
    assert request.body["input"] == ["什么是索引？"]
    assert request.key == "good"


def test_dimension_is_requested_once(server: ModelServer, connect: Connect) -> None:
    model = connect()
    assert (model.name, model.dimension, model.dimension) == ("openai:fake-embedding", DIMENSION, DIMENSION)
    assert model.embed_documents([]).shape == (0, DIMENSION)
    assert len(server.requests) == 1


def test_small_batch_limit_is_discovered_once(server: ModelServer, connect: Connect) -> None:
    model = connect("small-batches")
    texts = [f"text {number}" for number in range(70)]
    assert np.allclose(model.embed_documents(texts), [embed(text) for text in texts], atol=1e-6)
    server.requests.clear()
    model.embed_documents(texts[:16])
    assert [len(request.body["input"]) for request in server.requests] == [8, 8]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("wrong", ModelKeyRefused),
        ("unknown", ModelNotFound),
        ("rate-limited", ModelRateLimited),
        ("short-texts", EmbeddingTextTooLong),
    ],
)
def test_error_responses(server: ModelServer, connect: Connect, name: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        connect(name).embed_question("?")
    assert len(server.requests) == 1  # no hidden retries


@pytest.mark.parametrize("vector", [[None, 1.0], [float("nan"), 1.0], []], ids=str)
def test_vector_that_is_no_vector_is_refused(vector: object) -> None:
    """An embedding model that overflows gives NaN, and llama.cpp sends that as null."""
    reply = {"object": "list", "model": "m", "data": [{"object": "embedding", "index": 0, "embedding": vector}]}
    with WebPages() as pages:
        pages.serve("/v1/embeddings", json.dumps(reply).encode(), content_type="application/json")
        model = OpenAIModel("m", SecretStr(""), pages.url("/v1"), 5, 5)
        with closing(model), pytest.raises(ModelRefused, match="its vectors are not numbers"):
            model.embed_question("?")


def test_silent_server_times_out(server: ModelServer, connect: Connect) -> None:
    with pytest.raises(ModelTimeout):
        connect("silent", timeout=0.2).embed_documents(["?"])


def test_question_has_a_time_limit_of_its_own(connect: Connect) -> None:
    with pytest.raises(EmbeddingTimeout, match=r"within 0\.2 s.*EMBEDDING_TIMEOUT_SECONDS"):
        connect("silent", timeout=60, question=0.2).embed_question("?")


def test_unreachable_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    model = OpenAIModel("fake", SecretStr(""), f"http://127.0.0.1:{port}/v1", 5, 5)
    with closing(model), pytest.raises(ModelUnreachable):
        model.embed_question("?")
