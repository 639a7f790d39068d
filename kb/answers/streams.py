"""Runs of answers in Redis: the stream that pages follow, the producer's sign of life, and requests to stop.

All keys expire, so nothing of an answer stays in Redis for good. The truth is the message in SQL.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

import redis.asyncio

from kb import redis as kb_redis
from kb.config import Settings
from kb.formats import from_json, from_record
from kb.models import MessageState, Retrieval
from kb.web_search.passages import WebProgress, WebRetrieval

ALIVE_SECONDS = 6
STREAM_SECONDS = 3600
START = "0-0"  # the position before the first entry


class Stage(StrEnum):
    """What a run is doing."""

    FILES = "files"  # it waits for the files of the conversation
    UNDERSTANDING = "understanding"  # a follow-up is being rewritten
    SEARCHING = "searching"
    WAITING = "waiting"  # for the model's first words
    THINKING = "thinking"
    WRITING = "writing"
    CHECKING = "checking"  # the answer against its passages


@dataclass(frozen=True, slots=True)
class Update:
    """What was added to a stream after a position. Times are seconds since the epoch by the clock of Redis."""

    position: str
    text: str = ""
    reasoning: str = ""
    restarts: bool = False  # earlier text and reasoning are void: `text` and `reasoning` begin again
    retrieval: Retrieval | None = None
    web: WebRetrieval | None = None
    progress: WebProgress | None = None  # the latest
    searched_for: str = ""  # what a follow-up was taken to mean
    awaited: int | None = None  # how many files it waits for; None: nothing new
    ended: bool = False
    stage: Stage | None = None  # the latest
    stage_at: float = 0.0  # when it began
    model: str = ""  # the name of the one that is asked
    thought_ms: float = 0.0  # how long the model thought, once it no longer does
    now: float = 0.0


@dataclass(slots=True)
class Arrived:
    """All that has arrived of a run; `take` adds an update."""

    position: str = START
    text: str = ""
    reasoning: str = ""
    retrieval: Retrieval | WebRetrieval | None = None
    progress: WebProgress | None = None
    searched_for: str = ""
    awaited: int = 0  # files
    stage: Stage | None = None
    model: str = ""
    thought_ms: float = 0.0
    _stage_at: float = 0.0
    _spoke_at: float = 0.0
    _now: float = 0.0

    def take(self, update: Update) -> None:
        if update.restarts:
            self.text = self.reasoning = ""
        self.position = update.position
        self.text, self.reasoning = self.text + update.text, self.reasoning + update.reasoning
        self.retrieval = update.retrieval or update.web or self.retrieval
        self.progress = update.progress or self.progress
        self.searched_for = update.searched_for or self.searched_for
        self.awaited = self.awaited if update.awaited is None else update.awaited
        self.model = update.model or self.model
        self.thought_ms = update.thought_ms or self.thought_ms
        if update.stage:
            self.stage, self._stage_at = update.stage, update.stage_at
        if update.text or update.reasoning:
            self._spoke_at = _seconds(update.position)
        self._now = update.now

    @property
    def stage_seconds(self) -> float:
        """How long the stage has lasted."""
        return max(0.0, self._now - self._stage_at) if self.stage else 0.0

    @property
    def silent_seconds(self) -> float:
        """How long the model, which was asked, has said nothing."""
        if self.stage not in (Stage.WAITING, Stage.THINKING, Stage.WRITING):
            return 0.0
        return max(0.0, self._now - max(self._stage_at, self._spoke_at))


class AnswerStreams:
    """The streams of all answers. Errors of every method: `RedisUnavailable`."""

    def __init__(self, settings: Settings, quick: kb_redis.QuickRedis) -> None:
        self._quick = quick
        self._async_client = redis.asyncio.Redis.from_url(
            settings.redis_url, decode_responses=True, socket_timeout=2, socket_connect_timeout=1
        )

    # --- for those who follow ---

    def read(self, run_id: UUID, position: str = START, wait_seconds: float = 0.0) -> Update:
        """What was added after `position`. Waits for it if there is nothing yet, but no longer than `wait_seconds`.

        These are well below `kb.redis.QUICK_SECONDS`, after which a Redis that says nothing is given up.
        """
        key = _key(run_id, "stream")
        with self._quick.asked() as client:
            pipeline = client.pipeline(transaction=False)
            pipeline.xread({key: position}, block=round(wait_seconds * 1000) or None)  # 0 would wait for ever
            pipeline.time()
            streams, (seconds, microseconds) = pipeline.execute()
        entries = dict(streams or ()).get(key, [])
        text = reasoning = searched_for = model = ""
        restarts, ended = False, False
        retrieval, web, progress, awaited = None, None, None, None
        stage, stage_at, thought_ms = None, 0.0, 0.0
        for entry_id, fields in entries:
            if "restarts" in fields:
                text, reasoning, restarts = "", "", True
            text += fields.get("text", "")
            reasoning += fields.get("reasoning", "")
            ended = ended or "end" in fields
            searched_for = fields.get("searched_for", searched_for)
            if "awaited" in fields:
                awaited = int(fields["awaited"])
            if "retrieval" in fields:
                retrieval = from_record(json.loads(fields["retrieval"]))
            if "web" in fields:
                web = from_json(WebRetrieval, json.loads(fields["web"]))
            if "progress" in fields:
                progress = from_json(WebProgress, json.loads(fields["progress"]))
            if "stage" in fields:
                stage, stage_at = _stage(fields["stage"]), _seconds(entry_id)
            model = fields.get("model", model)
            thought_ms = float(fields.get("thought_ms", thought_ms))
        return Update(
            entries[-1][0] if entries else position,
            text,
            reasoning,
            restarts,
            retrieval,
            web,
            progress,
            searched_for,
            awaited,
            ended,
            stage,
            stage_at,
            model,
            thought_ms,
            seconds + microseconds / 1_000_000,
        )

    def request_stop(self, run_id: UUID) -> None:
        """Ask the producer, wherever it runs, to stop."""
        with self._quick.asked() as client:
            client.set(_key(run_id, "stop"), 1, ex=STREAM_SECONDS)

    # --- for the producer and the reaper, on their event loop ---

    async def begin(self, run_id: UUID) -> None:
        """Give the first sign of life."""
        with kb_redis.translated():
            await self._async_client.set(_key(run_id, "alive"), 1, ex=ALIVE_SECONDS)

    async def append(self, run_id: UUID, fields: Mapping[str, str]) -> bool:
        """Add an entry unless it is empty, and give a sign of life; returns whether a stop was requested."""
        stream = _key(run_id, "stream")
        pipeline = self._async_client.pipeline(transaction=False)
        if fields:
            pipeline.xadd(stream, dict(fields))  # type: ignore[arg-type]
            pipeline.expire(stream, STREAM_SECONDS)
        pipeline.set(_key(run_id, "alive"), 1, ex=ALIVE_SECONDS)
        pipeline.exists(_key(run_id, "stop"))
        with kb_redis.translated():
            replies = await pipeline.execute()
        return bool(replies[-1])

    async def end(self, run_id: UUID, state: MessageState) -> None:
        """Tell those who follow that the answer in SQL is complete."""
        stream = _key(run_id, "stream")
        pipeline = self._async_client.pipeline()
        pipeline.xadd(stream, {"end": state.value})
        pipeline.expire(stream, STREAM_SECONDS)
        pipeline.delete(_key(run_id, "alive"))
        with kb_redis.translated():
            await pipeline.execute()

    async def silent(self, run_ids: Collection[UUID]) -> set[UUID]:
        """Those whose producer gave no sign of life in the last seconds."""
        if not run_ids:
            return set()
        pipeline = self._async_client.pipeline(transaction=False)
        for run_id in run_ids:
            pipeline.exists(_key(run_id, "alive"))
        with kb_redis.translated():
            replies = await pipeline.execute()
        return {run_id for run_id, lives in zip(run_ids, replies, strict=True) if not lives}

    async def close(self) -> None:
        await self._async_client.aclose()


_key = kb_redis.answer_key


def _stage(name: str) -> Stage | None:
    """None for one of another release."""
    return next((stage for stage in Stage if stage == name), None)


def _seconds(entry_id: str) -> float:
    """When an entry was added: its id begins with the milliseconds."""
    return int(entry_id.partition("-")[0]) / 1000
