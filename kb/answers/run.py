"""A run: an answer being produced. What has arrived of it, what its stream lacks, and what the message will hold."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from kb.answering import (
    Event,
    FollowUpFound,
    ModelChosen,
    PassagesFound,
    Question,
    QuestionRewritten,
    SearchBegan,
    WebResultsFound,
    WebSearched,
)
from kb.answers.streams import Stage
from kb.asked_files import FilesAwaited, FilesLeftOut
from kb.completions import Reasoning, TextPiece, TextWasReasoning, Usage
from kb.errors import KbError
from kb.formats import to_json, to_record
from kb.llm import ChatModel
from kb.messages import (
    ErrorPart,
    LeftOutPart,
    Part,
    ReasoningPart,
    SearchedForPart,
    SupportPart,
    TextPart,
    Unsupported,
    UsagePart,
    WidenedPart,
    given_from,
)
from kb.models import MessageState, Mode, Retrieval
from kb.support import source_texts, unsupported
from kb.web_search.passages import WebProgress, WebRetrieval

CHECKED_MESSAGES = 30  # before the question, for what an answer repeats of them; each takes some milliseconds


@dataclass(slots=True)
class GrowingText:
    """Text that arrives in pieces, and how much of it is in the stream."""

    sent: int = 0
    _pieces: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, text: str) -> GrowingText:
        return cls(_pieces=[text])

    def add(self, piece: str) -> str:
        """Append a piece; returns it."""
        self._pieces.append(piece)
        return piece

    @property
    def whole(self) -> str:
        """Joined when it is looked at: to copy a long text for each of its pieces takes minutes."""
        if len(self._pieces) > 1:
            self._pieces[:] = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    @property
    def unsent(self) -> str:
        return self.whole[self.sent :]


@dataclass(slots=True)
class Run:
    id: UUID
    message_id: UUID
    question: Question
    text: GrowingText = field(default_factory=GrowingText)
    reasoning: GrowingText = field(default_factory=GrowingText)
    restarts: bool = False  # the text in the stream is void, and the stream does not say so yet
    model: ChatModel | None = None
    retrieval: Retrieval | WebRetrieval | None = None
    retrieval_sent: bool = False
    searched_for: str = ""
    searched_for_sent: bool = False
    stage: Stage = Stage.WAITING
    stage_sent: tuple[Stage, str] | None = None  # with the model's name
    thought_since: float = 0.0  # of `time.monotonic`; 0: it does not think
    thought_ms: float = 0.0
    thought_ms_sent: float = 0.0
    unsupported: tuple[Unsupported, ...] = ()
    awaited: int | None = None  # files
    awaited_sent: int | None = None
    left_out: FilesLeftOut | None = None
    progress: WebProgress | None = None
    progress_sent: WebProgress | None = None
    state: MessageState = MessageState.DONE
    error: KbError | None = None
    stop_requested: bool = False
    began: float = field(default_factory=time.monotonic)
    first_token_ms: float = 0.0
    tokens: Usage | None = None  # as the server counted them
    changed: asyncio.Event = field(default_factory=asyncio.Event)  # there may be something to send
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    is_begun: asyncio.Event = field(default_factory=asyncio.Event)  # the stream, or it is known not to be needed
    task: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        if self.question.mode is not Mode.LLM:
            self.stage = Stage.SEARCHING
        if begun := self.question.begun:
            self.text.add(begun.text)
            self.reasoning.add(begun.reasoning)
            self.searched_for = begun.searched_for
            self.thought_ms = begun.thought_ms

    def take(self, event: Event) -> None:
        self.changed.set()
        if self.model and not self.first_token_ms and isinstance(event, TextPiece | Reasoning):
            self.first_token_ms = self.elapsed_ms
        match event:
            case FollowUpFound():
                self.stage = Stage.UNDERSTANDING
            case FilesAwaited():
                self.awaited = event.count
                self.stage = Stage.FILES if event.count else Stage.WAITING
            case FilesLeftOut():
                self.left_out = event
            case QuestionRewritten():
                self.searched_for = event.question
            case SearchBegan():
                self.stage = Stage.SEARCHING
            case PassagesFound() | WebResultsFound():
                self.retrieval, self.stage = event.retrieval, Stage.WAITING
            case WebSearched():
                self.progress = event.progress
            case ModelChosen():
                self.model, self.stage = event.model, Stage.WAITING
            case TextPiece():
                self.text.add(event.text)
                self._end_thought()
                self.stage = Stage.WRITING
            case Reasoning():
                self.reasoning.add(event.text)
                self.thought_since = self.thought_since or time.monotonic()
                self.stage = Stage.THINKING
            case Usage():
                self.tokens = event
            case TextWasReasoning():
                # New objects, so that a batch on its way marks only the old ones as sent.
                begun = self.question.begun.text if self.question.begun else ""
                thought = self.text.whole.removeprefix(begun)
                self.reasoning = GrowingText.of(self.reasoning.whole + thought)
                self.text, self.restarts = GrowingText.of(begun), True
                self.thought_ms = round(self.elapsed_ms - self.first_token_ms, 1)

    def _end_thought(self) -> None:
        if self.thought_since:
            self.thought_ms += round((time.monotonic() - self.thought_since) * 1000, 1)
            self.thought_since = 0.0

    def request_stop(self) -> None:
        """Cancel the task unless that was done before, or the answer is complete."""
        if self.task and not self.stop_requested and not self.finished.is_set():
            self.stop_requested = True
            self.task.cancel()

    def passages_to_check(self) -> dict[int, str]:
        """What the passages say that a model wrote the answer from, by rank; none if it wrote nothing."""
        return source_texts(self.retrieval) if self.model and self.text.whole else {}

    def check_support(self, passages: Mapping[int, str]) -> None:
        """Note what a model said that the passages do not. Takes time: see `kb.support`."""
        self.stage = Stage.CHECKING
        text = self.text.whole
        history = (message.content for message in self.question.history[-CHECKED_MESSAGES:])
        given = "\n".join([self.question.text, self.searched_for, *history])
        spans = unsupported(text, passages, given)
        self.unsupported = tuple(Unsupported(text[span.start : span.end], span.missing) for span in spans)

    @property
    def stage_now(self) -> tuple[Stage, str]:
        """The stage, and the name of the model that was chosen by then."""
        return self.stage, self.model.name if self.model else ""

    @property
    def elapsed_ms(self) -> float:
        return round((time.monotonic() - self.began) * 1000, 1)

    def parts(self) -> list[Part]:
        """What the message is to hold, now that the answer has ended."""
        self._end_thought()
        found, thought_ms = self.retrieval, self.thought_ms
        parts = arrived_parts(self.reasoning.whole, self.text.whole, self.searched_for, found, thought_ms)
        if self.question.widened and not found:
            parts.append(WidenedPart(self.question.widened))
        if self.left_out:
            parts.append(LeftOutPart(self.left_out.files))
        if self.unsupported:
            parts.append(SupportPart(self.unsupported))
        if self.model:
            counted = (self.tokens.input_tokens, self.tokens.output_tokens) if self.tokens else (0, 0)
            parts.append(UsagePart(self.model.name, self.first_token_ms, self.elapsed_ms, *counted))
        if self.error:
            parts.append(ErrorPart(self.error.code, self.error.values))
        return parts

    def send_anew(self) -> None:
        """Have the stream begin again: Redis may have lost what it had, or have taken what it did not confirm."""
        self.text.sent = self.reasoning.sent = 0
        self.restarts = True
        self.retrieval_sent = self.searched_for_sent = False
        self.stage_sent = self.awaited_sent = self.progress_sent = None
        self.thought_ms_sent = 0.0

    def unsent(self) -> dict[str, str]:
        """What the stream lacks, as the fields of one entry."""
        fields: dict[str, str] = {}
        if self.stage_sent != self.stage_now:
            stage, model = self.stage_now
            fields |= {"stage": stage.value, "model": model}
        if self.thought_ms != self.thought_ms_sent:
            fields["thought_ms"] = str(self.thought_ms)
        if self.awaited != self.awaited_sent:
            fields["awaited"] = str(self.awaited)
        if self.progress and self.progress is not self.progress_sent:
            fields["progress"] = json.dumps(to_json(self.progress))
        if self.searched_for and not self.searched_for_sent:
            fields["searched_for"] = self.searched_for
        if self.retrieval and not self.retrieval_sent:
            if isinstance(self.retrieval, WebRetrieval):
                fields["web"] = json.dumps(to_json(self.retrieval))
            else:
                fields["retrieval"] = json.dumps(to_record(self.retrieval))
        if self.restarts:
            fields["restarts"] = "1"
        if self.reasoning.unsent:
            fields["reasoning"] = self.reasoning.unsent
        if self.text.unsent:
            fields["text"] = self.text.unsent
        return fields


def arrived_parts(
    reasoning: str, text: str, searched_for: str, found: Retrieval | WebRetrieval | None, thought_ms: float
) -> list[Part]:
    """The parts that have arrived of an answer, however it ends."""
    parts: list[Part] = [ReasoningPart(reasoning, thought_ms)] if reasoning else []
    parts += [TextPart(text)] if text else []
    parts += [SearchedForPart(searched_for)] if searched_for else []
    parts += given_from(found) if found else []
    return parts
