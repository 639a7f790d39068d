"""Following an answer through Redis: what is sent when, what it costs, and who may read it."""

from __future__ import annotations

import io
from collections.abc import Callable
from unittest.mock import patch
from uuid import UUID, uuid4

import pytest

from kb import redis as kb_redis
from kb.access import Principal
from kb.answering import Question
from kb.answers.run import Run
from kb.answers.streams import START
from kb.completions import Reasoning, TextPiece, TextWasReasoning
from kb.database import Database
from kb.errors import NotFound
from kb.messages import Attached
from kb.models import MessageState, Mode
from kb.services import WorkerParts
from tests.kb.answers.chat import Chat, follow
from tests.real_services import wait_until
from tests.statements import ask_as_the_page_does, counted_statements


def test_text_that_turns_out_to_be_reasoning_is_sent_again() -> None:
    running = Run(uuid4(), uuid4(), Question(Principal(uuid4()), "?", Mode.LLM, lambda: None))
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
        update = chat.answers.read(chat.core.user, run_id, position, wait_seconds=0 if text else 0.3)
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


def test_follow_up_with_a_file_takes_at_most_25_sql_statements(chat: Chat, fruit: UUID, worker: WorkerParts) -> None:
    services, user = chat.core.services, chat.core.user
    first = ask_as_the_page_does(services, chat.answers, user, fruit, "Which colour has a pear?", "fake")
    file = services.attachments.add(
        user, first.conversation_id, "plums.md", io.BytesIO(b"The tree of a plum is small.")
    )
    worker.ingestion.ingest(file.latest.id)
    attached = [Attached(str(file.id), file.name, file.latest.media_type)]
    with counted_statements(services.database) as statements:
        answer = ask_as_the_page_does(
            services, chat.answers, user, fruit, "And its tree?", "fake", first.conversation_id, attached
        )
    assert answer.state is MessageState.DONE
    assert answer.retrieval
    assert "plums.md" in {passage.document_name for passage in answer.retrieval.passages}
    assert len(statements) <= 25, statements


@pytest.mark.usefixtures("held")
def test_other_users_cannot_read_or_stop_an_answer(chat: Chat) -> None:
    message_id = chat.start("How are you today my friend?", "slow")
    for call in (chat.answers.read, chat.answers.stop):
        with pytest.raises(NotFound):
            call(chat.core.stranger, chat.run(message_id))
    chat.answers.stop(chat.core.user, chat.run(message_id))
    chat.finished(message_id)


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
