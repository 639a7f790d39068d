"""Reranking: a question and passages → how well each passage answers it, by a model that reads both together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Protocol
from uuid import UUID

from kb.access import Principal
from kb.config import Settings
from kb.providers.addresses import host_of
from kb.providers.connection import Connection, Purpose, Source
from kb.providers.guard import Guard
from kb.reranking.http import HttpReranker

__all__ = ["NO_RERANKING", "FindReranker", "HttpReranker", "Reranker", "Rerankers"]

NO_RERANKING = "none"  # chosen where `.env` names a model


class Reranker(Protocol):
    """A model that compares a question with texts. `model` is its name."""

    @property
    def model(self) -> str: ...

    def scores(self, question: str, texts: Sequence[str]) -> list[float]:
        """A score for each text, 0 to 1; only those of one call can be compared. Errors: `ModelError`."""
        ...


FindReranker = Callable[[Principal], Reranker | None]


class Stored(Protocol):
    """What SQL knows; see `kb.providers.store.Providers`."""

    def connection(self, provider_id: UUID) -> Connection | None: ...
    def chosen_model(self, principal: Principal, purpose: Purpose) -> str: ...


class Rerankers:
    """The reranking model of each user: the one chosen on the Models page, else that of RERANK_MODEL, else none."""

    def __init__(self, settings: Settings, stored: Stored) -> None:
        self._stored = stored
        self._seconds = settings.rerank_timeout_seconds
        self.named = settings.rerank_model  # in `.env`; may be empty
        self._own = _connection_from_env(settings)
        self._built: dict[tuple[str, str, str, Guard | None], HttpReranker] = {}
        self._lock = Lock()

    def find(self, principal: Principal) -> Reranker | None:
        """The one that this user's questions use. It connects to nothing before its first use.

        Errors: `DatabaseUnavailable`.
        """
        chosen = self._stored.chosen_model(principal, Purpose.RERANKING)
        if chosen == NO_RERANKING:
            return None
        provider_id, _, model = chosen.partition("/")
        if not model:
            return self._reranker(self._own, self.named) if self.named else None
        connection = self._stored.connection(UUID(provider_id))
        return self._reranker(connection, model) if connection else None

    def close(self) -> None:
        """Close the connections, which are opened again when needed."""
        with self._lock:
            for reranker in self._built.values():
                reranker.close()

    def _reranker(self, connection: Connection, model: str) -> HttpReranker:
        """One for each server and model, because it remembers what its server takes."""
        key = connection.base_url, connection.key.get_secret_value(), model, connection.guard
        with self._lock:
            if key not in self._built or connection.error:
                self._built[key] = HttpReranker(connection, model, self._seconds)
            return self._built[key]


def _connection_from_env(settings: Settings) -> Connection:
    base_url, key = settings.endpoint(settings.rerank_base_url, settings.rerank_api_key)
    return Connection(Source.ENV, host_of(base_url), base_url, key)
