"""Which chat models there are to choose from."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from kb.errors import ModelError, ModelKeyRefused, ModelRefused, ModelStreamBroken, ModelUnreachable
from kb.llm import ChatModel, ChatModels, _reason_to_finish, list_models, stream_chat
from tests.conftest import MakeSettings
from tests.fakes.model_server import ModelServer
from tests.real_services import free_port

pytestmark = pytest.mark.usefixtures("unkept_connections")


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


class Servers:
    """What answers at which address; counts the looks."""

    def __init__(self, **models: list[str]) -> None:
        self.models = models
        self.looks: list[str] = []

    def __call__(self, base_url: str, key: str, timeout_seconds: float) -> list[str]:
        self.looks.append(base_url)
        return next((names for port, names in self.models.items() if f":{port[1:]}/" in base_url), [])


def test_the_configured_model_is_the_only_one(make_settings: MakeSettings) -> None:
    models = ChatModels(make_settings(openai_api_key="k", llm_model="m"), Servers())
    (model,) = models.available()
    assert (model.id, model.server, model.is_local) == ("api.openai.com/m", "api.openai.com", False)
    assert models.choose("") == models.choose("of yesterday") == model


def test_without_a_name_the_endpoint_is_asked(make_settings: MakeSettings, server: ModelServer) -> None:
    models = ChatModels(make_settings(openai_base_url=server.base_url))
    found = [model.name for model in models.available()]
    assert "fake" in found
    assert "fake-embedding" not in found
    chosen = models.choose(models.available()[1].id)
    assert chosen == models.available()[1]
    assert models.choose("") == models.available()[0]


def test_local_servers_are_offered_and_only_used_if_chosen(make_settings: MakeSettings) -> None:
    servers = Servers(p11434=["llama", "qwen"], p8000=["vicuna"])
    models = ChatModels(make_settings(), servers)
    assert [(model.server, model.name) for model in models.available()] == [
        ("Ollama", "llama"), ("Ollama", "qwen"), ("vLLM / FastChat", "vicuna")
    ]  # fmt: skip
    assert models.choose("") is None
    chosen = models.choose("127.0.0.1:11434/qwen")
    assert chosen is not None
    assert chosen.is_local
    assert len(servers.looks) == 2  # one look for all these calls


def test_with_a_key_nobody_looks_for_local_servers(make_settings: MakeSettings) -> None:
    servers = Servers(p11434=["llama"])
    assert ChatModels(make_settings(openai_api_key="k"), servers).available() == []
    assert servers.looks == ["https://api.openai.com/v1"]


@pytest.mark.parametrize(
    ("address", "key", "kind"),
    [
        ("http://127.0.0.1:{free}/v1", "", ModelUnreachable),
        ("{server}", "wrong", ModelKeyRefused),
        ("{root}", "", ModelRefused),
    ],
)
def test_an_endpoint_that_does_not_tell_its_models_says_why(
    make_settings: MakeSettings, server: ModelServer, address: str, key: str, kind: type[ModelError]
) -> None:
    root = server.base_url.removesuffix("/v1")
    url = address.format(free=free_port(), server=server.base_url, root=root)
    with pytest.raises(kind):
        list_models(url, key, 10)
    models = ChatModels(make_settings(openai_base_url=url, openai_api_key=key))
    assert models.available() == []
    assert isinstance(models.error, kind)
    with pytest.raises(kind):  # not the same as no model
        models.choose("")


def test_a_password_in_the_address_is_in_no_message(server: ModelServer) -> None:
    url = server.base_url.replace("http://", "http://user:sekret@") + "/nowhere"
    with pytest.raises(ModelRefused, match="HTTP 404, /v1/nowhere/models") as raised:
        list_models(url, "", 10)
    assert "sekret" not in str(raised.value)


def test_a_chosen_local_model_stays_chosen_while_its_server_is_silent(make_settings: MakeSettings) -> None:
    def silent(base_url: str, _key: str, _seconds: float) -> list[str]:
        raise ModelUnreachable(host=base_url, model="")

    models = ChatModels(make_settings(), silent)
    assert (models.available(), models.error, models.choose("")) == ([], None, None)
    assert models.choose("127.0.0.1:11434/qwen") == ChatModel("qwen", "http://127.0.0.1:11434/v1", "Ollama", True)
    assert models.choose("elsewhere:1/qwen") is None


def test_a_local_model_never_sees_the_key(make_settings: MakeSettings, server: ModelServer) -> None:
    settings = make_settings(openai_api_key="secret")

    async def ask(is_local: bool) -> str:
        model = ChatModel("fake", server.base_url, "test", is_local)
        return "".join([text async for text in stream_chat(settings, model, [("human", "Hello?")])])

    for is_local in (True, False):
        assert asyncio.run(ask(is_local)) == "You asked: Hello?"
    assert [request.key for request in server.requests] == ["none", "secret"]


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({}, ""),
        ({"finish_reason": None}, ""),
        ({"finish_reason": "stop"}, "stop"),
        ({"status": "completed"}, "stop"),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "max_output_tokens"),
        ({"status": "incomplete", "incomplete_details": None}, "length"),
        ({"status": "in_progress"}, ""),
    ],
)
def test_why_an_answer_ends_is_understood_in_both_protocols(metadata: dict[str, Any], reason: str) -> None:
    assert _reason_to_finish(metadata) == reason


def test_a_models_name_does_not_choose_the_protocol(make_settings: MakeSettings, server: ModelServer) -> None:
    async def ask() -> str:
        model = ChatModel("codex-7b-instruct", server.base_url, "test")
        return "".join([text async for text in stream_chat(make_settings(), model, [("human", "Hello?")])])

    assert asyncio.run(ask()) == "You asked: Hello?"


def test_a_broken_stream_is_told_from_an_end(make_settings: MakeSettings, server: ModelServer) -> None:
    pieces: list[str] = []

    async def ask() -> None:
        model = ChatModel("broken", server.base_url, "test")
        async for text in stream_chat(make_settings(), model, [("human", "How are you today?")]):
            pieces.append(text)

    with pytest.raises(ModelStreamBroken):
        asyncio.run(ask())
    assert pieces
