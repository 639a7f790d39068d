"""Requests made up from the OpenAPI description: none breaks the server, and each reply is as described."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID, uuid4

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given
from hypothesis import settings as effort
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.specs.openapi.schemas import OpenApiSchema
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.testclient import TestClient

from kb.config import Settings
from kb.models import MessageState, Mode, VersionState
from kb.services import WorkerParts
from tests.conftest import Core
from tests.messages import said
from tests.web.api.conftest import Program
from web.api import PATH
from web.api.knowledge_bases import ID
from web.api.problems import MEDIA_TYPE
from web.app import build_middleware

ADDRESS = "http://127.0.0.1:8501"  # one of its own: see web.origins
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


@pytest.fixture
def client(program: Program, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """A program that meets the product's middleware, where there is a login."""
    monkeypatch.setattr("pages.ui.resources._provider._web", SimpleNamespace(has_login=True, is_started=False))
    bare = program()
    assert isinstance(bare.app, Starlette)
    app = Starlette(routes=bare.app.routes, middleware=build_middleware(bare.app.routes))
    found = TestClient(app, base_url=f"{ADDRESS}{PATH}", raise_server_exceptions=False)
    found.headers["Authorization"] = bare.headers["Authorization"]
    return found


def described(client: TestClient) -> OpenApiSchema:
    return schemathesis.openapi.from_asgi(
        f"{PATH}/openapi.json", client.app, headers={"Host": urlsplit(ADDRESS).netloc}
    )


def things(core: Core) -> dict[str, str]:
    """New things, by the names that calls have for their ids."""
    base = core.knowledge_base(f"Base {len(core.services.knowledge_bases.list(core.user))}")
    conversation = core.services.conversations.create(core.user, "Hello", Mode.LLM)
    answer = core.services.messages.ask(core.user, conversation.id, "Hello")
    found = {"knowledge_base_id": base.id, "document_id": core.upload(base, "a.md", "# A").id}
    found |= {"conversation_id": conversation.id, "task_id": answer.id}
    for webhook in core.services.webhooks.list(core.user):  # a user has some at most
        core.services.webhooks.delete(core.user, webhook.id)
    webhook_id = core.services.webhooks.create(core.user, "https://hooks.example/")[0].id
    found |= {"webhook_id": webhook_id, "delivery_id": core.services.webhooks.test(core.user, webhook_id).id}
    return {name: str(each) for name, each in found.items()}


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_made_up_requests(core: Core, client: TestClient, mode: GenerationMode, subtests: pytest.Subtests) -> None:
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
            case.call_and_validate(base_url=f"{ADDRESS}{PATH}", headers=headers, checks=CHECKS)

        send()

    for found in described(client).get_all_operations():
        assert isinstance(found, Ok), found
        with subtests.test(found.ok().label):
            attempt(found.ok())


def _keep_cheap(case: Case[Any], known: dict[str, str], mode: GenerationMode) -> None:
    """No long waits, no web searches; and a valid request finds something."""
    # Starlette's router takes no address with a line break for one of ours.
    assume(not any("\n" in unquote(str(value)) for value in (case.path_parameters or {}).values()))
    if case.operation.path.endswith("/wait") and mode is GenerationMode.POSITIVE:
        case.query["seconds"] = 0
    if isinstance(case.body, dict):
        if case.body.get("mode") == Mode.WEB:
            case.body["mode"] = Mode.LLM
        if case.body.get("knowledge_base_ids"):
            case.body["knowledge_base_ids"] = [known["knowledge_base_id"]]


METHODS = ("GET", "POST", "PATCH", "PUT", "DELETE")


def turn_of(operation: APIOperation[Any, Any, Any, Any]) -> tuple[int, bool]:
    """Calls that look at a thing come before those that change it."""
    return METHODS.index(operation.method.upper()), operation.path.endswith("/disable")


def ready_things(core: Core, worker: WorkerParts) -> dict[str, str]:
    """As `things`, with something to show in each."""
    found = things(core)
    assert worker.ingestion.ingest(core.document(UUID(found["document_id"])).latest.id) == VersionState.READY
    core.services.messages.finish(core.user, UUID(found["task_id"]), MessageState.DONE, said("Hello.", "fake"))
    core.services.webhooks.test(core.user, UUID(found["webhook_id"]))
    return found


def test_each_call_works_as_its_example_shows(
    core: Core, worker: WorkerParts, client: TestClient, subtests: pytest.Subtests
) -> None:
    ready = ready_things(core, worker)
    operations = []
    for found in described(client).get_all_operations():
        assert isinstance(found, Ok), found
        operations.append(found.ok())
    for operation in sorted(operations, key=turn_of):
        with subtests.test(operation.label):
            known = things(core) if operation.method.upper() == "DELETE" else ready
            if operation.path.endswith(("/retry", "/cancel")):
                waiting = core.upload(core.knowledge_base(operation.path), "a.md", "# A").id
                known = ready | {"document_id": str(waiting)}
                if operation.path.endswith("/retry"):
                    core.services.documents.cancel(core.user, waiting)
            for example in examples_of(operation.definition.raw, known):
                reply = client.request(operation.method, operation.path.format_map(known), **example)
                assert reply.is_success, reply.text
                assert str(reply.status_code) in operation.definition.raw["responses"]
                operation.validate_response(reply)


def examples_of(call: dict[str, Any], known: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Requests by the examples of a call, with ids that are there: with all parameters, and with those it needs."""
    query, headers = dict[str, Any](), dict[str, str]()
    is_needed = set()
    for parameter in call.get("parameters", ()):
        name, place = parameter["name"], parameter["in"]
        given = parameter["schema"].get("examples")
        assert given, f"{name} has no example"
        if place == "path":
            assert UUID(given[0])
            assert name in known
        elif place == "query":
            query[name] = given[0]
        else:
            assert name == "Idempotency-Key"
            headers[name] = str(uuid4())  # random, as it has to be
        if parameter["required"]:
            is_needed.add(name)
    for body in bodies_of(call, known):
        yield {"params": query, "headers": headers, **body}
        if not is_needed.issuperset(query):
            yield {"params": {name: query[name] for name in query if name in is_needed}, **body}


def bodies_of(call: dict[str, Any], known: dict[str, str]) -> Iterator[dict[str, Any]]:
    if "requestBody" not in call:
        yield {}
        return
    for media_type, content in call["requestBody"]["content"].items():
        assert content.get("examples"), f"{media_type} has no example"
        for example in content["examples"].values():
            if media_type == "application/json":
                yield {"json": json.loads(json.dumps(example["value"]).replace(ID, known["knowledge_base_id"]))}
            else:
                yield {"content": example["value"].encode()}


def test_description_tells_the_form_of_problems(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it does not, generated clients and the tests above take any error body for a good one."""
    found = client.get("/openapi.json").json()
    for path, methods in found["paths"].items():
        for method, call in methods.items():
            content = call["responses"]["default"]["content"]
            assert content == {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}, f"{method} {path}"
    operation = described(client)["/documents/{document_id}"]["GET"]
    operation.validate_response(client.get("/documents/nonsense"))
    wrong = JSONResponse({"status": "nonsense"}, 422, media_type=MEDIA_TYPE)
    monkeypatch.setattr("web.api.problems._response", lambda *_given, **_named: wrong)
    with pytest.raises(FailureGroup):
        operation.validate_response(client.get("/documents/nonsense"))
