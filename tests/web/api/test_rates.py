"""Limits on how often programs may ask."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from kb.access import KeyScope
from kb.access.request_limits import UNKNOWN_A_MINUTE
from kb.config import Settings
from tests.conftest import Core
from tests.statements import counted_statements
from tests.web.api.conftest import Program, code_of


@pytest.fixture
def settings(settings: Settings) -> Settings:
    limits = {"api_requests_per_minute": 3, "api_answers_per_minute": 1, "user_answers_per_minute": 2}
    return settings.model_copy(update=limits)


def test_key_that_asks_too_often_waits_and_others_do_not(core: Core, program: Program) -> None:
    client, other = program(), program(KeyScope.READ)
    first = client.get("/knowledge-bases")
    assert (first.status_code, first.headers["RateLimit-Policy"]) == (200, '"requests";q=3;w=60')
    assert re.fullmatch(r'"requests";r=2;t=(60|[1-5]\d)', first.headers["RateLimit"])
    replies = [client.get("/knowledge-bases") for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 429]
    assert 0 < int(replies[-1].headers["Retry-After"]) <= 60
    assert replies[-1].headers["RateLimit"].startswith('"requests";r=0;t=')
    with counted_statements(core.services.database) as statements:
        assert code_of(client.get("/knowledge-bases")) == (429, "too_many_requests")
    assert statements == []
    assert other.get("/knowledge-bases").status_code == 200


def test_questions_have_a_limit_apart(program: Program) -> None:
    client, question = program(), {"question": "Hello", "mode": "llm"}
    assert client.post("/generate", json=question).status_code == 202
    refused = client.post("/generate", json=question)
    assert code_of(refused) == (429, "too_many_requests")
    assert refused.headers["RateLimit-Policy"] == '"answers";q=1;w=60'
    assert client.get("/knowledge-bases").status_code == 200


def test_user_gets_no_more_answers_by_more_keys(core: Core, program: Program) -> None:
    question = {"question": "Hello", "mode": "llm"}
    replies = [program().post("/generate", json=question) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [202, 202, 429]
    assert code_of(replies[-1]) == (429, "too_many_answers")
    assert 0 < int(replies[-1].headers["Retry-After"]) <= 60
    assert core.services.conversations.count(core.user) == 2
    assert program(who=core.stranger).post("/generate", json=question).status_code == 202


def test_address_that_tries_keys_is_refused_and_a_valid_key_from_there_is_not(core: Core, program: Program) -> None:
    valid, guessing = program(), program(key="zw_nonsense")
    assert valid.get("/knowledge-bases").status_code == 200
    replies = [code_of(guessing.get("/knowledge-bases")) for _ in range(3)]
    assert replies == [(401, "key_refused")] * 3
    for attempt in range(UNKNOWN_A_MINUTE):
        core.services.request_limits.count(f"another {attempt}", "testclient", is_question=False)
    with counted_statements(core.services.database) as statements:
        assert code_of(program(key="").get("/openapi.json")) == (429, "too_many_requests")
    assert statements == []
    assert valid.get("/knowledge-bases").status_code == 200


def test_body_of_a_refused_request_is_not_read(program: Program) -> None:
    client = program()
    for _ in range(4):
        client.get("/knowledge-bases")
    sent: list[Any] = []

    async def receive() -> Any:
        pytest.fail("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", client.headers["Authorization"].encode()), (b"content-length", b"9")]
    path = "/api/v1/knowledge-bases"
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers, "root_path": ""}
    asyncio.run(client.app(scope | {"client": ("testclient", 1)}, receive, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 429
    assert (b"connection", b"close") in sent[0]["headers"]
