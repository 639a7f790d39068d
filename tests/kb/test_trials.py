"""Tests of a connection, against a real HTTP server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from kb.errors import KbError, ModelKeyLost, ModelKeyRefused, ModelRefused, ModelTimeout, ModelUnreachable
from kb.providers.connection import Connection, ModelSettings, Source
from kb.providers.trials import Trial, Trials
from tests.conftest import MakeSettings
from tests.fakes.model_server import CHAT, ModelServer
from tests.real_services import free_port, wait_until


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def trials(make_settings: MakeSettings) -> Trials:
    return Trials(make_settings(llm_timeout_seconds=5))


def connect(base_url: str, *names: str, key: str = "good", error: ModelKeyLost | None = None) -> Connection:
    return Connection(Source.USER, "test", base_url, SecretStr(key), names, ModelSettings(temperature=0.5), error=error)


def ended(trials: Trials, connection: Connection, wanted: str = "") -> Trial:
    trials.start(connection, wanted)

    def last() -> bool:
        trial = trials.last(connection)
        return trial is not None and trial.ended_at is not None

    wait_until(last, what="the test")
    trial = trials.last(connection)
    assert trial is not None
    return trial


def test_wanted_model_answers_as_it_will_be_asked(trials: Trials, server: ModelServer) -> None:
    connection = connect(server.base_url)
    assert trials.last(connection) is None
    trial = ended(trials, connection, "think")
    assert (trial.model, trial.error) == ("think", None)
    (request,) = server.chats
    assert (request.key, request.body["model"], request.body["temperature"]) == ("good", "think", 0.5)


def test_first_model_is_asked_without_a_wish(trials: Trials, server: ModelServer) -> None:
    assert ended(trials, connect(server.base_url)).model == "fake"
    assert ended(trials, connect(server.base_url, "slow", "fake"), "not there").model == "slow"


def test_server_that_lists_nothing_is_tested_by_its_named_model(trials: Trials, server: ModelServer) -> None:
    root = server.base_url.removesuffix("/v1")
    trial = ended(trials, connect(root))
    assert isinstance(trial.error, ModelRefused)
    trial = ended(trials, connect(root, "fake"))
    assert "no /chat/completions there; check the base URL" in str(trial.error)


@pytest.mark.parametrize(
    ("name", "key", "kind"),
    [("fake", "wrong", ModelKeyRefused), ("200-html", "good", ModelRefused), ("error-500", "good", ModelRefused)],
)
def test_failure_is_told(trials: Trials, server: ModelServer, name: str, key: str, kind: type[KbError]) -> None:
    trial = ended(trials, connect(server.base_url, name, key=key))
    assert isinstance(trial.error, kind)
    assert trial.model == name


def test_nobody_there_and_nobody_answering_are_told(make_settings: MakeSettings, server: ModelServer) -> None:
    trials = Trials(make_settings(llm_timeout_seconds=0.3))
    assert isinstance(ended(trials, connect(f"http://127.0.0.1:{free_port()}/v1")).error, ModelUnreachable)
    assert isinstance(ended(trials, connect(server.base_url, "silent")).error, ModelTimeout)


def test_lost_key_is_told_without_a_request(trials: Trials, server: ModelServer) -> None:
    trial = ended(trials, connect(server.base_url, "fake", error=ModelKeyLost(name="test")))
    assert isinstance(trial.error, ModelKeyLost)
    assert server.requests == []


def test_one_test_at_a_time(trials: Trials, server: ModelServer) -> None:
    connection = connect(server.base_url, "fake")
    with server.held(CHAT):
        trials.start(connection)
        trials.start(connection)
        wait_until(lambda: server.chats, what="the question")
        running = trials.last(connection)
        assert running is not None
    ended(trials, connection)
    assert len(server.chats) <= 2
