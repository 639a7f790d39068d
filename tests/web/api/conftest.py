"""A program that uses the API of an installation on the services of the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from kb.access import KeyScope, Principal
from tests.conftest import Core
from tests.fakes.model_server import ModelServer
from tests.kb.answers.chat import build_answers
from web.api import PATH, build_api
from web.api.parties import Parties

Program = Callable[..., TestClient]


@pytest.fixture(scope="module")
def model_server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def program(core: Core, model_server: ModelServer) -> Iterator[Program]:
    """Makes a client with a key of these scopes (all of them without any), of the user or of `who`."""
    answers = build_answers(core.services, model_server)
    api = build_api(lambda: Parties(core.services, answers))
    app = Starlette(routes=[Mount(PATH, api)])

    def open_client(*scopes: KeyScope, who: Principal | None = None, key: str | None = None) -> TestClient:
        client = TestClient(app, base_url=f"http://testserver{PATH}", raise_server_exceptions=False)
        if key is None:
            _key, secret = core.services.api_keys.create(who or core.user, "Program", scopes or tuple(KeyScope))
            key = secret.get_secret_value()
        if key:
            client.headers["Authorization"] = f"Bearer {key}"
        return client

    yield open_client
    answers.close()


def code_of(reply: Any) -> tuple[int, str]:
    """The status of a problem and its code."""
    assert reply.headers["content-type"] == "application/problem+json"
    found = reply.json()
    assert found["status"] == reply.status_code
    assert found["type"] == f"urn:zhiwen:{found['code']}"
    return reply.status_code, found["code"]
