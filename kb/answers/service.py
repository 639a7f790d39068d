"""The answers of a web process: starts, follows and stops them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from cachetools import LRUCache

from kb.access import Principal
from kb.answering import Begun, Question, Retrieve, SearchWeb
from kb.answers.checks import RUNNING_SECONDS, Checks
from kb.answers.events import EventSource
from kb.answers.feed import Feed
from kb.answers.producer import Producer
from kb.answers.reaper import Reaper
from kb.answers.run import Run
from kb.answers.sql_threads import SqlThreads
from kb.answers.streams import START, AnswerStreams, Update
from kb.asked_files import ConversationFiles
from kb.completions import ChatClient
from kb.config import Settings
from kb.conversations import MESSAGE, Conversations, Messages
from kb.errors import N_, DatabaseUnavailable, KbError, NotFound
from kb.llm import ChatModel
from kb.messages import Message
from kb.models import MessageState, Mode, Scope
from kb.providers.connection import AS_SET, Sampling
from kb.redis import QuickRedis
from kb.titles import write_title
from kb.usage import AnswerEnd

START_SECONDS = 10.0
RETRIEVALS = 64  # at once; a silent service keeps a thread until its timeout
KNOWN_OWNERS = 10_000

log = structlog.get_logger()

FindModel = Callable[[Principal, str], ChatModel | None]  # by the id of a model; see `ChatModels.resolve`
FindRewriter = Callable[
    [Principal, ChatModel], ChatModel
]  # given the one that answers; see `ChatModels.resolve_rewriting`


class Answers:
    """All answers of this process run on one event loop in a thread of its own."""

    def __init__(
        self,
        settings: Settings,
        quick: QuickRedis,
        conversations: Conversations,
        messages: Messages,
        retrieve: Retrieve,
        search_web: SearchWeb,
        files: ConversationFiles,
        find_model: FindModel,
        find_rewriter: FindRewriter,
        note_unkept: Callable[[AnswerEnd], None],
        has_titles: bool = False,
    ) -> None:
        """`note_unkept` records answers that no conversation keeps. `has_titles`: after its first answer, a
        conversation gets a title from the model.
        """
        self._conversations = conversations
        self._messages = messages
        # A page reads several times a second, and the owner of a message never changes: SQL is asked once.
        self._known_owners: LRUCache[tuple[Principal, UUID], bool] = LRUCache(KNOWN_OWNERS)
        self._guard = threading.Lock()
        self._find_model = find_model
        self._find_rewriter = find_rewriter
        self._note_unkept = note_unkept
        self._has_titles = has_titles
        self._beside: set[asyncio.Task[None]] = set()  # titles and checks: no answer waits for them
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(RETRIEVALS, thread_name_prefix="answers"))
        self._sql = SqlThreads()
        self._running: dict[UUID, Run] = {}
        self._feeds: set[asyncio.Task[None]] = set()
        self._chat = ChatClient(settings)
        self._streams = AnswerStreams(settings, quick)
        self._source = EventSource(self._chat, retrieve, search_web, files)
        self._producer = Producer(self._source, self._streams, messages, self._sql)
        self._checks = Checks(self._chat, messages, self._sql)
        self._reaper = Reaper(self._running, self._streams, conversations, messages, self._sql)
        self._reaping: Future[None] | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="answers", daemon=True)
        self._thread.start()

    # --- for the pages ---

    def start(
        self,
        principal: Principal,
        message_id: UUID,
        wanted_model: str = "",
        engine: str = "",
        in_own_words: bool = False,
        page_language: str = "",
        widened: int = 0,
    ) -> None:
        """Produce the answer `message_id` to the question before it; returns at once.

        `wanted_model` and `engine` are the ids of the model and of the search engine that the user chose. A follow-up
        is searched for as it is meant, unless `in_own_words`. A question that is the same in both Chinese scripts is
        answered in that of `page_language`, a code such as zh_TW. `widened`: see `Question`.
        Errors: `NotFound`, `DatabaseUnavailable`.
        """
        asked = self._messages.asked(principal, message_id)
        run_id, text = asked.answer.run_id, asked.answer.content
        if run_id is None:
            raise NotFound(what=MESSAGE)
        self._note_owner(principal, run_id)
        # By the offer to ask the model alone, for which the conversation's files are documents, too.
        is_aside = asked.answer.mode is Mode.LLM and asked.question.mode is not Mode.LLM
        question = Question(
            principal=principal,
            text=asked.question.content,
            mode=asked.answer.mode,
            find_model=partial(self._find_model, principal, wanted_model),
            scope=asked.answer.scope,
            history=asked.history,
            begun=_begun(asked.answer) if text else None,
            page_language=page_language,
            conversation_id=None if is_aside else asked.answer.conversation_id,
            attached=asked.question.attached,
            widened=widened,
            engine=engine,
            find_rewriter=None if in_own_words else partial(self._find_rewriter, principal),
        )
        begin = self._call(self._begin(Run(run_id, message_id, question)))
        try:
            begin.result(START_SECONDS)
        except TimeoutError as error:
            raise DatabaseUnavailable(detail=N_("it takes too long")) from error

    def ask(
        self,
        principal: Principal,
        text: str,
        mode: Mode,
        scope: Scope,
        history: Sequence[Message] = (),
        wanted_model: str = "",
        page_language: str = "",
        instructions: str = "",
        sampling: Sampling = AS_SET,
    ) -> Feed:
        """Produce an answer that no conversation keeps, for the running event loop; returns at once.

        The answer is that which a conversation with this `history` would get. See `start`, and `Question`.
        """
        question = Question(
            principal=principal,
            text=text,
            mode=mode,
            find_model=partial(self._find_model, principal, wanted_model),
            scope=scope,
            history=history,
            page_language=page_language,
            find_rewriter=partial(self._find_rewriter, principal),
            instructions=instructions,
            sampling=sampling,
        )
        feed = Feed(question, self._loop)
        self._call(self._feed(feed))
        return feed

    def read(self, principal: Principal, run_id: UUID, position: str = START, wait_seconds: float = 0.0) -> Update:
        """What has arrived of a run since `position`; waits up to `wait_seconds` if that is nothing.

        Errors: `NotFound`, `RedisUnavailable`.
        """
        self._require_own(principal, run_id)
        return self._streams.read(run_id, position, wait_seconds)

    @property
    def running(self) -> int:
        """How many answers this process is producing."""
        return len(self._running) + len(self._feeds)

    def stop(self, principal: Principal, run_id: UUID) -> None:
        """Stop a run of this process, or ask the other process for it through Redis.

        Errors: `NotFound`; `RedisUnavailable` for a run of another process.
        """
        self._require_own(principal, run_id)
        if run := self._running.get(run_id):
            self._loop.call_soon_threadsafe(run.request_stop)
        else:
            self._streams.request_stop(run_id)

    def check_support(
        self, principal: Principal, message_id: UUID, wanted_model: str = "", page_language: str = ""
    ) -> None:
        """Have a model compare a complete answer with its passages; returns at once. The message tells the state.

        Nothing happens while that is being done already. Errors: `NotFound`, `DatabaseUnavailable`.
        """
        moment = time.time()
        if self._messages.begin_check(principal, message_id, moment, moment - RUNNING_SECONDS):
            find_model = partial(self._find_model, principal, wanted_model)
            self._call(self._begin_beside(self._checks.check(principal, message_id, find_model, page_language)))

    def watch_for_dead(self) -> None:
        """Start the reaper, which closes answers whose producer died, in this or any other web process."""
        self._reaping = self._call(self._reaper.work())

    def close(self) -> None:
        """End all running answers as interrupted, saving what they have."""
        if self._reaping:
            self._reaping.cancel()
        self._call(self._close()).result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._loop.close()
        self._sql.close()

    def _require_own(self, principal: Principal, run_id: UUID) -> None:
        """Errors: `NotFound`."""
        with self._guard:
            is_known = (principal, run_id) in self._known_owners
        if not is_known:
            self._messages.state(principal, run_id)
            self._note_owner(principal, run_id)

    def _note_owner(self, principal: Principal, run_id: UUID) -> None:
        with self._guard:
            self._known_owners[principal, run_id] = True

    # --- on the loop ---

    def _call(self, coroutine: Any) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def _begin(self, run: Run) -> None:
        if run.id in self._running:
            return
        self._running[run.id] = run
        run.task = self._loop.create_task(self._run(run))
        await run.is_begun.wait()

    async def _run(self, run: Run) -> None:
        try:
            await self._producer.produce(run)
            self._begin_title(run)
        finally:
            # Whatever happened: from now on the reaper may close the message.
            del self._running[run.id]

    async def _feed(self, feed: Feed) -> None:
        task = self._loop.create_task(self._produce(feed))
        self._feeds.add(task)
        task.add_done_callback(self._feeds.discard)

    async def _produce(self, feed: Feed) -> None:
        end = await feed.produce(self._source)
        try:
            await self._sql.run(self._note_unkept, end)
        except KbError as error:  # whoever asked has the answer
            log.warning("answer.unrecorded", reason=str(error))
        except Exception:
            log.exception("answer.unrecorded")

    def _begin_title(self, run: Run) -> None:
        """Have the model name the conversation, unless it is named. Nothing waits for it."""
        if self._has_titles and run.model and run.state is MessageState.DONE:
            self._do_beside(self._give_title(run, run.model))

    async def _begin_beside(self, work: Coroutine[Any, Any, None]) -> None:
        self._do_beside(work)

    def _do_beside(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def _give_title(self, run: Run, model: ChatModel) -> None:
        principal, message_id = run.question.principal, run.message_id
        try:
            if await self._sql.run(self._conversations.lacks_title, principal, message_id):
                title = await write_title(self._chat, model, run.question.text, run.text.whole)
                await self._sql.run(self._conversations.suggest_title, principal, message_id, title)
        except (KbError, TimeoutError) as error:
            log.warning("title.failed", message=str(message_id), reason=str(error) or type(error).__name__)
        except Exception:
            log.exception("title.defect", message=str(message_id))

    async def _close(self) -> None:
        tasks = [*(run.task for run in self._running.values() if run.task), *self._feeds, *self._beside]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=5)
        await self._chat.close()
        await self._streams.close()


def _begun(answer: Message) -> Begun:
    return Begun(answer.content, answer.reasoning, answer.retrieval, answer.web, answer.searched_for, answer.thought_ms)
