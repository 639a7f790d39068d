"""Models and services that fail while an answer is written."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable
from uuid import UUID

import pytest

from kb.access import Principal
from kb.conversations import Messages
from kb.errors import DatabaseUnavailable, MilvusUnavailable, ModelUnreachable, RedisUnavailable
from kb.llm import ChatModel
from kb.models import MessageState, Mode, Retrieval
from kb.retrieval import Retriever
from tests.conftest import Core
from tests.fakes.model_server import BROKEN_AFTER_TOKENS, CHAT, ModelServer
from tests.kb.answers.chat import Chat, build_answers, follow
from tests.real_services import Redis, free_port, wait_until


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

    def fail(_principal: Principal, _wanted: str) -> ChatModel | None:
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


def test_unavailable_milvus_fails_the_answer(chat: Chat, fruit: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_arguments: object) -> Retrieval:
        raise MilvusUnavailable(detail="gone")

    monkeypatch.setattr(Retriever, "retrieve", away)
    answers = build_answers(chat.core.services, chat.server)
    own = Chat(chat.core, answers, chat.server)
    message = own.finished(own.start("What colour is a pear?", "fake", Mode.KNOWLEDGE, fruit))
    assert (message.state, message.error.code) == (MessageState.FAILED, "milvus_unavailable")
    answers.close()


def test_width_of_a_failed_search_is_kept(chat: Chat, fruit: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_arguments: object) -> Retrieval:
        raise MilvusUnavailable(detail="gone")

    monkeypatch.setattr(Retriever, "retrieve", away)
    answers = build_answers(chat.core.services, chat.server)
    message = chat.ask("What colour is a pear?", Mode.KNOWLEDGE, fruit)
    answers.start(chat.core.user, message.id, "fake", widened=2)
    assert chat.finished(message.id).widened == 2
    (listed,) = chat.core.services.messages.shown(chat.core.user, message.conversation_id)[1:]
    assert listed.widened == 2  # what the page tries again with
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
def test_stop_works_without_redis(own_chat: Chat, own_redis: Redis) -> None:
    message_id = own_chat.start("A long story", "long")
    own_chat.arrived(message_id, "word1")
    own_redis.kill()
    own_chat.answers.stop(own_chat.core.user, own_chat.run(message_id))
    message = own_chat.finished(message_id)
    assert message.state is MessageState.STOPPED
    assert "word1" in message.content


@pytest.mark.usefixtures("held")
def test_answer_of_another_process_is_not_stopped_without_redis(own_chat: Chat, own_redis: Redis) -> None:
    message_id = own_chat.start("A long story", "long")
    other = build_answers(own_chat.core.services, own_chat.server)
    own_redis.kill()
    with pytest.raises(RedisUnavailable):
        other.stop(own_chat.core.user, own_chat.run(message_id))
    other.close()


@pytest.mark.usefixtures("held")
def test_whole_text_is_streamed_once_redis_is_back(own_chat: Chat, own_redis: Redis) -> None:
    message_id = own_chat.start("A long story", "long")
    own_chat.arrived(message_id, "word1")
    own_redis.kill()
    for kept in own_redis.folder.glob("appendonly*"):  # it has lost what it had; Redis 6 has a file, Redis 7 a folder
        shutil.rmtree(kept) if kept.is_dir() else kept.unlink()
    time.sleep(0.5)
    own_redis.start()
    own_chat.arrived(message_id, "word60")
    own_chat.answers.stop(own_chat.core.user, own_chat.run(message_id))
    content = own_chat.finished(message_id).content
    wait_until(lambda: own_chat.answers.read(own_chat.core.user, own_chat.run(message_id)).ended)
    assert content.startswith(" ".join(f"word{number}" for number in range(60)))
    assert own_chat.answers.read(own_chat.core.user, own_chat.run(message_id)).text == content
