"""Produces an answer: from the question to the stream in Redis and the message in SQL."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress

import structlog
from structlog.typing import FilteringBoundLogger as BoundLogger

from kb.answers.events import BATCH_SECONDS, EventSource
from kb.answers.run import GrowingText, Run
from kb.answers.spans import answer_span, note_end
from kb.answers.sql_threads import SqlThreads
from kb.answers.streams import AnswerStreams
from kb.conversations import Messages
from kb.errors import AnswerFailed, DatabaseUnavailable, KbError, NotFound, RedisUnavailable
from kb.metrics import note_answer
from kb.models import MessageState

SAVE_PAUSE_SECONDS = 1.0  # less than `ALIVE_SECONDS`

log = structlog.get_logger()


class Producer:
    """Lives on the event loop of `Answers`."""

    def __init__(self, source: EventSource, streams: AnswerStreams, messages: Messages, sql: SqlThreads) -> None:
        self._source = source
        self._streams = streams
        self._messages = messages
        self._sql = sql
        # They share the interpreter: side by side they end no sooner, and all else waits for each of them.
        self._checking = asyncio.Semaphore(1)

    async def produce(self, run: Run) -> None:
        """Write the answer, unless nobody waits for it. Cancelling ends it early; what it has is saved."""
        bound = log.bind(message=str(run.message_id), mode=run.question.mode.value)
        try:
            if not await self._is_awaited(run):
                return
            await self._begin_stream(run)
        finally:
            run.is_begun.set()
        with answer_span(run.question, run.message_id) as span:
            bound.info("answer.started")
            await self._give(run, bound)
            bound.info("answer.ended", state=run.state.value, error=run.error.code if run.error else "")
            note_end(span, run.state, run.error, run.first_token_ms, run.model.name if run.model else "")
        times = (run.elapsed_ms / 1000, run.first_token_ms / 1000)
        note_answer(run.question.mode, run.state, run.error, *times)

    async def _give(self, run: Run, bound: BoundLogger) -> None:
        """To the stream and to SQL, to its end."""
        sender = asyncio.create_task(self._send_batches(run))
        await self._answer(run, bound)
        await self._save(run, sender)
        await sender  # only now: a Redis that hangs takes seconds to say nothing
        await self._send_end(run)

    async def _is_awaited(self, run: Run) -> bool:
        """Whether this run should still produce the answer: it may have ended since the caller looked.

        An answer that the reaper closed before its first sign of life is still produced; see `Messages.finish`.
        """
        try:
            state = await self._sql.run(self._messages.state, run.question.principal, run.id)
        except NotFound:
            return False
        except DatabaseUnavailable:
            return True  # the caller saw it a moment ago
        return state in (MessageState.STREAMING, MessageState.INTERRUPTED)

    async def _begin_stream(self, run: Run) -> None:
        try:
            await self._streams.begin(run.id)
        except RedisUnavailable:
            log.warning("answer.redis_away", message=str(run.message_id))

    async def _answer(self, run: Run, bound: BoundLogger) -> None:
        """Produce the answer; afterwards `run` tells how it ended."""
        try:
            await self._take_events(run)
            await self._check_support(run, bound)
        except asyncio.CancelledError:
            run.state = MessageState.STOPPED if run.stop_requested else MessageState.INTERRUPTED
        except KbError as error:
            run.state, run.error = MessageState.FAILED, error
        except Exception as error:  # noqa: BLE001 - a defect must reach the user as a failed answer
            bound.exception("answer.defect")
            run.state = MessageState.FAILED
            run.error = AnswerFailed(detail=type(error).__name__)
        run.finished.set()
        run.changed.set()

    async def _take_events(self, run: Run) -> None:
        async with aclosing(self._source.events(run.question)) as events:
            async for event in events:
                run.take(event)

    async def _check_support(self, run: Run, bound: BoundLogger) -> None:
        """In a thread, as a long answer takes a second. An answer is saved whatever happens here."""
        try:
            if passages := run.passages_to_check():
                async with self._checking:
                    await asyncio.to_thread(run.check_support, passages)
        except Exception:  # noqa: BLE001 - the answer itself is good
            bound.exception("answer.support_unchecked")

    async def _send_batches(self, run: Run) -> None:
        """Append what arrives to the stream: at once after a pause, else every 50 ms.

        As often, give a sign of life and check for a stop.
        """
        while not run.finished.is_set():
            run.changed.clear()
            has_text = bool(run.text.unsent or run.reasoning.unsent)
            try:
                if await self._send(run):
                    run.request_stop()
            except RedisUnavailable:
                run.send_anew()
                await asyncio.sleep(0.5)  # the answer goes on, and SQL will have all of it
            if has_text:
                await _wait(run.finished, BATCH_SECONDS)
            await _wait(run.changed, BATCH_SECONDS)

    async def _send(self, run: Run) -> bool:
        """Append what is not yet in the stream; returns whether a stop was requested."""
        fields = run.unsent()
        text, reasoning, has_retrieval = run.text, run.reasoning, run.retrieval is not None
        progress, awaited = run.progress, run.awaited
        stage, thought_ms = run.stage_now, run.thought_ms
        lengths = len(text.whole), len(reasoning.whole)
        is_stop_requested = await self._streams.append(run.id, fields)
        text.sent, reasoning.sent = lengths
        run.retrieval_sent = has_retrieval
        run.searched_for_sent = "searched_for" in fields or run.searched_for_sent
        run.progress_sent, run.stage_sent, run.thought_ms_sent = progress, stage, thought_ms
        run.awaited_sent = awaited
        run.restarts = run.restarts and run.text is not text
        return is_stop_requested

    async def _send_end(self, run: Run) -> None:
        try:
            if run.unsent():
                await self._send(run)
            await self._streams.end(run.id, run.state)
        except RedisUnavailable:
            log.warning("answer.end_unsent", message=str(run.message_id))

    async def _save(self, run: Run, sender: asyncio.Task[None]) -> None:
        """Write the answer to SQL. While the database is down, keep it in memory and go on giving signs of life."""
        while True:
            try:
                await self._sql.run(self._write, run)
            except DatabaseUnavailable as error:
                log.warning("answer.unsaved", message=str(run.message_id), reason=str(error))
                await sender
                with suppress(RedisUnavailable):
                    await self._send(run)
                await asyncio.sleep(SAVE_PAUSE_SECONDS)
            else:
                return

    def _write(self, run: Run) -> None:
        try:
            self._finish(run)
        except DatabaseUnavailable:
            raise
        except NotFound:
            return  # its conversation was deleted meanwhile
        except Exception as error:
            log.exception("answer.unstorable", message=str(run.message_id))
            run.state, run.retrieval = MessageState.FAILED, None
            run.text, run.reasoning = GrowingText(), GrowingText()
            run.error = AnswerFailed(detail=type(error).__name__)
            self._finish(run)

    def _finish(self, run: Run) -> None:
        self._messages.finish(run.question.principal, run.message_id, run.state, run.parts(), run.id)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
