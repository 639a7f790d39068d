"""An answer in the form of OpenAI's chat completions, whole or in chunks."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from kb.answering import Event, ModelChosen, PassagesFound
from kb.answers.run import GrowingText
from kb.citations import citations_in, ranks_of, without_dangling
from kb.completions import Reasoning, TextPiece, TextWasReasoning, Usage
from kb.errors import AT_LIMIT, FILTERED, AnswerEndless, KbError, ModelStopped
from kb.languages import Language
from kb.models import Passage, Retrieval
from kb.places import headings_below, name_place
from web.api.searches import NotSearchedOut, PassageOut
from web.openai_api.absence import tell_absence

DONE = "data: [DONE]\n\n"
# A model whose thoughts were taken for text is told of by this tag. Chat apps know it, as such models write it.
END_OF_THOUGHTS = "\n</think>\n\n"
Delta = dict[str, Any]


@dataclass(slots=True)
class Completion:
    """What has arrived of an answer. `model` is what the program asked for; `page` where a knowledge base is shown."""

    model: str
    language: Language
    is_streamed: bool
    page: str = ""
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))
    text: GrowingText = field(default_factory=GrowingText)
    reasoning: GrowingText = field(default_factory=GrowingText)
    retrieval: Retrieval | None = None
    has_model: bool = False
    usage: Usage | None = None
    finish_reason: str = "stop"

    async def deltas(self, events: AsyncIterator[Event]) -> AsyncIterator[Delta]:
        """What is new, piece by piece. A model that ends early is no error where OpenAI has a reason for it."""
        try:
            async for event in events:
                if delta := self._take(event):
                    yield delta
        except ModelStopped as error:
            self.finish_reason = _finish_reason(error)
        if not self.text.whole and self.finish_reason == "stop" and self.retrieval:
            text = tell_absence(self.retrieval, self.language)
            yield {"content": self.text.add(text)}

    def _take(self, event: Event) -> Delta | None:
        match event:
            case PassagesFound():
                self.retrieval = event.retrieval
            case ModelChosen():
                self.has_model = True
            case TextPiece():
                return {"content": self.text.add(event.text)}
            case Reasoning():
                return {"reasoning_content": self.reasoning.add(event.text)}
            case TextWasReasoning() if self.is_streamed:
                return {"content": self.text.add(END_OF_THOUGHTS)}
            case TextWasReasoning():
                self.reasoning.add(self.text.whole)
                self.text = GrowingText()
            case Usage():
                self.usage = event
        return None

    # --- in OpenAI's form ---

    def whole(self) -> dict[str, Any]:
        text = without_dangling(self.text.whole, self.retrieval) if self.has_model else self.text.whole
        message = {"role": "assistant", "content": text, "refusal": None, "annotations": self.annotations(text)}
        if self.reasoning.whole:
            message["reasoning_content"] = self.reasoning.whole
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish_reason}
        head = self._head("chat.completion")
        return head | {"choices": [choice], "usage": self._usage()} | self.sources()

    def chunk(self, delta: Delta, has_usage: bool, finish_reason: str | None = None) -> dict[str, Any]:
        """`has_usage`: the program asked for it, so that each chunk says that it comes later."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        head = self._head("chat.completion.chunk")
        return head | {"choices": [choice]} | ({"usage": None} if has_usage else {})

    def usage_chunk(self) -> dict[str, Any]:
        return self._head("chat.completion.chunk") | {"choices": [], "usage": self._usage()}

    def sources(self) -> dict[str, Any]:
        """What the answer was given from, in fields of our own."""
        if self.retrieval is None:
            return {}
        found = self.retrieval
        fields: dict[str, Any] = {"passages": [PassageOut.of(each).model_dump(mode="json") for each in found.passages]}
        if found.unsearchable:
            fields["unsearchable"] = found.unsearchable.documents
        if found.not_searched:
            fields["not_searched"] = [NotSearchedOut.of(each).model_dump() for each in found.not_searched]
        return fields

    def annotations(self, text: str) -> list[dict[str, Any]]:
        """The citations in the text: where they stand, and what they cite."""
        if self.retrieval is None:
            return []
        passages = {passage.rank: passage for passage in self.retrieval.passages}
        return [
            {
                "type": "url_citation",
                "url_citation": {
                    "start_index": citation.start,
                    "end_index": citation.end,
                    "title": _title(passages[rank]),
                    "url": self.page,
                },
                "passage": rank,
            }
            for citation in citations_in(text, ranks_of(self.retrieval))
            for rank in citation.ranks
        ]

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def _usage(self) -> dict[str, int] | None:
        """None: the server that answered did not count."""
        counted = self.usage if self.has_model else Usage(0, 0)
        if counted is None:
            return None
        given, written = counted.input_tokens, counted.output_tokens
        return {"prompt_tokens": given, "completion_tokens": written, "total_tokens": given + written}


def sse(data: dict[str, Any]) -> str:
    """An event of a stream."""
    return f"data: {json.dumps(data, separators=(',', ':'))}\n\n"


def page_of(home: str, knowledge_base_id: UUID | None) -> str:
    """The address at which a browser shows the knowledge base. `home` is that of the chat."""
    return f"{home}knowledge-bases?knowledge_base={knowledge_base_id}" if knowledge_base_id else ""


def _finish_reason(error: KbError) -> str:
    if isinstance(error, AnswerEndless) or error.values.get("detail") == AT_LIMIT:
        return "length"
    if error.values.get("detail") == FILTERED:
        return "content_filter"
    raise error


def _title(passage: Passage) -> str:
    name, chunk = passage.document_name, passage.chunk
    headings = headings_below(name, chunk.page, chunk.heading)
    return " · ".join(filter(None, [name, name_place(name, chunk.page, chunk.heading), *headings[-1:]]))
