"""Stopping an answer, and writing it again."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from unittest.mock import patch

import pytest

from kb.answering import Event
from kb.answers.streams import AnswerStreams
from kb.completions import TextPiece
from kb.models import MessageState
from tests.fakes.model_server import CHAT, LONG_TOKENS
from tests.kb.answers.chat import Chat, build_answers, follow
from tests.real_services import wait_until


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


@pytest.mark.usefixtures("held")
def test_stop_is_stored_while_redis_hangs(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    message_id = chat.start("A long story", "long")
    chat.arrived(message_id, "word1")
    replies, asked = asyncio.Event(), threading.Event()

    async def hang(*_: object) -> bool:
        asked.set()
        await replies.wait()
        return False

    monkeypatch.setattr(AnswerStreams, "append", hang)
    assert asked.wait(20)
    chat.answers.stop(chat.core.user, chat.run(message_id))
    assert chat.finished(message_id).state is MessageState.STOPPED
    chat.answers._loop.call_soon_threadsafe(replies.set)


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


def test_answer_that_arrives_without_a_pause_is_stopped(chat: Chat) -> None:
    async def answer(*_arguments: object) -> AsyncIterator[Event]:
        ends_at = time.monotonic() + 20
        while time.monotonic() < ends_at:
            yield TextPiece("word ")

    with patch("kb.answers.events.answer", answer):
        message_id = chat.start("A long story")
        chat.arrived(message_id, "word")
        chat.answers.stop(chat.core.user, chat.run(message_id))
        assert chat.finished(message_id).state is MessageState.STOPPED
