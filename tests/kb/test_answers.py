"""Answers: produced in the background, followed through Redis, and saved in SQL, whatever fails."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest.mock import patch
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from kb import redis as kb_redis
from kb.answering import Event, ModelChosen, PassagesFound, Question
from kb.answers import Answers, FindModel, Update
from kb.answers.producer import Producer
from kb.answers.run import GrowingText, Run
from kb.answers.streams import START
from kb.completions import Reasoning, TextPiece, TextWasReasoning
from kb.conversations import Messages, Streaming
from kb.database import Database
from kb.errors import (
    CheckUnreadable,
    DatabaseUnavailable,
    MilvusUnavailable,
    ModelKeyRefused,
    ModelUnreachable,
    NoChatModel,
    NotFound,
    RedisUnavailable,
)
from kb.llm import ChatModel
from kb.messages import Message, SupportPart, Unsupported
from kb.models import MessageState, Mode, Retrieval, Scope
from kb.retrieval import Retriever
from kb.services import Services, WorkerParts
from tests.conftest import Core, MakeSettings, open_core
from tests.fakes.embedding import HashedWords
from tests.fakes.model_scripts import ANSWER
from tests.fakes.model_scripts import said as streamed
from tests.fakes.model_server import BROKEN_AFTER_TOKENS, CHAT, LONG_TOKENS, ModelServer
from tests.messages import said
from tests.real_services import ROOT, Redis, free_port, wait_until
from tests.statements import ask_as_the_page_does, counted_statements

PRODUCER = Path(__file__).parent / "answer_producer.py"


@pytest.fixture(scope="module")
def model_server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


def build_answers(
    services: Services,
    server: ModelServer,
    key: str = "",
    find_model: FindModel | None = None,
    has_titles: bool = False,
    **settings: object,
) -> Answers:
    """The answers of one web process. The wanted id names a model of `server`; an empty one means no model."""
    return Answers(
        services.settings.model_copy(update=settings),
        services.redis,
        services.conversations,
        services.messages,
        services.retriever.retrieve,
        services.web_retriever.retrieve,
        services.attachments,
        find_model
        or (lambda _user, wanted: ChatModel(wanted, server.base_url, "test", key=SecretStr(key)) if wanted else None),
        lambda _user, answering: answering,
        has_titles,
    )


@dataclass
class Chat:
    """A user who asks, and the models that can be asked."""

    core: Core
    answers: Answers
    server: ModelServer

    def ask(self, question: str, mode: Mode = Mode.LLM, knowledge_base: UUID | None = None) -> Message:
        conversations = self.core.services.conversations
        conversation = conversations.create(self.core.user, question, mode, Scope.of(knowledge_base))
        return self.core.services.messages.ask(self.core.user, conversation.id, question)

    def start(self, question: str, model: str = "fake", mode: Mode = Mode.LLM, base: UUID | None = None) -> UUID:
        message = self.ask(question, mode, base)
        self.answers.start(self.core.user, message.id, model)
        return message.id

    def message(self, message_id: UUID) -> Message:
        return self.core.services.messages.get(self.core.user, message_id)

    def run(self, message_id: UUID) -> UUID:
        """The run that writes an answer, or wrote it."""
        run_id = self.message(message_id).run_id
        assert run_id
        return run_id

    def finished(self, message_id: UUID, seconds: float = 20) -> Message:
        wait_until(lambda: self.message(message_id).state is not MessageState.STREAMING, seconds, "the answer's end")
        return self.message(message_id)

    def arrived(self, message_id: UUID, text: str) -> None:
        def is_there() -> bool:
            with suppress(RedisUnavailable):  # a Redis that has just started may still be loading
                return text in self.answers.read(self.core.user, self.run(message_id)).text
            return False

        wait_until(is_there, 30, "the text's arrival")


@pytest.fixture
def held(model_server: ModelServer) -> Iterator[None]:
    """Answers stop halfway."""
    with model_server.held(CHAT):
        yield


@pytest.fixture
def chat(core: Core, model_server: ModelServer) -> Iterator[Chat]:
    model_server.requests.clear()
    answers = build_answers(core.services, model_server)
    yield Chat(core, answers, model_server)
    answers.close()


@pytest.fixture
def fruit(core: Core, worker: WorkerParts) -> UUID:
    knowledge_base = core.knowledge_base()
    document = core.upload(knowledge_base, "pears.md", "# Pears\n\nA pear is green. Its tree grows slowly.")
    worker.ingestion.ingest(document.latest.id)
    return knowledge_base.id


def follow(answers: Answers, user: UUID, run_id: UUID) -> list[Update]:
    """Poll until the end, as a page does."""
    updates: list[Update] = []
    position, deadline = "0-0", time.monotonic() + 20
    while not (updates and updates[-1].ended):
        assert time.monotonic() < deadline
        updates.append(answers.read(user, run_id, position))
        position = updates[-1].position
        time.sleep(0.02)
    return updates


@pytest.fixture(autouse=True)
def quick_reaper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kb.answers.reaper.REAP_SECONDS", 0.1)


@pytest.fixture
def reaper_looks(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Counts the looks of all reapers."""
    looks: list[int] = []
    streaming = Messages.streaming

    def see(messages: Messages) -> list[Streaming]:
        looks.append(1)
        return streaming(messages)

    monkeypatch.setattr(Messages, "streaming", see)
    return lambda: len(looks)


# --- the good end ----------------------------------------------------------------------------------------------


def test_answer_streams_and_is_saved(chat: Chat) -> None:
    message_id = chat.start("What is Milvus?", "slow")
    updates = follow(chat.answers, chat.core.user, chat.run(message_id))
    texts = [update.text for update in updates if update.text]
    assert len(texts) > 2
    assert "".join(texts) == "You asked: What is Milvus?"
    message = chat.message(message_id)  # saved before the stream says so
    assert (message.state, message.content, message.model) == (MessageState.DONE, "".join(texts), "slow")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (1, chat.server.requests[-1].tokens_sent)
    assert (
        chat.answers.read(chat.core.user, chat.run(message_id)).text == message.content
    )  # from the start, as a new tab reads it


def test_knowledge_answer_is_given_from_its_passages(chat: Chat, fruit: UUID) -> None:
    message_id = chat.start("What colour is a pear?", mode=Mode.KNOWLEDGE, base=fruit)
    updates = follow(chat.answers, chat.core.user, chat.run(message_id))
    message = chat.message(message_id)
    assert message.content.endswith("[1].")
    assert message.retrieval is not None
    assert [passage.document_name for passage in message.retrieval.passages] == ["pears.md"]
    (seen,) = [update.retrieval for update in updates if update.retrieval]
    assert seen.passages == message.retrieval.passages
    prompt = chat.server.requests[-1].body["messages"]
    assert "A pear is green." in prompt[0]["content"]
    assert prompt[-1] == {"role": "user", "content": "What colour is a pear?"}


def test_without_a_model_the_answer_is_the_best_sentences(chat: Chat, fruit: UUID) -> None:
    message = chat.finished(chat.start("What colour is a green pear?", "", Mode.KNOWLEDGE, fruit))
    assert (message.state, message.model, message.error.code) == (MessageState.DONE, "", "")
    assert "**A pear is green.**" in message.content
    assert message.content.endswith("[1]")
    assert chat.server.requests == []


def test_testing_mode_asks_no_model(chat: Chat, fruit: UUID) -> None:
    message = chat.finished(chat.start("What colour is a pear?", "fake", Mode.TEST, fruit))
    assert (message.state, message.content) == (MessageState.DONE, "")
    assert message.retrieval is not None
    assert len(message.retrieval.passages) == 1
    assert chat.server.requests == []


def test_nothing_found_asks_no_model(chat: Chat) -> None:
    empty = chat.core.knowledge_base("Empty")
    message = chat.finished(chat.start("What colour is a pear?", "fake", Mode.KNOWLEDGE, empty.id))
    assert (message.state, message.content) == (MessageState.DONE, "")
    assert message.retrieval is not None
    assert message.retrieval.passages == ()
    assert chat.server.requests == []


def test_model_gets_the_conversation_so_far(chat: Chat) -> None:
    first = chat.finished(chat.start("First question"))
    again = chat.core.services.messages.ask(chat.core.user, first.conversation_id, "Second question")
    chat.answers.start(chat.core.user, again.id, "fake")
    chat.finished(again.id)
    told = [message["content"] for message in chat.server.requests[-1].body["messages"]]
    assert told[1:] == ["First question", "You asked: First question", "Second question"]


def test_many_answers_run_at_once(chat: Chat) -> None:
    with chat.server.held(CHAT):
        ids = [chat.start(f"Question {number}") for number in range(10)]
        for message_id in ids:
            chat.arrived(message_id, "You")
    messages = [chat.finished(message_id) for message_id in ids]
    assert [message.content for message in messages] == [f"You asked: Question {number}" for number in range(10)]


def test_running_answer_is_not_started_twice(chat: Chat) -> None:
    with chat.server.held(CHAT):
        message_id = chat.start("Question", "slow")
        chat.answers.start(chat.core.user, message_id, "fake")
    assert chat.finished(message_id).model == "slow"
    assert len(chat.server.requests) == 1


# --- in context ------------------------------------------------------------------------------------------------


def ask_on(chat: Chat, before: Message, question: str, model: str = "fake", in_own_words: bool = False) -> Message:
    """The answer to a question that follows another answer."""
    message = chat.core.services.messages.ask(chat.core.user, before.conversation_id, question)
    chat.answers.start(chat.core.user, message.id, model, in_own_words=in_own_words)
    return chat.finished(message.id)


def test_follow_up_is_searched_for_as_it_is_meant(chat: Chat, fruit: UUID) -> None:
    first = chat.finished(chat.start("What colour is a pear?", mode=Mode.KNOWLEDGE, base=fruit))
    asked = len(chat.server.requests)
    with patch("kb.followups.read_rewrite", lambda _reply, _question: "How does the tree of a pear grow?"):
        second = ask_on(chat, first, "And its tree?")
    rewriting, answering = chat.server.requests[asked:]
    assert "Last question: And its tree?" in rewriting.body["messages"][-1]["content"]
    assert "What colour is a pear?" in rewriting.body["messages"][-1]["content"]
    assert second.searched_for == "How does the tree of a pear grow?"
    assert second.retrieval
    assert second.retrieval.question == second.searched_for
    assert answering.body["messages"][-1]["content"] == "And its tree?"  # the model answers what the user asked
    assert chat.answers.read(chat.core.user, chat.run(second.id)).searched_for == second.searched_for


def test_follow_up_in_the_users_own_words(chat: Chat, fruit: UUID) -> None:
    first = chat.finished(chat.start("What colour is a pear?", mode=Mode.KNOWLEDGE, base=fruit))
    asked = len(chat.server.requests)
    second = ask_on(chat, first, "And its tree?", in_own_words=True)
    assert len(chat.server.requests) <= asked + 1
    assert second.searched_for == ""
    assert second.retrieval
    assert second.retrieval.question == "And its tree?"


def test_follow_up_without_a_model_is_searched_for_with_the_question_before(chat: Chat, fruit: UUID) -> None:
    first = chat.finished(chat.start("What colour is a pear?", "", Mode.KNOWLEDGE, fruit))
    second = ask_on(chat, first, "And its tree?", "")
    assert second.searched_for == "What colour is a pear? And its tree?"


def test_thanks_reach_the_model_without_a_search(chat: Chat, fruit: UUID) -> None:
    first = chat.finished(chat.start("What colour is a pear?", mode=Mode.KNOWLEDGE, base=fruit))
    with patch.object(Retriever, "retrieve", side_effect=AssertionError):
        second = ask_on(chat, first, "Thanks!")
    assert (second.state, second.retrieval) == (MessageState.DONE, None)
    told = [message["content"] for message in chat.server.requests[-1].body["messages"]]
    assert told[1:] == ["What colour is a pear?", first.content, "Thanks!"]


def test_what_passages_do_not_support_is_noted(chat: Chat, fruit: UUID) -> None:
    begun = chat.ask("What colour is a pear?", Mode.KNOWLEDGE, fruit)

    async def answer(*_arguments: object) -> AsyncIterator[Event]:
        yield PassagesFound(chat.core.services.retriever.retrieve(chat.core.user, Scope.of(fruit), "pear"))
        yield ModelChosen(ChatModel("fake", "http://127.0.0.1:1/v1", "test"))
        yield TextPiece("A pear is green [1]. It weighs 340 g [1].")

    with patch("kb.answers.producer.answer", answer):
        chat.answers.start(chat.core.user, begun.id, "fake")
        found = chat.finished(begun.id)
    (sentence,) = found.unsupported
    assert "340" in sentence.sentence
    assert any("340" in missing for missing in sentence.missing)


# --- stop ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("held")
def test_stop_closes_the_request_and_keeps_the_text(chat: Chat) -> None:
    message_id = chat.start("A long story", "long")
    chat.arrived(message_id, "word3")
    chat.answers.stop(chat.core.user, chat.run(message_id))
    assert chat.server.requests[-1].ended.wait(timeout=10)
    message = chat.finished(message_id)
    assert message.state is MessageState.STOPPED
    assert message.content.startswith("word0 word1 word2 word3")
    assert chat.server.requests[-1].tokens_sent < LONG_TOKENS
    assert follow(chat.answers, chat.core.user, chat.run(message_id))[-1].ended
    assert chat.answers.read(chat.core.user, chat.run(message_id)).text == message.content


@pytest.mark.usefixtures("held")
def test_stop_during_a_piece_is_not_lost(chat: Chat) -> None:
    ids = [chat.start("A long story", "long") for _ in range(20)]
    for message_id in ids:
        chat.arrived(message_id, "word1")
        chat.answers.stop(chat.core.user, chat.run(message_id))
    messages = [chat.finished(message_id) for message_id in ids]
    assert {message.state for message in messages} == {MessageState.STOPPED}


def test_stopped_answer_can_be_regenerated(chat: Chat) -> None:
    with chat.server.held(CHAT):
        message_id = chat.start("Question", "long")
        chat.arrived(message_id, "word1")
        chat.answers.stop(chat.core.user, chat.run(message_id))
        chat.finished(message_id)
    wait_until(lambda: chat.answers.read(chat.core.user, chat.run(message_id)).ended)
    again = chat.core.services.messages.regenerate(chat.core.user, message_id, chat.run(message_id))
    assert again
    chat.answers.start(chat.core.user, again.id, "fake")
    message = chat.finished(again.id)
    assert (message.state, message.content) == (MessageState.DONE, "You asked: Question")
    wait_until(lambda: chat.answers.read(chat.core.user, chat.run(again.id)).ended)
    assert chat.answers.read(chat.core.user, chat.run(again.id)).text == "You asked: Question"
    assert chat.message(message_id).state is MessageState.STOPPED  # the old one stays beside it


@pytest.mark.usefixtures("held")
def test_another_web_process_can_follow_and_stop(chat: Chat) -> None:
    other = build_answers(chat.core.services, chat.server)
    message_id = chat.start("A long story", "long")
    wait_until(lambda: "word1" in other.read(chat.core.user, chat.run(message_id)).text)
    other.stop(chat.core.user, chat.run(message_id))
    assert chat.finished(message_id).state is MessageState.STOPPED
    other.close()


# --- models that fail ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("wrong", "model_key_refused"),
        ("unknown", "model_not_found"),
        ("rate-limited", "model_rate_limited"),
        ("error-500", "model_server_error"),
        ("broken", "model_stream_broken"),
    ],
)
def test_model_failure_is_reported_and_keeps_the_text(chat: Chat, model: str, code: str) -> None:
    message_id = chat.start("What is Milvus, and why?", model)
    message = chat.finished(message_id)
    assert (message.state, message.error.code) == (MessageState.FAILED, code)
    if model == "broken":
        assert "You asked: What is Milvus, and why?".startswith(message.content.rstrip())
        assert 1 <= len(message.content.split()) <= BROKEN_AFTER_TOKENS
    else:
        assert message.content == ""
    assert follow(chat.answers, chat.core.user, chat.run(message_id))[-1].ended
    assert len(chat.server.requests) == 1  # nobody waits for silent second tries
    question = chat.core.services.messages.asked(chat.core.user, message_id).question
    assert question.content == "What is Milvus, and why?"


@pytest.mark.parametrize(
    ("model", "text", "detail"),
    [
        ("cut-off", "You asked:", "length limit reached"),
        ("filtered", "", "content filter"),
        ("speechless", "", "no text"),
    ],
)
def test_answer_that_ended_early_is_failed(chat: Chat, model: str, text: str, detail: str) -> None:
    message = chat.finished(chat.start("What is Milvus, and why?", model))
    assert (message.state, message.error.code) == (MessageState.FAILED, "model_stopped")
    assert message.error.values["detail"] == detail
    assert message.content.startswith(text)
    assert bool(message.content) == bool(text)


def test_slow_retrievals_do_not_block_other_answers(chat: Chat, fruit: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on, retrieve = threading.Event(), Retriever.retrieve

    def wait(*arguments: object) -> Retrieval:
        assert goes_on.wait(60)
        return retrieve(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Retriever, "retrieve", wait)
    answers = build_answers(chat.core.services, chat.server)
    own = Chat(chat.core, answers, chat.server)
    waiting = [own.start("What colour is a pear?", "", Mode.KNOWLEDGE, fruit) for _ in range(40)]
    assert own.finished(own.start("Question")).content == "You asked: Question"
    goes_on.set()
    assert {own.finished(message_id).state for message_id in waiting} == {MessageState.DONE}
    answers.close()


def test_silent_model_times_out(core: Core, model_server: ModelServer) -> None:
    answers = build_answers(core.services, model_server, llm_timeout_seconds=0.5)
    chat = Chat(core, answers, model_server)
    message = chat.finished(chat.start("Question", "silent"))
    assert (message.error.code, message.error.values["seconds"]) == ("model_timeout", "0.5")
    answers.close()


def test_unreachable_model_fails_the_answer(core: Core, model_server: ModelServer) -> None:
    services, gone = core.services, ChatModel("fake", f"http://127.0.0.1:{free_port()}/v1", "test")
    answers = build_answers(services, model_server, find_model=lambda _user, _wanted: gone)
    chat = Chat(core, answers, model_server)
    assert chat.finished(chat.start("Question")).error.code == "model_unreachable"
    answers.close()


def test_failed_model_list_keeps_the_passages(core: Core, fruit: UUID, model_server: ModelServer) -> None:
    services = core.services

    def fail(_user: UUID, _wanted: str) -> ChatModel | None:
        raise ModelUnreachable(host="box", model="")

    answers = build_answers(services, model_server, find_model=fail)
    chat = Chat(core, answers, model_server)
    message = chat.finished(chat.start("What colour is a pear?", "", Mode.KNOWLEDGE, fruit))
    assert (message.state, message.error.code) == (MessageState.FAILED, "model_unreachable")
    assert message.retrieval is not None
    assert len(message.retrieval.passages) == 1
    answers.close()


def test_chat_without_a_model_fails(chat: Chat) -> None:
    message = chat.finished(chat.start("Question", ""))
    assert (message.state, message.error.code) == (MessageState.FAILED, "no_chat_model")


def test_api_key_is_not_stored_with_the_error(core: Core, model_server: ModelServer) -> None:
    answers = build_answers(core.services, model_server, "wrong")
    chat = Chat(core, answers, model_server)
    message = chat.finished(chat.start("Question", "fake"))
    assert chat.server.requests[-1].key == "wrong"
    assert message.error.code == "model_key_refused"
    assert "wrong" not in json.dumps(message.error.values)
    answers.close()


# --- services that fail ----------------------------------------------------------------------------------------


def test_unavailable_milvus_fails_the_answer(chat: Chat, fruit: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_arguments: object) -> Retrieval:
        raise MilvusUnavailable(detail="gone")

    monkeypatch.setattr(Retriever, "retrieve", away)
    answers = build_answers(chat.core.services, chat.server)
    own = Chat(chat.core, answers, chat.server)
    message = own.finished(own.start("What colour is a pear?", "fake", Mode.KNOWLEDGE, fruit))
    assert (message.state, message.error.code) == (MessageState.FAILED, "milvus_unavailable")
    answers.close()


def test_defect_fails_the_answer(chat: Chat, fruit: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Retriever, "retrieve", lambda *_arguments: 1 / 0)
    answers = build_answers(chat.core.services, chat.server)
    own = Chat(chat.core, answers, chat.server)
    message = own.finished(own.start("What colour is a pear?", "fake", Mode.KNOWLEDGE, fruit))
    assert (message.state, message.error.code) == (MessageState.FAILED, "answer_failed")
    answers.close()


def test_saving_waits_for_the_database(
    chat: Chat, monkeypatch: pytest.MonkeyPatch, reaper_looks: Callable[[], int]
) -> None:
    finish, tries, is_back = chat.core.services.messages.finish, [], threading.Event()

    def flaky(*arguments: object, **values: object) -> bool:
        tries.append(1)
        if not is_back.is_set():
            raise DatabaseUnavailable(detail="restarting")
        return finish(*arguments, **values)  # type: ignore[arg-type]

    monkeypatch.setattr(Messages, "finish", lambda _self, *a, **v: flaky(*a, **v))
    monkeypatch.setattr("kb.answers.producer.SAVE_PAUSE_SECONDS", 0.01)
    message_id = chat.start("Question")
    wait_until(lambda: len(tries) > 5)
    assert not chat.answers.read(chat.core.user, chat.run(message_id)).ended
    other = build_answers(chat.core.services, chat.server)  # of another web process
    other.watch_for_dead()
    wait_until(lambda: reaper_looks() > 3, what="the looks")
    assert chat.message(message_id).state is MessageState.STREAMING
    other.close()
    is_back.set()
    message = chat.finished(message_id)
    assert (message.state, message.content) == (MessageState.DONE, "You asked: Question")


def test_two_starts_of_an_answer_ask_the_model_once(chat: Chat) -> None:
    for number in range(5):
        message = chat.ask(f"Question {number}")
        start = partial(chat.answers.start, chat.core.user, message.id, "fake")
        asked = len(chat.server.requests)
        with ThreadPoolExecutor(2) as pool:
            for started in [pool.submit(start), pool.submit(start)]:
                started.result(timeout=20)
        chat.finished(message.id)
        follow(chat.answers, chat.core.user, chat.run(message.id))
        assert chat.answers.read(chat.core.user, chat.run(message.id)).text == f"You asked: Question {number}"
        assert len(chat.server.requests) == asked + 1


def test_finished_answer_is_not_produced_again(chat: Chat) -> None:
    message_id = chat.start("Question")
    chat.finished(message_id)
    wait_until(lambda: chat.answers.read(chat.core.user, chat.run(message_id)).ended)
    asked = len(chat.server.requests)
    chat.answers.start(chat.core.user, message_id, "fake")
    answer = chat.answers.read(chat.core.user, chat.run(message_id))
    assert (answer.text, answer.ended) == ("You asked: Question", True)
    assert len(chat.server.requests) == asked


def test_answer_marked_interrupted_before_it_began_is_produced(chat: Chat) -> None:
    message = chat.ask("Question")
    chat.core.services.messages.finish(chat.core.user, message.id, MessageState.INTERRUPTED, said(""))
    chat.answers.start(chat.core.user, message.id, "fake")
    wait_until(lambda: chat.message(message.id).state is MessageState.DONE)
    assert chat.message(message.id).content == "You asked: Question"


def test_retry_before_the_first_try_has_ended_is_produced(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    send_end = Producer._send_end

    async def send_late(producer: Producer, run: Run) -> None:
        await asyncio.sleep(0.5)
        await send_end(producer, run)

    monkeypatch.setattr(Producer, "_send_end", send_late)
    message_id = chat.start("Question", "error-500")
    assert chat.finished(message_id).state is MessageState.FAILED
    chat.core.services.messages.regenerate(chat.core.user, message_id, chat.run(message_id))
    chat.answers.start(chat.core.user, message_id, "fake")
    message = chat.finished(message_id)
    assert (message.state, message.content) == (MessageState.DONE, "You asked: Question")


@pytest.fixture
def own_chat(
    own_redis: Redis, make_settings: MakeSettings, milvus_url: str, embedding: HashedWords, model_server: ModelServer
) -> Iterator[Chat]:
    """A chat with a Redis of its own, which the test may stop."""
    with open_core(make_settings(redis_url=own_redis.url, milvus_uri=milvus_url), embedding) as core:
        answers = build_answers(core.services, model_server)
        yield Chat(core, answers, model_server)
        answers.close()


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (["a \ud83d", "\ude00 b"], "a 😀 b"),
        (["a \ud83d", " b"], "a � b"),
        (["nul\0 \ude00"], "nul �"),
        (["end \ud83d"], "end "),
    ],
)
def test_text_that_no_store_accepts_is_replaced(pieces: list[str], text: str) -> None:
    taken = GrowingText()
    for piece in pieces:
        taken.add(piece)
    assert taken.whole == text


@pytest.mark.parametrize("model", ["think", "think-no-opening", "reasoning-content"])
def test_reasoning_is_streamed_apart_from_the_answer(chat: Chat, model: str) -> None:
    message_id = chat.start("Question", model)
    text = reasoning = ""
    for update in follow(chat.answers, chat.core.user, chat.run(message_id)):
        if update.restarts:
            text = reasoning = ""
        text, reasoning = text + update.text, reasoning + update.reasoning
    message = chat.message(message_id)
    assert text == message.content == ANSWER
    assert reasoning == message.reasoning
    assert " ".join(reasoning.split()) == "The user asks about refunds. Passage [2] is not relevant."


def test_reasoning_is_not_sent_back_to_the_model(chat: Chat) -> None:
    first = chat.finished(chat.start("First question", "think"))
    again = chat.core.services.messages.ask(chat.core.user, first.conversation_id, "Second question")
    chat.answers.start(chat.core.user, again.id, "fake")
    chat.finished(again.id)
    told = [message["content"] for message in chat.server.requests[-1].body["messages"]]
    assert told[1:] == ["First question", ANSWER, "Second question"]


def test_text_that_turns_out_to_be_reasoning_is_sent_again() -> None:
    running = Run(uuid4(), uuid4(), Question(uuid4(), "?", Mode.LLM, lambda: None))
    running.take(Reasoning("a"))
    running.take(TextPiece("b"))
    running.text.sent, running.reasoning.sent = 1, 1
    running.stage_sent, running.thought_ms_sent = running.stage_now, running.thought_ms
    assert running.unsent() == {}
    running.take(TextWasReasoning())
    running.take(TextPiece("c"))
    assert running.unsent().items() >= {"restarts": "1", "reasoning": "ab", "text": "c"}.items()


@pytest.mark.usefixtures("held")
def test_first_text_is_streamed_at_once(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kb.answers.producer.BATCH_SECONDS", 3600)
    run_id = chat.run(chat.start("A question of several words"))
    wait_until(lambda: bool(chat.answers.read(chat.core.user, run_id).text), what="the first words")


def test_reading_may_wait_for_what_comes_next(chat: Chat) -> None:
    run_id, position, text = chat.run(chat.start("Question", "slow")), START, ""
    for _ in range(20):  # without waiting, these take less time than the model's first word
        update = chat.answers.read(chat.core.user, run_id, position, wait_seconds=0 if text else 4)
        position, text = update.position, text + update.text
    assert text.startswith("You")


def test_waiting_for_what_comes_next_ends_in_time(chat: Chat) -> None:
    run_id, position, is_silent = chat.run(chat.start("Question", "silent")), START, False
    while not is_silent:
        update = chat.answers.read(chat.core.user, run_id, position, wait_seconds=0.3)
        position, is_silent = update.position, update.position == position


def test_reading_asks_sql_once(chat: Chat) -> None:
    message_id = chat.start("Question")
    follow(chat.answers, chat.core.user, chat.run(message_id))
    run_id = chat.run(message_id)
    with patch.object(Database, "read", side_effect=AssertionError):
        assert chat.answers.read(chat.core.user, run_id).ended


def test_answer_takes_few_sql_statements(chat: Chat) -> None:
    message = chat.ask("Question")
    run_id = chat.run(message.id)
    with counted_statements(chat.core.services.database) as statements:
        chat.answers.start(chat.core.user, message.id, "fake")
        wait_until(lambda: chat.answers.read(chat.core.user, run_id).ended)
    assert len(statements) <= 11, statements


@pytest.mark.parametrize("model", ["fake", ""])
def test_question_takes_at_most_25_sql_statements(chat: Chat, fruit: UUID, model: str) -> None:
    """From the page's `ask` to the saved answer, with and without a model."""
    services, user = chat.core.services, chat.core.user
    with counted_statements(services.database) as statements:
        answer = ask_as_the_page_does(services, chat.answers, user, fruit, "Which colour has a pear?", model)
    assert answer.state is MessageState.DONE
    assert answer.retrieval
    assert answer.retrieval.passages
    assert len(statements) <= 25, statements


@pytest.mark.usefixtures("held")
def test_other_users_cannot_read_or_stop_an_answer(chat: Chat) -> None:
    message_id = chat.start("How are you today my friend?", "slow")
    for call in (chat.answers.read, chat.answers.stop):
        with pytest.raises(NotFound):
            call(chat.core.stranger, chat.run(message_id))
    chat.answers.stop(chat.core.user, chat.run(message_id))
    chat.finished(message_id)


def test_answer_survives_the_loss_of_redis(own_chat: Chat, own_redis: Redis) -> None:
    with own_chat.server.held(CHAT):
        message_id = own_chat.start("How are you today my friend?")
        own_chat.arrived(message_id, "You")
        own_redis.kill()
    with pytest.raises(RedisUnavailable):
        own_chat.answers.read(own_chat.core.user, own_chat.run(message_id))
    message = own_chat.finished(message_id)
    assert (message.state, message.content) == (MessageState.DONE, "You asked: How are you today my friend?")


def test_answer_is_saved_without_redis(own_chat: Chat, own_redis: Redis) -> None:
    own_redis.kill()
    message = own_chat.finished(own_chat.start("Question"))
    assert (message.state, message.content) == (MessageState.DONE, "You asked: Question")


@pytest.mark.usefixtures("held")
def test_text_is_streamed_once_redis_is_back(own_chat: Chat, own_redis: Redis) -> None:
    message_id = own_chat.start("A long story", "long")
    own_chat.arrived(message_id, "word1")
    own_redis.kill()
    time.sleep(0.5)
    own_redis.start()
    own_chat.arrived(message_id, "word60")
    own_chat.answers.stop(own_chat.core.user, own_chat.run(message_id))
    content = own_chat.finished(message_id).content
    wait_until(lambda: own_chat.answers.read(own_chat.core.user, own_chat.run(message_id)).ended)
    assert content.startswith(" ".join(f"word{number}" for number in range(60)))
    assert content.endswith(own_chat.answers.read(own_chat.core.user, own_chat.run(message_id)).text)


# --- processes that end ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("held")
def test_closing_saves_running_answers(chat: Chat) -> None:
    answers = build_answers(chat.core.services, chat.server)
    own = Chat(chat.core, answers, chat.server)
    message_id = own.start("A long story", "long")
    own.arrived(message_id, "word2")
    answers.close()
    message = chat.message(message_id)
    assert message.state is MessageState.INTERRUPTED
    assert message.content.startswith("word0 word1 word2")


def test_answer_of_a_killed_process_is_closed_with_its_text(chat: Chat) -> None:
    message = chat.ask("A long story")
    settings = chat.core.services.settings
    given = {
        "home": str(settings.home),
        "redis_url": settings.redis_url,
        "milvus_uri": settings.milvus_uri,
        "user": str(chat.core.user),
        "message": str(message.id),
        "base_url": chat.server.base_url,
    }
    producer = subprocess.Popen(
        [sys.executable, str(PRODUCER), json.dumps(given)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    try:
        wait_until(
            lambda: "word3" in chat.answers.read(chat.core.user, chat.run(message.id)).text, 30, "the first words"
        )
        chat.answers.watch_for_dead()
        assert chat.message(message.id).state is MessageState.STREAMING
    finally:
        producer.send_signal(signal.SIGKILL)
        producer.wait()
    found = chat.finished(message.id)
    assert found.state is MessageState.INTERRUPTED
    assert found.content.startswith("word0 word1 word2 word3")
    # A page that follows the stream hears of it.
    assert follow(chat.answers, chat.core.user, chat.run(message.id))[-1].ended
    again = chat.core.services.messages.regenerate(chat.core.user, message.id, chat.run(message.id))
    assert again
    chat.answers.start(chat.core.user, again.id, "fake")
    assert chat.finished(again.id).content == "You asked: A long story"


def test_cut_off_answer_is_written_on(chat: Chat) -> None:
    user = chat.core.user
    begun = chat.finished(chat.start("What is Milvus, and why?", "cut-off"))
    assert begun.content.startswith("You asked:")
    more = chat.core.services.messages.go_on(user, begun.id, begun.run_id)
    assert more
    chat.answers.start(user, more.id, "fake")
    whole = chat.finished(begun.id)
    assert whole.state is MessageState.DONE
    assert whole.content.startswith(begun.content + "You asked: ")  # the fake model repeats what it was told last
    told = chat.server.requests[-1].body["messages"]
    assert [message["role"] for message in told] == ["system", "user", "assistant", "user"]
    assert told[2]["content"] == begun.content
    assert chat.answers.read(user, chat.run(begun.id)).text == whole.content


def test_answer_that_is_written_on_keeps_its_passages(chat: Chat, fruit: UUID) -> None:
    user = chat.core.user
    begun = chat.finished(chat.start("What colour is a pear?", "cut-off", Mode.KNOWLEDGE, fruit))
    more = chat.core.services.messages.go_on(user, begun.id, begun.run_id)
    assert more
    with patch.object(Retriever, "retrieve", side_effect=AssertionError):
        chat.answers.start(user, more.id, "fake")
        whole = chat.finished(begun.id)
    assert (whole.state, whole.retrieval) == (MessageState.DONE, begun.retrieval)
    assert "A pear is green." in chat.server.requests[-1].body["messages"][0]["content"]


def test_many_processes_may_close_dead_answers(chat: Chat) -> None:
    messages = [chat.ask(f"Question {number}") for number in range(5)]  # nobody produces their answers
    others = [build_answers(chat.core.services, chat.server) for _ in range(3)]
    for answers in [chat.answers, *others]:
        answers.watch_for_dead()
    for message in messages:
        assert chat.finished(message.id).state is MessageState.INTERRUPTED
    for answers in others:
        answers.close()


@pytest.mark.usefixtures("held")
def test_live_answers_are_not_closed(chat: Chat, reaper_looks: Callable[[], int]) -> None:
    message_id = chat.start("A long story", "long")
    chat.arrived(message_id, "word3")
    other = build_answers(chat.core.services, chat.server)
    other.watch_for_dead()
    wait_until(lambda: reaper_looks() > 5, what="the looks")
    assert chat.message(message_id).state is MessageState.STREAMING
    other.close()
    chat.answers.stop(chat.core.user, chat.run(message_id))
    chat.finished(message_id)


def test_one_missed_sign_of_life_closes_nothing(chat: Chat, reaper_looks: Callable[[], int]) -> None:
    """Redis may have restarted without its data."""
    alive = kb_redis.answer_key(chat.run((message := chat.ask("Question")).id), "alive")
    other = build_answers(chat.core.services, chat.server)
    streaming, looks = chat.core.services.messages.streaming, 0

    def see() -> list[Streaming]:
        nonlocal looks
        looks += 1
        if looks % 2:  # a sign of life at every other look
            chat.core.services.redis.delete(alive)
        else:
            chat.core.services.redis.set(alive, 1)
        return streaming()

    with patch.object(chat.core.services.messages, "streaming", see):
        other.watch_for_dead()
        wait_until(lambda: looks > 8, what="the looks")
        assert chat.message(message.id).state is MessageState.STREAMING
        other.close()


def test_nothing_is_closed_while_redis_is_down(
    own_chat: Chat, own_redis: Redis, reaper_looks: Callable[[], int]
) -> None:
    message = own_chat.ask("Question")
    own_redis.kill()
    own_chat.answers.watch_for_dead()
    wait_until(lambda: reaper_looks() > 5, what="the looks")
    assert own_chat.message(message.id).state is MessageState.STREAMING
    own_redis.start()
    assert own_chat.finished(message.id).state is MessageState.INTERRUPTED


def test_producer_corrects_a_mistaken_interruption(chat: Chat) -> None:
    """For example, if Redis loses the signs of life for several seconds."""
    with chat.server.held(CHAT):
        message_id = chat.start("A long story")
        chat.arrived(message_id, "You")
        assert chat.core.services.messages.finish(chat.core.user, message_id, MessageState.INTERRUPTED, said("You"))
    wait_until(lambda: chat.message(message_id).state is MessageState.DONE, 20, "the whole answer")
    assert chat.message(message_id).content == "You asked: A long story"


@pytest.mark.usefixtures("held")
def test_deleting_the_conversation_ends_its_answer(chat: Chat) -> None:
    chat.answers.watch_for_dead()
    message_id = chat.start("A long story", "long")
    chat.arrived(message_id, "word3")
    conversations, conversation_id = chat.core.services.conversations, chat.message(message_id).conversation_id
    conversations.delete(chat.core.user, conversation_id)
    assert chat.server.requests[-1].ended.wait(timeout=10)
    wait_until(lambda: not chat.core.services.messages.streaming(), what="the answer's end")
    conversations.restore(chat.core.user, conversation_id)
    message = chat.message(message_id)
    assert message.state is MessageState.STOPPED
    assert message.content.startswith("word0 word1 word2 word3")


# --- titles ----------------------------------------------------------------------------------------------------


@pytest.fixture
def naming(core: Core, model_server: ModelServer) -> Iterator[Chat]:
    """The model names conversations."""
    answers = build_answers(core.services, model_server, has_titles=True)
    yield Chat(core, answers, model_server)
    answers.close()


def title(chat: Chat, message: Message) -> str:
    return chat.core.services.conversations.get(chat.core.user, message.conversation_id).title


def wait_for_titles(chat: Chat) -> None:
    wait_until(lambda: not chat.answers._running, what="the runs' end")
    wait_until(lambda: not chat.answers._beside, what="the titles")


def test_first_answer_brings_a_title(naming: Chat) -> None:
    message = naming.finished(naming.start("Why?", "fake"))
    wait_until(lambda: title(naming, message) != "Why?", what="the title")
    assert title(naming, message) == "You asked: Answer: You asked: Why?"  # the model repeats the request's last line
    asked = len(naming.server.requests)
    second = naming.core.services.messages.ask(naming.core.user, message.conversation_id, "And now?")
    naming.answers.start(naming.core.user, second.id, "fake")
    follow(naming.answers, naming.core.user, naming.run(second.id))
    wait_for_titles(naming)
    assert len(naming.server.requests) == asked + 1


def test_title_that_the_model_does_not_give_is_logged_only(naming: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    async def refuse(*_arguments: object) -> str:
        tries.append(1)
        raise ModelUnreachable(host="h", model="m")

    monkeypatch.setattr("kb.answers.service.write_title", refuse)
    with capture_logs() as logs:
        message = naming.finished(naming.start("Why?", "fake"))
        wait_until(lambda: any(entry["event"] == "title.failed" for entry in logs), what="the log")
    assert tries == [1]
    assert (title(naming, message), message.state) == ("Why?", MessageState.DONE)


def test_failed_answer_brings_no_title(naming: Chat) -> None:
    asked = len(naming.server.requests)
    message = naming.finished(naming.start("Why?", "error-500"))
    follow(naming.answers, naming.core.user, naming.run(message.id))
    wait_for_titles(naming)
    assert len(naming.server.requests) == asked + 1
    assert title(naming, message) == "Why?"


def test_answer_of_another_user_is_not_found(chat: Chat) -> None:
    message = chat.ask("Question")
    calls: list[Callable[[], object]] = [
        lambda: chat.answers.start(chat.core.stranger, message.id),
        lambda: chat.answers.read(chat.core.stranger, chat.run(message.id)),
        lambda: chat.answers.stop(chat.core.stranger, chat.run(message.id)),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            call()
    assert chat.message(message.id).state is MessageState.STREAMING


def test_redis_keys_expire(chat: Chat) -> None:
    message_id = chat.start("Question")
    wait_until(lambda: chat.answers.read(chat.core.user, chat.run(message_id)).ended)
    client = chat.core.services.redis
    keys = list(client.scan_iter(kb_redis.answer_key(chat.run(message_id), "*")))
    assert keys == [kb_redis.answer_key(chat.run(message_id), "stream")]
    assert 0 < client.ttl(keys[0]) <= 3600


# --- checks by a model -----------------------------------------------------------------------------------------


def answered(chat: Chat, fruit: UUID, text: str = "A pear is green [1]. It weighs 340 g [1].") -> Message:
    """A complete answer of a model that was given passages."""
    begun = chat.ask("What colour is a pear?", Mode.KNOWLEDGE, fruit)
    found = chat.core.services.retriever.retrieve(chat.core.user, Scope.of(fruit), "pear")
    parts = said(text, "fake", retrieval=found)
    chat.core.services.messages.finish(chat.core.user, begun.id, MessageState.DONE, parts)
    return begun


def check(chat: Chat, message: Message, model: str) -> SupportPart:
    chat.answers.check_support(chat.core.user, message.id, model)
    support = partial(chat.core.services.messages.support, chat.core.user, message.id)
    wait_until(lambda: not support().asked_at, what="the check's end")
    return support()


def test_model_checks_an_answer_and_the_message_keeps_the_result(
    chat: Chat, fruit: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = answered(chat, fruit)
    monkeypatch.setitem(chat.server.streams, "judge", streamed("1: yes\n", "2: no - 340 g"))
    found = check(chat, message, "judge")
    assert found == SupportPart((Unsupported("It weighs 340 g [1].", ("340 g",)),), "judge")
    system, asked = (told["content"] for told in chat.server.requests[-1].body["messages"])
    assert "A pear is green." in system
    assert asked.splitlines()[1:] == ["1: A pear is green [1].", "2: It weighs 340 g [1]."]
    (listed,) = chat.core.services.messages.shown(chat.core.user, message.conversation_id)[1:]
    assert (listed.support, listed.content) == (found, chat.message(message.id).content)
    monkeypatch.setitem(chat.server.streams, "mild", streamed("1: yes"))
    assert check(chat, message, "mild") == SupportPart((), "mild", unjudged=1)


@pytest.mark.parametrize(
    ("model", "code"),
    [("wrong", ModelKeyRefused.code), ("fake", CheckUnreadable.code), ("", NoChatModel.code)],
)
def test_failed_check_keeps_what_was_found_before(chat: Chat, fruit: UUID, model: str, code: str) -> None:
    message = answered(chat, fruit)
    before = SupportPart((Unsupported("It weighs 340 g [1].", ("340 g",)),))
    chat.core.services.messages.note_support(chat.core.user, message.id, before)
    failed = check(chat, message, model)
    assert (failed.unsupported, failed.checked_by, failed.code) == (before.unsupported, "", code)


def test_check_is_begun_once(chat: Chat, fruit: UUID) -> None:
    message, messages = answered(chat, fruit), chat.core.services.messages
    assert messages.begin_check(chat.core.user, message.id, 1_000.0, 900.0)
    assert not messages.begin_check(chat.core.user, message.id, 1_010.0, 910.0)
    assert messages.begin_check(chat.core.user, message.id, 2_000.0, 1_900.0)  # the process of the first one died
    with pytest.raises(NotFound):
        messages.begin_check(uuid4(), message.id, 3_000.0, 2_900.0)
