"""An answer that no conversation keeps: its events go to whoever asked, and nowhere else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass

import structlog

from kb.answering import Event, ModelChosen, Question
from kb.answers.events import EventSource
from kb.completions import Reasoning, TextPiece
from kb.errors import N_, AnswerFailed, KbError, Unavailable
from kb.metrics import note_answer
from kb.models import MessageState

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

    async def produce(self, source: EventSource) -> None:
        self._task = asyncio.current_task()
        mode = self.question.mode
        state = MessageState.DONE
        error: KbError | None = None
        try:
            if self.is_stopped:  # before it began
                raise asyncio.CancelledError
            async with aclosing(source.events(self.question)) as events:
                has_model = False
                async for event in events:
                    has_model = has_model or isinstance(event, ModelChosen)
                    if has_model and not self._first_token_seconds and isinstance(event, TextPiece | Reasoning):
                        self._first_token_seconds = time.monotonic() - self._began
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
        note_answer(mode, state, error, time.monotonic() - self._began, self._first_token_seconds)

    def _hand_over(self, event: Event | _End) -> None:
        try:
            self._asking.call_soon_threadsafe(self._arrived.put_nowait, event)
        except RuntimeError:  # nobody waits any more: that loop is closed
            self._cancel()

    def _cancel(self) -> None:
        if self._task:
            self._task.cancel()
