"""Embeddings as a program gets them, over HTTP."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from kb.errors import EmbeddingUnavailable
from tests.fakes.embedding import embed_words
from tests.web.openai_api.conftest import ONE_WORKER, Installation, error_of
from web.openai_api.embeddings import MOST_TEXTS, TEXT_CHARACTERS

pytestmark = ONE_WORKER


def embed(installation: Installation, **body: Any) -> Any:
    with installation.client() as client:
        return client.post("/embeddings", json={"model": "test"} | body)


def test_vectors_are_those_of_the_model(installation: Installation) -> None:
    texts = ["a green pear", "一个梨", "a red apple"]
    expected = installation.core.embedding.embed_documents(texts)
    for given in (texts, texts[0]):
        reply = embed(installation, input=given).json()
        assert [each["index"] for each in reply["data"]] == list(range(len(reply["data"])))
        assert np.allclose([each["embedding"] for each in reply["data"]], expected[: len(reply["data"])])
    assert reply["usage"]["prompt_tokens"] == reply["usage"]["total_tokens"] > 0
    (coded,) = embed(installation, input=[texts[0]], encoding_format="base64").json()["data"]
    assert np.allclose(np.frombuffer(base64.b64decode(coded["embedding"]), "<f4"), expected[0])
    (question,) = embed(installation, input=texts[0], input_type="query").json()["data"]
    assert np.allclose(question["embedding"], installation.core.embedding.embed_question(texts[0]))
    assert embed_words(texts[0]).shape == expected[0].shape


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": ["a", " "]}, "input"),
        ({"input": ["a"] * (MOST_TEXTS + 1)}, "input"),
        ({"input": "a" * (TEXT_CHARACTERS + 1)}, "input"),
        ({"input": [1, 2, 3]}, "input"),
        ({"input": [[1, 2], [3]]}, "input"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
        ({"input": "a", "dimensions": 7}, "dimensions"),
        ({"input": "a", "nonsense": 7}, "nonsense"),
    ],
)
def test_bad_requests_name_the_field(installation: Installation, body: dict[str, Any], param: str) -> None:
    status, _code, named = error_of(embed(installation, **body))
    assert (status, named) == (400, param)


@pytest.mark.parametrize(
    "model", ["no-such-model", "fastembed:/etc", "provider:00000000-0000-0000-0000-000000000000/x"]
)
def test_only_listed_models_embed(installation: Installation, model: str) -> None:
    assert error_of(embed(installation, input="a", model=model)) == (404, "model_not_found", "model")


def test_its_dimension_may_be_named(installation: Installation) -> None:
    assert embed(installation, input="a", dimensions=installation.core.embedding.dimension).status_code == 200


def test_model_that_is_being_downloaded_is_not_waited_for(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def embed_question(_text: str) -> None:
        raise EmbeddingUnavailable(model="test", detail="it is being downloaded")

    monkeypatch.setattr(installation.core.embedding, "embed_question", embed_question)
    assert error_of(embed(installation, input="a")) == (503, "embedding_unavailable", None)
