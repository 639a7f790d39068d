"""Checks of answers by a language model, on request: one short request in the background for each.

Its state is a part of the message, so that every page, tab and process sees it. One whose process died is closed by
its age.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import structlog

from kb.access import Principal
from kb.answers.sql_threads import SqlThreads
from kb.completions import ChatClient
from kb.conversations import Messages
from kb.errors import AnswerFailed, DatabaseUnavailable, KbError, ModelTimeout, NoChatModel, NotFound
from kb.llm import ChatModel
from kb.messages import SupportPart, Unsupported
from kb.support import source_texts
from kb.support.by_model import CHECK_SECONDS, Checked, check_by_model

RUNNING_SECONDS = CHECK_SECONDS + 30  # afterwards its process must have died
_SAVES, _PAUSE_SECONDS = 5, 1.0

log = structlog.get_logger()


class Checks:
    """Lives on the event loop of `Answers`."""

    def __init__(self, chat: ChatClient, messages: Messages, sql: SqlThreads) -> None:
        self._chat = chat
        self._messages = messages
        self._sql = sql

    async def check(
        self, principal: Principal, message_id: UUID, find_model: Callable[[], ChatModel | None], page_language: str
    ) -> None:
        """Check the answer, and store how that ended."""
        model = None
        try:
            model = await asyncio.to_thread(find_model)
            if model is None:
                raise NoChatModel
            checked = await self._check(principal, message_id, model, page_language)
        except TimeoutError:
            error = ModelTimeout(host=model.host, model=model.name, seconds=f"{CHECK_SECONDS:g}") if model else None
            await self._fail(principal, message_id, error or AnswerFailed(detail="TimeoutError"))
        except KbError as error:
            await self._fail(principal, message_id, error)
        except Exception as defect:
            log.exception("check.defect", message=str(message_id))
            await self._fail(principal, message_id, AnswerFailed(detail=type(defect).__name__))
        else:
            found = tuple(Unsupported(text, (missing,) if missing else ()) for text, missing in checked.unsupported)
            await self._save(principal, message_id, SupportPart(found, model.name, checked.unjudged))

    async def _check(self, principal: Principal, message_id: UUID, model: ChatModel, page_language: str) -> Checked:
        message = await self._sql.run(self._messages.get, principal, message_id)
        passages = source_texts(message.web or message.retrieval)
        return await check_by_model(self._chat, model, message.content, passages, page_language)

    async def _fail(self, principal: Principal, message_id: UUID, error: KbError) -> None:
        log.warning("check.failed", message=str(message_id), reason=str(error))
        kept = await self._sql.run(self._messages.support, principal, message_id)
        await self._save(principal, message_id, replace(kept, asked_at=0.0, code=error.code, values=error.values))

    async def _save(self, principal: Principal, message_id: UUID, part: SupportPart) -> None:
        """Store it, unless the message is gone; a database that is away is waited for a little."""
        for attempt in range(_SAVES):
            try:
                await self._sql.run(self._messages.note_support, principal, message_id, part)
            except DatabaseUnavailable as error:
                log.warning("check.unsaved", message=str(message_id), reason=str(error), attempt=attempt)
                await asyncio.sleep(_PAUSE_SECONDS)
            except NotFound:
                return
            else:
                return
