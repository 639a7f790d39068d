"""What a collector gets of a program's requests: one trace, from the upload to the answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.testclient import TestClient

from kb import tracing
from kb.access import KeyScope
from kb.answers import Answers
from kb.embedding.openai import OpenAIModel
from kb.providers.connection import Connection, Source
from kb.reranking.http import HttpReranker
from kb.services import WorkerParts
from kb.tracing.setup import stop_tracing
from tests.conftest import Core
from tests.fakes.collector import Collector, collecting, deliver
from tests.fakes.model_server import ModelServer
from tests.kb.answers.chat import build_answers
from tests.web.api.test_api import finished
from web import api, openai_api
from web.api.parties import Parties
from web.probes import probe_routes
from web.spans import RequestSpans
from web.tools import tool_routes
from workers.broker import DramatiqQueue, build_broker

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
FILE, TEXT, QUESTION = "confidential-pears.md", "# Pears\n\nThe quince is aubergine.", "Which colour has a quince?"
SEARCH = ["search", "retrieve"]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting(monkeypatch) as collector:
        yield collector


@pytest.fixture
def answers(core: Core, model_server: ModelServer) -> Iterator[Answers]:
    found = build_answers(core.services, model_server)
    yield found
    found.close()


@pytest.fixture
def program(core: Core, answers: Answers) -> TestClient:
    """A program with a key, which traces what it does."""

    def parties() -> Parties:
        return Parties(core.services, answers)

    routes = [
        *probe_routes(),
        Mount("/api/v1", api.build_api(parties)),
        Mount("/v1", openai_api.build_openai_api(parties)),
        *tool_routes(parties),
    ]
    client = TestClient(Starlette(routes=routes, middleware=[Middleware(RequestSpans)]))
    _key, secret = core.services.api_keys.create(core.user, "Program", tuple(KeyScope))
    client.headers["Authorization"] = f"Bearer {secret.get_secret_value()}"
    client.headers["traceparent"] = f"00-{TRACE}-{CALLER}-01"
    return client


def upload(core: Core, program: TestClient, monkeypatch: pytest.MonkeyPatch) -> tuple[str, UUID]:
    """A knowledge base, and the version in it of which a message was sent to the workers."""
    queue = DramatiqQueue(build_broker(core.services.settings))
    monkeypatch.setattr(core.queue, "send_version", queue.send_version)
    base = program.post("/api/v1/knowledge-bases", json={"name": "Secret fruit"}).json()["id"]
    path = f"/api/v1/knowledge-bases/{base}/documents"
    document = program.put(path, params={"name": FILE}, content=TEXT.encode()).json()["id"]
    queue.close()
    return base, core.document(UUID(document)).latest.id


def test_upload_ingestion_and_answers_are_one_trace(
    core: Core, worker: WorkerParts, program: TestClient, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, version = upload(core, program, monkeypatch)
    worker.ingestion.ingest_next(version)
    asked = {"question": QUESTION, "knowledge_base_ids": [base], "model": "fake"}
    task = finished(program, program.post("/api/v1/generate", json=asked).json()["id"], "/api/v1")
    assert task["state"] == "done"
    stop_tracing()
    assert {span.trace_id for span in collector.spans} == {TRACE}

    sent = collector.named("send ingestion")
    put = next(span for span in collector.spans if span.name.startswith("PUT"))
    assert (put.name, put.kind, put.parent_id) == (
        "PUT /api/v1/knowledge-bases/{knowledge_base_id}/documents",
        "server",
        CALLER,
    )
    assert put.attributes["http.route"] == put.name.removeprefix("PUT ")
    assert put.attributes["http.response.status_code"] == 202
    assert (sent.kind, collector.chain(sent)) == ("producer", [put.name])
    ingestion = collector.named("ingest")
    assert (ingestion.kind, collector.chain(ingestion)) == ("consumer", ["send ingestion", put.name])
    assert ingestion.attributes["zhiwen.version.id"] == str(version)
    assert ingestion.attributes["zhiwen.document.chunks"] == 1
    for stage in ("parsing", "embedding", "indexing"):
        assert collector.chain(collector.named(stage))[0] == "ingest"

    answer, chat = collector.named("answer knowledge"), collector.named("chat fake")
    assert collector.chain(answer) == ["POST /api/v1/generate"]
    assert answer.attributes["zhiwen.answer.state"] == "done"
    assert answer.attributes["zhiwen.message.id"] == task["id"]
    assert answer.attributes["gen_ai.conversation.id"] == task["conversation_id"]
    assert answer.events == ("first token",)
    assert (chat.kind, collector.chain(chat)[0]) == ("client", answer.name)
    assert chat.attributes["gen_ai.usage.output_tokens"] == task["usage"]["output_tokens"]
    assert chat.attributes["gen_ai.response.time_to_first_chunk"] > 0
    for step in ("embed", "dense", "lexical", "live"):
        assert collector.chain(collector.named(step)) == [*SEARCH, answer.name, "POST /api/v1/generate"]
    assert collector.named("search").attributes["zhiwen.knowledge_base.id"] == base

    key = program.headers["Authorization"].removeprefix("Bearer ")
    for secret in ("confidential", "Secret fruit", "quince", "aubergine", "Pears", key, key[:10]):
        assert secret.encode() not in collector.raw, secret


def test_requests_to_v1_and_mcp_are_traced_and_probes_are_not(
    core: Core, worker: WorkerParts, program: TestClient, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, version = upload(core, program, monkeypatch)
    worker.ingestion.ingest_next(version)
    deliver()
    collector.received.clear()
    body = {"model": f"knowledge-base/{base}", "messages": [{"role": "user", "content": QUESTION}]}
    assert program.post("/v1/chat/completions", json=body).status_code == 200
    call = {"name": "search", "arguments": {"question": QUESTION, "knowledge_base_ids": [base]}}
    message: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    accepts = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}
    reply = program.post("/mcp", json=message, headers=accepts)
    assert not reply.json()["result"]["isError"], reply.text
    assert program.get("/livez").status_code == 200
    assert program.get("/api/v1/nowhere").status_code == 404
    stop_tracing()
    assert {span.name for span in collector.spans if span.kind == "server"} == {
        "POST /v1/chat/completions",
        "POST /mcp",
        "GET /api/v1",
    }
    chains = [collector.chain(span) for span in collector.spans if span.name == "dense"]
    assert [*SEARCH, "answer knowledge", "POST /v1/chat/completions"] in chains
    assert [*SEARCH, "execute_tool search", "POST /mcp"] in chains
    assert b"quince" not in collector.raw


def test_version_is_part_of_the_trace_of_its_own_upload(
    core: Core, worker: WorkerParts, program: TestClient, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever message made a worker look for one: it takes the version whose turn it is."""
    del program.headers["traceparent"]
    _base, uploaded = upload(core, program, monkeypatch)
    other = core.upload(core.knowledge_base("Another"), "b.md", TEXT).latest.id  # not by a request
    for _ in range(2):
        worker.ingestion.ingest_next(other)
    stop_tracing()
    traces = {span.attributes["zhiwen.version.id"]: span for span in collector.spans if span.name == "ingest"}
    assert collector.chain(traces[str(uploaded)])[0] == "send ingestion"
    assert traces[str(other)].parent_id == ""


def test_embedding_and_reranking_are_calls_of_models(collector: Collector, model_server: ModelServer) -> None:
    connection = Connection(Source.ENV, "test", model_server.base_url)
    reranker = HttpReranker(connection, "fake-rerank", 5)
    reranker.scores(QUESTION, [TEXT])
    reranker.close()
    embedding = OpenAIModel("fake-embedding", SecretStr("good"), model_server.base_url, 5, 5)
    with tracing.span("embed"):
        embedding.embed_question(QUESTION)
    embedding.close()
    stop_tracing()
    for operation, model, chain in (("rerank", "fake-rerank", []), ("embeddings", "fake-embedding", ["embed"])):
        call = collector.named(f"{operation} {model}")
        assert (call.kind, collector.chain(call)) == ("client", chain)
        assert call.attributes["gen_ai.operation.name"] == operation
        assert call.attributes["server.address"] == "127.0.0.1"
