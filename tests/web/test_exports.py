"""The routes for conversations as files: who gets them, in which language, under which name."""

from __future__ import annotations

import io
import json
import zipfile
from types import SimpleNamespace
from typing import cast
from urllib.parse import quote
from uuid import uuid4

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from kb.access import Principal
from kb.access.tickets import CONVERSATIONS, Action, Tickets
from kb.config import load_settings
from kb.conversations import Conversations, Messages
from kb.exports import Exports
from kb.messages import Part, Source, SourcesPart, TextPart, UsagePart
from kb.models import NOWHERE, Conversation, MessageState, Mode, Scope
from kb.providers.keys import KeySafe
from kb.services import Services
from tests.conftest import Library
from web.exports import ARCHIVE_NAME, export_routes

TICKETS = Tickets(KeySafe(load_settings(_env_file=None, secret_key="a secret")))


@pytest.fixture
def client(library: Library, conversations: Conversations) -> TestClient:
    exports = Exports(library.database, conversations, Messages(library.database), library.knowledge_bases)
    services = SimpleNamespace(exports=exports, tickets=TICKETS)
    return TestClient(Starlette(routes=export_routes(lambda: cast("Services", services))))


def talk(conversations: Conversations, library: Library, question: str, scope: Scope = NOWHERE) -> Conversation:
    mode = Mode.KNOWLEDGE if scope.first_id else Mode.LLM
    conversation = conversations.create(library.user, question, mode, scope)
    answer = Messages(library.database).ask(library.user, conversation.id, question)
    sources = SourcesPart((Source(1, "茶.pptx", 3), Source(2, "茶.xlsx", 1, heading="Prices > 2026")))
    parts: list[Part] = [TextPart("热水 [1][2, 17]。"), sources, UsagePart("m-1")]
    Messages(library.database).finish(library.user, answer.id, MessageState.DONE, parts)
    return conversation


def query(user: Principal, **values: str) -> dict[str, str]:
    return {"ticket": TICKETS.issue(Action.EXPORT, user, CONVERSATIONS), **values}


def test_conversation_is_downloaded_in_the_readers_language(
    client: TestClient, conversations: Conversations, library: Library
) -> None:
    conversation = talk(conversations, library, "怎么泡绿茶")
    values = query(library.user, language="zh_CN", timezone="Asia/Shanghai")
    reply = client.get(f"/api/conversations/{conversation.id}", params=values)
    assert reply.headers["content-disposition"] == f"attachment; filename*=UTF-8''{quote('怎么泡绿茶.md')}"
    assert reply.headers["content-type"].startswith("text/markdown")
    assert "- [1] 茶.pptx, 幻灯片 3\n- [2] 茶.xlsx, 工作表“Prices”" in reply.text
    assert "## 问题" in reply.text
    assert "热水 [1][2]。\n\n*1 处引用没有对应的段落，已略去*" in reply.text
    english = client.get(f"/api/conversations/{conversation.id}", params=values | {"language": "en"}).text
    assert "- [1] 茶.pptx, slide 3" in english
    record = client.get(f"/api/conversations/{conversation.id}", params=values | {"format": "json"})
    assert json.loads(record.text)["title"] == "怎么泡绿茶"


def test_archive_is_narrowed_as_the_page_is(client: TestClient, conversations: Conversations, library: Library) -> None:
    base = library.knowledge_base()
    talk(conversations, library, "Tea")
    talk(conversations, library, "Tea here", Scope.of(base.id))

    def names(**values: str) -> list[str]:
        reply = client.get("/api/conversations", params=query(library.user, **values))
        assert ARCHIVE_NAME in reply.headers["content-disposition"]
        with zipfile.ZipFile(io.BytesIO(reply.content)) as archive:
            return archive.namelist()

    assert names(search="", mode="", knowledge_base="") == ["Tea here.md", "Tea.md"]
    assert names(mode="llm", format="json") == ["Tea.json"]
    assert names(knowledge_base=str(base.id)) == ["Tea here.md"]
    assert names(search="here", mode="llm") == []


def test_request_without_a_ticket_gets_nothing(
    client: TestClient, conversations: Conversations, library: Library
) -> None:
    conversation = talk(conversations, library, "Tea")
    path = f"/api/conversations/{conversation.id}"
    uploads = TICKETS.issue(Action.DOWNLOAD, library.user, CONVERSATIONS)

    def one(values: dict[str, str]) -> int:
        return client.get(path, params=values).status_code

    assert [one({}), one({"ticket": "x"}), one({"ticket": uploads})] == [403, 403, 403]
    assert client.get("/api/conversations").status_code == 403
    assert one(query(library.stranger)) == 404
    assert client.get(f"/api/conversations/{uuid4()}", params=query(library.user)).status_code == 404
    conversations.delete(library.user, conversation.id)
    assert one(query(library.user)) == 404
