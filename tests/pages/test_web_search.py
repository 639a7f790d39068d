"""Web-search Q&A in the chat: the engine, the pages, their citations, and what cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest

from kb.models import Chunk, Mode, Passage, Role
from kb.web_search.passages import WebPassage, WebProgress, WebStage
from pages.ui.web_results import facts_line, progress_text
from tests.fakes.model_server import ModelServer
from tests.fakes.search_server import LOGIN_PAGE, Answer, SearchServer
from tests.fakes.web_pages import WebPages
from tests.pages.conftest import Installation, Visit
from tests.pages.visitor import Visitor

QUESTION = "How long is black tea steeped in boiling water?"
TEA = (
    "<html><head><title>Tea & <b>time</title></head><body><article>"
    "<p>Black tea is steeped in boiling water for four minutes.</p>"
    "<p>The museum opens at nine and shows old ships, maps and the tools of sailors in twelve rooms.</p>"
    "</article></body></html>"
)


@pytest.fixture
def pages() -> Iterator[WebPages]:
    with WebPages() as pages:
        pages.serve("/tea", TEA.encode())
        yield pages


@pytest.fixture
def engine(installation: Installation, pages: WebPages) -> Iterator[SearchServer]:
    """A SearXNG that finds a page about tea and an image."""
    with SearchServer() as server:
        found = [
            {"url": pages.url("/tea"), "title": "Tea", "content": "About tea."},
            {"url": pages.url("/image"), "title": "A [picture]", "content": "A cup of tea in boiling water."},
        ]
        server.next_reply = Answer(200, {"results": found})
        address = f"{server.url}/searxng"
        installation.set_up(
            WEB_SEARCH_ENGINE="searxng",
            SEARXNG_URL=address,
            ALLOWED_FETCH_HOSTS=pages.authority,
            WEB_PAGES_TIMEOUT_SECONDS="60",  # the reader's process starts slowly on a busy machine
            BRAVE_API_KEY="k",
        )
        yield server


def ask(visitor: Visitor, question: str = QUESTION) -> None:
    visitor.choose("mode", Mode.WEB)
    visitor.ask(question)


def open_passages(visitor: Visitor, installation: Installation) -> None:
    conversation = UUID(visitor.app.query_params["conversation"])
    messages = installation.services.messages.shown(installation.user, conversation, limit=10)
    answer = [message for message in messages if message.role is Role.ASSISTANT][-1]
    visitor.app.session_state[f"passages-of-{answer.id}"] = True
    visitor.app.session_state["pages"] = True
    visitor.run()


def test_answer_cites_web_pages(
    installation: Installation, engine: SearchServer, pages: WebPages, visit: Visit
) -> None:
    visitor = visit()
    ask(visitor)
    assert "Black tea is steeped in boiling water for four minutes\u00a0:blue-badge[1]." in visitor.text()
    assert not visitor.has("knowledge_base")
    visitor.open_citation(1)
    drawer = visitor.text()
    for part in (f"href='{pages.url('/tea')}'", "Tea &amp; time", "127.0.0.1 · read ", "Relevance"):
        assert part in drawer
    assert engine.asked[0].parameters["q"] == QUESTION


def test_unread_pages_and_steps_are_listed(installation: Installation, engine: SearchServer, visit: Visit) -> None:
    visitor = visit()
    ask(visitor)
    assert "Web pages that could not be read: 127.0.0.1" in visitor.text()
    open_passages(visitor, installation)
    text = visitor.text()
    assert "1 web page read · 1 could not be read" in text
    assert "A [picture]" in text
    assert "is not a web page (image/gif)." in text
    assert "summary by the search engine, because the page could not be read" in text
    assert "Search steps" in text


def test_named_pages_are_read_in_place_of_a_search(engine: SearchServer, pages: WebPages, visit: Visit) -> None:
    visitor = visit()
    ask(visitor, f"{pages.url('/tea')}, {pages.url('/image')} 讲了什么？")
    assert "1 of 2 web pages read" in visitor.text()
    assert "is not a web page (image/gif)" in visitor.text()
    assert "Choose another page" in visitor.text()
    visitor.open_citation(1)
    assert f"href='{pages.url('/tea')}'" in visitor.text()
    visitor.ask(f"Summarise {pages.url('/nowhere')}")
    assert "did not deliver the page" in visitor.errors
    assert engine.asked == []


def test_model_is_told_of_the_web(engine: SearchServer, visit: Visit, models: ModelServer) -> None:
    ask(visit())
    (asked,) = models.chats
    prompt = str(asked.body["messages"])
    for part in ("found on the web on", "Black tea is steeped", "could not be read", "A [picture] (127.0.0.1)"):
        assert part in prompt


def test_without_a_model_the_best_passages_are_quoted(
    without_model: Installation, engine: SearchServer, visit: Visit
) -> None:
    visitor = visit()
    ask(visitor)
    text = visitor.text()
    assert "No language model is connected: these are the best passages." in text
    assert "Black tea is steeped in boiling water for four minutes." in text
    assert "These pages could not be read:" in text


def test_failed_search_says_why(engine: SearchServer, visit: Visit) -> None:
    engine.next_reply = Answer(200, LOGIN_PAGE)
    visitor = visit()
    ask(visitor)
    assert "does not return JSON (HTML)." in visitor.errors
    engine.next_reply = Answer(200, {"results": []})
    visitor.ask("And green tea?")
    assert "SearXNG found nothing for this question." in visitor.errors


def test_pages_without_an_answer_are_told(installation: Installation, engine: SearchServer, visit: Visit) -> None:
    visitor = visit()
    ask(visitor, "量子色动力学")
    assert "Nothing relevant to this question was found on these web pages." in visitor.text()
    assert "1 web page read · 1 could not be read" in visitor.text()


def test_wider_search_and_the_model_alone_are_offered(
    installation: Installation, engine: SearchServer, visit: Visit
) -> None:
    visitor = visit()
    ask(visitor, "Volcano?")
    assert "below the threshold" in visitor.text()
    visitor.click("search_wider")
    visitor.wait_for_answer()
    assert "Searched wider: with half the threshold" in visitor.text()
    visitor.click("ask_without")
    visitor.wait_for_answer()
    assert "Answered by the language model alone" in visitor.text()


def test_engines_that_are_set_up_can_be_chosen(installation: Installation, engine: SearchServer, visit: Visit) -> None:
    visitor = visit()
    visitor.choose("mode", Mode.WEB)
    choice = visitor.find("search_engine")
    assert {"SearXNG", "Brave Search API", "Bing", "Automatic (no key needed)"} <= set(choice.options)
    assert "Tavily" not in choice.options
    assert "TAVILY_API_KEY" in choice.help
    assert "SEARXNG_URL" not in choice.help
    assert choice.value == "searxng"
    visitor.choose("search_engine", "brave")
    assert visitor.app.query_params["engine"] == "brave"
    later = visit()
    assert later.find("search_engine").value == "brave"
    installation.set_up(BRAVE_API_KEY="")
    assert visit(mode="web", engine="brave").find("search_engine").value == "searxng"


def test_web_search_needs_no_knowledge_base(engine: SearchServer, visit: Visit) -> None:
    visitor = visit()
    visitor.choose("mode", Mode.WEB)
    assert "A search engine finds web pages" in visitor.text()
    assert not visitor.app.chat_input(key="question").disabled


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (WebProgress(WebStage.SEARCHING), "Searching the web…"),
        (WebProgress(WebStage.SEARCHING, name="Bing"), "Searching the web with Bing…"),
        (WebProgress(WebStage.READING, 0, 1), "Reading the page…"),
        (WebProgress(WebStage.READING, 2, 8, "example.org"), "Reading web pages: 2 of 8…"),
        (WebProgress(WebStage.RANKING, 8, 8), "Choosing passages…"),
    ],
)
def test_progress_is_told(progress: WebProgress, text: str) -> None:
    assert progress_text(progress) == text


@pytest.mark.parametrize(
    ("heading", "text", "shown"),
    [
        ("Refunds", "Thirty days.", "a.example"),
        ("Refunds > Cards", "Thirty days.", "a.example · Cards"),
        ("Shop > Refunds > Cards", "## Cards\n\nThirty days.", "a.example · Shop"),
    ],
)
def test_headings_of_a_web_page_do_not_repeat_its_title(heading: str, text: str, shown: str) -> None:
    chunk = Chunk("1", uuid4(), uuid4(), heading=heading, text=text)
    assert facts_line(WebPassage(Passage(chunk, "Refunds"), "https://a.example/x")) == shown
