"""Requests that a program repeats with an `Idempotency-Key`."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from kb.access.idempotency import DEAD_SECONDS, IdempotencyKeys
from kb.config import Settings
from kb.database.tables import now
from kb.library import KnowledgeBases
from tests.conftest import Core
from tests.fakes.stalling_client import send_and_stall
from tests.web.api.conftest import Program, code_of
from web.api import PATH

Send = Callable[..., Any]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"max_upload_mb": 1})


@pytest.fixture
def calls(core: Core, program: Program) -> dict[str, Send]:
    """A call of each kind that creates something; it takes the headers."""
    client = program()
    base = core.knowledge_base()
    document = core.upload(base, "a.md", "# A")
    question = {"question": "Hello", "mode": "llm"}
    path = f"/knowledge-bases/{base.id}/documents?name=b.md"
    return {
        "knowledge base": lambda headers, name="Fruit": client.post(
            "/knowledge-bases", json={"name": name}, headers=headers
        ),
        "document": lambda headers, text="# B": client.put(path, content=text.encode(), headers=headers),
        "version": lambda headers, text="# B": client.put(
            f"/documents/{document.id}/original", content=text.encode(), headers=headers
        ),
        "answer": lambda headers, text="Hello": client.post(
            "/generate", json=question | {"question": text}, headers=headers
        ),
    }


def count(core: Core) -> tuple[int, int, int, int]:
    """Knowledge bases, documents, uploads of versions, conversations."""
    bases = core.services.knowledge_bases.list(core.user)
    documents = sum(base.document_count for base in bases)
    versions = sum(what == "version" for what, _id in core.queue.sent)
    return len(bases), documents, versions, core.services.conversations.count(core.user)


def test_repeated_request_creates_nothing_again(core: Core, calls: dict[str, Send]) -> None:
    for what, send in calls.items():
        key, before = {"Idempotency-Key": what}, count(core)
        first = send(key)
        after = count(core)
        again = send(key)
        assert first.status_code in (201, 202)
        assert (again.status_code, again.json()) == (first.status_code, first.json())
        assert again.headers["Idempotent-Replayed"] == "true"
        assert "Idempotent-Replayed" not in first.headers
        assert count(core) == after != before
        assert code_of(send(key, "another")) == (422, "idempotency_key_reused")
        assert send({"Idempotency-Key": f"another {what}"}, "another").json() != first.json()


def test_request_whose_process_died_is_repeated_with_one_effect(
    core: Core, calls: dict[str, Send], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends after the effect, before the reply is kept or sent."""
    lost = {}
    with monkeypatch.context() as patch:
        patch.setattr(IdempotencyKeys, "keep", lambda *_given: None)
        for what, send in calls.items():
            lost[what] = send({"Idempotency-Key": what}).json()
    after = count(core)
    for what, send in calls.items():
        assert code_of(send({"Idempotency-Key": what})) == (409, "request_running")
    monkeypatch.setattr(core.services.idempotency_keys, "_clock", lambda: now() + timedelta(seconds=DEAD_SECONDS + 1))
    for what, send in calls.items():
        again = send({"Idempotency-Key": what})
        assert again.json()["id"] == lost[what]["id"]
        assert send({"Idempotency-Key": what}).json() == again.json()
    assert count(core) == after


def test_request_is_refused_while_the_first_one_runs(
    core: Core, calls: dict[str, Send], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, may_end, replies = threading.Event(), threading.Event(), []
    create = KnowledgeBases.create

    def wait(*given: Any, **named: Any) -> Any:
        runs.set()
        assert may_end.wait(20)
        return create(*given, **named)

    monkeypatch.setattr(KnowledgeBases, "create", wait)
    send = calls["knowledge base"]
    first = threading.Thread(target=lambda: replies.append(send({"Idempotency-Key": "one"})))
    first.start()
    assert runs.wait(20)
    assert code_of(send({"Idempotency-Key": "one"})) == (409, "request_running")
    may_end.set()
    first.join()
    assert send({"Idempotency-Key": "one"}).json() == replies[0].json()


def test_refused_request_can_be_corrected(calls: dict[str, Send]) -> None:
    send = calls["knowledge base"]
    assert code_of(send({"Idempotency-Key": "one"}, "\u200b")) == (400, "invalid_name")
    assert send({"Idempotency-Key": "one"}, "Fruit").status_code == 201
    assert code_of(send({"Idempotency-Key": "x" * 256})) == (422, "invalid_request")


def test_key_of_a_program_that_was_revoked_gets_no_reply(core: Core, program: Program) -> None:
    client, headers = program(), {"Idempotency-Key": "one"}
    created = client.post("/knowledge-bases", json={"name": "Fruit"}, headers=headers)
    assert UUID(created.json()["id"])
    core.services.api_keys.revoke(core.user, core.services.api_keys.list(core.user)[0].id)
    assert code_of(client.post("/knowledge-bases", json={"name": "Fruit"}, headers=headers)) == (401, "key_refused")


LARGE = b"x" * ((1 << 20) + 1)


@pytest.mark.parametrize("content", [LARGE, iter([LARGE])], ids=["declared", "not declared"])
def test_repeated_upload_has_the_limit_of_an_upload(
    core: Core, program: Program, content: bytes | Iterator[bytes]
) -> None:
    client, path = program(), f"/knowledge-bases/{core.knowledge_base().id}/documents?name=b.md"
    key = {"Idempotency-Key": "one"}
    assert client.put(path, content=b"# B", headers=key).status_code == 202
    refused = client.put(path, content=content, headers=key)
    assert code_of(refused) == (413, "upload_too_large")
    assert "b.md" in refused.json()["title"]
    assert client.put(path, content=b"# B", headers=key).headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("is_kept", [True, False], ids=["kept reply", "dead process"])
def test_repeated_upload_that_stalls_is_given_up(
    core: Core, program: Program, monkeypatch: pytest.MonkeyPatch, is_kept: bool
) -> None:
    """Also where its document is there, and only what was sent is read to its end."""
    client, path = program(), f"/knowledge-bases/{core.knowledge_base().id}/documents"
    key, params = {"Idempotency-Key": "one"}, {"name": "b.md"}
    with monkeypatch.context() as patch:
        if not is_kept:
            patch.setattr(IdempotencyKeys, "keep", lambda *_given: None)
        first = client.put(path, params=params, content=b"# B", headers=key)
    keys = core.services.idempotency_keys
    monkeypatch.setattr(keys, "_clock", lambda: now() + timedelta(seconds=DEAD_SECONDS + 1))
    with monkeypatch.context() as patch:
        patch.setattr("web.receiving.STALL_SECONDS", 0.05)
        headers = client.headers | key
        start, body = send_and_stall(client.app, "PUT", f"{PATH}{path}", b"#", "name=b.md", headers)
        assert (start["status"], json.loads(body["body"])["code"]) == (408, "upload_stalled")
    monkeypatch.setattr(keys, "_clock", lambda: now() + timedelta(seconds=2 * DEAD_SECONDS + 2))
    again = client.put(path, params=params, content=b"# B", headers=key)
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
