"""Answers that no conversation keeps, without services."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import uuid4

import pytest

from kb.access import Principal
from kb.answering import Event, ModelChosen, PassagesFound, Question
from kb.answers import Feed
from kb.answers.events import EventSource
from kb.completions import TextPiece, Usage
from kb.errors import AnswerFailed, KbError, ModelUnreachable, Unavailable
from kb.llm import ChatModel
from kb.models import Mode, Retrieval, Step, Trace
from kb.usage import AnswerEnd

QUESTION = Question(Principal(uuid4()), "Why?", Mode.LLM, lambda: None)


@dataclass
class Source:
    """Says one word, then fails or waits for ever."""

    error: Exception | None = None
    before: tuple[Event, ...] = ()
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def events(self, _question: Question) -> AsyncGenerator[Event, None]:
        try:
            for event in self.before:
                yield event
            yield TextPiece("Because")
            if self.error:
                raise self.error
            await asyncio.Event().wait()
        finally:
            self.closed.set()


def begun(source: Source) -> tuple[Feed, asyncio.Task[AnswerEnd]]:
    loop = asyncio.get_running_loop()
    feed = Feed(QUESTION, loop)
    return feed, loop.create_task(feed.produce(cast(EventSource, source)))


def run(check: Any) -> None:
    asyncio.run(asyncio.wait_for(check(), 20))


def test_whoever_leaves_ends_the_answer() -> None:
    async def check() -> None:
        source = Source()
        feed, _task = begun(source)
        async with aclosing(feed.events()) as events:
            assert await anext(events) == TextPiece("Because")
        await source.closed.wait()
        assert feed.is_stopped

    run(check)


def test_end_tells_the_model_its_tokens_and_the_steps() -> None:
    async def check() -> None:
        steps = (Step("dense", 12.0),)
        model = ChatModel("qwen", "http://127.0.0.1:1", "test")
        found = PassagesFound(Retrieval(trace=Trace(steps)))
        _feed, task = begun(Source(ModelUnreachable(host="h"), (found, ModelChosen(model), Usage(7, 3))))
        end = await task
        assert (end.user_id, end.mode, end.error) == (QUESTION.principal.user_id, Mode.LLM, ModelUnreachable.code)
        assert (end.model, end.input_tokens, end.output_tokens, end.steps) == ("qwen", 7, 3, steps)
        assert 0 < end.first_token_ms <= end.total_ms

    run(check)


def test_stopped_answer_ends_without_an_error() -> None:
    async def check() -> None:
        feed, _task = begun(Source())
        events = feed.events()
        assert await anext(events) == TextPiece("Because")
        feed.stop()
        assert [event async for event in events] == []
        assert feed.is_stopped

    run(check)


def test_answer_that_is_stopped_before_it_begins_asks_nobody() -> None:
    async def check() -> None:
        source = Source()
        feed, _task = begun(source)
        feed.stop()
        assert [event async for event in feed.events()] == []
        assert not source.closed.is_set()

    run(check)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [(ModelUnreachable(host="x", model="m"), ModelUnreachable), (ValueError("a defect"), AnswerFailed)],
)
def test_failure_is_raised_after_what_arrived(failure: Exception, expected: type[KbError]) -> None:
    async def check() -> None:
        feed, _task = begun(Source(failure))
        events = feed.events()
        assert await anext(events) == TextPiece("Because")
        with pytest.raises(expected):
            await anext(events)
        assert not feed.is_stopped

    run(check)


def test_end_of_the_process_is_no_end_of_the_answer() -> None:
    async def check() -> None:
        feed, task = begun(Source())
        events = feed.events()
        await anext(events)
        task.cancel()
        with pytest.raises(Unavailable):
            await anext(events)

    run(check)
