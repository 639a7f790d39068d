"""Who may ask what by OpenAI's protocol, and under which names."""

from __future__ import annotations

import json
from contextlib import ExitStack
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from kb.access import GranteeKind, KeyScope, Permission
from kb.library.sharing import Grantee
from tests.fakes.model_server import CHAT
from tests.web.openai_api.conftest import ONE_WORKER, Installation, error_of

pytestmark = ONE_WORKER
QUESTION = "Which colour has a pear?"


def test_keys_are_checked(installation: Installation) -> None:
    keys, user = installation.core.services.api_keys, installation.core.user
    revoked = installation.key()
    keys.revoke(user, keys.authenticate(revoked).key.id)  # type: ignore[union-attr]
    expired = installation.key(lifetime=timedelta(seconds=-1))
    calls: list[tuple[str, str, dict[str, Any] | None]] = [("GET", "/models", None)]
    calls.append(("POST", "/chat/completions", about_pears("knowledge-base/Fruit")))
    calls.append(("POST", "/embeddings", {"model": "test", "input": "a"}))
    for method, path, body in calls:
        for key in ("", "zw_" + "x" * 43, revoked, expired):
            with installation.client(key) as client:
                reply = client.request(method, path, json=body)
            assert error_of(reply) == (401, "invalid_api_key", None)
            assert reply.headers["www-authenticate"] == "Bearer"
        others = (scope for scope in KeyScope if scope is not KeyScope.ASK)
        with installation.client(installation.key(*others)) as client:
            assert error_of(client.request(method, path, json=body)) == (403, "out_of_scope", None)


def test_user_gets_no_more_answers_by_more_keys(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation.core.services.request_limits, "_user_answers", 1)
    asked, replies = {"model": "fake", "messages": [{"role": "user", "content": "Hello"}]}, []
    for _ in range(2):
        with installation.client(installation.key(who=installation.core.stranger)) as client:
            replies.append(client.post("/chat/completions", json=asked))
    answered, refused = replies
    assert answered.status_code == 200
    assert error_of(refused) == (429, "rate_limit_exceeded", None)
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert 0 < int(refused.headers["retry-after"]) <= 60


def test_answer_ends_with_its_key(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.openai_api.chat.LOOK_SECONDS", -1)
    keys, key = installation.core.services.api_keys, installation.key()
    asked = {"model": "fake", "messages": [{"role": "user", "content": "Tell me a story"}], "stream": True}
    with ExitStack() as held, installation.client(key) as client:
        held.enter_context(installation.model_server.held(CHAT))
        with client.stream("POST", "/chat/completions", json=asked) as reply:
            events = (line.removeprefix("data: ") for line in reply.iter_lines() if line)
            assert "error" not in json.loads(next(events))
            keys.revoke(installation.core.user, keys.authenticate(key).key.id)  # type: ignore[union-attr]
            held.close()
            *_before, last = events
    assert json.loads(last)["error"]["code"] == "invalid_api_key"


def test_what_others_have_does_not_exist(installation: Installation) -> None:
    unknown, refusals = f"knowledge-base/{uuid4()}", set()
    with installation.client(installation.key(who=installation.core.stranger)) as stranger:
        for model in ("knowledge-base/Fruit", f"knowledge-base/{installation.fruit}", unknown, "no-such-model"):
            reply = stranger.post("/chat/completions", json=about_pears(model))
            assert error_of(reply) == (404, "model_not_found", "model")
            assert error_of(stranger.get(f"/models/{model}"))[0] == 404
            refusals.add(reply.json()["error"]["message"].replace(model, "…"))
    assert len(refusals) == 1


def test_limited_key_reaches_its_knowledge_bases(installation: Installation) -> None:
    with installation.client(installation.key(only=[installation.fruit])) as client:
        manual = client.post("/chat/completions", json=about_pears("knowledge-base/Harbour manual"))
        assert error_of(manual)[0] == 404
        assert client.post("/chat/completions", json=about_pears("knowledge-base/fruit")).status_code == 200
        models = client.get("/models").json()["data"]
        listed = [model["id"] for model in models if model["kind"] == "knowledge_base"]
        assert listed == ["knowledge-base/Fruit"]


def about_pears(model: str) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": QUESTION}]}


def test_models_are_listed_under_names_that_work(installation: Installation) -> None:
    core = installation.core
    shared = core.services.knowledge_bases.create(core.stranger, "Fruit", "test", core.embedding.dimension)
    core.services.sharing.grant(core.stranger, shared.id, Grantee(GranteeKind.EVERYBODY), Permission.VIEW)
    with installation.client() as client:
        models = {model["id"]: model for model in client.get("/models").json()["data"]}
        assert models["knowledge-base/Fruit"]["knowledge_base_id"] == str(installation.fruit)
        assert models[f"knowledge-base/{shared.id}"]["knowledge_base_id"] == str(shared.id)
        assert models["fake"]["kind"] == "language_model"
        assert models["test"]["kind"] == "embedding_model"
        for name, model in models.items():
            if model["kind"] != "embedding_model":
                assert client.get(f"/models/{name}").json() == model
        assert client.get("/models/test").json() == models["test"]
        assert client.get(f"/models/knowledge-base/{installation.fruit}").json() == models["knowledge-base/Fruit"]
    core.services.knowledge_bases.delete(core.stranger, shared.id)


def test_errors_are_told_in_the_programs_language(installation: Installation) -> None:
    with installation.client(key="") as client:
        message = client.get("/models", headers={"Accept-Language": "zh-CN"}).json()["error"]["message"]
    assert "API 密钥" in message


def test_defect_is_told_in_openais_form(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_given: object, **_named: object) -> None:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr(installation.core.services.knowledge_bases, "list", fail)
    with installation.client() as client, capture_logs() as logs:
        reply = client.get("/models")
    assert error_of(reply) == (500, "internal_error", None)
    assert reply.json()["error"]["type"] == "server_error"
    assert "secret" not in reply.text
    assert "api.defect" in [entry["event"] for entry in logs]
