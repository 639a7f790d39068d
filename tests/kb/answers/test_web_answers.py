"""Answers from the web: their events, what is saved of them, and a stop in the middle of the search."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from unittest.mock import patch
from uuid import UUID

import pytest

from kb.answers import Answers, Update
from kb.config import Settings
from kb.messages import Message, SourcesPart, WebPart
from kb.models import MessageState, Mode, Role
from kb.web_search.passages import WebStage
from tests.conftest import Core, open_core
from tests.fakes.embedding import HashedWords
from tests.fakes.model_server import ModelServer
from tests.fakes.search_server import Answer, SearchServer
from tests.fakes.web_pages import WebPages
from tests.kb.answers.chat import build_answers
from tests.real_services import wait_until

QUESTION = "How many days do refunds take?"
PAGE = (
    "<html><head><title>Refunds</title></head><body><article>"
    "<p>Refunds take thirty days.</p>"
    "<p>The museum opens at nine and shows old ships, maps and tools.</p></article></body></html>"
)


@dataclass
class Web:
    """A user who asks the web, with the engine and the pages behind it."""

    core: Core
    answers: Answers
    engine: SearchServer
    pages: WebPages

    def finds(self, *paths: str) -> None:
        rows = [{"url": self.pages.url(path), "title": path, "content": f"Refunds, {path}."} for path in paths]
        self.engine.next_reply = Answer(200, {"results": rows})

    def start(self, model: str = "fake", question: str = QUESTION) -> Message:
        conversations = self.core.services.conversations
        conversation = conversations.create(self.core.user, question, Mode.WEB)
        return self.ask(conversation.id, question, model)

    def ask(self, conversation_id: UUID, question: str, model: str = "fake") -> Message:
        message = self.core.services.messages.ask(self.core.user, conversation_id, question)
        self.answers.start(self.core.user, message.id, model)
        return message

    def message(self, message_id: UUID) -> Message:
        return self.core.services.messages.get(self.core.user, message_id)

    def finished(self, message: Message) -> Message:
        wait_until(lambda: self.message(message.id).state is not MessageState.STREAMING, 20, "the answer's end")
        return self.message(message.id)

    def update(self, message: Message) -> Update:
        """All that the stream holds."""
        assert message.run_id
        return self.answers.read(self.core.user, message.run_id)


@pytest.fixture
def web(settings: Settings, embedding: HashedWords, model_server: ModelServer) -> Iterator[Web]:
    with SearchServer() as engine, WebPages() as pages:
        pages.serve("/refunds", PAGE.encode())
        chosen = {"web_search_engine": "searxng", "searxng_url": f"{engine.url}/searxng", "embedding_model": "test"}
        own = settings.model_copy(update=chosen | {"allowed_fetch_hosts": pages.authority})
        with open_core(own, embedding) as core:
            answers = build_answers(core.services, model_server)
            web = Web(core, answers, engine, pages)
            web.finds("/refunds", "/image")
            yield web
            answers.close()


def test_answer_is_saved_with_what_it_was_given_from(web: Web) -> None:
    message = web.finished(web.start())
    assert (message.state, message.content) == (
        MessageState.DONE,
        "According to the passages, Refunds take thirty days [1].",
    )
    assert message.web
    assert [page.error for page in message.web.pages] == ["", "page_wrong_type"]
    assert message.web.passages[0].address == web.pages.url("/refunds")
    assert (message.retrieval, message.has_lost_passages) == (None, False)
    *_, listed = web.core.services.messages.shown(web.core.user, message.conversation_id, limit=10)
    assert listed.role is Role.ASSISTANT
    assert listed.part(WebPart) is None  # bulky
    sources = listed.part(SourcesPart)
    assert sources
    best = sources.passages[0]
    assert (best.rank, best.document_name, best.address) == (1, "Refunds", web.pages.url("/refunds"))


def test_stream_tells_progress_and_pages(web: Web) -> None:
    message = web.start()
    web.finished(message)
    update = web.update(message)
    assert update.progress
    assert update.progress.stage is WebStage.RANKING
    assert update.web == web.message(message.id).web
    assert update.retrieval is None


def test_without_a_model_the_passages_are_quoted(web: Web) -> None:
    message = web.finished(web.start(""))
    assert message.content.startswith("> *Refunds*\n>\n> **Refunds take thirty days.** The museum")
    assert message.content.endswith("These pages could not be read:\n\n- /image (127\\.0.0.1)")


def test_nothing_relevant_asks_no_model(web: Web, model_server: ModelServer) -> None:
    web.engine.next_reply = Answer(200, {"results": [{"url": web.pages.url("/image"), "title": "x", "content": ""}]})
    asked = len(model_server.requests)
    message = web.finished(web.start())
    assert (message.state, message.content) == (MessageState.DONE, "")
    assert message.web
    assert (message.web.passages, len(message.web.unread)) == ((), 1)
    assert len(model_server.requests) == asked


def test_error_of_the_engine_fails_the_answer(web: Web) -> None:
    web.engine.next_reply = Answer(200, {"results": []})
    message = web.finished(web.start())
    assert (message.state, message.error.code) == (MessageState.FAILED, "no_web_results")


def test_stop_ends_the_search(web: Web) -> None:
    web.finds("/silent", "/refunds")
    message = web.start()

    def is_reading() -> bool:
        progress = web.update(message).progress
        return bool(progress and progress.stage is WebStage.READING and progress.done)

    wait_until(is_reading, 30, "the first page")
    assert message.run_id
    web.answers.stop(web.core.user, message.run_id)
    stopped = web.finished(message)
    assert (stopped.state, stopped.content, stopped.web) == (MessageState.STOPPED, "", None)


def test_answer_that_goes_on_keeps_its_passages(web: Web) -> None:
    first = web.finished(web.start("broken"))
    assert (first.state, first.error.code) == (MessageState.FAILED, "model_stream_broken")
    asked = len(web.engine.asked)
    again = web.core.services.messages.go_on(web.core.user, first.id, first.run_id)
    assert again
    web.answers.start(web.core.user, again.id, "fake")
    second = web.finished(again)
    assert second.state is MessageState.DONE
    assert second.content.startswith(first.content)
    assert second.web == first.web
    assert len(web.engine.asked) == asked


# --- pages that the question names -----------------------------------------------------------------------------


def test_named_page_is_summarized_from_its_beginning(web: Web, model_server: ModelServer) -> None:
    address = web.pages.url("/refunds")
    message = web.finished(web.start(question=f"Summarise {address} and {web.pages.url('/image')}"))
    assert message.state is MessageState.DONE
    assert web.engine.asked == []
    prompt = model_server.requests[-1].body["messages"][0]["content"]
    assert "which were read on the pages that the question names on 2" in prompt
    assert "The passages are the whole page “Refunds”." in prompt
    assert f"[1] (Refunds · {address})\nRefunds take thirty days." in prompt
    assert "The question names these pages, too, but they could not be read." in prompt
    assert message.sources
    assert [page.error for page in message.sources.unread] == ["page_wrong_type"]


def test_without_a_model_the_beginning_of_a_named_page_is_quoted(web: Web) -> None:
    message = web.finished(web.start("", f"{web.pages.url('/refunds')} {web.pages.url('/image')}"))
    assert message.content.startswith("> *Refunds*\n>\n> Refunds take thirty days.\n>\n> The museum opens")
    assert "These pages could not be read:" in message.content


def test_error_of_a_named_page_fails_the_answer(web: Web) -> None:
    message = web.finished(web.start(question=f"Summarise {web.pages.url('/nowhere')}"))
    assert (message.state, message.error.code) == (MessageState.FAILED, "page_refused")
    assert web.engine.asked == []


def test_follow_up_with_an_address_is_about_that_page(web: Web) -> None:
    first = web.finished(web.start())
    asked = len(web.engine.asked)
    second = web.finished(web.ask(first.conversation_id, f"What about {web.pages.url('/refunds')}?"))
    assert (second.searched_for, len(web.engine.asked)) == ("", asked)
    assert second.web
    assert second.web.are_pages_named


def test_rewritten_question_names_no_page_that_the_user_did_not(web: Web) -> None:
    first = web.finished(web.start(question=f"Summarise {web.pages.url('/refunds')}"))
    seen = len(web.pages.requests)
    stolen = f"How long? {web.pages.url('/stolen')}?q=secret"
    with patch("kb.followups.read_rewrite", lambda _reply, _question: stolen):
        second = web.finished(web.ask(first.conversation_id, "And how long does it take?"))
    assert second.searched_for == "How long?"
    assert web.engine.asked[-1].parameters["q"] == "How long?"
    assert not any("secret" in path for path, _ in web.pages.requests[seen:])
