"""`zhiwen ask`: an answer as it is written, then its sources. No conversation is kept."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn

from kb.answering import Event, ModelChosen, PassagesFound, Question, answer
from kb.citations import cited
from kb.cli.connecting import Connected, OpenQueue, connected, find_knowledge_base
from kb.cli.passages import complain_about_gaps, place_of, to_json
from kb.cli.printing import print_json
from kb.completions import ChatClient, TextPiece, TextWasReasoning, Usage
from kb.llm import ChatModel
from kb.models import NOWHERE, Mode, Passage, Retrieval, Scope
from kb.passages import gaps_of
from kb.providers.connection import Purpose
from kb.questions import check_question

NOTHING = "Nothing relevant was found."


@dataclass(slots=True)
class Answer:
    """What has arrived of an answer. `is_shown`: its text is printed as it arrives."""

    is_shown: bool
    pieces: list[str] = field(default_factory=list)
    retrieval: Retrieval | None = None
    model: ChatModel | None = None
    usage: Usage | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def cited(self) -> Sequence[Passage]:
        return cited(self.text, self.retrieval)

    def take(self, event: Event) -> None:
        match event:
            case PassagesFound():
                self.retrieval = event.retrieval
                complain_about_gaps(event.retrieval)
            case ModelChosen():
                self.model = event.model
            case TextPiece():
                self._add(event.text)
            case TextWasReasoning():
                self.pieces.clear()
                self._show("\n\n(So far, the model was thinking.)\n\n")
            case Usage():
                self.usage = event

    def _add(self, text: str) -> None:
        self.pieces.append(text)
        self._show(text)

    def _show(self, text: str) -> None:
        if self.is_shown:
            sys.stdout.write(text)
            sys.stdout.flush()


def run(asked: argparse.Namespace, open_queue: OpenQueue) -> int:
    """Errors: `QuestionTooLong`; those of `connected` and of the answer."""
    check_question(asked.question)
    given = Answer(is_shown=not asked.json)
    with connected(open_queue) as to:
        asyncio.run(_answer(to, _question(to, asked), given))
    if asked.json:
        print_json(_to_json(given))
    else:
        _print_end(given)
    return 0


def _question(to: Connected, asked: argparse.Namespace) -> Question:
    base = find_knowledge_base(to, asked.knowledge_base) if asked.knowledge_base else None
    chosen = to.services.providers.chosen_model(to.principal, Purpose.CHAT)
    return Question(
        principal=to.principal,
        text=asked.question,
        mode=Mode.KNOWLEDGE if base else Mode.LLM,
        find_model=partial(to.services.chat_models.resolve, to.principal, chosen),
        scope=Scope.of(base.id) if base else NOWHERE,
    )


async def _answer(to: Connected, question: Question, given: Answer) -> None:
    """Errors: those of `kb.answering.answer`; what has arrived until then is shown."""
    chat = ChatClient(to.services.settings)
    try:
        events = answer(chat, to.services.retriever.retrieve, _search_no_web, to.services.attachments, question)
        async with aclosing(events) as each:
            async for event in each:
                given.take(event)
    finally:
        await chat.close()


def _search_no_web(*_question: object) -> NoReturn:
    raise AssertionError("only web-search questions are searched for on the web")


def _print_end(given: Answer) -> None:
    """The sources: those that the answer cites, else all that it was given from."""
    found = given.retrieval
    if not given.text.strip():
        print(NOTHING if found is None or found.trace.documents else "No document is ready to be searched.")
        return
    print()
    if found and found.passages:
        print("\nSources:")
        for passage in given.cited or found.passages:
            print(f"[{passage.rank}] {place_of(passage)}")


def _to_json(given: Answer) -> dict[str, Any]:
    found = given.retrieval or Retrieval()
    ranks = {passage.rank for passage in given.cited}
    return {
        "answer": given.text,
        "model": given.model.name if given.model else None,
        "sources": [to_json(passage) | {"cited": passage.rank in ranks} for passage in found.passages],
        "tokens": {"input": given.usage.input_tokens, "output": given.usage.output_tokens} if given.usage else None,
        "warnings": list(gaps_of(found)),
    }
