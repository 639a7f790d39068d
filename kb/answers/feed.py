"""An answer that no conversation keeps: its events go to whoever asked, and nowhere else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from uuid import uuid4

import structlog

from kb.answering import Event, ModelChosen, PassagesFound, Question, WebResultsFound
from kb.answers.events import EventSource
from kb.answers.spans import answer_span, note_end
from kb.completions import Reasoning, TextPiece, Usage
from kb.errors import N_, AnswerFailed, KbError, Unavailable
from kb.metrics import note_answer
from kb.models import MessageState, Step
from kb.usage import AnswerEnd

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _End:
    error: KbError | None


class Feed:
    """Made on the event loop of whoever asked; `produce` runs on that of `Answers`."""

    def __init__(self, question: Question, answering: asyncio.AbstractEventLoop) -> None:
        self.question = question
        self._answering = answering
        self._asking = asyncio.get_running_loop()
        self._arrived: asyncio.Queue[Event | _End] = asyncio.Queue()
        self.is_stopped = False  # before its end
        self._has_ended = False
        self._task: asyncio.Task[None] | None = None
        self._began = time.monotonic()
        self._first_token_seconds = 0.0
        self._model = ""
        self._tokens = Usage(0, 0)
        self._steps: tuple[Step, ...] = ()

    # --- for whoever asked ---

    async def events(self) -> AsyncGenerator[Event, None]:
        """As they arrive. They end early once it is stopped; to close the generator stops it, too.

        Errors: those of `kb.answering.answer`; `Unavailable` when the process ends.
        """
        try:
            while True:
                event = await self._arrived.get()
                if not isinstance(event, _End):
                    yield event
                    continue
                self._has_ended = True
                if event.error:
                    raise event.error
                return
        finally:
            self.stop()

    def stop(self) -> None:
        """End the answer; nothing happens if it has ended."""
        if self._has_ended:
            return
        self.is_stopped = True
        with suppress(RuntimeError):  # the process ends, and its loop is closed
            self._answering.call_soon_threadsafe(self._cancel)

    # --- on the loop of `Answers` ---

    async def produce(self, source: EventSource) -> AnswerEnd:
        with answer_span(self.question) as span:
            end, error = await self._produce(source)
            note_end(span, end.state, error, end.first_token_ms, end.model)
        return end

    async def _produce(self, source: EventSource) -> tuple[AnswerEnd, KbError | None]:
        self._task = asyncio.current_task()
        mode = self.question.mode
        state = MessageState.DONE
        error: KbError | None = None
        try:
            if self.is_stopped:  # before it began
                raise asyncio.CancelledError
            async with aclosing(source.events(self.question)) as events:
                async for event in events:
                    self._note(event)
                    self._hand_over(event)
        except asyncio.CancelledError:
            state = MessageState.STOPPED if self.is_stopped else MessageState.INTERRUPTED
            error = None if self.is_stopped else Unavailable(detail=N_("the server is stopping"))
        except KbError as failure:
            state, error = MessageState.FAILED, failure
        except Exception as defect:
            log.exception("answer.defect", mode=mode.value)
            state, error = MessageState.FAILED, AnswerFailed(detail=type(defect).__name__)
        self._task = None
        self._hand_over(_End(error))
        log.info("answer.ended", mode=mode.value, state=state.value, error=error.code if error else "", kept=False)
        seconds = time.monotonic() - self._began
        note_answer(mode, state, error, seconds, self._first_token_seconds)
        run_id = uuid4()
        end = AnswerEnd(
            run_id=run_id,
            question_id=run_id,
            user_id=self.question.principal.user_id,
            mode=mode,
            state=state,
            error=error.code if error else "",
            model=self._model,
            input_tokens=self._tokens.input_tokens,
            output_tokens=self._tokens.output_tokens,
            first_token_ms=self._first_token_seconds * 1000,
            total_ms=seconds * 1000,
            steps=self._steps,
        )
        return end, error

    def _note(self, event: Event) -> None:
        match event:
            case ModelChosen():
                self._model = event.model.name
            case Usage():
                self._tokens = event
            case PassagesFound() | WebResultsFound():
                self._steps = event.retrieval.trace.steps
            case TextPiece() | Reasoning():
                if self._model and not self._first_token_seconds:
                    self._first_token_seconds = time.monotonic() - self._began

    def _hand_over(self, event: Event | _End) -> None:
        try:
            self._asking.call_soon_threadsafe(self._arrived.put_nowait, event)
        except RuntimeError:  # nobody waits any more: that loop is closed
            self._cancel()

    def _cancel(self) -> None:
        if self._task:
            self._task.cancel()
