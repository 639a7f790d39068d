"""Tests of a connection: one question to one model, in the background. A server for reranking alone reranks."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

import structlog

from kb.completions import ChatClient, Reasoning, TextPiece
from kb.config import Settings
from kb.errors import N_, KbError, ModelRefused
from kb.providers.connection import ChatModel, Connection
from kb.providers.listing import can_chat, can_rerank, list_models
from kb.reranking.http import HttpReranker

log = structlog.get_logger()

QUESTION = "Reply with one word: OK"


@dataclass(frozen=True, slots=True)
class Trial:
    """A test that runs (`ended_at` is None) or has ended, with or without an error."""

    model: str = ""
    seconds: float = 0.0  # until the first word, or all scores
    error: KbError | None = None
    ended_at: datetime | None = None


class Trials:
    """Starts tests, and keeps the last result of each server."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._trials: dict[Connection, Trial] = {}

    def last(self, connection: Connection) -> Trial | None:
        """The last test of this server as it is set up now."""
        return self._trials.get(connection)

    def start(self, connection: Connection, wanted: str = "") -> None:
        """Ask the model named `wanted`, else the first one of the server; returns at once. One test at a time."""
        last = self._trials.get(connection)
        if last and last.ended_at is None:
            return
        self._trials[connection] = Trial()
        threading.Thread(target=self.run, args=(connection, wanted), name="model-trial", daemon=True).start()

    def run(self, connection: Connection, wanted: str = "") -> Trial:
        """As `start`, but returns the result."""
        model, began, error = wanted, monotonic(), None
        try:
            if connection.error:
                raise connection.error
            model = self._pick(connection, wanted)
            began = monotonic()
            if can_rerank(model):
                self._rerank(connection, model)
            else:
                asyncio.run(self._ask(connection.model(model)))
        except KbError as failure:
            error = failure
        except Exception as defect:
            log.exception("model_trial.defect")
            error = ModelRefused(host=connection.host, model=model, detail=type(defect).__name__)
        trial = self._trials[connection] = Trial(model, monotonic() - began, error, datetime.now(UTC))
        return trial

    def _pick(self, connection: Connection, wanted: str) -> str:
        key = connection.key.get_secret_value()
        seconds = self._settings.llm_timeout_seconds
        listed = connection.names or list_models(connection.base_url, key, seconds, connection.guard)
        names = [name for name in listed if can_chat(name) or name == wanted] or list(filter(can_rerank, listed))
        if not names:
            raise ModelRefused(host=connection.host, model="", detail=N_("it lists no model that can chat"))
        return wanted if wanted in names else names[0]

    def _rerank(self, connection: Connection, model: str) -> None:
        with closing(HttpReranker(connection, model, self._settings.llm_timeout_seconds)) as reranker:
            reranker.scores(QUESTION, ["OK", "Not OK"])

    async def _ask(self, model: ChatModel) -> None:
        """Until the first word, of the answer or of what the model thinks."""
        client = ChatClient(self._settings)
        try:
            async with aclosing(client.stream(model, [("user", QUESTION)])) as pieces:
                async for piece in pieces:
                    if isinstance(piece, (TextPiece, Reasoning)) and piece.text.strip():
                        return
        finally:
            await client.close()
