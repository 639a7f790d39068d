"""Answers run in the background, are followed through Redis and saved in SQL, whatever goes wrong."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from kb import redis as kb_redis
from kb.answering import Question
from kb.answers import Answers, Update, _Running
from kb.errors import DatabaseUnavailable, MilvusUnavailable, ModelUnreachable, NotFound, RedisUnavailable
from kb.llm import ChatModel
from kb.models import Message, MessageState, Mode, Retrieval
from kb.retrieval import Retriever
from kb.services import Services, WorkerParts
from tests.conftest import Core, MakeSettings, open_core
from tests.fakes.embedding import HashedWords
from tests.fakes.model_server import BROKEN_AFTER_TOKENS, CHAT, LONG_TOKENS, ModelServer
from tests.real_services import ROOT, Redis, free_port, wait_until

pytestmark = pytest.mark.usefixtures("unkept_connections")

PRODUCER = Path(__file__).parent / "answer_producer.py"


@pytest.fixture(scope="module")
def model_server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


def build_answers(services: Services, server: ModelServer, **settings: object) -> Answers:
    """A web process's answers; the id that is wanted names a model of `server`, and nothing means none."""
    return Answers(
        services.settings.model_copy(update=settings),
        services.redis,
        services.conversations,
        services.retriever.retrieve,
        lambda wanted: ChatModel(wanted, server.base_url, "test") if wanted else None,
    )


@dataclass
class Chat:
    """A user who asks, and the models that can be asked."""

    core: Core
    answers: Answers
    server: ModelServer

    def ask(self, question: str, mode: Mode = Mode.LLM, knowledge_base: UUID | None = None) -> Message:
        conversations = self.core.services.conversations
        conversation = conversations.create(self.core.user, question, mode, knowledge_base)
        return conversations.ask(self.core.user, conversation.id, question)

    def start(self, question: str, model: str = "fake", mode: Mode = Mode.LLM, base: UUID | None = None) -> UUID:
        message = self.ask(question, mode, base)
        self.answers.start(self.core.user, message.id, model)
        return message.id

    def message(self, message_id: UUID) -> Message:
        return self.core.services.conversations.message(self.core.user, message_id)

    def finished(self, message_id: UUID, seconds: float = 20) -> Message:
        wait_until(lambda: self.message(message_id).state is not MessageState.STREAMING, seconds, "the answer's end")
        return self.message(message_id)

    def arrived(self, message_id: UUID, text: str) -> None:
        wait_until(lambda: text in self.answers.read(self.core.user, message_id).text, 30, "the text's arrival")


@pytest.fixture
def held(model_server: ModelServer) -> Iterator[None]:
    """No answer gets further than its half."""
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


def follow(answers: Answers, user: UUID, message_id: UUID) -> list[Update]:
    """As a page does: read what is new, again and again, until the end."""
    updates: list[Update] = []
    position, deadline = "0-0", time.monotonic() + 20
    while not (updates and updates[-1].ended):
        assert time.monotonic() < deadline
        updates.append(answers.read(user, message_id, position))
        position = updates[-1].position
        time.sleep(0.02)
    return updates


# --- the good end ----------------------------------------------------------------------------------------------


def test_an_answer_streams_and_is_saved(chat: Chat) -> None:
    message_id = chat.start("What is Milvus?", "slow")
    updates = follow(chat.answers, chat.core.user, message_id)
    texts = [update.text for update in updates if update.text]
    assert len(texts) > 2
    assert "".join(texts) == "You asked: What is Milvus?"
    message = chat.message(message_id)  # saved before the stream says so
    assert (message.state, message.content, message.model) == (MessageState.DONE, "".join(texts), "slow")
    assert (
        chat.answers.read(chat.core.user, message_id).text == message.content
    )  # from the start, as a new tab reads it


def test_a_knowledge_answer_rests_on_its_passages(chat: Chat, fruit: UUID) -> None:
    message_id = chat.start("What colour is a pear?", mode=Mode.KNOWLEDGE, base=fruit)
    updates = follow(chat.answers, chat.core.user, message_id)
    message = chat.message(message_id)
    assert message.content.endswith("[1].")
    assert message.retrieval is not None
    assert [passage.document_name for passage in message.retrieval.passages] == ["pears.md"]
    (seen,) = [update.retrieval for update in updates if update.retrieval]
    assert seen.passages == message.retrieval.passages
    prompt = chat.server.requests[-1].body["messages"]
    assert "A pear is green." in prompt[0]["content"]
    assert prompt[-1] == {"role": "user", "content": "What colour is a pear?"}


def test_without_a_model_the_best_sentences_answer(chat: Chat, fruit: UUID) -> None:
    message = chat.finished(chat.start("What colour is a green pear?", "", Mode.KNOWLEDGE, fruit))
    assert (message.state, message.model, message.error) == (MessageState.DONE, "", "")
    assert "**A pear is green\\.**" in message.content
    assert message.content.endswith("[1]")
    assert chat.server.requests == []


def test_testing_shows_passages_and_asks_no_model(chat: Chat, fruit: UUID) -> None:
    message = chat.finished(chat.start("What colour is a pear?", "fake", Mode.TEST, fruit))
    assert (message.state, message.content) == (MessageState.DONE, "")
    assert message.retrieval is not None
    assert len(message.retrieval.passages) == 1
    assert chat.server.requests == []


def test_with_nothing_found_no_model_is_asked(chat: Chat) -> None:
    empty = chat.core.knowledge_base("Empty")
    message = chat.finished(chat.start("What colour is a pear?", "fake", Mode.KNOWLEDGE, empty.id))
    assert (message.state, message.content) == (MessageState.DONE, "")
    assert message.retrieval is not None
    assert message.retrieval.passages == ()
    assert chat.server.requests == []


def test_the_conversation_so_far_is_told_to_the_model(chat: Chat) -> None:
    conversations = chat.core.services.conversations
    first = chat.finished(chat.start("First question"))
    again = conversations.ask(chat.core.user, first.conversation_id, "Second question")
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


def test_an_answer_that_runs_is_not_started_twice(chat: Chat) -> None:
    with chat.server.held(CHAT):
        message_id = chat.start("Question", "slow")
        chat.answers.start(chat.core.user, message_id, "fake")
    assert chat.finished(message_id).model == "slow"
    assert len(chat.server.requests) == 1


# --- stop ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("held")
def test_stop_closes_the_request_and_keeps_what_had_arrived(chat: Chat) -> None:
    message_id = chat.start("A long story", "long")
    chat.arrived(message_id, "word3")
    chat.answers.stop(chat.core.user, message_id)
    assert chat.server.requests[-1].ended.wait(timeout=10)
    message = chat.finished(message_id)
    assert message.state is MessageState.STOPPED
    assert message.content.startswith("word0 word1 word2 word3")
    assert chat.server.requests[-1].tokens_sent < LONG_TOKENS
    assert follow(chat.answers, chat.core.user, message_id)[-1].ended
    assert chat.answers.read(chat.core.user, message_id).text == message.content


@pytest.mark.usefixtures("held")
def test_a_stop_that_comes_together_with_a_piece_is_heard(chat: Chat) -> None:
    ids = [chat.start("A long story", "long") for _ in range(20)]
    for message_id in ids:
        chat.arrived(message_id, "word1")
        chat.answers.stop(chat.core.user, message_id)
    messages = [chat.finished(message_id) for message_id in ids]
    assert {message.state for message in messages} == {MessageState.STOPPED}


def test_a_stopped_answer_can_be_given_again(chat: Chat) -> None:
    with chat.server.held(CHAT):
        message_id = chat.start("Question", "long")
        chat.arrived(message_id, "word1")
        chat.answers.stop(chat.core.user, message_id)
        chat.finished(message_id)
    wait_until(lambda: chat.answers.read(chat.core.user, message_id).ended)
    chat.core.services.conversations.ask_again(chat.core.user, message_id)
    chat.answers.start(chat.core.user, message_id, "fake")
    message = chat.finished(message_id)
    assert (message.state, message.content) == (MessageState.DONE, "You asked: Question")
    wait_until(lambda: chat.answers.read(chat.core.user, message_id).ended)
    assert chat.answers.read(chat.core.user, message_id).text == "You asked: Question"


@pytest.mark.usefixtures("held")
def test_another_web_process_may_stop_and_follow(chat: Chat) -> None:
    other = build_answers(chat.core.services, chat.server)
    message_id = chat.start("A long story", "long")
    wait_until(lambda: "word1" in other.read(chat.core.user, message_id).text)
    assert not other.interrupt_if_dead(chat.core.user, message_id)
    other.stop(chat.core.user, message_id)
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
def test_a_model_that_fails_says_how_and_keeps_the_text(chat: Chat, model: str, code: str) -> None:
    message_id = chat.start("What is Milvus, and why?", model)
    message = chat.finished(message_id)
    assert (message.state, message.error) == (MessageState.FAILED, code)
    if model == "broken":
        assert "You asked: What is Milvus, and why?".startswith(message.content.rstrip())
        assert 1 <= len(message.content.split()) <= BROKEN_AFTER_TOKENS
    else:
        assert message.content == ""
    assert follow(chat.answers, chat.core.user, message_id)[-1].ended
    assert len(chat.server.requests) == 1  # nobody waits for silent second tries
    question, _history = chat.core.services.conversations.question_of(chat.core.user, message_id)
    assert question.content == "What is Milvus, and why?"


@pytest.mark.parametrize(
    ("model", "text", "detail"),
    [
        ("cut-off", "You asked:", "at its limit of length"),
        ("filtered", "", "by its content filter"),
        ("speechless", "", "without any text"),
    ],
)
def test_an_answer_that_its_model_ended_early_is_not_complete(chat: Chat, model: str, text: str, detail: str) -> None:
    message = chat.finished(chat.start("What is Milvus, and why?", model))
    assert (message.state, message.error) == (MessageState.FAILED, "model_stopped")
    assert message.error_values["detail"] == detail
    assert message.content.startswith(text)
    assert bool(message.content) == bool(text)


def test_answers_are_started_and_saved_while_many_retrievals_wait(
    chat: Chat, fruit: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_a_silent_model_times_out(core: Core, model_server: ModelServer) -> None:
    answers = build_answers(core.services, model_server, llm_timeout_seconds=0.5)
    chat = Chat(core, answers, model_server)
    message = chat.finished(chat.start("Question", "silent"))
    assert (message.error, message.error_values["seconds"]) == ("model_timeout", "0.5")
    answers.close()


def test_model_that_cannot_be_reached(core: Core, model_server: ModelServer) -> None:
    services, gone = core.services, ChatModel("fake", f"http://127.0.0.1:{free_port()}/v1", "test")
    answers = Answers(
        services.settings, services.redis, services.conversations, services.retriever.retrieve, lambda _: gone
    )
    chat = Chat(core, answers, model_server)
    assert chat.finished(chat.start("Question")).error == "model_unreachable"
    answers.close()


def test_model_list_that_fails_costs_no_passages(core: Core, fruit: UUID, model_server: ModelServer) -> None:
    services = core.services

    def fail(_wanted: str) -> ChatModel | None:
        raise ModelUnreachable(host="box", model="")

    answers = Answers(services.settings, services.redis, services.conversations, services.retriever.retrieve, fail)
    chat = Chat(core, answers, model_server)
    message = chat.finished(chat.start("What colour is a pear?", "", Mode.KNOWLEDGE, fruit))
    assert (message.state, message.error) == (MessageState.FAILED, "model_unreachable")
    assert message.retrieval is not None
    assert len(message.retrieval.passages) == 1
    answers.close()


def test_chat_without_a_model_says_so(chat: Chat) -> None:
    message = chat.finished(chat.start("Question", ""))
    assert (message.state, message.error) == (MessageState.FAILED, "no_chat_model")


def test_the_key_stands_nowhere_in_what_is_kept(core: Core, model_server: ModelServer) -> None:
    answers = build_answers(core.services, model_server, openai_api_key=SecretStr("wrong"))
    chat = Chat(core, answers, model_server)
    message = chat.finished(chat.start("Question", "fake"))
    assert chat.server.requests[-1].key == "wrong"
    assert message.error == "model_key_refused"
    assert "wrong" not in json.dumps(message.error_values)
    answers.close()


# --- services that fail ----------------------------------------------------------------------------------------


def test_a_milvus_that_is_away_fails_the_answer(chat: Chat, fruit: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_arguments: object) -> Retrieval:
        raise MilvusUnavailable(detail="gone")

    monkeypatch.setattr(Retriever, "retrieve", away)
    answers = build_answers(chat.core.services, chat.server)
    own = Chat(chat.core, answers, chat.server)
    message = own.finished(own.start("What colour is a pear?", "fake", Mode.KNOWLEDGE, fruit))
    assert (message.state, message.error) == (MessageState.FAILED, "milvus_unavailable")
    answers.close()


def test_a_defect_is_a_failed_answer(chat: Chat, fruit: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Retriever, "retrieve", lambda *_arguments: 1 / 0)
    answers = build_answers(chat.core.services, chat.server)
    own = Chat(chat.core, answers, chat.server)
    message = own.finished(own.start("What colour is a pear?", "fake", Mode.KNOWLEDGE, fruit))
    assert (message.state, message.error) == (MessageState.FAILED, "answer_failed")
    answers.close()


def test_a_database_that_is_away_at_the_end_is_waited_for(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    conversations = chat.core.services.conversations
    finish, tries, is_back = conversations.finish, [], threading.Event()

    def flaky(*arguments: object, **values: object) -> bool:
        tries.append(1)
        if not is_back.is_set():
            raise DatabaseUnavailable(detail="restarting")
        return finish(*arguments, **values)  # type: ignore[arg-type]

    monkeypatch.setattr(type(conversations), "finish", lambda _self, *a, **v: flaky(*a, **v))
    monkeypatch.setattr("kb.answers.SAVE_PAUSE_SECONDS", 0.01)
    message_id = chat.start("Question")
    wait_until(lambda: len(tries) > 5)
    assert not chat.answers.read(chat.core.user, message_id).ended
    other = build_answers(chat.core.services, chat.server)  # of another web process
    assert not other.interrupt_if_dead(chat.core.user, message_id)
    other.close()
    is_back.set()
    message = chat.finished(message_id)
    assert (message.state, message.content) == (MessageState.DONE, "You asked: Question")


def test_two_who_start_the_same_answer_get_one(chat: Chat) -> None:
    for number in range(5):
        message = chat.ask(f"Question {number}")
        start = partial(chat.answers.start, chat.core.user, message.id, "fake")
        asked = len(chat.server.requests)
        with ThreadPoolExecutor(2) as pool:
            for started in [pool.submit(start), pool.submit(start)]:
                started.result(timeout=20)
        chat.finished(message.id)
        follow(chat.answers, chat.core.user, message.id)
        assert chat.answers.read(chat.core.user, message.id).text == f"You asked: Question {number}"
        assert len(chat.server.requests) == asked + 1


def test_an_answer_that_was_given_meanwhile_is_not_given_again(chat: Chat) -> None:
    message_id = chat.start("Question")
    chat.finished(message_id)
    wait_until(lambda: chat.answers.read(chat.core.user, message_id).ended)
    asked = len(chat.server.requests)
    chat.answers.start(chat.core.user, message_id, "fake")
    answer = chat.answers.read(chat.core.user, message_id)
    assert (answer.text, answer.ended) == ("You asked: Question", True)
    assert len(chat.server.requests) == asked


def test_an_answer_that_is_taken_for_dead_before_it_begins_is_given(chat: Chat) -> None:
    message = chat.ask("Question")
    chat.core.services.conversations.finish(chat.core.user, message.id, MessageState.INTERRUPTED, "")
    chat.answers.start(chat.core.user, message.id, "fake")
    wait_until(lambda: chat.message(message.id).state is MessageState.DONE)
    assert chat.message(message.id).content == "You asked: Question"


def test_an_answer_tried_again_before_the_last_word_of_the_first_try_is_given(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_end = Answers._send_end

    async def send_late(answers: Answers, running: _Running) -> None:
        await asyncio.sleep(0.5)
        await send_end(answers, running)

    monkeypatch.setattr(Answers, "_send_end", send_late)
    message_id = chat.start("Question", "error-500")
    assert chat.finished(message_id).state is MessageState.FAILED
    chat.core.services.conversations.ask_again(chat.core.user, message_id)
    chat.answers.start(chat.core.user, message_id, "fake")
    message = chat.finished(message_id)
    assert (message.state, message.content) == (MessageState.DONE, "You asked: Question")


@pytest.fixture
def own_chat(
    own_redis: Redis, make_settings: MakeSettings, milvus_url: str, embedding: HashedWords, model_server: ModelServer
) -> Iterator[Chat]:
    """One whose Redis the test may take away."""
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
def test_what_no_store_would_take_is_kept_out_of_an_answer(pieces: list[str], text: str) -> None:
    question = Question(uuid4(), "?", Mode.LLM, None, [], lambda: None)
    running = _Running(uuid4(), uuid4(), datetime.now(UTC), question)
    for piece in pieces:
        running.add(piece)
    assert running.text == text


@pytest.mark.usefixtures("held")
def test_an_answer_of_somebody_else_is_not_read_or_stopped(chat: Chat) -> None:
    message_id = chat.start("How are you today my friend?", "slow")
    for call in (chat.answers.read, chat.answers.stop):
        with pytest.raises(NotFound):
            call(chat.core.stranger, message_id)
    chat.answers.stop(chat.core.user, message_id)
    chat.finished(message_id)


def test_an_answer_outlives_redis(own_chat: Chat, own_redis: Redis) -> None:
    with own_chat.server.held(CHAT):
        message_id = own_chat.start("How are you today my friend?")
        own_chat.arrived(message_id, "You")
        own_redis.kill()
    with pytest.raises(RedisUnavailable):
        own_chat.answers.read(own_chat.core.user, message_id)
    with pytest.raises(RedisUnavailable):
        own_chat.answers.interrupt_if_dead(own_chat.core.stranger, uuid4())
    message = own_chat.finished(message_id)
    assert (message.state, message.content) == (MessageState.DONE, "You asked: How are you today my friend?")


def test_an_answer_without_any_redis_is_saved(own_chat: Chat, own_redis: Redis) -> None:
    own_redis.kill()
    message = own_chat.finished(own_chat.start("Question"))
    assert (message.state, message.content) == (MessageState.DONE, "You asked: Question")


@pytest.mark.usefixtures("held")
def test_what_was_held_up_arrives_when_redis_is_back(own_chat: Chat, own_redis: Redis) -> None:
    message_id = own_chat.start("A long story", "long")
    own_chat.arrived(message_id, "word1")
    own_redis.kill()
    time.sleep(0.5)
    own_redis.start()
    own_chat.arrived(message_id, "word60")
    own_chat.answers.stop(own_chat.core.user, message_id)
    content = own_chat.finished(message_id).content
    wait_until(lambda: own_chat.answers.read(own_chat.core.user, message_id).ended)
    assert content.startswith(" ".join(f"word{number}" for number in range(60)))
    assert content.endswith(own_chat.answers.read(own_chat.core.user, message_id).text)


# --- processes that end ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("held")
def test_a_web_process_that_closes_saves_what_it_has(chat: Chat) -> None:
    answers = build_answers(chat.core.services, chat.server)
    own = Chat(chat.core, answers, chat.server)
    message_id = own.start("A long story", "long")
    own.arrived(message_id, "word2")
    answers.close()
    message = chat.message(message_id)
    assert message.state is MessageState.INTERRUPTED
    assert message.content.startswith("word0 word1 word2")


def test_an_answer_whose_process_was_killed_keeps_what_had_arrived(chat: Chat) -> None:
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
        wait_until(lambda: "word3" in chat.answers.read(chat.core.user, message.id).text, 30, "the first words")
        assert not chat.answers.interrupt_if_dead(chat.core.user, message.id)
    finally:
        producer.send_signal(signal.SIGKILL)
        producer.wait()
    assert chat.message(message.id).state is MessageState.STREAMING
    wait_until(lambda: chat.answers.interrupt_if_dead(chat.core.user, message.id), 15, "the loss noticed")
    found = chat.message(message.id)
    assert found.state is MessageState.INTERRUPTED
    assert found.content.startswith("word0 word1 word2 word3")
    assert not chat.answers.interrupt_if_dead(chat.core.user, message.id)
    assert chat.core.services.conversations.ask_again(chat.core.user, message.id)
    chat.answers.start(chat.core.user, message.id, "fake")
    assert chat.finished(message.id).content == "You asked: A long story"


def test_an_answer_without_a_sign_of_life_for_a_while_is_not_lost(chat: Chat) -> None:
    """Redis started again without its data, say, while another web process looked."""
    other = build_answers(chat.core.services, chat.server)

    def is_taken_for_dead() -> bool:
        chat.core.services.redis.flushall()
        return other.interrupt_if_dead(chat.core.user, message_id)

    with chat.server.held(CHAT):
        message_id = chat.start("A long story")
        chat.arrived(message_id, "You")
        wait_until(is_taken_for_dead, what="the mistake")
    other.close()
    wait_until(lambda: chat.message(message_id).state is MessageState.DONE, 20, "the whole answer")
    assert chat.message(message_id).content == "You asked: A long story"


def test_a_conversation_deleted_in_the_middle_harms_nothing(chat: Chat) -> None:
    message_id = chat.start("Question", "slow")
    conversation = chat.message(message_id).conversation_id
    chat.core.services.conversations.delete(chat.core.user, conversation)
    alive = kb_redis.answer_key(message_id, "alive")
    wait_until(lambda: not chat.core.services.redis.exists(alive))
    assert chat.finished(chat.start("Another")).state is MessageState.DONE


def test_another_users_answer_is_not_there(chat: Chat) -> None:
    message = chat.ask("Question")
    calls: list[Callable[[], object]] = [
        lambda: chat.answers.start(chat.core.stranger, message.id),
        lambda: chat.answers.interrupt_if_dead(chat.core.stranger, message.id),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            call()
    assert chat.message(message.id).state is MessageState.STREAMING


def test_nothing_stays_in_redis_for_ever(chat: Chat) -> None:
    message_id = chat.start("Question")
    wait_until(lambda: chat.answers.read(chat.core.user, message_id).ended)
    client = chat.core.services.redis
    keys = list(client.scan_iter(kb_redis.answer_key(message_id, "*")))
    assert keys == [kb_redis.answer_key(message_id, "stream")]
    assert 0 < client.ttl(keys[0]) <= 3600
