"""The runs of an answer: one at a time, and closed by the reaper when their process has ended."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest

from kb import redis as kb_redis
from kb.answers.producer import Producer
from kb.answers.run import Run
from kb.conversations import Streaming
from kb.models import MessageState
from tests.fakes.model_server import CHAT
from tests.kb.answers.chat import Chat, build_answers, follow
from tests.messages import said
from tests.real_services import ROOT, Redis, wait_until

PRODUCER = Path(__file__).parent / "producer.py"


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
        "user": str(chat.core.user.user_id),
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
    assert found.model == "long"  # else the page would not offer to write on
    # A page that follows the stream hears of it.
    assert follow(chat.answers, chat.core.user, chat.run(message.id))[-1].ended
    again = chat.core.services.messages.regenerate(chat.core.user, message.id, chat.run(message.id))
    assert again
    chat.answers.start(chat.core.user, again.id, "fake")
    assert chat.finished(again.id).content == "You asked: A long story"


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
