"""Which chat models there are for a user, and which one answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from pydantic import SecretStr

from kb.access import Principal
from kb.errors import (
    DatabaseUnavailable,
    ModelError,
    ModelKeyLost,
    ModelKeyRefused,
    ModelListTimeout,
    ModelRefused,
    ModelTimeout,
    ModelUnreachable,
)
from kb.llm import ChatModel, ChatModels, Probe
from kb.providers.connection import Connection, ModelSettings, Purpose, Source
from kb.providers.guard import Guard
from kb.providers.listing import list_models
from tests.conftest import MakeSettings
from tests.fakes.model_server import ModelServer
from tests.fakes.web_pages import WebPages
from tests.real_services import free_port, wait_until

USER, STRANGER = Principal(uuid4()), Principal(uuid4())


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


class Servers:
    """Which models are served at which port; counts the looks, and can be held."""

    def __init__(self, **models: list[str]) -> None:
        self.models = models
        self.looks: list[str] = []
        self.answering = threading.Event()
        self.answering.set()

    def __call__(self, base_url: str, key: str, timeout_seconds: float, guard: Guard | None) -> list[str]:
        self.looks.append(base_url)
        names = next((names for port, names in self.models.items() if f":{port[1:]}/" in base_url), None)
        if names != ["quick"]:
            assert self.answering.wait(20)
        if names is None:
            raise ModelUnreachable(host=base_url, model="")
        return names


class Stored:
    """What SQL would know."""

    def __init__(self) -> None:
        self.changes = 0
        self.reads = 0
        self.is_down = False
        self.of: dict[Principal, list[Connection]] = {}
        self.rewriting = ""

    def add(self, port: int, *names: str, user: Principal = USER, error: ModelError | None = None) -> Connection:
        connection = Connection(
            Source.USER,
            f"server {port}",
            f"http://box:{port}/v1",
            SecretStr(f"key-{port}"),
            names,
            ModelSettings(temperature=0.5),
            uuid4(),
            error,
        )
        self.of.setdefault(user, []).append(connection)
        self.changes += 1
        return connection

    def connections(self, principal: Principal) -> list[Connection]:
        self.reads += 1
        if self.is_down:
            raise DatabaseUnavailable(detail="gone")
        return self.of.get(principal, [])

    def chosen_model(self, principal: Principal, purpose: Purpose) -> str:
        assert purpose is Purpose.REWRITING
        return self.rewriting


@pytest.fixture
def stored() -> Stored:
    return Stored()


Open = Callable[..., ChatModels]


@pytest.fixture
def opened(make_settings: MakeSettings, stored: Stored) -> Iterator[Open]:
    """Builds `ChatModels` from a probe and settings, and closes them after the test."""
    built: list[ChatModels] = []

    def build(probe: Probe | None = None, **settings: str) -> ChatModels:
        built.append(ChatModels(make_settings(**settings), stored, probe))
        return built[-1]

    yield build
    for models in built:
        models.close()


def looked(models: ChatModels, user: Principal = USER) -> list[str]:
    """The names of the models once each server was looked at."""
    wait_until(lambda: all(server.is_known for server in models.known(user).servers), what="the looks")
    return [model.name for model in models.known(user).models]


# --- one server ---


def test_model_named_in_the_settings_needs_no_look(opened: Open) -> None:
    servers = Servers()
    models = opened(servers, openai_api_key="k", llm_model="m")
    models.start()
    (model,) = models.known(USER).models
    assert (model.id, model.server, model.is_local) == ("api.openai.com/m", "api.openai.com", False)
    assert model.key.get_secret_value() == "k"
    assert models.choose(USER, "") == models.resolve(USER, "of yesterday") == model
    assert not models.known(USER).lists_models
    assert servers.looks == []
    models.check(USER)  # the page asks whether it responds
    wait_until(lambda: servers.looks, what="the look")
    wait_until(lambda: models.known(USER).servers[0].look.error, what="its result")
    assert models.known(USER).error is None  # the model is known all the same


def test_endpoint_is_asked_for_its_models(opened: Open, server: ModelServer) -> None:
    models = opened(openai_base_url=server.base_url)
    models.start()
    names = looked(models)
    assert "fake" in names
    assert "fake-embedding" not in names
    second = models.known(USER).models[1]
    assert models.choose(USER, second.id) == second
    assert models.choose(USER, "") == models.known(USER).models[0]


def test_local_servers_are_offered_and_used_only_if_chosen(opened: Open) -> None:
    servers = Servers(p11434=["llama", "qwen"], p8000=["vicuna"])
    models = opened(servers)
    assert looked(models) == ["llama", "qwen", "vicuna"]
    assert [model.server for model in models.known(USER).models] == ["Ollama", "Ollama", "vLLM / FastChat"]
    assert models.known(USER).must_choose
    assert models.choose(USER, "") is models.resolve(USER, "") is None
    chosen = models.choose(USER, "127.0.0.1:11434/qwen")
    assert chosen is not None
    assert chosen.is_local
    assert len(servers.looks) == 2  # one look for all these calls


def test_local_servers_are_not_probed_when_a_key_is_set(opened: Open) -> None:
    servers = Servers(p11434=["llama"])
    models = opened(servers, openai_api_key="k")
    assert looked(models) == []
    assert servers.looks == ["https://api.openai.com/v1"]


def test_silent_server_delays_nobody_who_looks(opened: Open) -> None:
    servers = Servers(p1=["slow-model"])
    servers.answering.clear()
    models = opened(servers, openai_base_url="http://box:1/v1")
    models.start()
    wait_until(lambda: servers.looks, what="the first look")
    assert models.known(USER).is_searching
    assert models.choose(USER, "") is None
    assert models.choose(USER, "box:1/of-yesterday") == ChatModel("of-yesterday", "http://box:1/v1", "box:1")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(models.resolve, USER, "")  # an answer's own task waits for the first result
        assert models.resolve(USER, "box:1/of-yesterday") is not None
        servers.answering.set()
        found = answer.result(20)
    assert found is not None
    assert found.name == "slow-model"
    assert not models.known(USER).is_searching


def test_old_result_is_shown_while_a_new_look_runs(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    servers = Servers(p1=["old"])
    models = opened(servers, openai_base_url="http://box:1/v1")
    assert looked(models) == ["old"]
    monkeypatch.setattr("kb.llm.FRESH_SECONDS", 0.0)
    servers.answering.clear()
    servers.models = {"p1": ["new"]}
    assert [model.name for model in models.known(USER).models] == ["old"]
    wait_until(lambda: len(servers.looks) > 1, what="the second look")
    assert [model.name for model in models.known(USER).models] == ["old"]
    servers.answering.set()
    wait_until(lambda: [model.name for model in models.known(USER).models] == ["new"], what="the new list")


def test_fresh_result_is_not_looked_up_again(opened: Open) -> None:
    servers = Servers(p1=["m"])
    models = opened(servers, openai_base_url="http://box:1/v1")
    looked(models)
    for _ in range(20):
        models.known(USER)
        models.resolve(USER, "")
    assert len(servers.looks) == 1
    models.look_again(USER)
    wait_until(lambda: len(servers.looks) == 2, what="the second look")
    looked(models)


def test_defect_in_a_look_is_an_error_and_not_the_end(opened: Open) -> None:
    looks: list[str] = []

    def fail_once(base_url: str, _key: str, _seconds: float, _guard: Guard | None) -> list[str]:
        looks.append(base_url)
        if len(looks) == 1:
            raise ZeroDivisionError
        return ["m"]

    models = opened(fail_once, openai_base_url="http://box:1/v1")
    assert looked(models) == []
    assert isinstance(models.known(USER).error, ModelRefused)
    models.look_again(USER)
    assert looked(models) == ["m"]


def test_closed_models_begin_no_look(opened: Open) -> None:
    servers = Servers(p1=["m"])
    models = opened(servers, openai_base_url="http://box:1/v1")
    models.close()
    models.start()
    assert models.known(USER).is_searching
    assert servers.looks == []


def test_resolve_gives_up_in_the_end(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kb.llm.RESOLVE_SECONDS", 0.1)
    models = opened(Servers(), openai_base_url="http://box:1/v1")
    models.close()  # nobody looks
    with pytest.raises(ModelTimeout, match="box:1"):
        models.resolve(USER, "")


def test_silent_server_is_not_blamed_on_a_slow_model() -> None:
    """LLM_TIMEOUT_SECONDS does not change how long a list of models is waited for."""
    with WebPages() as pages:
        pages.pages["/v1/models"] = pages.pages["/silent"]
        with pytest.raises(ModelListTimeout, match=r"within 0\.2 s.*check its base URL") as raised:
            list_models(pages.url("/v1"), "", 0.2)
    assert "LLM_TIMEOUT_SECONDS" not in str(raised.value)


@pytest.mark.parametrize(
    ("address", "key", "kind"),
    [
        ("http://127.0.0.1:{free}/v1", "", ModelUnreachable),
        ("{server}", "wrong", ModelKeyRefused),
        ("{root}", "", ModelRefused),
    ],
)
def test_endpoint_that_does_not_list_its_models_says_why(
    opened: Open, server: ModelServer, address: str, key: str, kind: type[ModelError]
) -> None:
    root = server.base_url.removesuffix("/v1")
    url = address.format(free=free_port(), server=server.base_url, root=root)
    with pytest.raises(kind):
        list_models(url, key, 10)
    models = opened(
        lambda base_url, key, _seconds, _guard: list_models(base_url, key, 10), openai_base_url=url, openai_api_key=key
    )
    assert looked(models) == []
    assert isinstance(models.known(USER).error, kind)
    with pytest.raises(kind):  # not the same as no model
        models.choose(USER, "")


def test_list_of_models_may_be_the_whole_reply() -> None:
    with WebPages() as pages:
        pages.serve("/v1/models", b'[{"id": "m-1", "object": "model"}, {"id": "m-2"}]', content_type="application/json")
        assert list_models(pages.url("/v1"), "", 10) == ["m-1", "m-2"]


def test_password_in_the_address_is_in_no_message(server: ModelServer) -> None:
    url = server.base_url.replace("http://", "http://user:sekret@") + "/nowhere"
    with pytest.raises(ModelRefused, match="HTTP 404: no /v1/nowhere/models there") as raised:
        list_models(url, "", 10)
    assert "sekret" not in str(raised.value)


def test_chosen_local_model_stays_chosen_while_its_server_is_silent(opened: Open) -> None:
    models = opened(Servers())
    assert looked(models) == []
    assert (models.known(USER).error, models.choose(USER, "")) == (None, None)
    assert models.choose(USER, "127.0.0.1:11434/qwen") == ChatModel("qwen", "http://127.0.0.1:11434/v1", "Ollama", True)
    assert models.choose(USER, "elsewhere:1/qwen") is None


# --- several servers ---


def test_models_of_all_providers_are_known_and_the_settings_come_first(opened: Open, stored: Stored) -> None:
    first, second = stored.add(1), stored.add(2, "named")
    models = opened(Servers(p1=["a", "b"]), openai_api_key="k", llm_model="m")
    assert looked(models) == ["m", "a", "b", "named"]
    assert models.choose(USER, "") == models.resolve(USER, "") == models.known(USER).models[0]
    chosen = models.resolve(USER, f"{second.id}/named")
    assert chosen == ChatModel(
        "named", "http://box:2/v1", "server 2", False, SecretStr("key-2"), second.settings, second.provider_id
    )
    assert models.resolve(USER, f"{first.id}/b") == models.known(USER).models[2]
    assert models.resolve(USER, f"{first.id}/gone") == models.known(USER).models[0]
    assert "key-2" not in repr(chosen)
    assert "key-2" not in repr(second)


def test_first_provider_answers_and_local_servers_stay_offered(opened: Open, stored: Stored) -> None:
    stored.add(1)
    models = opened(Servers(p1=["a"], p11434=["llama"]))
    assert looked(models) == ["a", "llama"]
    assert not models.known(USER).must_choose
    chosen = models.resolve(USER, "")
    assert chosen is not None
    assert chosen.name == "a"
    local = models.resolve(USER, "127.0.0.1:11434/llama")
    assert local is not None
    assert local.name == "llama"


def test_local_server_that_is_a_provider_too_is_listed_once(opened: Open, stored: Stored) -> None:
    provider = Connection(Source.USER, "My Ollama", "http://127.0.0.1:11434/v1", provider_id=uuid4())
    stored.of[USER] = [provider]
    models = opened(Servers(p11434=["llama"]))
    assert looked(models) == ["llama"]
    assert models.known(USER).models[0].server == "My Ollama"


def test_models_are_told_apart_by_what_they_can_do(opened: Open, stored: Stored) -> None:
    listed = ["qwen3", "text-embedding-v4", "BAAI/bge-m3", "BAAI/bge-reranker-v2-m3", "whisper-1"]
    stored.add(1)
    models = opened(Servers(p1=listed))
    assert looked(models) == ["qwen3"]
    server = models.known(USER).servers[0]
    assert server.embedding_names == ("text-embedding-v4", "BAAI/bge-m3")
    assert server.all_names == tuple(listed)
    named = opened(Servers(), openai_api_key="k", llm_model="my-embedded-model")
    assert [model.name for model in named.known(STRANGER).models] == ["my-embedded-model"]


def test_silent_provider_hides_no_other(opened: Open, stored: Stored) -> None:
    stored.add(1)
    quick = stored.add(2)
    servers = Servers(p1=["slow"], p2=["quick"])
    servers.answering.clear()
    models = opened(servers)
    wait_until(lambda: models.known(USER).models, what="the quick server's model")
    assert not models.known(USER).is_searching
    chosen = models.resolve(USER, f"{quick.id}/quick")
    assert chosen is not None
    assert chosen.name == "quick"
    servers.answering.set()
    assert looked(models) == ["slow", "quick"]


def test_model_is_named_by_its_own_name_or_its_id(opened: Open, stored: Stored) -> None:
    """A program asks without having seen a list: the first look is waited for."""
    first, second = stored.add(1), stored.add(2)
    models = opened(Servers(p1=["a", "both"], p2=["both", "of/several"]))
    assert [model.name for model in models.settled(USER).models] == ["a", "both", "both", "of/several"]
    for wanted, of in (("a", first), ("both", first), (f"{second.id}/both", second), ("of/several", second)):
        found = models.named(USER, wanted)
        assert found
        assert found.provider_id == of.provider_id, wanted
    assert models.named(USER, "gone") is None
    assert models.named(STRANGER, "a") is None


def test_silent_server_is_not_waited_for_long(opened: Open, stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kb.llm.LIST_SECONDS", 0.05)
    stored.add(1)
    stored.add(2, "named")
    servers = Servers()
    servers.answering.clear()
    models = opened(servers)
    assert [model.name for model in models.settled(USER).models] == ["named"]
    servers.answering.set()
    looked(models)


def test_providers_are_their_owners_alone(opened: Open, stored: Stored) -> None:
    own = stored.add(1, "mine")
    models = opened(Servers())
    assert looked(models, STRANGER) == []
    assert models.resolve(STRANGER, f"{own.id}/mine") is None
    assert models.connection(STRANGER, own.id) is None
    assert models.connection(USER, own.id) == own


def test_changed_provider_is_seen_at_once(opened: Open, stored: Stored) -> None:
    models = opened(Servers(p1=["a"], p2=["b"]))
    looked(models)
    stored.add(1)
    assert looked(models) == ["a"]
    before = stored.reads
    for _ in range(10):
        models.known(USER)
    assert stored.reads == before


def test_answer_reads_the_providers_anew(opened: Open, stored: Stored) -> None:
    models = opened(Servers())
    looked(models)
    added = stored.add(1, "m")
    stored.changes = 0  # by another process
    assert models.choose(USER, "") is None
    assert models.resolve(USER, f"{added.id}/m") is not None


def test_known_providers_outlast_the_database(opened: Open, stored: Stored) -> None:
    stored.add(1, "m")
    models = opened(Servers())
    assert looked(models) == ["m"]
    stored.is_down = True
    assert models.resolve(USER, "") is not None
    with pytest.raises(DatabaseUnavailable):
        models.known(STRANGER)


def test_provider_whose_key_is_lost_is_not_asked(opened: Open, stored: Stored) -> None:
    lost = stored.add(1, error=ModelKeyLost(name="server 1"))
    servers = Servers(p1=["a"], p2=["b"])
    models = opened(servers)
    assert looked(models) == []
    with pytest.raises(ModelKeyLost):
        models.resolve(USER, "")
    stored.add(2)
    assert looked(models) == ["b"]
    with pytest.raises(ModelKeyLost):  # it was chosen: another model must not answer in its place
        models.resolve(USER, f"{lost.id}/a")
    assert "http://box:1/v1" not in servers.looks


def test_model_for_rewriting_is_the_chosen_one_else_that_of_the_answer(opened: Open, stored: Stored) -> None:
    provider = stored.add(1, "large", "small")
    models = opened(Servers())
    answering = models.resolve(USER, f"{provider.id}/large")
    assert answering is not None
    assert models.resolve_rewriting(USER, answering) == answering
    stored.rewriting = f"{provider.id}/small"
    assert models.resolve_rewriting(USER, answering).name == "small"
    stored.rewriting = f"{uuid4()}/gone"
    assert models.resolve_rewriting(USER, answering) == answering
