"""The form of answers, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from kb.answering import Event, ModelChosen, PassagesFound
from kb.completions import TextPiece, Usage
from kb.errors import AnswerEndless, ModelStopped
from kb.languages import Language
from kb.llm import ChatModel
from kb.models import Chunk, Passage, Retrieval
from web.openai_api.completion import Completion

MODEL = ModelChosen(ChatModel("m", "http://x/v1", "x"))


def passage(rank: int) -> Passage:
    chunk = Chunk(str(rank), uuid4(), uuid4(), page=3, heading="Care > Water", text="Text.")
    return Passage(chunk, rank=rank, document_name="pears.pdf", context="Text.")


FOUND = PassagesFound(Retrieval(passages=(passage(1), passage(2))))


def completed(*events: Event | Exception) -> Completion:
    async def arrive() -> AsyncIterator[Event]:
        for event in events:
            if isinstance(event, Exception):
                raise event
            yield event

    async def take() -> Completion:
        completion = Completion("knowledge-base/Fruit", Language.ENGLISH, is_streamed=False)
        async for _delta in completion.deltas(arrive()):
            pass
        return completion

    return asyncio.run(take())


def test_each_citation_is_annotated_and_those_of_nothing_are_left_out() -> None:
    whole = completed(FOUND, MODEL, TextPiece("Green [1, 2]. Slow [7]. Big【2】.")).whole()
    message = whole["choices"][0]["message"]
    text = message["content"]
    assert text == "Green [1, 2]. Slow. Big【2】."
    cited = [(each["passage"], each["url_citation"]) for each in message["annotations"]]
    assert [(rank, text[at["start_index"] : at["end_index"]]) for rank, at in cited] == [
        (1, "[1, 2]"),
        (2, "[1, 2]"),
        (2, "【2】"),
    ]
    assert {at["title"] for _rank, at in cited} == {"pears.pdf · p. 3 · Water"}


def test_tokens_are_told_as_they_are_known() -> None:
    assert completed(MODEL, TextPiece("a"), Usage(3, 4)).whole()["usage"]["total_tokens"] == 7
    assert completed(MODEL, TextPiece("a")).whole()["usage"] is None
    assert completed(FOUND, TextPiece("a")).whole()["usage"]["total_tokens"] == 0  # without a model


def test_endless_answer_is_too_long_and_one_that_fails_is_an_error() -> None:
    endless = completed(MODEL, TextPiece("a"), AnswerEndless(host="x", model="m"))
    assert endless.whole()["choices"][0]["finish_reason"] == "length"
    with pytest.raises(ModelStopped):
        completed(MODEL, ModelStopped(host="x", model="m", detail="no text"))
