"""The reaper: closes answers whose producer died, stops those that nobody waits for, removes deleted conversations."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from uuid import UUID

import structlog

from kb.access import Principal
from kb.answers.run import Run, arrived_parts
from kb.answers.sql_threads import SqlThreads
from kb.answers.streams import AnswerStreams
from kb.conversations import Conversations, Messages, Streaming
from kb.errors import DatabaseUnavailable, NotFound, RedisUnavailable
from kb.messages import UsagePart
from kb.metrics import note_answer
from kb.models import MessageState

REAP_SECONDS = 3.0
PURGE_SECONDS = 3600.0

log = structlog.get_logger()


class Reaper:
    """Looks after the answers of all web processes. Lives on the event loop of `Answers`."""

    def __init__(
        self,
        running: Mapping[UUID, Run],
        streams: AnswerStreams,
        conversations: Conversations,
        messages: Messages,
        sql: SqlThreads,
    ) -> None:
        """`running`: the runs of this process by their id, as they come and go."""
        self._running = running
        self._streams = streams
        self._conversations = conversations
        self._messages = messages
        self._sql = sql

    async def work(self) -> None:
        """Look every few seconds. Two looks must miss the sign of life, as Redis may lose its keys."""
        suspects: set[UUID] = set()
        purge_at = time.monotonic()
        while True:
            try:
                if time.monotonic() >= purge_at:
                    await self._purge()
                    purge_at = time.monotonic() + PURGE_SECONDS
                streaming = await self._sql.run(self._messages.streaming)
                self._end_unwanted(streaming)
                others = {each.run_id: each for each in streaming if each.run_id not in self._running}
                silent = await self._streams.silent(others)
                for run_id in silent & suspects:
                    await self._close_dead(others[run_id])
                suspects = silent
            except (DatabaseUnavailable, RedisUnavailable):
                suspects = set()  # without both nothing can be judged
            except Exception:
                log.exception("reaper.defect")
            await asyncio.sleep(REAP_SECONDS)

    async def _purge(self) -> None:
        if count := await self._sql.run(self._conversations.purge):
            log.info("conversations.purged", count=count)

    def _end_unwanted(self, streaming: Sequence[Streaming]) -> None:
        """Stop the answers of deleted conversations. What they have is saved, as deleting can be undone."""
        for each in streaming:
            if each.is_unwanted and (run := self._running.get(each.run_id)):
                run.request_stop()

    async def _close_dead(self, dead: Streaming) -> None:
        """Save what had arrived, and tell the pages that follow the stream."""
        arrived = await self._sql.run(self._streams.read, dead.run_id)
        found = arrived.retrieval or arrived.web
        parts = arrived_parts(arrived.reasoning, arrived.text, arrived.searched_for, found, arrived.thought_ms)
        if parts and arrived.model:
            parts.append(UsagePart(arrived.model))  # an answer of a model can be written on
        interrupted = MessageState.INTERRUPTED
        finish = partial(self._messages.finish, Principal(dead.owner_id), dead.message_id, interrupted, parts or None)
        with suppress(NotFound):  # deleted meanwhile
            if await self._sql.run(finish):
                log.warning("answer.interrupted", message=str(dead.message_id))
                note_answer(None, MessageState.INTERRUPTED, None, 0.0, 0.0)
                await self._streams.end(dead.run_id, MessageState.INTERRUPTED)
