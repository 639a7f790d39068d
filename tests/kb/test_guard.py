"""Providers of members are reached at public addresses only, by whatever asks them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from threading import Event
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from kb.completions import ChatClient
from kb.config import Settings
from kb.database import Database
from kb.database.tables import users
from kb.embedding import OF_PROVIDER, EmbeddingModels
from kb.embedding.openai import OpenAIModel
from kb.errors import (
    FetchError,
    ModelAddressUnchecked,
    ModelError,
    ModelHostNotPublic,
    ModelRefused,
    ModelUnreachable,
    ModelUsesServersIdentity,
)
from kb.llm import ChatModels
from kb.models import UserRole
from kb.providers.connection import Connection, Source
from kb.providers.guard import Guard
from kb.providers.keys import KeySafe
from kb.providers.listing import list_models
from kb.providers.store import ProviderDraft, Providers
from kb.providers.trials import Trials
from kb.reranking import HttpReranker
from kb.users import Users
from tests.conftest import MakeSettings, add_user
from tests.fakes.model_server import ModelServer
from tests.fakes.proxy import DeadProxy
from tests.fakes.web_pages import WebPages
from tests.real_services import wait_until

KEY = SecretStr("sk-secret-0123456789")
SECONDS = 5.0
METADATA = "http://169.254.169.254/latest"
Ask = Callable[[Connection], object]


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def web() -> Iterator[WebPages]:
    with WebPages() as web:
        yield web


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(llm_timeout_seconds=SECONDS, embedding_model="builtin")


@pytest.fixture(params=["list", "trial", "chat", "embedding", "reranking"])
def ask(request: pytest.FixtureRequest, settings: Settings) -> Ask:
    """Asks a server in one of the ways that there are."""

    def run_trial(connection: Connection) -> object:
        trial = Trials(settings).run(connection)
        if trial.error:
            raise trial.error
        return trial.model

    async def chat(connection: Connection) -> list[object]:
        client = ChatClient(settings)
        try:
            return [piece async for piece in client.stream(connection.model("fake"), [("user", "Tea?")])]
        finally:
            await client.close()

    def embed(connection: Connection) -> object:
        guard, key = connection.guard, connection.key
        with closing(OpenAIModel("fake-embedding", key, connection.base_url, SECONDS, SECONDS, guard=guard)) as model:
            return model.dimension

    def rerank(connection: Connection) -> object:
        with closing(HttpReranker(connection, "fake-rerank", SECONDS)) as reranker:
            return reranker.scores("Tea?", ["a", "b"])

    ways: dict[str, Ask] = {
        "list": lambda each: list_models(each.base_url, each.key.get_secret_value(), SECONDS, each.guard),
        "trial": run_trial,
        "chat": lambda each: asyncio.run(chat(each)),
        "embedding": embed,
        "reranking": rerank,
    }
    return ways[request.param]


def connect(base_url: str, guard: Guard | None, *names: str) -> Connection:
    return Connection(Source.USER, "Mine", base_url, KEY, names, guard=guard)


def port_of(server: ModelServer) -> str:
    return server.base_url.removesuffix("/v1").rpartition(":")[2]


def authority(server: ModelServer) -> str:
    return server.base_url.removeprefix("http://").removesuffix("/v1")


def test_server_of_this_machine_is_asked_for_members_only_if_listed(ask: Ask, server: ModelServer) -> None:
    with pytest.raises(ModelHostNotPublic) as caught:
        ask(connect(server.base_url, Guard()))
    assert caught.value.values == {"host": "127.0.0.1", "entry": authority(server)}
    assert server.requests == []  # and no key was sent
    assert ask(connect(server.base_url, Guard.of(authority(server))))
    assert ask(connect(server.base_url, None))


def test_name_that_changes_its_address_is_reached_at_the_checked_one(
    ask: Ask, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    system = socket.getaddrinfo

    def rebind(host: Any, port: Any, *rest: Any, **named: Any) -> Any:
        """The server at first, and its neighbour at every further question."""
        if host == "models.example":
            asked.append(host)
            host = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
        return system(host, port, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", rebind)
    port = int(port_of(server))
    with WebPages(host="127.0.0.2", port=port) as neighbour:
        assert ask(connect(f"http://models.example:{port}/v1", Guard.of(f"models.example:{port}"), "fake"))
        assert neighbour.requests == []
    assert asked == ["models.example"]


@pytest.mark.parametrize("resolved", [["10.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["fd00::1"], ["::ffff:127.0.0.1"]])
def test_name_that_resolves_to_a_private_address_is_refused(ask: Ask, resolved: list[str]) -> None:
    guard = Guard(resolver=lambda _host, _port: resolved)
    with pytest.raises(ModelHostNotPublic, match=r"models\.example is not a public address"):
        ask(connect("https://models.example:8443/v1", guard, "fake"))


def test_redirect_is_not_followed(ask: Ask, server: ModelServer, web: WebPages) -> None:
    for path in ("models", "chat/completions", "embeddings", "rerank"):
        web.redirect(f"/v1/{path}", f"{server.base_url}/{path}", status=307)  # a POST stays one
    guard = Guard.of(f"{web.authority} {authority(server)}")
    with pytest.raises(ModelError):
        ask(connect(f"http://{web.authority}/v1", guard, "fake"))
    assert len(web.requests) == 1
    assert server.requests == []


@pytest.mark.parametrize("page", ["/endless", "/bomb"])
def test_replies_have_a_bounded_size(ask: Ask, web: WebPages, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also that of an error, and unpacked: the server of one member must not take the memory of all."""
    monkeypatch.setattr("kb.providers.guard.REPLY_BYTES", 1 << 20)
    for path in ("models", "chat/completions", "embeddings", "rerank"):
        web.pages[f"/v1/{path}"] = web.pages[page]
    with pytest.raises(ModelRefused):
        ask(connect(f"http://{web.authority}/v1", Guard.of(web.authority), "fake"))
    assert web.requests[0][1]["Accept-Encoding"] == "identity"


def test_proxy_of_the_environment_is_not_asked(ask: Ask, server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would resolve the name itself, and might reach what we must not."""
    with DeadProxy() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.setenv(name, "")
        assert ask(connect(server.base_url, Guard.of(authority(server))))
        assert proxy.asked == []


def test_what_the_servers_environment_names_is_not_sent_to_members_hosts(
    ask: Ask, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenAI's client reads it by itself. The administrator's key may be in it."""
    monkeypatch.setenv("OPENAI_ORG_ID", "org-ours")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-ours")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer key-ours\nX-Gateway: gateway-ours")
    ask(connect(server.base_url, Guard.of(authority(server))))
    for request in server.requests:
        assert request.headers["authorization"] == f"Bearer {KEY.get_secret_value()}"
        assert "ours" not in str(request.headers)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "LOCALHOST.", "a.localhost", "127.1", "0", "2130706433", "0x7f000001"),
        *("017700000001", "127。0。0。1", "169.254.169.254", "10.0.0.1", "100.64.0.1", "[::1]", "[fd00::1]"),
        *("[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]"),
    ],
)
def test_private_host_is_refused_in_every_spelling(host: str, server: ModelServer) -> None:
    """When it is entered, without a name server, and when it is asked."""
    base_url = f"http://{host}:{port_of(server)}/v1"
    with pytest.raises(ModelHostNotPublic):
        Guard(resolver=lambda _host, _port: pytest.fail("asked")).check_entered(base_url)
    with pytest.raises((ModelHostNotPublic, ModelUnreachable)):
        list_models(base_url, "", SECONDS, Guard())
    assert server.requests == []


@pytest.mark.parametrize(
    "base_url", ["", "https://api.example/v1", "https://8.8.8.8/v1", "http://[2606:4700::1111]/v1"]
)
def test_public_host_and_any_name_may_be_entered(base_url: str) -> None:
    Guard(resolver=lambda _host, _port: pytest.fail("asked")).check_entered(base_url)


@pytest.mark.parametrize("base_url", ["http://api.example:22/v1", "http://[fe80::1%25eth0]/v1", "http://a b/v1"])
def test_port_or_form_that_no_web_server_has_is_refused(base_url: str) -> None:
    with pytest.raises(FetchError):
        Guard().check_entered(base_url)


def test_port_of_another_protocol_is_not_asked() -> None:
    with pytest.raises(ModelRefused, match="address or port cannot be used"):
        list_models("http://8.8.8.8:22/v1", "", SECONDS, Guard())


def test_unknown_name_is_told() -> None:
    def fail(_host: str, _port: int) -> list[str]:
        raise socket.gaierror("unknown")

    with pytest.raises(ModelUnreachable):
        list_models("http://models.example/v1", "", SECONDS, Guard(resolver=fail))
    with pytest.raises(ModelUnreachable):
        list_models("http://models.example/v1", "", SECONDS, Guard(resolver=lambda _host, _port: []))


def test_silent_name_server_is_given_up(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """While other answers go on."""
    monkeypatch.setattr("kb.completions.client.CONNECT_SECONDS", 0.2)
    ended = Event()

    def wait(_host: str, _port: int) -> list[str]:
        assert ended.wait(20)
        return []

    async def chat() -> None:
        model = connect("http://models.example/v1", Guard(resolver=wait)).model("m")
        async for _ in ChatClient(settings).stream(model, [("user", "Tea?")]):
            pass

    async def run() -> None:
        try:
            await chat()
        finally:
            ended.set()  # the thread would hold up the end of the loop

    with pytest.raises(ModelUnreachable):
        asyncio.run(run())


def test_next_address_of_a_name_is_tried_if_the_first_refuses(ask: Ask, server: ModelServer) -> None:
    port = port_of(server)
    guard = Guard(Guard.of(f"models.example:{port}").allowed, lambda _host, _port: ["127.0.0.3", "127.0.0.1"])
    assert ask(connect(f"http://models.example:{port}/v1", guard))


@pytest.mark.parametrize("base_url", ["https://proxy.example", METADATA])
def test_langchain_gets_no_address_from_members_unless_listed(base_url: str, settings: Settings) -> None:
    """Its packages connect by themselves: to whatever the name stands for then."""

    async def chat(guard: Guard) -> None:
        model = Connection(Source.USER, "Claude", base_url, KEY, ("m",), langchain="anthropic", guard=guard).model("m")
        async for _ in ChatClient(settings).stream(model, [("user", "Tea?")]):
            pass

    with pytest.raises(ModelAddressUnchecked):
        Guard().check_entered(base_url, "anthropic")
    Guard.of("proxy.example 169.254.169.254").check_entered(base_url, "anthropic")
    with pytest.raises(ModelAddressUnchecked):
        asyncio.run(chat(Guard()))


@pytest.mark.parametrize("preset", ["bedrock", "google_vertexai"])
def test_members_do_not_act_as_the_server_in_a_cloud(providers: Providers, database: Database, preset: str) -> None:
    keyless = replace(draft(""), preset=preset)
    with pytest.raises(ModelUsesServersIdentity):
        providers.add(add_user(database, "member"), keyless)
    assert providers.add(add_user(database, "root", role=UserRole.ADMINISTRATOR.value), keyless)


# --- whose providers are guarded ---


@pytest.fixture
def providers(database: Database, settings: Settings) -> Providers:
    return Providers(database, KeySafe(settings))


def draft(base_url: str, name: str = "Mine") -> ProviderDraft:
    return ProviderDraft(name, "custom", base_url, KEY, ("fake", "fake-embedding"))


def set_role(database: Database, user_id: object, role: UserRole) -> None:
    with database.write() as connection:
        connection.execute(sa.update(users).where(users.c.id == user_id).values(role=role.value))


def test_member_may_neither_add_nor_enter_a_private_address(providers: Providers, database: Database) -> None:
    member = add_user(database, "member")
    with pytest.raises(ModelHostNotPublic):
        providers.add(member, draft(METADATA))
    provider_id = providers.add(member, draft("https://api.example/v1"))
    with pytest.raises(ModelHostNotPublic):
        providers.change(member, provider_id, draft(METADATA))
    assert [provider.base_url for provider in providers.list(member)] == ["https://api.example/v1"]
    assert [connection.guard for connection in providers.connections(member)] == [Guard()]


def test_administrators_and_the_local_user_may_add_any_address(providers: Providers, database: Database) -> None:
    administrator = add_user(database, "root", role=UserRole.ADMINISTRATOR.value)
    for user in (administrator, Users(database).local_principal()):
        provider_id = providers.add(user, draft("http://10.0.0.5:8000/v1"))
        connection = providers.connection(provider_id)
        assert connection is not None
        assert connection.guard is None
        assert connection.model("fake").guard is None


def test_providers_of_an_administrator_who_becomes_a_member_are_guarded(
    providers: Providers, database: Database, settings: Settings, server: ModelServer
) -> None:
    user = add_user(database, "root", role=UserRole.ADMINISTRATOR.value)
    provider_id = providers.add(user, draft(server.base_url))
    name = f"{OF_PROVIDER}{provider_id}/fake-embedding"
    with closing(EmbeddingModels(settings, 1, providers.connection)) as embeddings:
        before = embeddings.get(name)
        assert before.dimension
        set_role(database, user.user_id, UserRole.MEMBER)
        server.requests.clear()
        with pytest.raises(ModelHostNotPublic):
            embeddings.get(name).embed_question("Tea?")
    if isinstance(before, OpenAIModel):
        before.close()
    model = ChatModels(settings, providers).resolve(user, f"{provider_id}/fake")
    assert model is not None
    assert model.guard == Guard()
    assert server.requests == []


def test_member_does_not_see_what_an_administrators_look_found(
    providers: Providers, database: Database, settings: Settings, server: ModelServer
) -> None:
    """Both entered the same address and the same key."""
    administrator, member = (add_user(database, name, role="administrator") for name in ("root", "former"))
    for user in (administrator, member):
        providers.add(user, ProviderDraft("Mine", "custom", server.base_url, KEY))
    set_role(database, member.user_id, UserRole.MEMBER)
    models = ChatModels(settings, providers)

    def error(user: Any) -> ModelError | None:
        own = (each for each in models.known(user).servers if each.connection.source is Source.USER)
        return next(own).error

    wait_until(lambda: not models.known(administrator).is_searching, what="the administrator's looks")
    wait_until(lambda: not models.known(member).is_searching, what="the member's looks")
    assert error(administrator) is None
    assert isinstance(error(member), ModelHostNotPublic)
