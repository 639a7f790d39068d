"""Testing: passages with scores, and no model."""

from __future__ import annotations

import pytest

from tests.e2e.sample_files import pdf_file
from tests.fakes.model_server import ModelServer
from tests.pages.conftest import Installation, Visit, silent_embeddings
from tests.pages.visitor import Visitor
from web.app import Web

QUESTION = "Is black tea steeped in boiling water?"


@pytest.fixture
def visitor(installation: Installation, visit: Visit) -> Visitor:
    installation.filled(
        files={
            "tea.md": "Black tea is steeped in boiling water for four minutes. Milk is poured afterwards.",
            "soup.md": "Soup is kept in boiling water for an hour, with black pepper.",
        }
    )
    visitor = visit()
    visitor.go_to("testing")
    return visitor


def run_test(visitor: Visitor, question: str) -> None:
    visitor.type("test_question", question)
    visitor.click("run_test")


def test_passages_are_ranked_with_scores_and_trace(visitor: Visitor) -> None:
    run_test(visitor, QUESTION)
    best = visitor.text("passage-1")
    for part in (
        "tea.md",
        "Fused</b> 1",
        "Cosine</b> ",
        "BM25</b> ",
        "(#1)",
        "Shared terms</b> 100%",
        "Relevance</b> ",
    ):
        assert part in best
    assert "<mark>Black tea is steeped in boiling water for four minutes.</mark> " in best
    assert "soup.md" in visitor.text("passage-2")
    visitor.app.session_state["trace"] = True
    visitor.run()
    trace = visitor.text("passages")
    for step in ("Dense route (HNSW)", "Lexical route (BM25)", "Fuse the scores", "top k: 5"):
        assert step in trace


def test_too_long_question_is_refused_and_kept(visitor: Visitor) -> None:
    question = "tea " * 5_000 + "!"
    run_test(visitor, question)
    assert "A question has at most 20,000 characters; this one has 20,001." in visitor.errors
    assert visitor.app.text_input(key="test_question").value == question
    run_test(visitor, question[:-5])
    assert visitor.errors == ""
    assert "tea.md" in visitor.text("passage-1")


def test_file_from_its_beginning_has_no_scores(visitor: Visitor) -> None:
    run_test(visitor, "Summarize tea.md")
    assert "“tea.md” from its beginning: 1 of 1 chunks" in visitor.text("passages").replace("\\", "")
    assert "tea.md" in visitor.text("passage-1")
    assert "Relevance</b>" not in visitor.text("passage-1")
    visitor.app.session_state["trace"] = True
    visitor.run()
    assert "Read from the beginning" in visitor.text("passages")


@pytest.mark.parametrize(
    ("locale", "told", "reason", "waiting", "step"),
    [
        (
            "en-US",
            "“broken.pdf” is in the knowledge base, but it could not be read.",
            "“broken.pdf” is not a PDF file",
            "“late.md” is in the knowledge base, but it is not ready yet.",
            "in the knowledge base, but without text: broken.pdf",
        ),
        (
            "zh-CN",
            "知识库中有“broken.pdf”，但无法读取。",
            "“broken.pdf”不是PDF文件",
            "知识库中有“late.md”，但尚未处理完。",
            "在知识库中，但没有文本：broken.pdf",
        ),
    ],
)
def test_named_file_without_text_is_told(
    locale: str, told: str, reason: str, waiting: str, step: str, installation: Installation, visit: Visit
) -> None:
    base = installation.filled()
    installation.ingest(installation.upload(base, "broken.pdf", "no PDF"))
    installation.upload(base, "late.md")
    visitor = visit(locale)
    visitor.go_to("testing")
    run_test(visitor, "Summarize broken.pdf")
    shown = visitor.text("passages").replace("\\", "")
    assert told in shown
    assert reason in shown
    visitor.app.session_state["trace"] = True
    visitor.run()
    assert step in visitor.text("passages")
    run_test(visitor, "Summarize late.md")
    assert waiting in visitor.text("passages").replace("\\", "")


def test_names_of_files_are_shown(visitor: Visitor) -> None:
    run_test(visitor, "Which files are in this knowledge base?")
    assert "Nothing relevant" not in visitor.text()
    visitor.app.session_state["files"] = True
    visitor.run()
    shown = visitor.text("passages").replace("\\", "")
    assert "- soup.md\n- tea.md" in shown


def test_language_model_is_not_called(visitor: Visitor, models: ModelServer) -> None:
    run_test(visitor, QUESTION)
    assert visitor.has("passage-1")
    assert models.requests == []


def test_result_is_kept_across_pages(visitor: Visitor) -> None:
    run_test(visitor, QUESTION)
    visitor.go_to("history")
    visitor.go_to("testing")
    assert visitor.app.text_input(key="test_question").value == QUESTION
    assert visitor.has("passage-1")


def test_result_belongs_to_its_knowledge_base(visitor: Visitor, installation: Installation) -> None:
    run_test(visitor, QUESTION)
    visitor.run()
    assert visitor.has("passage-1")
    other = installation.knowledge_base("Other")
    visitor.run()
    visitor.choose("tested_knowledge_base", other.id)
    assert not visitor.has("passage-1")


def test_question_to_a_deleted_knowledge_base_is_refused(visitor: Visitor, installation: Installation) -> None:
    base = installation.knowledge_base("Gone")
    visitor.run()
    visitor.choose("tested_knowledge_base", base.id)
    installation.services.knowledge_bases.delete(installation.user, base.id)
    run_test(visitor, QUESTION)
    assert "knowledge base no longer exists" in visitor.errors
    assert not visitor.has("passage-1")
    run_test(visitor, QUESTION)
    assert visitor.has("passage-1")


def test_page_loads_what_the_first_test_would_wait_for(
    installation: Installation, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Web] = []
    monkeypatch.setattr(Web, "warm_up", lambda self: begun.append(self))
    installation.knowledge_base("Empty")
    visitor = visit(mode="test")
    visitor.go_to("testing")
    assert not begun
    installation.filled()
    visitor.run()
    assert begun


def test_empty_question_shows_a_warning(visitor: Visitor) -> None:
    run_test(visitor, "   ")
    assert "Enter a question first." in visitor.text()


def test_no_ready_documents_is_explained(installation: Installation, visit: Visit) -> None:
    installation.upload(installation.knowledge_base())
    visitor = visit()
    visitor.go_to("testing")
    run_test(visitor, QUESTION)
    assert "No document of this knowledge base is ready yet." in visitor.text("passages")
    assert "Nothing relevant" not in visitor.text()


@pytest.mark.parametrize(("locale", "message"), [("en-US", "Milvus is not responding"), ("zh-CN", "Milvus 没有响应")])
def test_milvus_down_is_not_shown_as_nothing_found(
    locale: str, message: str, installation: Installation, visit: Visit, dead_url: str
) -> None:
    installation.filled()
    installation.set_up(MILVUS_URI=dead_url.replace("redis", "http").removesuffix("/0"))
    visitor = visit(locale)
    visitor.go_to("testing")
    run_test(visitor, QUESTION)
    assert message in visitor.errors
    assert not visitor.has("passages")


def test_unknown_embedding_model_is_refused(installation: Installation, visit: Visit) -> None:
    installation.services.knowledge_bases.create(installation.user, "Old", "another-model", 32)
    visitor = visit()
    visitor.go_to("testing")
    run_test(visitor, QUESTION)
    assert "This version of Zhiwen does not know the embedding model another-model." in visitor.errors


@pytest.mark.usefixtures("remote_base")
def test_silent_embedding_server_is_named_and_the_test_can_be_repeated(
    installation: Installation, visit: Visit, models: ModelServer
) -> None:
    visitor = visit()
    visitor.go_to("testing")
    with silent_embeddings(installation, models):
        run_test(visitor, QUESTION)
    assert "did not answer within 0.2 s." in visitor.errors
    assert "EMBEDDING_TIMEOUT_SECONDS" in visitor.errors
    assert visitor.app.text_input(key="test_question").value == QUESTION
    assert not visitor.has("passages")
    visitor.click("run_test")
    assert not visitor.errors
    assert "tea.md" in visitor.text("passage-1")


@pytest.mark.usefixtures("remote_base")
def test_wider_search_that_fails_keeps_what_was_found(
    installation: Installation, visit: Visit, models: ModelServer
) -> None:
    visitor = visit()
    visitor.go_to("testing")
    run_test(visitor, "Which museum shows copper kettles?")
    nearest = visitor.text("passages")
    with silent_embeddings(installation, models):
        visitor.click("search_wider")
    assert "did not answer" in visitor.errors
    assert visitor.text("passages") == nearest
    visitor.click("search_wider")
    assert not visitor.errors
    assert visitor.text("passages") != nearest


def test_works_while_redis_is_down(visitor: Visitor, installation: Installation, dead_url: str) -> None:
    installation.set_up(REDIS_URL=dead_url)
    run_test(visitor, QUESTION)
    assert "tea.md" in visitor.text("passage-1")


def test_document_text_is_escaped(installation: Installation, visit: Visit) -> None:
    installation.filled(files={"<img src=x>.md": "Tea <script>alert(1)</script> & <b>milk</b>."})
    visitor = visit()
    visitor.go_to("testing")
    run_test(visitor, "tea & milk")
    best = visitor.text("passage-1")
    assert "&lt;img src=x&gt;.md" in best
    assert "&lt;script&gt;" in best
    assert "<script>" not in best


def test_passage_shows_its_page(installation: Installation, visit: Visit) -> None:
    pages = (
        "The harbour has a blue lighthouse.",
        "The bakery sells caraway bread.",
        "The museum shows copper kettles.",
    )
    installation.filled(files={"town.pdf": pdf_file(pages, hours=12)})
    visitor = visit()
    visitor.go_to("testing")
    run_test(visitor, "Which museum shows copper kettles?")
    best = visitor.text("passage-1")
    assert "copper kettles" in best
    assert "town.pdf · p. 3" in best
