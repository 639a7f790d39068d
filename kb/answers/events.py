"""The events of an answer: from the parts that answers are made with, at a pace that leaves time to others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from kb.answering import Event, Question, Retrieve, SearchWeb, answer
from kb.asked_files import ConversationFiles
from kb.completions import ChatClient

BATCH_SECONDS = 0.05
# Read for one batch, 8,000 in a second: no model writes as fast. What a cache sends all at once would keep the pages,
# which share the interpreter with this loop, from noticing a click on Stop for seconds.
BATCH_PIECES = 400


@dataclass(frozen=True, slots=True)
class EventSource:
    """What all answers of a process are made with. Lives on the event loop of `Answers`."""

    chat: ChatClient
    retrieve: Retrieve
    search_web: SearchWeb
    files: ConversationFiles

    async def events(self, question: Question) -> AsyncGenerator[Event, None]:
        """The events of the answer. To cancel the task that reads them ends it. Errors: those of `answer`."""
        task = asyncio.current_task()
        pieces, began = 0, time.monotonic()
        async with aclosing(answer(self.chat, self.retrieve, self.search_web, self.files, question)) as events:
            async for event in events:
                if task and task.cancelling():
                    # A library between here and the socket may lose a cancel that comes together with a piece.
                    raise asyncio.CancelledError
                yield event
                pieces += 1
                if pieces == BATCH_PIECES:
                    await asyncio.sleep(began + BATCH_SECONDS - time.monotonic())
                    pieces, began = 0, time.monotonic()
