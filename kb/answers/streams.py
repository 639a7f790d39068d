"""Runs of answers in Redis: the stream that pages follow, the producer's sign of life, and requests to stop.

All keys expire, so nothing of an answer stays in Redis for good. The truth is the message in SQL.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import redis
import redis.asyncio

from kb import redis as kb_redis
from kb.config import Settings
from kb.formats import from_json, from_record
from kb.models import MessageState, Retrieval
from kb.web_search.passages import WebProgress, WebRetrieval

ALIVE_SECONDS = 6
STREAM_SECONDS = 3600
START = "0-0"  # the position before the first entry


@dataclass(frozen=True, slots=True)
class Update:
    """What was added to a stream after a position."""

    position: str
    text: str = ""
    reasoning: str = ""
    restarts: bool = False  # earlier text and reasoning are void: `text` and `reasoning` begin again
    retrieval: Retrieval | None = None
    web: WebRetrieval | None = None
    progress: WebProgress | None = None  # the latest
    searched_for: str = ""  # what a follow-up was taken to mean
    ended: bool = False


class AnswerStreams:
    """The streams of all answers. Errors of every method: `RedisUnavailable`."""

    def __init__(self, settings: Settings, client: redis.Redis) -> None:
        self._client = client
        self._async_client = redis.asyncio.Redis.from_url(
            settings.redis_url, decode_responses=True, socket_timeout=2, socket_connect_timeout=1
        )

    # --- for those who follow ---

    def read(self, run_id: UUID, position: str = START) -> Update:
        """What was added after `position`."""
        with kb_redis.translated():
            entries: Any = self._client.xrange(_key(run_id, "stream"), min=f"({position}")
        text = reasoning = searched_for = ""
        restarts, ended = False, False
        retrieval, web, progress = None, None, None
        for _, fields in entries:
            if "restarts" in fields:
                text, reasoning, restarts = "", "", True
            text += fields.get("text", "")
            reasoning += fields.get("reasoning", "")
            ended = ended or "end" in fields
            searched_for = fields.get("searched_for", searched_for)
            if "retrieval" in fields:
                retrieval = from_record(json.loads(fields["retrieval"]))
            if "web" in fields:
                web = from_json(WebRetrieval, json.loads(fields["web"]))
            if "progress" in fields:
                progress = from_json(WebProgress, json.loads(fields["progress"]))
        last = entries[-1][0] if entries else position
        return Update(last, text, reasoning, restarts, retrieval, web, progress, searched_for, ended)

    def request_stop(self, run_id: UUID) -> None:
        """Ask the producer, wherever it runs, to stop."""
        with kb_redis.translated():
            self._client.set(_key(run_id, "stop"), 1, ex=STREAM_SECONDS)

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
