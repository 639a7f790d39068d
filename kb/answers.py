"""Runs answers in the background, streams them through Redis, and saves them.

An answer does not belong to the page that asked: it goes on when the tab closes, and any page, on any web process,
finds it again by its message's id. The producer alone writes the message to SQL.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import redis
import redis.asyncio
import structlog
from redis.exceptions import RedisError
from structlog.typing import FilteringBoundLogger as BoundLogger

from kb import redis as kb_redis
from kb.answering import ModelChosen, PassagesFound, Question, Retrieve, TextPiece, answer
from kb.config import Settings
from kb.conversations import Conversations
from kb.errors import N_, AnswerFailed, DatabaseUnavailable, KbError, NotFound
from kb.llm import ChatModel
from kb.models import MessageState, Retrieval
from kb.retrieval.record import from_record, to_record

BATCH_SECONDS = 0.05
ALIVE_SECONDS = 6
STREAM_SECONDS = 3600
START_SECONDS = 10.0
RETRIEVALS = 64  # at once; one that a silent service holds up keeps its thread until the service's timeout
SAVE_PAUSE_SECONDS = 1.0  # less than `ALIVE_SECONDS`

log = structlog.get_logger()

T = TypeVar("T")
FindModel = Callable[[str], ChatModel | None]  # by the id that the user chose; see `ChatModels.resolve`


@dataclass(frozen=True, slots=True)
class Update:
    """What has arrived of an answer since `position` was last given."""

    position: str
    text: str
    retrieval: Retrieval | None
    ended: bool


@dataclass(slots=True)
class _Running:
    """An answer being produced."""

    user_id: UUID
    message_id: UUID
    since: datetime  # when this try was asked for
    question: Question
    text: str = ""
    sent: int = 0  # characters of `text` that are in the stream
    model: str = ""
    retrieval: Retrieval | None = None
    retrieval_sent: bool = False
    state: MessageState = MessageState.DONE
    error: KbError | None = None
    stop_requested: bool = False
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    half: str = ""  # the first half of a character that a server cut in two
    begun: asyncio.Event = field(default_factory=asyncio.Event)  # what an earlier try left is gone
    task: asyncio.Task[None] | None = None

    def add(self, piece: str) -> None:
        """Append a piece such that every store takes the text: no lone surrogates, no NUL."""
        piece = self.half + piece
        self.half = piece[-1] if piece and "\ud800" <= piece[-1] <= "\udbff" else ""
        piece = piece.removesuffix(self.half) if self.half else piece
        whole = piece if piece.isascii() else piece.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        self.text += whole.replace("\0", "")


class Answers:
    """Starts, follows and stops answers. All run on one event loop in a thread of its own."""

    def __init__(
        self,
        settings: Settings,
        client: redis.Redis,
        conversations: Conversations,
        retrieve: Retrieve,
        find_model: FindModel,
    ) -> None:
        self._settings = settings
        self._client = client
        self._conversations = conversations
        self._retrieve = retrieve
        self._find_model = find_model
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(RETRIEVALS, thread_name_prefix="answers"))
        # Of its own: starting and saving an answer must not wait behind retrievals.
        self._sql = ThreadPoolExecutor(4, thread_name_prefix="answers-sql")
        self._running: dict[UUID, _Running] = {}
        self._async_client = redis.asyncio.Redis.from_url(
            settings.redis_url, decode_responses=True, socket_timeout=2, socket_connect_timeout=1
        )
        self._thread = threading.Thread(target=self._loop.run_forever, name="answers", daemon=True)
        self._thread.start()

    # --- for the pages ---

    def start(self, user_id: UUID, message_id: UUID, wanted_model: str = "") -> None:
        """Produce the answer `message_id` to the question before it; returns at once.

        `wanted_model` is the id of the model that the user chose. Errors: `NotFound`, `DatabaseUnavailable`.
        """
        answer_message = self._conversations.message(user_id, message_id)
        asked, history = self._conversations.question_of(user_id, message_id)
        question = Question(
            user_id,
            asked.content,
            answer_message.mode,
            answer_message.knowledge_base_id,
            history,
            partial(self._find_model, wanted_model),
        )
        begin = self._call(self._begin(user_id, message_id, answer_message.created_at, question))
        try:
            begin.result(START_SECONDS)
        except TimeoutError as error:
            raise DatabaseUnavailable(detail=N_("it takes too long")) from error

    def read(self, user_id: UUID, message_id: UUID, position: str = "0-0") -> Update:
        """What has arrived since `position`. Errors: `NotFound`, `RedisUnavailable`."""
        self._conversations.message(user_id, message_id)
        with kb_redis.translated():
            found: Any = self._client.xrange(kb_redis.answer_key(message_id, "stream"), min=f"({position}")
        text, retrieval, ended = "", None, False
        for _, fields in found:
            text += fields.get("text", "")
            ended = ended or "end" in fields
            if "retrieval" in fields:
                retrieval = from_record(json.loads(fields["retrieval"]))
        return Update(found[-1][0] if found else position, text, retrieval, ended)

    def stop(self, user_id: UUID, message_id: UUID) -> None:
        """Ask the producer, wherever it runs, to stop. Errors: `NotFound`, `RedisUnavailable`."""
        self._conversations.message(user_id, message_id)
        with kb_redis.translated():
            self._client.set(kb_redis.answer_key(message_id, "stop"), 1, ex=STREAM_SECONDS)

    def interrupt_if_dead(self, user_id: UUID, message_id: UUID) -> bool:
        """Close an answer whose producer died, keeping what had arrived. True if that was so.

        Errors: `RedisUnavailable`: without Redis there is no telling.
        """
        if message_id in self._running:
            return False
        with kb_redis.translated():
            if self._client.exists(kb_redis.answer_key(message_id, "alive")):
                return False
        arrived = self.read(user_id, message_id)
        return self._conversations.finish(
            user_id, message_id, MessageState.INTERRUPTED, arrived.text, retrieval=arrived.retrieval
        )

    def close(self) -> None:
        """End all running answers as interrupted, saving what they have."""
        self._call(self._close()).result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._loop.close()
        self._sql.shutdown(wait=False)

    # --- on the loop ---

    def _call(self, coroutine: Any) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def _in_sql_thread(self, function: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        return self._loop.run_in_executor(self._sql, function, *arguments)

    async def _begin(self, user_id: UUID, message_id: UUID, since: datetime, question: Question) -> None:
        while earlier := self._running.get(message_id):
            if not earlier.finished.is_set():
                earlier.since = since  # somebody else was quicker, or a page took it for dead: it is this try's answer
                return
            assert earlier.task
            await asyncio.wait([earlier.task])  # it is in SQL already, but has yet to say so
        running = self._running[message_id] = _Running(user_id, message_id, since, question)
        running.task = self._loop.create_task(self._run(running))
        await running.begun.wait()

    async def _run(self, running: _Running) -> None:
        bound = log.bind(message=str(running.message_id), mode=running.question.mode.value)
        try:
            try:
                if not await self._is_awaited(running):
                    return
                await self._forget_earlier(running)
            finally:
                running.begun.set()
            bound.info("answer.started")
            await self._answer(running, bound)
            await self._save(running)
            await self._send_end(running)
        finally:
            # Whatever happened: from here on the message may be found dead, and be closed.
            del self._running[running.message_id]
        bound.info("answer.ended", state=running.state.value, error=running.error.code if running.error else "")

    async def _is_awaited(self, running: _Running) -> bool:
        """Whether the answer is still to be given: somebody else may have given it since the caller looked.

        One that a page took for dead before the first sign of life is: see `Conversations.finish`.
        """
        while True:
            since = running.since
            try:
                message = await self._in_sql_thread(self._conversations.message, running.user_id, running.message_id)
                is_open = message.state in (MessageState.STREAMING, MessageState.INTERRUPTED)
                awaited = is_open and message.created_at == since
            except NotFound:
                awaited = False
            except DatabaseUnavailable:
                awaited = True  # as the caller found it a moment ago
            if awaited or running.since == since:  # else it was asked for again while we looked
                return awaited

    async def _answer(self, running: _Running, bound: BoundLogger) -> None:
        """Produce the answer and send it as it comes; `running` then says how it ended."""
        sender = self._loop.create_task(self._send_batches(running, asyncio.current_task()))
        try:
            await self._produce(running)
        except asyncio.CancelledError:
            running.state = MessageState.STOPPED if running.stop_requested else MessageState.INTERRUPTED
        except KbError as error:
            running.state, running.error = MessageState.FAILED, error
        except Exception as error:  # noqa: BLE001 - a defect of ours must reach the user as a failed answer
            bound.exception("answer.defect")
            running.state = MessageState.FAILED
            running.error = AnswerFailed(detail=type(error).__name__)
        running.finished.set()
        await sender

    async def _produce(self, running: _Running) -> None:
        task = asyncio.current_task()
        async for event in answer(self._settings, self._retrieve, running.question):
            if task and task.cancelling():
                # Up to Python 3.11, `wait_for` (LangChain uses it) loses a cancel that comes together with a piece.
                raise asyncio.CancelledError
            match event:
                case PassagesFound():
                    running.retrieval = event.retrieval
                case ModelChosen():
                    running.model = event.model.name
                case TextPiece():
                    running.add(event.text)

    async def _send_batches(self, running: _Running, task: asyncio.Task[None] | None) -> None:
        """Every 50 ms: append what is new to the stream, give a sign of life, and look for a stop."""
        while not running.finished.is_set():
            try:
                stopped = await self._send(running)
            except (RedisError, OSError):
                await asyncio.sleep(0.5)  # the answer goes on; what is not sent waits, and SQL gets it all the same
                stopped = False
            if stopped and task and not running.stop_requested and not running.finished.is_set():
                running.stop_requested = True
                task.cancel()
            try:
                await asyncio.wait_for(running.finished.wait(), BATCH_SECONDS)
            except TimeoutError:
                continue

    async def _send(self, running: _Running) -> bool:
        """Append what is not yet in the stream; returns whether a stop was asked for."""
        stream, until = kb_redis.answer_key(running.message_id, "stream"), len(running.text)
        fields: dict[str, str] = {}
        if running.retrieval and not running.retrieval_sent:
            fields["retrieval"] = json.dumps(to_record(running.retrieval))
        if until > running.sent:
            fields["text"] = running.text[running.sent : until]
        pipeline = self._async_client.pipeline(transaction=False)
        if fields:
            pipeline.xadd(stream, fields)  # type: ignore[arg-type]
            pipeline.expire(stream, STREAM_SECONDS)
        pipeline.set(kb_redis.answer_key(running.message_id, "alive"), 1, ex=ALIVE_SECONDS)
        pipeline.exists(kb_redis.answer_key(running.message_id, "stop"))
        replies = await pipeline.execute()
        running.sent = until
        running.retrieval_sent = running.retrieval is not None
        return bool(replies[-1])

    async def _forget_earlier(self, running: _Running) -> None:
        """Remove what an earlier try at the same answer left in Redis, and give the first sign of life."""
        parts = (kb_redis.answer_key(running.message_id, part) for part in ("stream", "stop"))
        try:
            pipeline = self._async_client.pipeline()
            pipeline.delete(*parts)
            pipeline.set(kb_redis.answer_key(running.message_id, "alive"), 1, ex=ALIVE_SECONDS)
            await pipeline.execute()
        except (RedisError, OSError):
            log.warning("answer.redis_away", message=str(running.message_id))

    async def _send_end(self, running: _Running) -> None:
        stream = kb_redis.answer_key(running.message_id, "stream")
        try:
            if running.sent < len(running.text) or (running.retrieval and not running.retrieval_sent):
                await self._send(running)
            pipeline = self._async_client.pipeline()
            pipeline.xadd(stream, {"end": running.state.value})
            pipeline.expire(stream, STREAM_SECONDS)
            pipeline.delete(kb_redis.answer_key(running.message_id, "alive"))
            await pipeline.execute()
        except (RedisError, OSError):
            log.warning("answer.end_unsent", message=str(running.message_id))

    async def _save(self, running: _Running) -> None:
        """Write the answer to SQL. While the database is away it is kept here, and shows that it lives."""
        while True:
            try:
                await self._in_sql_thread(self._write, running)
            except DatabaseUnavailable as error:
                log.warning("answer.unsaved", message=str(running.message_id), reason=str(error))
                with suppress(RedisError, OSError):
                    await self._send(running)
                await asyncio.sleep(SAVE_PAUSE_SECONDS)
            else:
                return

    def _write(self, running: _Running) -> None:
        try:
            self._finish(running)
        except DatabaseUnavailable:
            raise
        except NotFound:
            return  # its conversation was deleted meanwhile
        except Exception as error:
            log.exception("answer.unstorable", message=str(running.message_id))
            running.state, running.text, running.retrieval = MessageState.FAILED, "", None
            running.error = AnswerFailed(detail=type(error).__name__)
            self._finish(running)

    def _finish(self, running: _Running) -> None:
        self._conversations.finish(
            running.user_id,
            running.message_id,
            running.state,
            running.text,
            model=running.model,
            retrieval=running.retrieval,
            error=running.error,
            begun=running.since,
        )

    async def _close(self) -> None:
        tasks = [running.task for running in self._running.values() if running.task]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=5)
        await self._async_client.aclose()
