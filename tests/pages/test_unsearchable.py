"""Documents that Milvus lost: said on the pages and in answers, and indexed again by a button."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

from kb.database.tables import leftovers
from kb.errors import MilvusRefused
from kb.local.set_aside import set_aside
from kb.models import KnowledgeBase, Mode, Scope, VersionState
from pages.ui import documents, resources
from tests.fakes.model_server import ModelServer
from tests.pages.conftest import Installation, Visit
from tests.pages.visitor import Visitor, read
from tests.real_services import wait_until
from web.probes import healthz
from workers.broker import MAINTENANCE_QUEUE

CANNOT = "1 document cannot be searched"
COULD_NOT = "1 document could not be searched"
NOTHING = "Nothing relevant"


def lose(installation: Installation, base: KnowledgeBase, is_checked: bool = True) -> None:
    installation.services.vectors.drop(base.collection)
    if is_checked:
        installation.worker.checks.check_all()


def row(visitor: Visitor) -> dict[str, Any]:
    """The only document that is shown."""
    (shown,) = visitor.rows.values()
    return shown


def test_list_says_it_and_a_button_indexes_again(installation: Installation, visit: Visit) -> None:
    base = installation.filled()
    lose(installation, base)
    visitor = visit()
    visitor.go_to("knowledge_bases")
    assert CANNOT in visitor.text("unsearchable")
    assert row(visitor)["label"] == "not searchable"
    assert "0 of 1 ready · 1 not searchable" in visitor.text()
    visitor.click("index_again")
    assert not visitor.has("index_again")
    assert "1 document is being indexed again" in visitor.text()
    (document,) = installation.documents(base)
    assert document.latest.state is VersionState.QUEUED
    installation.ingest(document)
    visitor.run()
    assert "indexed again" not in visitor.text()
    assert row(visitor)["label"] == "ready"


def test_count_of_what_is_under_way_is_drawn_with_what_polls(
    installation: Installation, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would stay as it was until all are ready."""
    base = installation.filled()
    lose(installation, base)
    visitor = visit()
    visitor.go_to("knowledge_bases")
    visitor.click("index_again")
    assert "1 document is being indexed again" in visitor.text()
    monkeypatch.setattr(documents, "live_fragment", lambda *_: lambda _draw: lambda: None)
    visitor.run()
    assert "is being indexed again" not in visitor.text()


def test_document_that_fails_then_is_not_said_to_be_on_its_way(installation: Installation, visit: Visit) -> None:
    base = installation.filled()
    lose(installation, base)
    visitor = visit()
    visitor.go_to("knowledge_bases")
    visitor.click("index_again")
    (document,) = installation.documents(base)
    (installation.services.settings.uploads / document.latest.file_key).write_bytes(b" ")
    installation.ingest(document)
    visitor.run()
    told = "1 document cannot be searched: it could not be indexed again. Its row in the list says why, and what to do."
    assert told in visitor.text()
    assert "is being indexed again" not in visitor.text()
    assert row(visitor)["label"] == "failed"
    assert row(visitor)["actions"] == ["chunks", "replace", "download", "delete"]  # nothing to retry


def test_system_page_leads_to_the_lists_that_say_more(installation: Installation, visit: Visit) -> None:
    installation.filled("Garden", {"roses.md": "# Roses\n\nRoses are red."})
    kitchen = installation.filled("**Kitchen**")
    lose(installation, kitchen)
    visitor = visit()
    wait_until(lambda: len(resources.health_monitor().last()) == 3, what="the first results")
    visitor.go_to("system")
    (link,) = visitor.app.get("page_link")
    assert link.proto.label == "Open “\\*\\*Kitchen\\*\\*”"
    assert link.proto.query_string == f"knowledge_base={kitchen.id}"


def test_document_without_its_file_stays_and_is_told(installation: Installation, visit: Visit) -> None:
    base = installation.filled()
    (document,) = installation.documents(base)
    (installation.services.settings.uploads / document.latest.file_key).unlink()
    lose(installation, base)
    visitor = visit()
    visitor.go_to("knowledge_bases")
    assert row(visitor)["note"] == "the original file is missing"
    assert "1 document cannot be searched, and its original file is missing. Upload it again" in visitor.text()
    assert "0 of 1 ready · 1 not searchable" in visitor.text()
    assert not visitor.has("index_again")


def test_document_that_loses_its_file_after_the_check_stays_and_is_told(
    installation: Installation, visit: Visit
) -> None:
    base = installation.filled()
    (document,) = installation.documents(base)
    lose(installation, base)
    (installation.services.settings.uploads / document.latest.file_key).unlink()
    visitor = visit()
    visitor.go_to("knowledge_bases")
    visitor.click("index_again")
    assert "cannot be indexed again, because its file is missing" in str(visitor.app.toast[0].value)
    assert visitor.has("index_again")


def test_system_page_shows_it_and_compares(installation: Installation, visit: Visit) -> None:
    base = installation.filled()
    installation.worker.checks.check_all()
    visitor = visit()
    wait_until(lambda: len(resources.health_monitor().last()) == 3, what="the first results")
    visitor.go_to("system")
    assert not visitor.has("index_again")
    before = installation.waiting(MAINTENANCE_QUEUE)
    visitor.click("compare")
    assert installation.waiting(MAINTENANCE_QUEUE) == before + 2  # the knowledge base, and leftovers
    lose(installation, base)
    visitor.run()
    assert CANNOT in visitor.text("unsearchable")
    assert "1 not searchable" in visitor.text()
    visitor.click("index_again")
    assert installation.documents(base)[0].latest.state is VersionState.QUEUED


def test_system_page_calls_nothing_complete_that_was_not_compared(installation: Installation, visit: Visit) -> None:
    visitor = visit()
    wait_until(lambda: len(resources.health_monitor().last()) == 3, what="the first results")
    visitor.go_to("system")
    assert "Documents in Milvus" in visitor.text()
    assert visitor.text().count("not compared yet") == 2
    installation.filled()
    installation.worker.checks.check_all()
    visitor.run()
    assert "not compared yet" not in visitor.text()
    assert "compared" in visitor.text()


def test_system_page_says_that_an_index_was_moved_aside(installation: Installation, visit: Visit) -> None:
    home = installation.services.settings.home
    (home / "kb_1").mkdir()
    set_aside(home, "milvus", home / "kb_1", "Parquet magic bytes not found")
    visitor = visit()
    visitor.go_to("system")
    assert "could not read the index of a knowledge base" in visitor.text()
    assert "Parquet magic bytes not found" in visitor.text()


@pytest.mark.parametrize(
    ("locale", "texts"),
    [
        ("en-US", ("1 file in the uploads folder belongs to no document", "belong to no knowledge base (30 chunks)")),
        ("zh-CN", ("上传文件夹中有 1 个文件不属于任何文档", "有 2 个集合不属于任何知识库（共 30 个分块）")),
    ],
)
def test_system_page_tells_what_the_database_does_not_know(
    locale: str, texts: tuple[str, ...], installation: Installation, visit: Visit
) -> None:
    rows = [{"kind": "collection", "name": name, "items": 15, "size_bytes": 0} for name in ("kb_1", "kb_2")]
    rows.append({"kind": "folder", "name": "1", "items": 1, "size_bytes": 2_000})
    visitor = visit(locale)
    visitor.go_to("system")
    assert not any(text in visitor.text() for text in texts)
    with installation.services.database.write() as connection:
        connection.execute(sa.insert(leftovers), rows)
    visitor.run()
    told = "\n".join(read(visitor.app.info))
    assert all(text in told for text in texts)
    assert "2 kB" in told
    assert "python -m kb.reconciling --drop-unknown" in told


def test_health_names_it_and_stays_up(installation: Installation) -> None:
    base = installation.filled()
    lose(installation, base)
    reply = asyncio.run(healthz(None))  # type: ignore[arg-type]
    told = json.loads(bytes(reply.body))["documents"]
    assert reply.status_code == 200
    assert (told["ok"], told["unsearchable"], told["files_missing"]) == (False, 1, 0)
    assert told["checked_at"]


def test_answer_never_says_that_nothing_is_relevant(
    installation: Installation, visit: Visit, models: ModelServer
) -> None:
    """Whether it is known already or not: by the first question after the collection was dropped."""
    base = installation.filled()
    lose(installation, base, is_checked=False)
    for locale, text in {"en-US": COULD_NOT, "zh-CN": "无法检索"}.items():
        visitor = visit(locale)
        visitor.ask("How long does tea steep?")
        assert text in visitor.text()
        assert NOTHING not in visitor.text()
        assert not visitor.has("search_wider")
        installation.worker.checks.check_all()
    assert models.chats == []


def test_answer_from_the_rest_names_what_it_lacks(installation: Installation, visit: Visit) -> None:
    base = installation.filled(files={"tea.md": "# Tea\n\nTea steeps for three minutes.", "milk.md": "# Milk\n\nMilk."})
    milk = next(document for document in installation.documents(base) if document.name == "milk.md")
    installation.services.vectors.delete_version(base.collection, milk.latest.id)
    installation.worker.checks.check_all()
    visitor = visit()
    visitor.ask("How long does tea steep?")
    assert COULD_NOT in visitor.text()
    assert "milk.md" in visitor.text().replace("\\", "")


def test_link_leads_to_what_can_index_again(installation: Installation, visit: Visit) -> None:
    """Of several knowledge bases, the one that the page opens with may lack nothing."""
    kitchen = installation.filled()
    garden = installation.filled("Garden", {"roses.md": "# Roses\n\nRoses are red."})
    lose(installation, kitchen)
    for scope, label in (
        (Scope.of(kitchen.id), "Index them again in the knowledge base"),
        (Scope((garden.id, kitchen.id)), "Index them again on the System page"),
    ):
        conversation = installation.services.conversations.create(installation.user, "Tea", Mode.KNOWLEDGE, scope)
        visitor = visit(conversation=str(conversation.id))
        visitor.ask("How long does tea steep?")
        assert [link.proto.label for link in visitor.app.get("page_link")] == [label]


@pytest.fixture
def damaged(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> KnowledgeBase:
    """A knowledge base whose collection a Milvus server cannot load any more, as it says to each call that reads it."""
    base = installation.filled()

    def refusing(call: Callable[..., Any]) -> Callable[..., Any]:
        def refuse(client: MilvusClient, collection_name: str, *values: Any, **options: Any) -> Any:
            if collection_name == base.collection:
                raise MilvusException(65535, "segment 7 cannot be loaded")
            return call(client, collection_name, *values, **options)

        return refuse

    for name in ("search", "query", "query_iterator", "get", "get_collection_stats", "load_collection"):
        monkeypatch.setattr(MilvusClient, name, refusing(getattr(MilvusClient, name)))
    return base


@pytest.mark.parametrize(
    ("locale", "told", "nothing"),
    [("en-US", "Milvus returned an error", NOTHING), ("zh-CN", "Milvus 返回错误", "没有找到与")],
)
def test_damaged_collection_is_never_nothing_relevant(
    locale: str, told: str, nothing: str, damaged: KnowledgeBase, installation: Installation, visit: Visit
) -> None:
    """Beside another knowledge base that has nothing to say to the question, too."""
    visitor = visit(locale)
    visitor.ask("How long does tea steep?")
    assert told in visitor.errors
    assert "segment 7" in visitor.errors
    assert nothing not in visitor.text()
    installation.filled("Garden", {"roses.md": "# Roses\n\nRoses are red."})
    scope = Scope(tuple(base.id for base in installation.services.knowledge_bases.list(installation.user)))
    with pytest.raises(MilvusRefused):
        installation.services.retriever.retrieve(installation.user, scope, "zeppelins")


def test_damaged_collection_is_told_on_each_page(
    damaged: KnowledgeBase, installation: Installation, visit: Visit
) -> None:
    installation.worker.checks.check_all()
    visitor = visit()
    visitor.go_to("knowledge_bases")
    assert "The index of this knowledge base could not be read" in visitor.text()
    assert damaged.collection in visitor.text()
    assert row(visitor)["label"] == "ready"  # nobody knows
    wait_until(lambda: len(resources.health_monitor().last()) == 3, what="the first results")
    visitor.go_to("system")
    assert f"</span> {damaged.name}</td>" in visitor.text()
    assert "segment 7 cannot be loaded" in visitor.text()
    reply = asyncio.run(healthz(None))  # type: ignore[arg-type]
    told = json.loads(bytes(reply.body))["documents"]
    assert reply.status_code == 200
    assert (told["ok"], told["indexes_unreadable"]) == (False, 1)


def test_answer_from_another_knowledge_base_names_the_damaged_one(
    damaged: KnowledgeBase, installation: Installation, visit: Visit
) -> None:
    garden = installation.filled("Garden", {"roses.md": "# Roses\n\nRoses are red."})
    scope = Scope((damaged.id, garden.id))
    conversation = installation.services.conversations.create(installation.user, "Roses", Mode.KNOWLEDGE, scope)
    visitor = visit(conversation=str(conversation.id))
    visitor.ask("What is the colour of roses?")
    assert "“Kitchen” could not be searched" in visitor.text()
    assert "segment 7 cannot be loaded" in visitor.text()


def test_retrieval_testing_says_it(installation: Installation, visit: Visit) -> None:
    base = installation.filled()
    lose(installation, base)
    visitor = visit()
    visitor.go_to("testing")
    visitor.type("test_question", "How long does tea steep?")
    visitor.click("run_test")
    assert COULD_NOT in visitor.text()
    assert NOTHING not in visitor.text()


def test_attached_file_says_it(installation: Installation, visit: Visit) -> None:
    visitor = visit(mode="llm")
    conversation = installation.services.conversations.create(installation.user, "Tea", Mode.LLM)
    attachments = installation.services.attachments
    document = attachments.add(installation.user, conversation.id, "tea.md", io.BytesIO(b"# Tea\n\nGreen tea."))
    installation.ingest(document)
    lose(installation, installation.services.knowledge_bases.get(installation.user, document.knowledge_base_id))
    visitor = visit(conversation=str(conversation.id))
    assert "It cannot be searched" in visitor.text("attached")
    visitor.ask("What is green?")
    assert COULD_NOT in visitor.text()
