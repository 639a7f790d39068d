"""The tools for language models, used by the protocol's own client over HTTP and over standard input and output."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, TypeVar
from uuid import uuid4

import httpx
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, TextContent
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from kb.access import KeyScope, Principal
from kb.config import Settings
from kb.models import Document
from kb.services import WorkerParts
from kb.tools import TOOLS
from kb.tools.server import CODE
from tests.conftest import Core
from tests.fakes.model_server import ModelServer
from tests.kb.answers.chat import build_answers
from tests.real_services import ROOT
from tests.web.api.test_script import served
from web.api.parties import Parties
from web.tools import tool_routes

PART = "# Part {part}\n\nValve {part} is checked each spring. " + "Oil it. " * 100
MANUAL = "\n\n".join(PART.format(part=part) for part in range(1, 9))
T = TypeVar("T")


class Program:
    """A program with a key, of the user or of `who`."""

    def __init__(self, core: Core, url: str) -> None:
        self._core, self.url = core, f"{url}/mcp"

    def key(self, *scopes: KeyScope, who: Principal | None = None, **limits: Any) -> str:
        create = self._core.services.api_keys.create
        _key, secret = create(who or self._core.user, "Program", scopes or (KeyScope.READ,), **limits)
        return secret.get_secret_value()

    def use(self, do: Callable[[Client], Awaitable[T]], key: str = "", mode: str = "auto", language: str = "en") -> T:
        async def connect() -> T:
            headers = {"Authorization": f"Bearer {key or self.key()}", "Accept-Language": language}
            async with AsyncExitStack() as stack:
                http = await stack.enter_async_context(httpx2.AsyncClient(headers=headers, timeout=30))
                transport = streamable_http_client(self.url, http_client=http)
                client = await stack.enter_async_context(Client(transport, mode=mode))
                return await do(client)

        return asyncio.run(connect())

    def call(self, name: str, key: str = "", mode: str = "auto", language: str = "en", **arguments: Any) -> Any:
        """What the tool found; of a failed call, the result itself."""

        async def do(client: Client) -> CallToolResult:
            await client.list_tools()  # so that results are checked by their schemas
            return await client.call_tool(name, arguments)

        return found_in(self.use(do, key, mode, language))


def found_in(result: CallToolResult) -> Any:
    (content,) = result.content
    assert isinstance(content, TextContent)
    if result.is_error:
        return result
    assert json.loads(content.text) == result.structured_content
    return result.structured_content


def failure(result: CallToolResult) -> tuple[str, str]:
    """The code and the text."""
    assert result.is_error
    assert result.meta
    (content,) = result.content
    assert isinstance(content, TextContent)
    return result.meta[CODE], content.text


@pytest.fixture
def program(core: Core) -> Iterator[Program]:
    with ModelServer() as models:
        answers = build_answers(core.services, models)
        page = Route("/{path:path}", lambda _request: PlainTextResponse("a page of Streamlit"))
        with served(Starlette(routes=[*tool_routes(lambda: Parties(core.services, answers)), page])) as url:
            yield Program(core, url)
        answers.close()


@pytest.fixture
def manual(core: Core, worker: WorkerParts) -> Document:
    base = core.knowledge_base("Harbour")
    document = core.upload(base, "manual.md", MANUAL)
    assert worker.ingestion.ingest(document.latest.id) == "ready"
    return core.document(document.id)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_model_finds_its_way_from_list_to_text(program: Program, manual: Document, mode: str) -> None:
    key = program.key()

    async def go(client: Client) -> None:
        assert client.server_info
        assert client.server_info.name == "zhiwen"
        assert "list_knowledge_bases" in (client.instructions or "")
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == list(TOOLS)
        assert all(tool.annotations and tool.annotations.read_only_hint and tool.output_schema for tool in tools)
        (base,) = found_in(await client.call_tool("list_knowledge_bases", {}))["knowledge_bases"]
        assert (base["name"], base["ready"]) == ("Harbour", 1)
        (listed,) = found_in(await client.call_tool("list_documents", {"knowledge_base_id": base["id"]}))["documents"]
        assert (listed["id"], listed["ready"], listed["pages"]) == (str(manual.id), True, 0)
        where = {"knowledge_base_ids": [base["id"]]}
        wanted = {"question": "When is valve 5 checked?", "top_k": 2, **where}
        found = found_in(await client.call_tool("search", wanted))
        best = found["passages"][0]
        assert (best["document"], "Valve 5" in best["text"], len(found["passages"])) == ("manual.md", True, 2)
        assert best["scores"]["bm25"] > 0
        around = {"document_id": best["document_id"], "first_chunk": best["chunk"] - 1, "chunks": 2}
        read = found_in(await client.call_tool("read_document", around))
        assert [part["chunk"] for part in read["parts"]] == [best["chunk"] - 1, best["chunk"]]
        assert "Valve 5" in read["parts"][1]["text"]
        assert read["next_chunk"] == best["chunk"] + 1 < read["total_chunks"]
        some = found_in(await client.call_tool("grep", {"pattern": r"valve \d", "regex": True, "limit": 5, **where}))
        assert [match["match"] for match in some["matches"]] == [f"Valve {part}" for part in range(1, 6)]
        more = {"pattern": r"valve \d", "regex": True, "cursor": some["next"], **where}
        rest = found_in(await client.call_tool("grep", more))
        assert [match["match"] for match in rest["matches"]] == ["Valve 6", "Valve 7", "Valve 8"]
        assert "next" not in rest

    program.use(go, key, mode)


def test_wrong_key_is_401_and_too_many_requests_429(core: Core, program: Program) -> None:
    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    headers = {"Accept": "application/json, text/event-stream"}
    expired = program.key(lifetime=timedelta(seconds=-1))
    for key in ("", "Bearer zw_nonsense", f"Bearer {expired}", "Basic zw_nonsense"):
        refused = httpx.post(program.url, json=request, headers=headers | ({"Authorization": key} if key else {}))
        assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert refused.json()["code"] == "key_refused"
    allowed = headers | {"Authorization": f"Bearer {program.key()}"}
    reply = httpx.post(program.url, json=request, headers=allowed)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
    assert '"requests"' in reply.headers["RateLimit"]
    assert httpx.post(program.url, content=b"x" * (2 << 20), headers=allowed).status_code == 413
    # Neither streams nor sessions: a second web process knows as much as this one.
    for method in ("GET", "DELETE"):
        assert httpx.request(method, program.url, headers=allowed).status_code == 405
    assert "mcp-session-id" not in reply.headers


def test_defect_tells_nothing_inside(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_given: object) -> None:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr("web.tools.principal_of", fail)
    reply = httpx.post(program.url, json={}, headers={"Authorization": f"Bearer {program.key()}"})
    assert (reply.status_code, reply.json()["code"]) == (500, "internal_error")
    assert "secret" not in reply.text


def test_body_that_does_not_come_ends_the_connection(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.api.bodies.BODY_SECONDS", 0.2)
    url = httpx.URL(program.url)
    lines = [f"POST {url.path} HTTP/1.1", f"Host: {url.host}", f"Authorization: Bearer {program.key()}"]
    lines += ["Accept: application/json, text/event-stream", "Content-Type: application/json", "Content-Length: 99"]
    with socket.create_connection((url.host, url.port or 80), timeout=20) as connection:
        connection.sendall("\r\n".join([*lines, "", "{"]).encode())
        reply = b"".join(iter(lambda: connection.recv(1 << 16), b""))  # until the server closes it
    assert reply.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request_stalled"' in reply


def test_key_that_asks_too_often_waits(core: Core, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core.services.request_limits, "_requests", 1)
    headers = {"Accept": "application/json, text/event-stream", "Authorization": f"Bearer {program.key()}"}
    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    replies = [httpx.post(program.url, json=request, headers=headers) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [200, 429]
    assert int(replies[1].headers["Retry-After"]) > 0


def test_failed_calls_say_why_as_the_pages_do(core: Core, program: Program, manual: Document) -> None:
    base = str(manual.knowledge_base_id)
    document = str(manual.id)
    code, text = failure(program.call("read_document", document_id=str(uuid4())))
    assert (code, text.startswith("This document no longer exists")) == ("not_found", True)
    code, text = failure(program.call("read_document", document_id=str(uuid4()), language="zh-CN"))
    assert (code, "不存在" in text) == ("not_found", True)
    assert failure(program.call("read_document", document_id=document, first_page=1))[0] == "no_pages"
    code, text = failure(program.call("grep", pattern="(", regex=True, knowledge_base_ids=[base]))
    assert (code, "missing )" in text) == ("invalid_pattern", True)
    code, text = failure(program.call("search", question="", knowledge_base_ids=[]))
    assert (code, "question" in text, "knowledge_base_ids" in text) == ("invalid_arguments", True, True)
    assert failure(program.call("grep", pattern="x"))[0] == "invalid_arguments"
    backwards = failure(program.call("read_document", document_id=document, first_page=7, last_page=2))
    assert (backwards[0], "last_page is before first_page" in backwards[1]) == ("invalid_arguments", True)
    assert failure(program.call("search", program.key(KeyScope.ASK), question="x", knowledge_base_ids=[base]))[0] == (
        "out_of_scope"
    )
    limited = program.key(knowledge_base_ids=[core.knowledge_base("Other").id])
    assert failure(program.call("grep", limited, pattern="valve", document_ids=[document]))[0] == "not_found"
    assert [each["name"] for each in program.call("list_knowledge_bases", limited)["knowledge_bases"]] == ["Other"]
    found = program.call("search", question="valve", knowledge_base_ids=[base, str(uuid4())])
    assert found["passages"]
    assert found["warnings"] == ["1 of these knowledge bases no longer exist, or you do not have access to them."]


def test_bug_is_logged_and_not_told(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_values: object) -> None:
        raise RuntimeError("a secret of the server")

    monkeypatch.setattr("kb.library.knowledge_bases.KnowledgeBases.list", fail)
    assert failure(program.call("list_knowledge_bases")) == ("kb_error", "Something went wrong.")


def test_process_that_cannot_serve_says_so() -> None:
    from kb.errors import DatabaseUnavailable

    def fail() -> Parties:
        raise DatabaseUnavailable(detail="no route")

    with served(Starlette(routes=list(tool_routes(fail)))) as url:
        reply = httpx.post(f"{url}/mcp", json={}, headers={"Authorization": "Bearer zw_x"})
    assert (reply.status_code, reply.json()["code"]) == (503, "database_unavailable")


def test_tools_over_standard_input_and_output(core: Core, settings: Settings, manual: Document) -> None:
    """A process of its own, as a desktop program starts it."""
    names = ("zhiwen_home", "redis_url", "milvus_uri")
    environment = {**os.environ, **{name.upper(): str(getattr(settings, name)) for name in names}}
    environment["PYTHONPATH"] = str(ROOT)
    server = StdioServerParameters(command=sys.executable, args=["-m", "web", "mcp"], env=environment)

    async def go() -> None:
        async with Client(server) as client:
            (base,) = found_in(await client.call_tool("list_knowledge_bases", {}))["knowledge_bases"]
            wanted = {"pattern": "valve 8", "knowledge_base_ids": [base["id"]]}
            (match,) = found_in(await client.call_tool("grep", wanted))["matches"]
            assert (match["document_id"], match["match"]) == (str(manual.id), "Valve 8")
            code, text = failure(await client.call_tool("read_document", {"document_id": str(uuid4())}))
            assert (code, text.startswith("This document no longer exists")) == ("not_found", True)

    asyncio.run(go())


def test_program_of_the_guide_runs(program: Program, manual: Document) -> None:
    guide = (ROOT / "docs" / "mcp.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```python\n(.*?)```", guide, re.S)
    environment = {**os.environ, "ZHIWEN_URL": program.url.removesuffix("/mcp"), "ZHIWEN_KEY": program.key()}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("1 manual.md")
