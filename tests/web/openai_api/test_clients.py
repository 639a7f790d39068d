"""The scripts of docs/api.md with the clients that people use, each run as a program of its own."""

from __future__ import annotations

import os

import openai
import pytest
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from tests.real_services import missing
from tests.web.api.test_script import run_script, scripts
from tests.web.openai_api.conftest import ONE_WORKER, Installation

pytestmark = ONE_WORKER
ANSWER = "According to the passages, Valve 7 is checked each spring, before the first delivery [1]."
_OURS, OPENAI, LANGCHAIN, LLAMAINDEX, _VERIFYING = scripts()


def run(installation: Installation, script: str, python: str = "") -> list[str]:
    script = script.replace("builtin:multilingual-e5-small", installation.core.embedding.name)
    given = (python,) if python else ()
    return run_script(script, installation.url, installation.ask_key, *given).splitlines()


def test_openai(installation: Installation) -> None:
    *models, answer, passage, annotation, streamed, vectors = run(installation, OPENAI)
    assert {"knowledge-base/Fruit", "knowledge-base/Harbour manual", "fake", "test"} <= set(models)
    assert answer == streamed == ANSWER
    assert passage == "1 manual.md 0 Valve 7 is checked each spring, before the first delivery."
    assert annotation == "1 manual.md"
    assert vectors == f"2 {installation.core.embedding.dimension}"


def test_langchain(installation: Installation) -> None:
    answer, streamed, vectors = run(installation, LANGCHAIN)
    assert answer == streamed == ANSWER
    assert vectors == f"2 {installation.core.embedding.dimension}"
    assert "Answer in one sentence." in installation.model_server.chats[-1].body["messages"][0]["content"]


def test_llamaindex(installation: Installation) -> None:
    """Its package needs an OpenAI client before 3, so it has to have an environment of its own."""
    python = os.environ.get("ZHIWEN_LLAMAINDEX_PYTHON", "")
    if not python:
        missing("ZHIWEN_LLAMAINDEX_PYTHON names no Python with llama-index-llms-openai-like")
    assert run(installation, LLAMAINDEX, python) == [ANSWER, "manual.md", ANSWER]


def test_openai_raises_its_own_errors(installation: Installation) -> None:
    def client(key: str) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{installation.url}/v1", api_key=key, max_retries=0)

    with client("zw_wrong") as stranger, pytest.raises(openai.AuthenticationError, match="API key is not valid"):
        stranger.models.list()
    with client(installation.ask_key) as allowed:
        with pytest.raises(openai.NotFoundError) as refusal:
            allowed.models.retrieve("knowledge-base/Nothing")
        assert (refusal.value.code, refusal.value.param) == ("model_not_found", "model")
        found = allowed.models.retrieve("knowledge-base/Harbour manual")
        assert found.id == "knowledge-base/Harbour manual"
        with pytest.raises(openai.BadRequestError, match="“n” is not supported"):
            allowed.chat.completions.create(model="fake", messages=[{"role": "user", "content": "Hi"}], n=2)


def test_langchain_counts_tokens_of_a_stream(installation: Installation) -> None:
    chat = ChatOpenAI(
        model="knowledge-base/Harbour manual",
        base_url=f"{installation.url}/v1",
        api_key=SecretStr(installation.ask_key),
        stream_usage=True,
        temperature=0.1,
    )
    counted = [chunk.usage_metadata for chunk in chat.stream("When is valve 7 checked?") if chunk.usage_metadata]
    assert [each["output_tokens"] > 0 for each in counted] == [True]
    assert installation.model_server.chats[-1].body["temperature"] == 0.1
