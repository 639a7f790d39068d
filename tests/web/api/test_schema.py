"""Requests made up from the OpenAPI description: none breaks the server, and each reply is as described."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given
from hypothesis import settings as effort
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from kb.config import Settings
from kb.models import Mode
from tests.conftest import Core
from tests.web.api.conftest import Program
from web.api import PATH
from web.api.knowledge_bases import ID

EXAMPLES = int(os.environ.get("ZHIWEN_API_EXAMPLES", "3"))  # of each call, valid ones and others
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"api_requests_per_minute": 0, "api_answers_per_minute": 0})


def things(core: Core) -> dict[str, str]:
    """New things, by the names that calls have for their ids."""
    base = core.knowledge_base(f"Base {len(core.services.knowledge_bases.list(core.user))}")
    conversation = core.services.conversations.create(core.user, "Hello", Mode.LLM)
    answer = core.services.messages.ask(core.user, conversation.id, "Hello")
    found = {"knowledge_base_id": base.id, "document_id": core.upload(base, "a.md", "# A").id}
    found |= {"conversation_id": conversation.id, "task_id": answer.id}
    for webhook in core.services.webhooks.list(core.user):  # a user has some at most
        core.services.webhooks.delete(core.user, webhook.id)
    found |= {"webhook_id": core.services.webhooks.create(core.user, "https://hooks.example/")[0].id}
    return {name: str(each) for name, each in found.items()}


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_made_up_requests(core: Core, program: Program, mode: GenerationMode, subtests: pytest.Subtests) -> None:
    client = program()
    schema = schemathesis.openapi.from_asgi(f"{PATH}/openapi.json", client.app)
    headers = {"Authorization": client.headers["Authorization"]}

    def attempt(operation: APIOperation[Any, Any, Any, Any]) -> None:
        known = things(core)
        ids = {name: each for name, each in known.items() if f"{{{name}}}" in operation.path}
        fixed = ids if mode is GenerationMode.POSITIVE and ids else None

        @effort(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(mode, path_parameters=fixed))
        def send(case: Case[Any]) -> None:
            _keep_cheap(case, known, mode)
            case.call_and_validate(headers=headers, checks=CHECKS)

        send()

    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        with subtests.test(found.ok().label):
            attempt(found.ok())


def _keep_cheap(case: Case[Any], known: dict[str, str], mode: GenerationMode) -> None:
    """No long waits, no web searches; and a valid request finds something."""
    # Starlette's router takes no address with a line break for one of ours.
    assume(not any("\n" in str(value) for value in (case.path_parameters or {}).values()))
    if case.operation.path.endswith("/wait") and mode is GenerationMode.POSITIVE:
        case.query["seconds"] = 0
    if isinstance(case.body, dict):
        if case.body.get("mode") == Mode.WEB:
            case.body["mode"] = Mode.LLM
        if case.body.get("knowledge_base_ids"):
            case.body["knowledge_base_ids"] = [known["knowledge_base_id"]]


def test_each_example_of_the_description_works(core: Core, program: Program) -> None:
    client = program()
    paths = client.get("/openapi.json").json()["paths"]
    for path, methods in paths.items():
        for method, call in methods.items():
            content = call.get("requestBody", {}).get("content", {}).get("application/json")
            if content is None:
                continue
            assert content.get("examples"), f"{method} {path} has no example"
            known = things(core)
            for example in content["examples"].values():
                body = json.dumps(example["value"]).replace(ID, known["knowledge_base_id"])
                reply = client.request(method, path.format_map(known), json=json.loads(body))
                assert reply.is_success, f"{method} {path}: {reply.text}"
