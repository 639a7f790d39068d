"""Runs answers in the background, streams them through Redis, and saves them.

An answer does not belong to the page that asked: it goes on when the tab closes, and any page, on any web process,
finds it again by the run that its message names. The run alone writes the message to SQL.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, TypeVar
from uuid import UUID

import redis
import structlog
from structlog.typing import FilteringBoundLogger as BoundLogger

from kb.answer_stream import START, AnswerStreams, Update
from kb.answering import (
    Begun,
    Event,
    ModelChosen,
    PassagesFound,
    Question,
    QuestionRewritten,
    Retrieve,
    SearchWeb,
    WebResultsFound,
    WebSearched,
    answer,
)
from kb.completions import ChatClient, Reasoning, TextPiece, TextWasReasoning, Usage
from kb.config import Settings
from kb.conversations import Conversations, Streaming
from kb.errors import N_, AnswerFailed, DatabaseUnavailable, KbError, NotFound, RedisUnavailable
from kb.formats import to_json, to_record
from kb.llm import ChatModel
from kb.message_store import MESSAGE
from kb.messages import (
    ErrorPart,
    Message,
    Part,
    ReasoningPart,
    SearchedForPart,
    SupportPart,
    TextPart,
    Unsupported,
    UsagePart,
    given_from,
)
from kb.models import MessageState, Retrieval
from kb.support import passage_texts, unsupported
from kb.titles import write_title
from kb.web_search.passages import WebProgress, WebRetrieval

BATCH_SECONDS = 0.05
START_SECONDS = 10.0
RETRIEVALS = 64  # at once; a silent service keeps a thread until its timeout
KNOWN_OWNERS = 10_000
REAP_SECONDS = 3.0
PURGE_SECONDS = 3600.0
SAVE_PAUSE_SECONDS = 1.0  # less than `ALIVE_SECONDS`

log = structlog.get_logger()

T = TypeVar("T")
FindModel = Callable[[UUID, str], ChatModel | None]  # for a user, by the id of a model; see `ChatModels.resolve`
FindRewriter = Callable[[UUID, ChatModel], ChatModel]  # given the one that answers; see `ChatModels.resolve_rewriting`


@dataclass(slots=True)
class _Text:
    """Text that arrives in pieces, and how much of it is in the stream."""

    whole: str = ""
    sent: int = 0
    half: str = ""  # the first half of a character that a server cut in two

    def add(self, piece: str) -> None:
        """Append a piece, without lone surrogates and NUL, which the stores refuse."""
        piece = self.half + piece
        self.half = piece[-1] if piece and "\ud800" <= piece[-1] <= "\udbff" else ""
        piece = piece.removesuffix(self.half) if self.half else piece
        clean = piece if piece.isascii() else piece.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        self.whole += clean.replace("\0", "")

    @property
    def unsent(self) -> str:
        return self.whole[self.sent :]


@dataclass(slots=True)
class _Running:
    """An answer being produced."""

    run_id: UUID
    message_id: UUID
    question: Question
    text: _Text = field(default_factory=_Text)
    reasoning: _Text = field(default_factory=_Text)
    restarts: bool = False  # the text in the stream is void, and the stream does not say so yet
    model: ChatModel | None = None
    retrieval: Retrieval | WebRetrieval | None = None
    retrieval_sent: bool = False
    searched_for: str = ""
    searched_for_sent: bool = False
    unsupported: tuple[Unsupported, ...] = ()
    progress: WebProgress | None = None
    progress_sent: WebProgress | None = None
    state: MessageState = MessageState.DONE
    error: KbError | None = None
    stop_requested: bool = False
    began: float = field(default_factory=time.monotonic)
    first_token_ms: float = 0.0
    tokens: Usage | None = None  # as the server counted them
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    is_begun: asyncio.Event = field(default_factory=asyncio.Event)  # the stream, or it is known not to be needed
    task: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        if begun := self.question.begun:
            self.text.add(begun.text)
            self.reasoning.add(begun.reasoning)
            self.searched_for = begun.searched_for

    def take(self, event: Event) -> None:
        if self.model and not self.first_token_ms and isinstance(event, TextPiece | Reasoning):
            self.first_token_ms = self.elapsed_ms
        match event:
            case QuestionRewritten():
                self.searched_for = event.question
            case PassagesFound() | WebResultsFound():
                self.retrieval = event.retrieval
            case WebSearched():
                self.progress = event.progress
            case ModelChosen():
                self.model = event.model
            case TextPiece():
                self.text.add(event.text)
            case Reasoning():
                self.reasoning.add(event.text)
            case Usage():
                self.tokens = event
            case TextWasReasoning():
                # New objects, so that a batch on its way marks only the old ones as sent.
                begun = self.question.begun.text if self.question.begun else ""
                thought = self.text.whole.removeprefix(begun)
                self.reasoning, self.text, self.restarts = _Text(self.reasoning.whole + thought), _Text(begun), True

    @property
    def elapsed_ms(self) -> float:
        return round((time.monotonic() - self.began) * 1000, 1)

    def parts(self) -> list[Part]:
        """What the message is to hold, now that the answer has ended."""
        parts = _said(self.reasoning.whole, self.text.whole, self.searched_for, self.retrieval)
        if self.unsupported:
            parts.append(SupportPart(self.unsupported))
        if self.model:
            counted = (self.tokens.input_tokens, self.tokens.output_tokens) if self.tokens else (0, 0)
            parts.append(UsagePart(self.model.name, self.first_token_ms, self.elapsed_ms, *counted))
        if self.error:
            parts.append(ErrorPart(self.error.code, self.error.values))
        return parts

    def unsent(self) -> dict[str, str]:
        """What the stream lacks, as the fields of one entry."""
        fields: dict[str, str] = {}
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


def _said(reasoning: str, text: str, searched_for: str, found: Retrieval | WebRetrieval | None) -> list[Part]:
    """The parts that have arrived of an answer, however it ends."""
    parts: list[Part] = [ReasoningPart(reasoning)] if reasoning else []
    parts += [TextPart(text)] if text else []
    parts += [SearchedForPart(searched_for)] if searched_for else []
    parts += given_from(found) if found else []
    return parts


def _unsupported(running: _Running) -> tuple[Unsupported, ...]:
    found, question, text = running.retrieval, running.question, running.text.whole
    if isinstance(found, WebRetrieval):
        texts = {
            each.rank: f"{each.title}\n{each.passage.chunk.text}\n{each.passage.context}" for each in found.passages
        }
    elif found and not found.files:
        texts = passage_texts(found.passages)
    else:
        return ()  # the names of files are no passages
    given = "\n".join([question.text, running.searched_for, *(message.content for message in question.history)])
    return tuple(Unsupported(text[each.start : each.end], each.missing) for each in unsupported(text, texts, given))


def _begun(answer: Message) -> Begun:
    return Begun(answer.content, answer.reasoning, answer.retrieval, answer.web, answer.searched_for)


class Answers:
    """Starts, follows and stops answers. All run on one event loop in a thread of its own."""

    def __init__(
        self,
        settings: Settings,
        client: redis.Redis,
        conversations: Conversations,
        retrieve: Retrieve,
        search_web: SearchWeb,
        find_model: FindModel,
        find_rewriter: FindRewriter,
        has_titles: bool = False,
    ) -> None:
        """`has_titles`: after its first answer, a conversation gets a title from the model."""
        self._conversations = conversations
        self._retrieve = retrieve
        self._search_web = search_web
        self._chat = ChatClient(settings)
        # A page reads several times a second, and the owner of a message never changes: SQL is asked once.
        self._require_own = lru_cache(KNOWN_OWNERS)(conversations.state)
        self._find_model = find_model
        self._find_rewriter = find_rewriter
        self._has_titles = has_titles
        self._naming: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(RETRIEVALS, thread_name_prefix="answers"))
        # A pool of its own, so that starting and saving an answer never wait behind retrievals.
        self._sql = ThreadPoolExecutor(4, thread_name_prefix="answers-sql")
        self._running: dict[UUID, _Running] = {}
        self._streams = AnswerStreams(settings, client)
        self._reaper: Future[None] | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="answers", daemon=True)
        self._thread.start()

    # --- for the pages ---

    def start(
        self,
        user_id: UUID,
        message_id: UUID,
        wanted_model: str = "",
        engine: str = "",
        in_own_words: bool = False,
    ) -> None:
        """Produce the answer `message_id` to the question before it; returns at once.

        `wanted_model` and `engine` are the ids of the model and of the search engine that the user chose. A follow-up
        is searched for as it is meant, unless `in_own_words`. Errors: `NotFound`, `DatabaseUnavailable`.
        """
        asked = self._conversations.asked(user_id, message_id)
        run_id, text = asked.answer.run_id, asked.answer.content
        if run_id is None:
            raise NotFound(what=MESSAGE)
        question = Question(
            user_id=user_id,
            text=asked.question.content,
            mode=asked.answer.mode,
            find_model=partial(self._find_model, user_id, wanted_model),
            scope=asked.answer.scope,
            history=asked.history,
            begun=_begun(asked.answer) if text else None,
            engine=engine,
            find_rewriter=None if in_own_words else partial(self._find_rewriter, user_id),
        )
        begin = self._call(self._begin(_Running(run_id, message_id, question)))
        try:
            begin.result(START_SECONDS)
        except TimeoutError as error:
            raise DatabaseUnavailable(detail=N_("it takes too long")) from error

    def read(self, user_id: UUID, run_id: UUID, position: str = START) -> Update:
        """What has arrived of a run since `position`. Errors: `NotFound`, `RedisUnavailable`."""
        self._require_own(user_id, run_id)
        return self._streams.read(run_id, position)

    def stop(self, user_id: UUID, run_id: UUID) -> None:
        """Ask the run's process, whichever it is, to stop. Errors: `NotFound`, `RedisUnavailable`."""
        self._require_own(user_id, run_id)
        self._streams.request_stop(run_id)

    def watch_for_dead(self) -> None:
        """Start the reaper, which closes answers whose producer died, in this or any other web process."""
        self._reaper = self._call(self._reap())

    def close(self) -> None:
        """End all running answers as interrupted, saving what they have."""
        if self._reaper:
            self._reaper.cancel()
        self._call(self._close()).result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._loop.close()
        self._sql.shutdown()  # what it still does must end before the database is closed

    # --- on the loop ---

    def _call(self, coroutine: Any) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def _in_sql_thread(self, function: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        return self._loop.run_in_executor(self._sql, function, *arguments)

    async def _begin(self, running: _Running) -> None:
        if running.run_id in self._running:
            return
        self._running[running.run_id] = running
        running.task = self._loop.create_task(self._run(running))
        await running.is_begun.wait()

    async def _run(self, running: _Running) -> None:
        bound = log.bind(message=str(running.message_id), mode=running.question.mode.value)
        try:
            try:
                if not await self._is_awaited(running):
                    return
                await self._begin_stream(running)
            finally:
                running.is_begun.set()
            bound.info("answer.started")
            await self._answer(running, bound)
            await self._save(running)
            await self._send_end(running)
            self._begin_title(running)
        finally:
            # Whatever happened: from now on the reaper may close the message.
            del self._running[running.run_id]
        bound.info("answer.ended", state=running.state.value, error=running.error.code if running.error else "")

    async def _begin_stream(self, running: _Running) -> None:
        try:
            await self._streams.begin(running.run_id)
        except RedisUnavailable:
            log.warning("answer.redis_away", message=str(running.message_id))

    async def _is_awaited(self, running: _Running) -> bool:
        """Whether this run should still produce the answer: it may have ended since the caller looked.

        An answer that the reaper closed before its first sign of life is still produced; see `Conversations.finish`.
        """
        try:
            user_id = running.question.user_id
            state = await self._in_sql_thread(self._conversations.state, user_id, running.run_id)
        except NotFound:
            return False
        except DatabaseUnavailable:
            return True  # the caller saw it a moment ago
        return state in (MessageState.STREAMING, MessageState.INTERRUPTED)

    async def _answer(self, running: _Running, bound: BoundLogger) -> None:
        """Produce and stream the answer; afterwards `running` tells how it ended."""
        sender = self._loop.create_task(self._send_batches(running, asyncio.current_task()))
        try:
            await self._produce(running)
            await self._check_support(running, bound)
        except asyncio.CancelledError:
            running.state = MessageState.STOPPED if running.stop_requested else MessageState.INTERRUPTED
        except KbError as error:
            running.state, running.error = MessageState.FAILED, error
        except Exception as error:  # noqa: BLE001 - a defect must reach the user as a failed answer
            bound.exception("answer.defect")
            running.state = MessageState.FAILED
            running.error = AnswerFailed(detail=type(error).__name__)
        running.finished.set()
        await sender

    async def _produce(self, running: _Running) -> None:
        task = asyncio.current_task()
        async for event in answer(self._chat, self._retrieve, self._search_web, running.question):
            if task and task.cancelling():
                # A library between here and the socket may lose a cancel that comes together with a piece.
                raise asyncio.CancelledError
            running.take(event)

    async def _check_support(self, running: _Running, bound: BoundLogger) -> None:
        """Note what a model said that its passages do not. An answer is saved whatever happens here."""
        if not (running.model and running.retrieval and running.text.whole):
            return
        try:
            running.unsupported = await asyncio.to_thread(_unsupported, running)
        except Exception:  # noqa: BLE001 - the answer itself is good
            bound.exception("answer.support_unchecked")

    async def _send_batches(self, running: _Running, task: asyncio.Task[None] | None) -> None:
        """Every 50 ms: append new text to the stream, give a sign of life, and check for a stop."""
        while not running.finished.is_set():
            try:
                stopped = await self._send(running)
            except RedisUnavailable:
                await asyncio.sleep(0.5)  # the answer goes on, and SQL will have all of it
                stopped = False
            if stopped and task and not running.stop_requested and not running.finished.is_set():
                running.stop_requested = True
                task.cancel()
            try:
                await asyncio.wait_for(running.finished.wait(), BATCH_SECONDS)
            except TimeoutError:
                continue

    async def _send(self, running: _Running) -> bool:
        """Append what is not yet in the stream; returns whether a stop was requested."""
        fields = running.unsent()
        text, reasoning, has_retrieval = running.text, running.reasoning, running.retrieval is not None
        progress = running.progress
        lengths = len(text.whole), len(reasoning.whole)
        is_stop_requested = await self._streams.append(running.run_id, fields)
        text.sent, reasoning.sent = lengths
        running.retrieval_sent = has_retrieval
        running.searched_for_sent = "searched_for" in fields or running.searched_for_sent
        running.progress_sent = progress
        running.restarts = running.restarts and running.text is not text
        return is_stop_requested

    async def _send_end(self, running: _Running) -> None:
        try:
            if running.unsent():
                await self._send(running)
            await self._streams.end(running.run_id, running.state)
        except RedisUnavailable:
            log.warning("answer.end_unsent", message=str(running.message_id))

    async def _save(self, running: _Running) -> None:
        """Write the answer to SQL. While the database is down, keep it in memory and go on giving signs of life."""
        while True:
            try:
                await self._in_sql_thread(self._write, running)
            except DatabaseUnavailable as error:
                log.warning("answer.unsaved", message=str(running.message_id), reason=str(error))
                with suppress(RedisUnavailable):
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
            running.state, running.retrieval = MessageState.FAILED, None
            running.text, running.reasoning = _Text(), _Text()
            running.error = AnswerFailed(detail=type(error).__name__)
            self._finish(running)

    def _finish(self, running: _Running) -> None:
        self._conversations.finish(
            running.question.user_id, running.message_id, running.state, running.parts(), running.run_id
        )

    # --- titles ---

    def _begin_title(self, running: _Running) -> None:
        """Have the model name the conversation, unless it is named. Nothing waits for it."""
        if self._has_titles and running.model and running.state is MessageState.DONE:
            task = self._loop.create_task(self._give_title(running, running.model))
            self._naming.add(task)
            task.add_done_callback(self._naming.discard)

    async def _give_title(self, running: _Running, model: ChatModel) -> None:
        user_id, message_id = running.question.user_id, running.message_id
        try:
            if await self._in_sql_thread(self._conversations.lacks_title, user_id, message_id):
                title = await write_title(self._chat, model, running.question.text, running.text.whole)
                await self._in_sql_thread(self._conversations.suggest_title, user_id, message_id, title)
        except (KbError, TimeoutError) as error:
            log.warning("title.failed", message=str(message_id), reason=str(error) or type(error).__name__)
        except Exception:
            log.exception("title.defect", message=str(message_id))

    # --- answers whose producer died, or that nobody waits for; conversations that were deleted ---

    async def _reap(self) -> None:
        """Close dead answers, every few seconds. Two looks must miss the sign of life, as Redis may lose its keys."""
        suspects: set[UUID] = set()
        purge_at = time.monotonic()
        while True:
            try:
                if time.monotonic() >= purge_at:
                    await self._purge()
                    purge_at = time.monotonic() + PURGE_SECONDS
                streaming = await self._in_sql_thread(self._conversations.streaming)
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
        if count := await self._in_sql_thread(self._conversations.purge):
            log.info("conversations.purged", count=count)

    def _end_unwanted(self, streaming: Sequence[Streaming]) -> None:
        """Stop the answers of deleted conversations. What they have is saved, as deleting can be undone."""
        for each in streaming:
            running = self._running.get(each.run_id)
            if not (each.is_unwanted and running and running.task):
                continue
            if not (running.stop_requested or running.finished.is_set()):
                running.stop_requested = True
                running.task.cancel()

    async def _close_dead(self, dead: Streaming) -> None:
        """Save what had arrived, and tell the pages that follow the stream."""
        arrived = await self._in_sql_thread(self._streams.read, dead.run_id)
        parts = _said(arrived.reasoning, arrived.text, arrived.searched_for, arrived.retrieval or arrived.web)
        interrupted = MessageState.INTERRUPTED
        finish = partial(self._conversations.finish, dead.user_id, dead.message_id, interrupted, parts or None)
        with suppress(NotFound):  # deleted meanwhile
            if await self._in_sql_thread(finish):
                log.warning("answer.interrupted", message=str(dead.message_id))
                await self._streams.end(dead.run_id, MessageState.INTERRUPTED)

    async def _close(self) -> None:
        tasks = [*(running.task for running in self._running.values() if running.task), *self._naming]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=5)
        await self._chat.close()
        await self._streams.close()
