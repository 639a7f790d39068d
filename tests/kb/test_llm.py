"""Which chat models there are to choose from."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from kb.errors import (
    ModelError,
    ModelKeyRefused,
    ModelRefused,
    ModelTimeout,
    ModelUnreachable,
)
from kb.llm import ChatModel, ChatModels, KnownModels, list_models
from tests.conftest import MakeSettings
from tests.fakes.model_server import ModelServer
from tests.real_services import free_port, wait_until


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


class Servers:
    """Which models are served at which address; counts the looks, and can be held."""

    def __init__(self, **models: list[str]) -> None:
        self.models = models
        self.looks: list[str] = []
        self.answering = threading.Event()
        self.answering.set()

    def __call__(self, base_url: str, key: str, timeout_seconds: float) -> list[str]:
        self.looks.append(base_url)
        assert self.answering.wait(20)
        return next((names for port, names in self.models.items() if f":{port[1:]}/" in base_url), [])


@pytest.fixture
def started() -> Iterator[Callable[[ChatModels], ChatModels]]:
    """Starts `ChatModels` and closes them after the test."""
    with ExitStack() as stack:

        def start(models: ChatModels) -> ChatModels:
            models.start()
            stack.callback(models.close)
            return models

        yield start


def test_configured_model_is_the_only_one(make_settings: MakeSettings) -> None:
    servers = Servers()
    models = ChatModels(make_settings(openai_api_key="k", llm_model="m"), servers)
    (model,) = models.known().models
    assert (model.id, model.server, model.is_local) == ("api.openai.com/m", "api.openai.com", False)
    assert models.choose("") == models.resolve("of yesterday") == model
    models.start()
    models.look_again()
    assert models.known().models == (model,)
    assert servers.looks == []


def test_endpoint_is_asked_for_its_models(make_settings: MakeSettings, server: ModelServer) -> None:
    models = ChatModels(make_settings(openai_base_url=server.base_url))
    models.refresh()
    names = [model.name for model in models.known().models]
    assert "fake" in names
    assert "fake-embedding" not in names
    second = models.known().models[1]
    assert models.choose(second.id) == second
    assert models.choose("") == models.known().models[0]


def test_local_servers_are_offered_and_used_only_if_chosen(make_settings: MakeSettings) -> None:
    servers = Servers(p11434=["llama", "qwen"], p8000=["vicuna"])
    models = ChatModels(make_settings(), servers)
    models.refresh()
    assert [(model.server, model.name) for model in models.known().models] == [
        ("Ollama", "llama"), ("Ollama", "qwen"), ("vLLM / FastChat", "vicuna")
    ]  # fmt: skip
    assert models.choose("") is None
    chosen = models.choose("127.0.0.1:11434/qwen")
    assert chosen is not None
    assert chosen.is_local
    assert len(servers.looks) == 2  # one look for all these calls


def test_local_servers_are_not_probed_when_a_key_is_set(make_settings: MakeSettings) -> None:
    servers = Servers(p11434=["llama"])
    models = ChatModels(make_settings(openai_api_key="k"), servers)
    models.refresh()
    assert models.known().models == ()
    assert servers.looks == ["https://api.openai.com/v1"]


def test_silent_server_delays_nobody_who_looks(
    make_settings: MakeSettings, started: Callable[[ChatModels], ChatModels]
) -> None:
    servers = Servers(p1=["slow-model"])
    servers.answering.clear()
    models = started(ChatModels(make_settings(openai_base_url="http://box:1/v1"), servers))
    wait_until(lambda: servers.looks, what="the first look")
    assert models.known() == KnownModels()
    assert models.choose("") is None
    assert models.choose("box:1/of-yesterday") == ChatModel("of-yesterday", "http://box:1/v1", "box:1")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(models.resolve, "")  # an answer's own task waits for the first result
        assert models.resolve("box:1/of-yesterday") is not None
        servers.answering.set()
        found = answer.result(20)
    assert found is not None
    assert found.name == "slow-model"
    assert models.known().seen_at is not None


def test_old_result_is_shown_while_a_new_look_runs(
    make_settings: MakeSettings, started: Callable[[ChatModels], ChatModels], monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = Servers(p1=["old"])
    models = started(ChatModels(make_settings(openai_base_url="http://box:1/v1"), servers))
    wait_until(lambda: models.known().seen_at, what="the first look")
    monkeypatch.setattr("kb.llm.FRESH_SECONDS", 0.0)
    servers.answering.clear()
    servers.models = {"p1": ["new"]}
    assert [model.name for model in models.known().models] == ["old"]
    wait_until(lambda: len(servers.looks) > 1, what="the second look")
    assert [model.name for model in models.known().models] == ["old"]
    servers.answering.set()
    wait_until(lambda: [model.name for model in models.known().models] == ["new"], what="the new list")


def test_fresh_result_is_not_looked_up_again(
    make_settings: MakeSettings, started: Callable[[ChatModels], ChatModels]
) -> None:
    servers = Servers(p1=["m"])
    models = started(ChatModels(make_settings(openai_base_url="http://box:1/v1"), servers))
    wait_until(lambda: models.known().seen_at, what="the first look")
    for _ in range(20):
        models.known()
        models.resolve("")
    assert len(servers.looks) == 1
    models.look_again()
    wait_until(lambda: models.known().seen_at, what="the second look")
    assert len(servers.looks) == 2


def test_defect_in_a_look_is_an_error_and_not_the_end(
    make_settings: MakeSettings, started: Callable[[ChatModels], ChatModels]
) -> None:
    looks: list[str] = []

    def fail_once(base_url: str, _key: str, _seconds: float) -> list[str]:
        looks.append(base_url)
        if len(looks) == 1:
            raise ZeroDivisionError
        return ["m"]

    models = started(ChatModels(make_settings(openai_base_url="http://box:1/v1"), fail_once))
    wait_until(lambda: models.known().seen_at, what="the first look")
    assert isinstance(models.known().error, ModelRefused)
    models.look_again()
    wait_until(lambda: models.known().models, what="the second look")


def test_closed_models_end_their_thread(make_settings: MakeSettings) -> None:
    models = ChatModels(make_settings(openai_base_url="http://box:1/v1"), Servers())
    models.start()
    models.close()
    wait_until(lambda: "chat-models" not in [thread.name for thread in threading.enumerate()])


def test_resolve_gives_up_in_the_end(make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kb.llm.RESOLVE_SECONDS", 0.1)
    models = ChatModels(make_settings(openai_base_url="http://box:1/v1"), Servers())  # nobody looks
    with pytest.raises(ModelTimeout, match="box:1"):
        models.resolve("")


@pytest.mark.parametrize(
    ("address", "key", "kind"),
    [
        ("http://127.0.0.1:{free}/v1", "", ModelUnreachable),
        ("{server}", "wrong", ModelKeyRefused),
        ("{root}", "", ModelRefused),
    ],
)
def test_endpoint_that_does_not_list_its_models_says_why(
    make_settings: MakeSettings, server: ModelServer, address: str, key: str, kind: type[ModelError]
) -> None:
    root = server.base_url.removesuffix("/v1")
    url = address.format(free=free_port(), server=server.base_url, root=root)
    with pytest.raises(kind):
        list_models(url, key, 10)
    models = ChatModels(make_settings(openai_base_url=url, openai_api_key=key))
    models.refresh()
    assert models.known().models == ()
    assert isinstance(models.known().error, kind)
    with pytest.raises(kind):  # not the same as no model
        models.choose("")


def test_password_in_the_address_is_in_no_message(server: ModelServer) -> None:
    url = server.base_url.replace("http://", "http://user:sekret@") + "/nowhere"
    with pytest.raises(ModelRefused, match="HTTP 404: no /v1/nowhere/models there") as raised:
        list_models(url, "", 10)
    assert "sekret" not in str(raised.value)


def test_chosen_local_model_stays_chosen_while_its_server_is_silent(make_settings: MakeSettings) -> None:
    def silent(base_url: str, _key: str, _seconds: float) -> list[str]:
        raise ModelUnreachable(host=base_url, model="")

    models = ChatModels(make_settings(), silent)
    models.refresh()
    assert (models.known().models, models.known().error, models.choose("")) == ((), None, None)
    assert models.choose("127.0.0.1:11434/qwen") == ChatModel("qwen", "http://127.0.0.1:11434/v1", "Ollama", True)
    assert models.choose("elsewhere:1/qwen") is None
