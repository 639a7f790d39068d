"""The page “Knowledge bases”: create, upload, follow, retry, delete."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from streamlit.testing.v1 import AppTest

from kb.embedding.e5 import E5
from kb.embedding.fetching import ModelFiles
from kb.embedding.minilm import MINILM
from kb.errors import NotFound
from kb.languages import Language
from kb.models import KnowledgeBase, Progress, VersionState
from kb.progress import WorkerInfo
from kb.prompts import default_template
from tests.fakes.model_server import EMBEDDINGS, ModelServer
from tests.kb.parsing import parsing_samples as samples
from tests.pages.conftest import TEA, Installation, Visit, silent_embeddings
from tests.pages.visitor import DOCUMENTS, UPLOADER, Visitor
from tests.real_services import Redis, wait_until
from workers.broker import INGESTION_QUEUE, MAINTENANCE_QUEUE


@pytest.fixture
def visitor(visit: Visit) -> Visitor:
    visitor = visit()
    visitor.go_to("knowledge_bases")
    return visitor


def create(visitor: Visitor, name: str) -> None:
    visitor.click("new_knowledge_base")
    visitor.type("knowledge_base_name", name)
    visitor.click("create_knowledge_base")


def announce_worker(installation: Installation) -> None:
    installation.services.board.announce_worker(WorkerInfo("a:1:b", "a", 1, threads=2, busy=1, since=datetime.now(UTC)))


# --- knowledge bases -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["产品手册（第二版）", "Café *menu* [1] $x$", "قاعدة", "<b>bold</b>", "🍵 お茶"])
def test_knowledge_base_may_have_any_name(name: str, visitor: Visitor, installation: Installation) -> None:
    create(visitor, name)
    assert not visitor.errors
    (base,) = installation.services.knowledge_bases.list(installation.user)
    assert base.name == name
    assert visitor.find("shown_knowledge_base").value == base.id
    assert visitor.app.query_params == {"mode": "knowledge", "knowledge_base": str(base.id)}


def test_default_model_is_offered_first(visitor: Visitor, installation: Installation) -> None:
    visitor.click("new_knowledge_base")
    choice = visitor.app.radio(key="knowledge_base_model")
    assert (choice.value, choice.options[0]) == ("test", "test")
    assert [label.partition(":")[0] for label in choice.options[1:]] == ["Multilingual", "Fast"]
    visitor.type("knowledge_base_name", "Any")
    visitor.click("create_knowledge_base")
    (base,) = installation.services.knowledge_bases.list(installation.user)
    assert (base.embedding_model, base.dimension) == ("test", None)


def test_creating_asks_the_embedding_server_for_nothing(
    visit: Visit, installation: Installation, models: ModelServer
) -> None:
    """It may accept connections and never answer."""
    installation.set_up(EMBEDDING_MODEL="openai:fake-embedding", EMBEDDING_BASE_URL=models.base_url)
    visitor = visit()
    with models.held(EMBEDDINGS):
        visitor.go_to("knowledge_bases")
        create(visitor, "Remote")
    (base,) = installation.services.knowledge_bases.list(installation.user)
    assert base.embedding_model == "openai:fake-embedding"
    assert not [request for request in models.requests if request.path == EMBEDDINGS]


def test_chosen_model_is_downloaded(
    visitor: Visitor, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = Event()
    monkeypatch.setattr(ModelFiles, "fetch", lambda files, report: fetched.set())
    visitor.click("new_knowledge_base")
    visitor.app.radio(key="knowledge_base_model").set_value(MINILM.name)
    visitor.type("knowledge_base_name", "English")
    visitor.click("create_knowledge_base")
    (base,) = installation.services.knowledge_bases.list(installation.user)
    assert (base.embedding_model, base.dimension) == (MINILM.name, None)
    assert fetched.wait(20)


def test_owner_of_an_english_knowledge_base_hears_of_the_multilingual_model(
    installation: Installation, visitor: Visitor
) -> None:
    create = installation.services.knowledge_bases.create
    english = create(installation.user, "English", MINILM.name, MINILM.dimension)
    other = create(installation.user, "Other", E5.name, E5.dimension)
    hint = "create a new knowledge base and upload the files there"
    visitor.run()
    visitor.choose("shown_knowledge_base", english.id)
    assert hint in visitor.text()
    visitor.choose("shown_knowledge_base", other.id)
    assert hint not in visitor.text()


def test_taken_name_is_refused(visitor: Visitor, installation: Installation) -> None:
    base = installation.filled("手册")
    visitor.run()
    create(visitor, "手册")
    assert "A knowledge base named “手册” already exists." in visitor.errors
    (kept,) = installation.services.knowledge_bases.list(installation.user)
    assert (kept.id, kept.ready_count) == (base.id, 1)


@pytest.mark.parametrize("name", ["   ", "\u200b\u202e"])
def test_invisible_name_is_refused(name: str, visitor: Visitor, installation: Installation) -> None:
    create(visitor, name)
    assert "A name must have 1 to 100 characters." in visitor.errors
    assert installation.services.knowledge_bases.list(installation.user) == []


def test_knowledge_base_in_the_address_is_shown(installation: Installation, visit: Visit) -> None:
    first, second = installation.knowledge_base("First"), installation.knowledge_base("Second")
    visitor = visit()
    for base in (first, second):
        visitor.go_to("knowledge_bases")
        visitor.app.query_params["knowledge_base"] = str(base.id)
        visitor.run()
        assert visitor.find("shown_knowledge_base").value == base.id


def test_choice_is_kept_in_the_chat(installation: Installation, visitor: Visitor) -> None:
    first, second = installation.knowledge_base("First"), installation.knowledge_base("Second")
    visitor.run()
    for base in (first, second):
        visitor.choose("shown_knowledge_base", base.id)
        assert visitor.find("shown_knowledge_base").value == base.id
    visitor.choose("shown_knowledge_base", first.id)
    visitor.go_to("chat")
    assert visitor.find("knowledge_base").value == first.id


def test_rename_knowledge_base(installation: Installation, visitor: Visitor) -> None:
    installation.knowledge_base("Old")
    visitor.run()
    (field,) = [field for field in visitor.app.text_input if str(field.key).startswith("rename_knowledge_base")]
    field.set_value("新的名字")
    visitor.click("rename")
    assert [base.name for base in installation.services.knowledge_bases.list(installation.user)] == ["新的名字"]
    assert "新的名字 · 0 documents" in visitor.find("shown_knowledge_base").options


def test_delete_knowledge_base_asks_first(installation: Installation, visitor: Visitor) -> None:
    base = installation.filled("Gone")
    visitor.run()
    visitor.click("delete_knowledge_base")
    assert "Delete “Gone” with its 1 document? This cannot be undone." in visitor.text()
    assert installation.services.knowledge_bases.list(installation.user)
    visitor.click("confirm_delete_base")
    assert installation.services.knowledge_bases.list(installation.user) == []
    assert "A knowledge base is a group of files" in visitor.text()
    assert installation.waiting(MAINTENANCE_QUEUE) == 1
    installation.worker.cleanup.clear_knowledge_base(base.id)


def test_keep_button_deletes_nothing(installation: Installation, visitor: Visitor) -> None:
    installation.knowledge_base("Kept")
    visitor.run()
    visitor.click("delete_knowledge_base")
    visitor.click("confirm_delete_base_keep")
    assert len(installation.services.knowledge_bases.list(installation.user)) == 1


def test_name_is_not_read_as_markdown(installation: Installation, visitor: Visitor) -> None:
    installation.knowledge_base("*Menu* of $1 or $2")
    visitor.run()
    visitor.click("delete_knowledge_base")
    assert "*Menu* of $1 or $2" in visitor.text()
    as_markdown = [part.value for part in visitor.app.markdown]
    assert [text for text in as_markdown if "*Menu*" in text] == []


# --- uploading -------------------------------------------------------------------------------------------------


def test_uploaded_files_are_listed_and_sent_to_the_workers(installation: Installation, visitor: Visitor) -> None:
    base = installation.knowledge_base()
    visitor.run()
    visitor.upload(("tea.md", TEA.encode()), ("茶.txt", "绿茶用八十度的水。".encode("gb18030")), ("empty.txt", b""))
    documents = installation.documents(base)
    assert {document.name for document in documents} == {"tea.md", "茶.txt", "empty.txt"}
    assert "0 of 3 ready · 3 in progress" in visitor.text()
    assert installation.waiting(INGESTION_QUEUE) == 3
    visitor.run()
    assert len(installation.documents(base)) == 3
    for document in documents:
        installation.ingest(document)
    visitor.run()
    assert "2 of 3 ready · 1 failed" in visitor.text()


def test_uploader_knows_the_limit_and_its_words(installation: Installation, visit: Visit) -> None:
    installation.set_up(MAX_UPLOAD_MB="7")
    installation.knowledge_base("*Menu* of $1")
    visitor = visit("zh-CN")
    visitor.go_to("knowledge_bases")
    data = visitor.component(UPLOADER)
    assert data["limitBytes"] == 7 << 20
    assert data["tooLarge"].startswith("“{name}”超过了 7 MB。")
    assert data["words"]["label"] == "上传文件到“*Menu* of $1”"
    assert "PDF、DOCX、" in data["words"]["hint"]
    assert [text for text in data["words"].values() if not re.search("[一-鿿]", text)] == ["{done} / {total}"]


def test_quotas_show_what_is_used(installation: Installation, visit: Visit) -> None:
    base = installation.knowledge_base()
    visitor = visit()
    visitor.go_to("knowledge_bases")
    assert not visitor.has("usage")
    installation.set_up(USER_STORAGE_MB="2", USER_DOCUMENTS_QUEUED="5")
    installation.upload(base, "a.txt", "x" * 1_500_000)
    visitor = visit()
    visitor.go_to("knowledge_bases")
    assert visitor.text("usage") == "1.5 MB of 2 MB used by you · 1 of at most 5 documents in the queue"


def test_files_for_a_deleted_knowledge_base_go_into_no_other(installation: Installation, visitor: Visitor) -> None:
    other, base = installation.knowledge_base("Other"), installation.knowledge_base("Gone")
    visitor.run()
    visitor.choose("shown_knowledge_base", base.id)
    installation.services.knowledge_bases.delete(installation.user, base.id)
    (reply,) = visitor.upload(("tea.md", TEA.encode()))
    assert reply.status_code == 404
    assert "knowledge base no longer exists" in reply.json()["message"]
    visitor.run()
    assert installation.documents(other) == []


def test_upload_goes_where_it_was_dropped(installation: Installation, visitor: Visitor) -> None:
    first, second = installation.knowledge_base("First"), installation.knowledge_base("Second")
    for index in range(55):
        installation.upload(second, f"file-{index:02}.md")
    visitor.run()
    visitor.choose("shown_knowledge_base", first.id)
    uploader = visitor.component(UPLOADER)
    visitor.choose("shown_knowledge_base", second.id)
    visitor.choose("documents_page", 2)
    visitor.upload(("tea.md", TEA.encode()), uploader=uploader)
    assert [document.name for document in installation.documents(first)] == ["tea.md"]
    assert installation.services.documents.count(installation.user, second.id) == 55
    assert len(visitor.documents) == 5  # the page that was open stays


def test_upload_shows_the_newest_documents(installation: Installation, visitor: Visitor) -> None:
    base = installation.knowledge_base()
    for index in range(55):
        installation.upload(base, f"file-{index:02}.md")
    visitor.run()
    visitor.choose("documents_page", 2)
    visitor.upload(("tea.md", TEA.encode()))
    assert "tea.md" in visitor.documents


def test_file_that_is_there_already_is_no_second_document(installation: Installation, visitor: Visitor) -> None:
    base = installation.knowledge_base()
    installation.ingest(installation.upload(base))
    visitor.run()
    (document,) = installation.documents(base)
    installation.upload(base, "by a colleague.md")
    (reply,) = visitor.upload(("tea.md", TEA.encode()))
    assert (reply.status_code, reply.json()["id"]) == (200, str(document.id))
    assert visitor.documents == ["by a colleague.md", "tea.md"]
    assert "saved" not in visitor.text()


@pytest.mark.parametrize("name", ['../../x" or 1==1 or ".pdf', "很长" * 40 + ".txt", "a\u202etxt.exe.txt"])
def test_file_name_is_only_a_label(name: str, installation: Installation, visitor: Visitor) -> None:
    base = installation.knowledge_base()
    visitor.run()
    visitor.upload((name, b"Green tea."), (name, b"Black tea."))
    first, second = installation.documents(base)
    assert first.name == second.name == name.replace("\u202e", "")
    assert first.name in visitor.text(f"document-{first.id}")
    files = [path.name for path in installation.services.settings.uploads.rglob("*") if path.is_file()]
    assert sorted(files) == sorted([first.latest.id.hex, second.latest.id.hex])


def test_upload_while_redis_is_down_is_processed_later(
    installation: Installation, own_redis: Redis, visit: Visit
) -> None:
    installation.set_up(REDIS_URL=own_redis.url)
    base = installation.knowledge_base()
    visitor = visit()
    visitor.go_to("knowledge_bases")
    own_redis.stop()
    visitor.upload(("tea.md", TEA.encode()))
    assert "Your files are saved, and are processed as soon as all services are back." in visitor.text()
    assert "Redis is not responding" in visitor.errors
    assert visitor.documents == ["tea.md"]
    assert [document.name for document in installation.documents(base)] == ["tea.md"]
    own_redis.start()
    assert installation.worker.claims.due(resend=False) == [installation.documents(base)[0].latest.id]
    assert installation.ingest(installation.documents(base)[0]) is VersionState.READY
    visitor.run()
    assert not visitor.errors
    assert "1 of 1 ready" in visitor.text()


# --- watching --------------------------------------------------------------------------------------------------


def test_waiting_document_shows_its_place_in_the_queue(installation: Installation, visitor: Visitor) -> None:
    base = installation.knowledge_base()
    first, second = installation.upload(base, "first.md"), installation.upload(base, "second.md")
    visitor.run()
    assert "No worker is running" in visitor.text()
    announce_worker(installation)
    visitor.run()
    assert "No worker is running" not in visitor.text()
    assert "Place 1 in the queue." in visitor.text(f"document-{first.id}")
    assert "Place 2 in the queue." in visitor.text(f"document-{second.id}")


def test_document_far_back_in_the_queue_says_how_many_are_ahead(
    installation: Installation, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = installation.knowledge_base()
    first, second = installation.upload(base, "first.md"), installation.upload(base, "second.md")
    announce_worker(installation)
    for module in ("kb.library.queue_places", "pages.ui.documents"):
        monkeypatch.setattr(f"{module}.QUEUE_PLACES", 1)
    visitor.run()
    assert "Place 1 in the queue." in visitor.text(f"document-{first.id}")
    assert "More than 1 ahead in the queue." in visitor.text(f"document-{second.id}")


def test_address_of_a_deleted_knowledge_base_shows_an_error(installation: Installation, visitor: Visitor) -> None:
    installation.knowledge_base()
    visitor.app.query_params["knowledge_base"] = str(uuid4())
    visitor.run()
    assert "This knowledge base no longer exists" in visitor.errors
    visitor.run()
    assert visitor.errors == ""


def test_running_document_shows_its_progress(installation: Installation, visitor: Visitor) -> None:
    document = installation.upload(installation.knowledge_base())
    assert installation.worker.claims.claim(document.latest.id)
    visitor.run()
    assert "Reading the file… · last update" in visitor.text(f"document-{document.id}")
    progress = Progress(VersionState.PARSING, 1200, 3000, 12.5, datetime.now(UTC), "a")
    stale = Progress(VersionState.EMBEDDING, 7, 9, 1.0, datetime.now(UTC) - timedelta(hours=1), "a")
    installation.services.board.write(document.latest.id, stale)  # of an earlier attempt
    visitor.run()
    assert "Reading the file… · last update" in visitor.text(f"document-{document.id}")
    installation.services.board.write(document.latest.id, progress)
    visitor.run()
    assert "1,200 of 3,000 pages read · 12.5 a second · last update" in visitor.text(f"document-{document.id}")
    slow = replace(progress, done=2, total=12, rate=1 / 55)
    installation.services.board.write(document.latest.id, slow)
    visitor.run()
    assert "2 of 12 pages read · 55 s a page · last update" in visitor.text(f"document-{document.id}")
    measured = replace(slow, measured_seconds=60.0)
    installation.services.board.write(document.latest.id, measured)
    visitor.run()
    assert "55 s a page · about 9 minutes of reading left" in visitor.text(f"document-{document.id}")


def test_time_left_of_the_list_is_shown_once_workers_know_their_speed(
    installation: Installation, visitor: Visitor
) -> None:
    installation.upload(installation.knowledge_base(), "long.md", "Text. " * 60_000)
    announce_worker(installation)
    visitor.run()
    assert "0 of 1 ready · 1 in progress" in visitor.text()
    assert "left" not in visitor.text()
    worker = WorkerInfo("a:1:b", "a", 1, threads=2, busy=1, since=datetime.now(UTC), speed=1.0, measured_seconds=60.0)
    installation.services.board.announce_worker(worker)
    visitor.run()
    assert "0 of 1 ready · 1 in progress · about 9 minutes left" in visitor.text()


def test_postponed_document_shows_the_cause_and_the_next_try(installation: Installation, visitor: Visitor) -> None:
    document = installation.upload(installation.knowledge_base())
    for path in installation.services.settings.uploads.rglob("*"):
        if path.is_file():
            path.unlink()
    installation.worker.claims._clock = lambda: (
        datetime.now(UTC) + timedelta(minutes=15)
    )  # otherwise the retry is due too soon
    assert installation.ingest(document) is VersionState.QUEUED
    visitor.run()
    text = visitor.text(f"document-{document.id}")
    assert "The stored copy of “tea.md” cannot be read" in text
    assert "Next try in 15 minutes." in text


@pytest.mark.parametrize(
    ("locale", "detail"),
    [
        ("en-US", "“empty.txt” is empty (0 bytes). Check the file and upload it again."),
        ("zh-CN", "“empty.txt”是空文件（0 字节）。请检查文件后重新上传。"),
    ],
)
def test_failed_document_shows_the_cause_and_the_remedy(
    locale: str, detail: str, installation: Installation, visit: Visit
) -> None:
    document = installation.upload(installation.knowledge_base(), "empty.txt", "")
    assert installation.ingest(document) is VersionState.FAILED
    visitor = visit(locale)
    visitor.go_to("knowledge_bases")
    assert detail in visitor.text(f"document-{document.id}")


def test_wrong_format_is_named(installation: Installation, visitor: Visitor) -> None:
    base = installation.knowledge_base()
    picture = installation.upload(base, "report.pdf", b"\x89PNG\r\n\x1a\n" + bytes(100))
    assert installation.ingest(picture) is VersionState.FAILED
    visitor.run()
    assert "“report.pdf” is not a PDF file" in visitor.text(f"document-{picture.id}")


# --- new versions ----------------------------------------------------------------------------------------------


def test_earlier_version_answers_until_the_new_one_is_ready(installation: Installation, visitor: Visitor) -> None:
    (document,) = installation.documents(installation.filled())
    services, row = installation.services, f"document-{document.id}"
    visitor.run()

    def replace(content: bytes) -> None:
        visitor.upload(("tea (1).md", content), replaces=document.id)

    replace(b"")
    assert "Place 1 in the queue. The earlier version still answers." in visitor.text(row)
    installation.ingest(services.documents.get(installation.user, document.id))
    visitor.run()
    for text in ("failed", "The earlier version still answers.", "“tea.md” is empty (0 bytes)"):
        assert text in visitor.text(row)
    assert visitor.has(f"chunks-{document.id}")
    replace(b"Black tea is steeped at ninety degrees.")
    installation.ingest(services.documents.get(installation.user, document.id))
    visitor.run()
    assert "The earlier version" not in visitor.text(row)
    assert visitor.documents == ["tea.md"]
    assert "1 of 1 ready" in visitor.text()


def test_new_version_leaves_the_list_as_it_is(installation: Installation, visitor: Visitor) -> None:
    base = installation.knowledge_base()
    documents = [installation.upload(base, f"tea-{index:02}.md") for index in range(6)]
    visitor.run()
    visitor.type("documents_search", "tea-01")
    visitor.run()
    visitor.upload(("tea.md", b"new"), replaces=documents[1].id)
    assert visitor.documents == ["tea-01.md"]
    assert visitor.rows[str(documents[1].id)]["accept"] == ".md,.markdown,.mdx"


# --- retry, cancel, delete, chunks -----------------------------------------------------------------------------


def test_cancel_and_retry_a_waiting_document(installation: Installation, visitor: Visitor) -> None:
    document = installation.upload(installation.knowledge_base())
    visitor.run()
    visitor.click(f"cancel-{document.id}")
    assert "cancelled" in visitor.text(f"document-{document.id}")
    assert installation.ingest(document) is None
    visitor.click(f"retry-{document.id}")
    assert not visitor.has(f"retry-{document.id}")
    assert installation.waiting(INGESTION_QUEUE) == 2  # one of the upload, one of the retry
    assert installation.ingest(document) is VersionState.READY


def test_retry_while_redis_is_down_queues_the_document(
    installation: Installation, visitor: Visitor, dead_url: str
) -> None:
    document = installation.upload(installation.knowledge_base())
    installation.services.documents.cancel(installation.user, document.id)
    installation.set_up(REDIS_URL=dead_url)
    visitor.run()
    visitor.click(f"retry-{document.id}")
    assert "Redis is not responding" in visitor.errors
    latest = installation.services.documents.get(installation.user, document.id).latest
    assert latest.state is VersionState.QUEUED


def test_retry_is_offered_only_where_it_can_help(installation: Installation, visitor: Visitor) -> None:
    base = installation.knowledge_base()
    empty, cancelled = installation.upload(base, "empty.txt", ""), installation.upload(base, "tea.md")
    installation.ingest(empty)
    installation.services.documents.cancel(installation.user, cancelled.id)
    visitor.run()
    assert not visitor.has(f"retry-{empty.id}")
    assert visitor.has(f"retry-{cancelled.id}")


def test_late_cancel_says_why_it_failed(installation: Installation, visitor: Visitor) -> None:
    document = installation.upload(installation.knowledge_base())
    visitor.run()
    installation.ingest(document)
    visitor.click(f"cancel-{document.id}")
    assert "This is not possible while “tea.md” is ready." in visitor.errors


def test_pending_cancel_is_shown(installation: Installation, visitor: Visitor) -> None:
    document = installation.upload(installation.knowledge_base())
    assert installation.worker.claims.claim(document.latest.id)
    visitor.run()
    visitor.click(f"cancel-{document.id}")
    assert "cancelling…" in visitor.text(f"document-{document.id}")
    assert not visitor.has(f"cancel-{document.id}")


def test_delete_document_asks_first(installation: Installation, visitor: Visitor) -> None:
    base = installation.filled()
    (document,) = installation.documents(base)
    visitor.run()
    visitor.click(f"delete-{document.id}")
    assert "Delete “tea.md” and all its chunks? This cannot be undone." in visitor.text()
    assert installation.documents(base)
    visitor.click("confirm_delete")
    assert installation.documents(base) == []
    assert not visitor.has(f"document-{document.id}")
    assert installation.waiting(MAINTENANCE_QUEUE) == 1
    installation.worker.cleanup.clear_document(document.id)
    with pytest.raises(NotFound):
        installation.services.documents.get(installation.user, document.id)


def test_chunks_of_a_document_are_shown(installation: Installation, visitor: Visitor) -> None:
    base = installation.filled()
    (document,) = installation.documents(base)
    visitor.run()
    visitor.click(f"chunks-{document.id}")
    text = visitor.text()
    assert "tea.md · 1 chunk" in text
    assert "Green tea is steeped at eighty degrees" in text


def test_notes_say_what_was_not_read(installation: Installation, visitor: Visitor) -> None:
    pages = ["Contract between Alder and Birch", None, None, "Signed", None]
    (document,) = installation.documents(installation.filled(files={"contract.pdf": samples.make_pdf(pages)}))
    visitor.go_to("knowledge_bases")
    assert "read only in part" in visitor.text()
    assert visitor.rows[str(document.id)]["hint"] == "Pages 2–3, 5 hold only images, and no text was read there."
    visitor.click(f"chunks-{document.id}")
    assert "Pages 2–3, 5 hold only images, and no text was read there." in visitor.text()


def test_chunks_say_that_milvus_is_down(installation: Installation, visitor: Visitor, dead_url: str) -> None:
    base = installation.filled()
    (document,) = installation.documents(base)
    installation.set_up(MILVUS_URI=dead_url.replace("redis", "http").removesuffix("/0"))
    visitor.run()
    visitor.click(f"chunks-{document.id}")
    wait_until(lambda: "Milvus is not responding" in visitor.errors, 1)


def test_documents_are_paged(installation: Installation, visitor: Visitor) -> None:
    base = installation.knowledge_base()
    for index in range(55):
        installation.upload(base, f"file-{index:02}.md")
    visitor.run()
    assert len(visitor.documents) == 50
    visitor.choose("documents_page", 2)
    assert len(visitor.documents) == 5
    assert "file-00.md" in visitor.documents


def test_search_documents_by_name(installation: Installation, visitor: Visitor) -> None:
    base = installation.knowledge_base()
    for name in ("绿茶.md", "Black Tea.md", "coffee.md", "tea cake.md", "a.md", "b.md"):
        installation.upload(base, name)
    visitor.run()
    visitor.type("documents_search", "TEA")
    visitor.run()
    assert sorted(visitor.documents) == ["Black Tea.md", "tea cake.md"]
    visitor.type("documents_search", "茶")
    visitor.run()
    assert visitor.documents == ["绿茶.md"]
    visitor.type("documents_search", "milk")
    visitor.run()
    assert visitor.documents == []
    assert "No document matches." in visitor.text("documents")


def test_sort_documents_by_column(installation: Installation, visitor: Visitor) -> None:
    base = installation.knowledge_base()
    for name, content in {"b.md": "x", "c.md": "xxx", "a.md": "xx"}.items():
        installation.upload(base, name, content)
    installation.services.documents.cancel(
        installation.user,
        next(document.id for document in installation.documents(base) if document.name == "a.md"),
    )
    visitor.run()
    assert visitor.documents == ["c.md", "b.md", "a.md"]  # what is in progress first
    for order, names in {
        "name": ["a.md", "b.md", "c.md"],
        "largest": ["c.md", "a.md", "b.md"],
        "newest": ["a.md", "c.md", "b.md"],
        "": ["c.md", "b.md", "a.md"],
    }.items():
        visitor.press(DOCUMENTS, "pressed", {"action": "sort", "order": order})
        assert visitor.documents == names


def test_times_are_in_the_browser_time_zone(installation: Installation, visitor: Visitor) -> None:
    document = installation.upload(installation.knowledge_base())
    visitor.run()
    local = document.created_at.astimezone(ZoneInfo("Asia/Shanghai"))
    assert f"{local:%-I:%M}" in visitor.rows[str(document.id)]["date"]


def test_filter_documents_by_state(installation: Installation, visitor: Visitor) -> None:
    base = installation.knowledge_base()
    installation.ingest(installation.upload(base, "empty.md", ""))
    for index in range(55):
        installation.upload(base, f"file-{index:02}.md")
    visitor.run()
    assert "empty.md" not in visitor.text("documents")
    visitor.choose("documents_page", 2)
    visitor.choose("documents_group", "given_up")
    assert "“empty.md” is empty" in visitor.text("documents")
    assert visitor.documents == ["empty.md"]
    visitor.choose("documents_group", "pending")
    assert len(visitor.documents) == 50
    visitor.choose("documents_group", "given_up")
    visitor.upload(("tea.md", TEA.encode()))
    assert "tea.md" in visitor.documents


def test_short_list_has_no_filter(installation: Installation, visitor: Visitor) -> None:
    installation.ingest(installation.upload(installation.knowledge_base(), "empty.md", ""))
    visitor.run()
    assert "“empty.md” is empty" in visitor.text("documents")
    assert not visitor.has("documents_group")


def test_page_number_follows_a_shrinking_list(installation: Installation, visitor: Visitor) -> None:
    base = installation.knowledge_base()
    documents = [installation.upload(base, f"file-{index:02}.md") for index in range(105)]
    visitor.run()
    visitor.choose("documents_group", "pending")
    visitor.choose("documents_page", 3)
    for document in documents[-10:]:
        installation.services.documents.cancel(installation.user, document.id)
    for _ in range(2):
        visitor.run()
        assert visitor.app.session_state["documents_page"] == 2
        assert len(visitor.documents) == 45


def test_prompt_is_edited(installation: Installation, visit: Visit) -> None:
    base = installation.filled()
    visitor = visit()
    visitor.go_to("knowledge_bases")
    visitor.click("edit_prompt")
    visitor.app.text_area(key="prompt_template").set_value("Be a lawyer. {passages}")
    visitor.click("save_prompt")
    assert not visitor.errors
    assert installation.services.knowledge_bases.get(installation.user, base.id).prompt == "Be a lawyer. {passages}"


DEFAULT = default_template(Language.ENGLISH)


def prompt_editor(base_id: str, default: str = "") -> None:
    """The inside of the dialog, which a click in it draws again."""
    from uuid import UUID

    from pages.ui.prompt_editor import draw_prompt_editor
    from pages.ui.resources import current_user, services

    user = current_user()
    draw_prompt_editor(user, services().knowledge_bases.get(user.principal, UUID(base_id)), default)


def test_prompt_is_previewed(installation: Installation) -> None:
    app = AppTest.from_function(prompt_editor, args=(str(installation.filled().id),)).run()
    app.text_area(key="prompt_template").set_value("Be a lawyer. {passages}")
    app.text_input(key="prompt_question").set_value("How long is green tea steeped?")
    app.button(key="preview_prompt").click().run()
    system, question = [block.value for block in app.code]
    assert system.startswith("Be a lawyer. Passages:")
    assert "two minutes" in system
    assert question == "How long is green tea steeped?"


def test_preview_of_the_default_follows_the_question(installation: Installation) -> None:
    app = AppTest.from_function(prompt_editor, args=(str(installation.filled().id), DEFAULT)).run()
    app.text_area(key="prompt_template").set_value(DEFAULT)
    app.text_input(key="prompt_question").set_value("绿茶（green tea）要泡多长时间？")
    app.button(key="preview_prompt").click().run()
    assert not app.error
    assert app.code[0].value.startswith("请根据下面的资料回答问题。它们来自用户的知识库。")


def test_preview_names_a_silent_embedding_server_and_can_be_repeated(
    installation: Installation, remote_base: KnowledgeBase, models: ModelServer
) -> None:
    app = AppTest.from_function(prompt_editor, args=(str(remote_base.id),)).run()
    app.text_area(key="prompt_template").set_value("Be a lawyer. {passages}")
    app.text_input(key="prompt_question").set_value("How long is green tea steeped?")
    with silent_embeddings(installation, models):
        app.button(key="preview_prompt").click().run()
    assert "did not answer" in app.error[0].value
    assert app.text_input(key="prompt_question").value == "How long is green tea steeped?"
    assert app.text_area(key="prompt_template").value == "Be a lawyer. {passages}"
    app.button(key="preview_prompt").click().run()
    assert not app.error
    assert "two minutes" in app.code[0].value
