"""The API as a program uses it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from kb.access import GranteeKind, KeyScope, Permission
from kb.database.tables import audit_events
from kb.library import FileStore
from kb.library.quotas import Quotas
from kb.library.sharing import Grantee
from kb.models import Retrieval, RetrievalProfile, Scope
from kb.providers.connection import Purpose
from kb.services import WorkerParts
from tests.conftest import Core
from tests.web.api.conftest import Program, code_of
from web.api.documents import pause_after
from web.api.paging import cursor_of

PEARS = "# Pears\n\nA pear is green. Its tree grows slowly."
LITE = pytest.mark.parametrize("core", ["lite"], indirect=True)


def upload(client: Any, base_id: str, name: str, text: str) -> dict[str, Any]:
    reply = client.put(f"/knowledge-bases/{base_id}/documents", params={"name": name}, content=text.encode())
    assert reply.status_code == 202, reply.text
    found: dict[str, Any] = reply.json()
    return found


@pytest.fixture
def pears(core: Core, worker: WorkerParts, program: Program) -> str:
    """The id of a knowledge base that can be asked about pears."""
    base_id: str = program().post("/knowledge-bases", json={"name": "Fruit"}).json()["id"]
    document = upload(program(), base_id, "pears.md", PEARS)
    assert worker.ingestion.ingest(core.document(UUID(document["id"])).latest.id) == "ready"
    return base_id


@LITE
def test_knowledge_base_from_its_creation_to_its_end(core: Core, program: Program) -> None:
    client = program()
    created = client.post("/knowledge-bases", json={"name": " 水果  "})
    assert (created.status_code, created.json()["name"], created.json()["permission"]) == (201, "水果", "own")
    path = f"/knowledge-bases/{created.json()['id']}"
    assert client.get(path).json() == created.json()
    assert code_of(client.post("/knowledge-bases", json={"name": "水果"})) == (409, "name_taken")
    changed = client.patch(path, json={"name": "Fruit", "prompt": "Only from {passages}."})
    assert (changed.json()["name"], changed.json()["prompt"]) == ("Fruit", "Only from {passages}.")
    assert client.delete(path).status_code == 204
    assert code_of(client.get(path)) == (404, "not_found")
    assert core.services.knowledge_bases.list(core.user) == []


@LITE
def test_quotas_hold_for_programs(core: Core, program: Program) -> None:
    core.services.documents.quotas = core.services.arrivals.quotas = Quotas(most_queued=2, most_bytes=10)
    client = program()
    path = f"/knowledge-bases/{client.post('/knowledge-bases', json={'name': 'Fruit'}).json()['id']}/documents"
    assert code_of(client.put(path, params={"name": "a"}, content=b"x" * 11)) == (413, "storage_full")
    assert code_of(client.put(path, params={"name": "a"}, content=iter([b"x" * 6] * 2))) == (413, "storage_full")
    document = client.put(path, params={"name": "a"}, content=b"x").json()
    original = f"/documents/{document['id']}/original"
    assert code_of(client.put(original, content=b"x" * 11)) == (413, "storage_full")
    assert client.put(original, content=b"x" * 8).status_code == 202  # what it replaces is kept until a worker comes
    cancelled = client.put(path, params={"name": "b"}, content=b"").json()
    assert client.post(f"/documents/{cancelled['id']}/cancel").status_code == 202
    assert client.put(path, params={"name": "c"}, content=b"x").status_code == 202
    for refused in (
        client.put(path, params={"name": "d"}, content=b""),
        client.post(f"/documents/{cancelled['id']}/retry"),
    ):
        assert code_of(refused) == (429, "queue_full")
        assert int(refused.headers["Retry-After"]) > 0


def test_change_that_is_refused_in_part_changes_nothing(core: Core, program: Program) -> None:
    taken, base = core.knowledge_base("Taken"), core.knowledge_base("Fruit")
    path, before = f"/knowledge-bases/{base.id}", program().get(f"/knowledge-bases/{base.id}").json()
    for change, refused in (
        ({"name": taken.name, "prompt": "Only from {passages}."}, (409, "name_taken")),
        ({"name": "Other", "prompt": "Without what was found."}, (400, "invalid_prompt")),
    ):
        assert code_of(program().patch(path, json=change)) == refused
        assert program().get(path).json() == before


def revoking(core: Core, work: Callable[..., Any]) -> Callable[..., Any]:
    """`work`, before which all keys of the user are revoked."""

    def revoke_first(*given: Any, **named: Any) -> Any:
        for key in core.services.api_keys.list(core.user):
            core.services.api_keys.revoke(core.user, key.id)
        return work(*given, **named)

    return revoke_first


def test_key_that_is_revoked_during_an_upload_keeps_nothing(
    core: Core, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.receiving.LONG_SECONDS", -1)
    base = core.knowledge_base()
    kept = core.upload(base, "kept.md", "# Kept")
    for path in (f"/knowledge-bases/{base.id}/documents?name=a.md", f"/documents/{kept.id}/original"):
        client = program()
        with monkeypatch.context() as patch:
            patch.setattr(FileStore, "save", revoking(core, FileStore.save))
            assert code_of(client.put(path, content=b"# A")) == (401, "key_refused")
    assert core.services.documents.list(core.user, base.id) == [core.document(kept.id)]
    assert core.document(kept.id).latest == kept.latest
    assert len([path for path in core.services.settings.uploads.rglob("*") if path.is_file()]) == 1


def test_key_that_is_revoked_waits_no_longer(core: Core, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.api.documents.LOOK_SECONDS", 0.01)
    document, client = core.upload(core.knowledge_base(), "a.md", "# A"), program()
    documents = core.services.documents
    monkeypatch.setattr(documents, "get", revoking(core, documents.get))
    assert code_of(client.get(f"/documents/{document.id}/wait", params={"seconds": 20})) == (401, "key_refused")


def test_who_waits_for_long_looks_less_often() -> None:
    looks, waited = 0, 0.0
    while waited < 60:
        pause = pause_after(waited, 60)
        assert pause <= max(0.5, waited / 8)
        looks, waited = looks + 1, waited + pause
    assert (looks <= 35, waited) == (True, 60)


@LITE
def test_lists_are_gone_through_by_cursors(core: Core, program: Program) -> None:
    """Nothing comes twice or is left out, also if the list changes meanwhile."""
    client = program()
    bases = [client.post("/knowledge-bases", json={"name": name}).json()["id"] for name in "cab"]
    first = client.get("/knowledge-bases", params={"limit": 2}).json()
    assert [base["name"] for base in first["items"]] == ["c", "a"]
    rest = client.get("/knowledge-bases", params={"limit": 2, "cursor": first["next"]}).json()
    assert ([base["name"] for base in rest["items"]], rest["next"]) == (["b"], None)
    path = f"/knowledge-bases/{bases[0]}/documents"
    ids = [upload(client, bases[0], f"{n}.md", PEARS)["id"] for n in range(5)]
    page = client.get(path, params={"limit": 2}).json()
    assert client.delete(f"/documents/{ids[0]}").status_code == 204
    seen, new = page["items"], upload(client, bases[0], "new.md", PEARS)["id"]
    while page["next"]:
        page = client.get(path, params={"limit": 2, "cursor": page["next"]}).json()
        seen += page["items"]
    assert [document["id"] for document in seen] == [*ids, new]
    assert client.get(path, params={"state": "ready"}).json() == {"items": [], "next": None}


@LITE
def test_document_from_its_upload_to_its_end(core: Core, worker: WorkerParts, program: Program) -> None:
    client = program()
    base_id = client.post("/knowledge-bases", json={"name": "Fruit"}).json()["id"]
    document = upload(client, base_id, "梨.md", PEARS)
    assert (document["name"], document["state"], document["is_searchable"]) == ("梨.md", "queued", False)
    assert document["memory_peak_mb"] is None
    path = f"/documents/{document['id']}"
    assert client.get(f"{path}/wait", params={"seconds": 0}).json()["state"] == "queued"
    assert client.post(f"{path}/cancel").json()["state"] == "cancelled"
    assert code_of(client.post(f"{path}/cancel")) == (409, "wrong_state")
    assert client.post(f"{path}/retry").json()["state"] == "queued"
    assert worker.ingestion.ingest(core.document(UUID(document["id"])).latest.id) == "ready"
    ready = client.get(f"{path}/wait").json()
    assert (ready["state"], ready["is_searchable"], ready["chunks"]) == ("ready", True, 1)
    assert bool(ready["memory_peak_mb"]) == (sys.platform == "linux")
    assert "A pear is green" in client.get(f"{path}/chunks").json()[0]["text"]
    original = client.get(f"{path}/original")
    assert original.content == PEARS.encode()
    client.get(f"{path}/original", headers={"Range": "bytes=3-"})
    with core.services.database.read() as connection:
        taken = connection.scalars(
            sa.select(audit_events.c.target_name).where(audit_events.c.action == "export.document")
        )
        assert taken.all() == ["梨.md"]
    assert original.headers["content-disposition"].endswith("filename*=UTF-8''%E6%A2%A8.md")
    assert client.delete(path).status_code == 204
    assert code_of(client.get(path)) == (404, "not_found")


@LITE
def test_replaced_document_answers_from_its_old_content_until_the_new_one_is_ready(
    core: Core, worker: WorkerParts, program: Program, pears: str
) -> None:
    client, old = program(), core.services.documents.list(core.user, UUID(pears))[0]
    path = f"/documents/{old.id}"
    reply = client.put(f"{path}/original", content=b"# Pears\n\nA pear is yellow.")
    assert (reply.status_code, reply.json()["name"], reply.json()["state"]) == (202, "pears.md", "queued")
    assert reply.json()["is_searchable"]
    assert "is green" in client.get(f"{path}/chunks").json()[0]["text"]
    assert worker.ingestion.ingest(core.document(old.id).latest.id) == "ready"
    assert "is yellow" in client.get(f"{path}/chunks").json()[0]["text"]
    assert client.get(f"{path}/original").content.endswith(b"yellow.")
    listed = client.get(f"/knowledge-bases/{pears}/documents").json()["items"]
    assert [each["id"] for each in listed] == [str(old.id)]


@LITE
def test_failed_document_says_why(core: Core, worker: WorkerParts, program: Program) -> None:
    client = program()
    base_id = client.post("/knowledge-bases", json={"name": "Fruit"}).json()["id"]
    document = upload(client, base_id, "empty.md", "")
    worker.ingestion.ingest(core.document(UUID(document["id"])).latest.id)
    found = client.get(f"/documents/{document['id']}", headers={"Accept-Language": "zh-CN,en;q=0.5"}).json()
    assert (found["state"], found["error"]) == ("failed", "empty_file")
    assert "“empty.md”是空文件" in found["reason"] or "empty.md" in found["reason"]


@LITE
def test_search_finds_what_the_pages_find(core: Core, program: Program, pears: str) -> None:
    question = "Which colour has a pear?"
    found = program(KeyScope.READ).post("/search", json={"question": question, "knowledge_base_ids": [pears]}).json()
    expected = core.services.retriever.retrieve(core.user, Scope.of(UUID(pears)), question)
    assert [passage["text"] for passage in found["passages"]] == [each.chunk.text for each in expected.passages]
    (passage,) = found["passages"]
    assert (passage["document_name"], passage["rank"]) == ("pears.md", 1)
    assert passage["relevance"] == pytest.approx(expected.passages[0].relevance)
    # Routes are asked side by side, and end in any order.
    assert sorted(step["name"] for step in found["steps"]) == sorted(step.name for step in expected.trace.steps)
    assert found["unsearchable"] is None


@LITE
def test_search_tells_what_it_could_not_search(core: Core, worker: WorkerParts, program: Program, pears: str) -> None:
    """No passages are no proof that nothing is there."""
    client = program()

    def search(question: str, **more: Any) -> dict[str, Any]:
        reply = client.post("/search", json={"question": question, "knowledge_base_ids": [pears]} | more)
        found: dict[str, Any] = reply.json()
        return found

    listed = search("Which files are there?")
    assert (listed["passages"], listed["files"], listed["files_total"]) == ([], ["pears.md"], 1)
    whole = search("Which colour has a pear?")
    assert (whole["files"], whole["files_total"], whole["unread"]) == ([], 0, [])
    assert (whole["documents_searched"], whole["documents_not_ready"], whole["knowledge_bases_gone"]) == (1, 0, 0)
    queued = upload(client, pears, "late.md", "# Late")
    empty = upload(client, pears, "empty.md", "")
    assert worker.ingestion.ingest(core.document(UUID(empty["id"])).latest.id) == "failed"
    named = search("What does late.md say?")
    assert (named["documents_searched"], named["documents_not_ready"]) == (1, 2)
    assert [(each["name"], each["state"], each["reason"]) for each in named["unread"]] == [("late.md", "queued", "")]
    (failed,) = search("What does empty.md say?")["unread"]
    assert (failed["state"], failed["error"]) == ("failed", "empty_file")
    assert "empty.md" in failed["reason"]
    chosen = search("Late", document_ids=[queued["id"]])
    assert (chosen["passages"], chosen["documents_searched"], chosen["documents_not_ready"]) == ([], 0, 1)
    base_id = client.post("/knowledge-bases", json={"name": "Waiting"}).json()["id"]
    upload(client, base_id, "late.md", "# Late")
    waiting = search("Late", knowledge_base_ids=[base_id, str(uuid4())])
    assert (waiting["passages"], waiting["documents_searched"], waiting["documents_not_ready"]) == ([], 0, 1)
    assert waiting["knowledge_bases_gone"] == 1


@LITE
def test_each_knob_of_the_profile_reaches_the_search(
    core: Core, program: Program, pears: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile: dict[str, Any] = {"top_k": 7, "threshold": 0.1, "candidates": 9, "ef": 11, "dense_weight": 0.2}
    profile |= {"lexical_weight": 0.3, "neighbours": 2, "context_tokens": 99}
    asked: list[Any] = []
    retrieve = core.services.retriever.retrieve

    def note(*given: Any) -> Retrieval:
        asked.append(given)
        return retrieve(*given)

    monkeypatch.setattr(core.services.retriever, "retrieve", note)
    wanted = {"question": "pear", "knowledge_base_ids": [pears], "profile": profile}
    assert program().post("/search", json=wanted).status_code == 200
    assert asked[0][3] == {UUID(pears): RetrievalProfile(**profile)}


@LITE
def test_answer_equals_that_of_the_pages(core: Core, program: Program, pears: str) -> None:
    client = program(KeyScope.ASK)
    wanted = {"question": "Which colour has a pear?", "knowledge_base_ids": [pears], "model": "fake"}
    task = client.post("/generate", json=wanted)
    assert task.status_code == 202
    result = finished(client, task.json()["id"])
    assert result["state"] == "done"
    message = core.services.messages.get(core.user, UUID(result["id"]))
    assert (result["text"], result["usage"]["model"]) == (message.content, message.usage.model)
    assert message.retrieval
    assert [each["text"] for each in result["passages"]] == [each.chunk.text for each in message.retrieval.passages]
    assert [source["name"] for source in result["sources"]] == ["pears.md"]
    shown = core.services.messages.shown(core.user, UUID(result["conversation_id"]))
    assert [each.content for each in shown[-2:]] == ["Which colour has a pear?", message.content]
    again = {"question": "And its tree?", "knowledge_base_ids": [pears], "conversation_id": result["conversation_id"]}
    again["model"] = "fake"
    assert finished(client, client.post("/generate", json=again).json()["id"])["state"] == "done"


def finished(client: Any, task_id: str, path: str = "") -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while True:
        found: dict[str, Any] = client.get(f"{path}/tasks/{task_id}").json()
        if found["state"] != "streaming":
            return found
        assert time.monotonic() < deadline
        time.sleep(0.05)


@LITE
def test_task_is_cancelled(core: Core, program: Program, model_server: Any) -> None:
    client = program()
    with model_server.held("/v1/chat/completions"):
        task = client.post(
            "/generate", json={"question": "Tell me a long story", "mode": "llm", "model": "fake"}
        ).json()
        running = client.get(f"/tasks/{task['id']}").json()
        assert (running["state"], running["milliseconds"], running["finished_at"]) == ("streaming", None, None)
        busy = {"question": "More", "mode": "llm", "conversation_id": task["conversation_id"]}
        assert code_of(client.post("/generate", json=busy)) == (409, "answer_running")
        assert client.delete(f"/tasks/{task['id']}").status_code == 204
        assert finished(client, task["id"])["state"] == "stopped"
    assert client.delete(f"/tasks/{task['id']}").status_code == 204


@LITE
@pytest.mark.parametrize(
    ("given", "state"),
    [
        ({"mode": "llm"}, "failed"),  # before a model was chosen
        ({"mode": "test"}, "done"),
        ({"mode": "knowledge"}, "done"),  # quoted
        ({"mode": "llm", "model": "fake"}, "done"),
    ],
    ids=str,
)
def test_ended_task_tells_its_time(core: Core, program: Program, pears: str, given: dict[str, str], state: str) -> None:
    client = program()
    wanted = {"question": "Which colour has a pear?", "knowledge_base_ids": [pears]} | given
    result = finished(client, client.post("/generate", json=wanted).json()["id"])
    assert (result["state"], result["usage"] is None) == (state, "model" not in given)
    message = core.services.messages.get(core.user, UUID(result["id"]))
    assert message.began_at
    assert message.finished_at == datetime.fromisoformat(result["finished_at"])
    assert result["milliseconds"] == (message.finished_at - message.began_at) / timedelta(milliseconds=1) > 0
    assert result["memory_peak_mb"] is None


@LITE
def test_model_is_the_users_own_choice_unless_one_is_named(core: Core, program: Program) -> None:
    core.services.providers.choose_model(core.user, Purpose.CHAT, "fake")
    client = program()
    task = client.post("/generate", json={"question": "Hello", "mode": "llm"}).json()
    assert finished(client, task["id"])["usage"]["model"] == "fake"


@LITE
def test_failed_answer_says_why(program: Program) -> None:
    client = program()
    task = client.post("/generate", json={"question": "Hello", "mode": "llm"}).json()
    result = finished(client, task["id"])
    assert (result["state"], result["error"], result["text"]) == ("failed", "no_chat_model", "")
    assert "No language model" in result["reason"]


# --- who may, and what is wrong -----------------------------------------------------------------------------------


@LITE
@pytest.mark.parametrize("key", ["", "nonsense", "zw_" + "x" * 43])
def test_without_a_key_nothing_is_told(program: Program, key: str) -> None:
    client = program(key=key)
    unknown = uuid4()
    for path in ("/knowledge-bases", f"/knowledge-bases/{unknown}", f"/documents/{unknown}", f"/tasks/{unknown}"):
        reply = client.get(path)
        assert code_of(reply) == (401, "key_refused")
        assert reply.headers["www-authenticate"] == "Bearer"


@LITE
def test_every_call_needs_its_scope(core: Core, program: Program, pears: str) -> None:
    document = core.services.documents.list(core.user, UUID(pears))[0].id
    calls: dict[KeyScope, list[tuple[str, str, dict[str, Any] | None]]] = {
        KeyScope.READ: [
            ("GET", "/knowledge-bases", None),
            ("GET", f"/knowledge-bases/{pears}", None),
            ("GET", f"/knowledge-bases/{pears}/documents", None),
            ("GET", f"/documents/{document}", None),
            ("GET", f"/documents/{document}/wait", None),
            ("GET", f"/documents/{document}/chunks", None),
            ("GET", f"/documents/{document}/original", None),
            ("POST", "/search", {"question": "pear", "knowledge_base_ids": [pears]}),
        ],
        KeyScope.ASK: [
            ("POST", "/generate", {"question": "pear", "knowledge_base_ids": [pears]}),
            ("GET", f"/tasks/{uuid4()}", None),
            ("DELETE", f"/tasks/{uuid4()}", None),
            ("GET", "/conversations", None),
            ("GET", f"/conversations/{uuid4()}", None),
            ("GET", f"/conversations/{uuid4()}/messages", None),
        ],
        KeyScope.WRITE: [
            ("POST", "/knowledge-bases", {"name": "New"}),
            ("PATCH", f"/knowledge-bases/{pears}", {"name": "Renamed"}),
            ("PUT", f"/knowledge-bases/{pears}/documents?name=a.md", None),
            ("PUT", f"/documents/{document}/original", None),
            ("POST", f"/documents/{document}/retry", None),
            ("POST", f"/documents/{document}/cancel", None),
            ("DELETE", f"/documents/{document}", None),
            ("PATCH", f"/conversations/{uuid4()}", {"title": "Renamed"}),
            ("DELETE", f"/conversations/{uuid4()}", None),
            ("POST", "/webhooks", {"address": "https://hooks.example/"}),
            ("GET", "/webhooks", None),
            ("GET", f"/webhooks/{uuid4()}", None),
            ("PUT", f"/webhooks/{uuid4()}", {"address": "https://hooks.example/"}),
            ("DELETE", f"/webhooks/{uuid4()}", None),
            ("POST", f"/webhooks/{uuid4()}/enable", None),
            ("POST", f"/webhooks/{uuid4()}/disable", None),
            ("POST", f"/webhooks/{uuid4()}/test", None),
            ("GET", f"/webhooks/{uuid4()}/deliveries", None),
            ("POST", f"/webhooks/{uuid4()}/deliveries/{uuid4()}/resend", None),
        ],
        KeyScope.ADMIN: [("DELETE", f"/knowledge-bases/{pears}", None)],
    }
    doors = sum(len(methods) for methods in program().get("/openapi.json").json()["paths"].values())
    assert doors == sum(map(len, calls.values()))  # a new call is not in the table yet
    clients = {scope: program(*(other for other in KeyScope if other is not scope)) for scope in KeyScope}
    stranger = program(who=core.stranger)
    for scope, some in calls.items():
        for method, path, body in some:
            assert code_of(clients[scope].request(method, path, json=body)) == (403, "out_of_scope"), path
            if pears in path or str(document) in path:
                assert code_of(stranger.request(method, path, json=body)) == (404, "not_found"), path


@LITE
def test_shared_knowledge_base_is_read_and_not_changed(core: Core, program: Program, pears: str) -> None:
    core.services.sharing.grant(core.user, UUID(pears), Grantee(GranteeKind.EVERYBODY), Permission.VIEW)
    guest = program(who=core.stranger)
    assert guest.get(f"/knowledge-bases/{pears}").json()["permission"] == "view"
    assert guest.post("/search", json={"question": "pear", "knowledge_base_ids": [pears]}).json()["passages"]
    reply = guest.put(f"/knowledge-bases/{pears}/documents", params={"name": "a.md"}, content=b"# A")
    assert code_of(reply) == (403, "edit_not_allowed")
    assert code_of(guest.delete(f"/knowledge-bases/{pears}")) == (403, "owner_only")


BEFORE_TIME = cursor_of(datetime.min.replace(tzinfo=timezone(timedelta(hours=1))), UUID(int=0))


@LITE
@pytest.mark.parametrize(
    ("method", "path", "given", "status", "code"),
    [
        ("POST", "/knowledge-bases", {"content": b"{"}, 422, "invalid_request"),
        ("POST", "/knowledge-bases", {"json": {"name": "a", "nmae": "b"}}, 422, "invalid_request"),
        ("POST", "/knowledge-bases", {"json": {"name": "\u200b"}}, 400, "invalid_name"),
        ("POST", "/knowledge-bases", {"content": b'{"name": "' + b"a" * (1 << 20) + b'"}'}, 413, "content_too_large"),
        ("POST", "/knowledge-bases", {"content": iter([b"x" * (1 << 19)] * 3)}, 413, "content_too_large"),
        ("POST", "/search", {"json": {"question": "", "knowledge_base_ids": [str(uuid4())]}}, 422, "invalid_request"),
        ("POST", "/search", {"json": {"question": "a", "knowledge_base_ids": []}}, 422, "invalid_request"),
        ("POST", "/search", {"json": {"question": "a", "knowledge_base_ids": [str(uuid4())]}}, 404, "not_found"),
        ("POST", "/generate", {"json": {"question": "a"}}, 422, "invalid_request"),
        ("GET", "/knowledge-bases?cursor=nonsense", {}, 400, "invalid_cursor"),
        ("GET", f"/knowledge-bases?cursor={BEFORE_TIME}", {}, 400, "invalid_cursor"),
        ("GET", "/knowledge-bases?limit=0", {}, 422, "invalid_request"),
        ("GET", "/knowledge-bases/not-an-id", {}, 422, "invalid_request"),
        ("GET", "/nowhere", {}, 404, "not_found"),
        ("PUT", "/knowledge-bases", {}, 405, "method_not_allowed"),
        ("PUT", f"/webhooks/{UUID(int=0)}", {"content": iter([b"x" * (1 << 19)] * 3)}, 413, "content_too_large"),
    ],
)
def test_bad_requests_get_problems(
    program: Program, method: str, path: str, given: dict[str, Any], status: int, code: str
) -> None:
    assert code_of(program().request(method, path, **given)) == (status, code)


@LITE
def test_problem_is_told_in_the_programs_language(program: Program) -> None:
    client, chinese = program(), {"Accept-Language": "zh-CN"}
    reply = client.get(f"/knowledge-bases/{uuid4()}", headers=chinese)
    assert "知识库" in reply.json()["title"]
    assert "列表" in reply.json()["detail"]
    reply = client.post("/knowledge-bases", content=b"x" * (2 << 20), headers=chinese)
    assert code_of(reply) == (413, "content_too_large")
    assert reply.json()["title"] == "请求体超过 1 MB。"


@LITE
def test_defect_is_logged_and_told_to_nobody(core: Core, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_given: object, **_named: object) -> None:
        raise RuntimeError("the secret inside")

    base = core.knowledge_base()
    monkeypatch.setattr(core.services.knowledge_bases, "get", fail)
    with capture_logs() as logs:
        reply = program().get(f"/knowledge-bases/{base.id}", headers={"Accept-Language": "zh-CN"})
    assert code_of(reply) == (500, "internal_error")
    assert reply.json()["title"] == "出错了。"
    assert "secret" not in reply.text
    (logged,) = (entry for entry in logs if entry["event"] == "api.defect")
    assert (logged["log_level"], logged["exc_info"]) == ("error", True)
    assert logged["route"] == "/api/v1/knowledge-bases/{knowledge_base_id}"
