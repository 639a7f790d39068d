"""Web search: one port, and the engines behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kb.web_search.engine import SearchEngine
from kb.web_search.keyed import BochaEngine, BraveEngine, TavilyEngine
from kb.web_search.metasearch import BACKENDS, Metasearch
from kb.web_search.results import MOST_RESULTS, WebResult
from kb.web_search.searxng import SearxngEngine

if TYPE_CHECKING:
    from kb.config import Settings

__all__ = ["MOST_RESULTS", "SearchEngine", "WebResult", "WebSearch"]


class WebSearch:
    """The search engines of an installation, with or without their keys."""

    def __init__(self, settings: Settings) -> None:
        seconds = settings.web_search_timeout_seconds
        self.engines: tuple[SearchEngine, ...] = (
            *(Metasearch(backend, seconds) for backend in ("", *BACKENDS)),
            SearxngEngine(settings.searxng_url, seconds),
            TavilyEngine(settings.tavily_api_key, seconds),
            BraveEngine(settings.brave_api_key, seconds),
            BochaEngine(settings.bocha_api_key, seconds),
        )
        self._by_id = {engine.id: engine for engine in self.engines}
        self.default = self._by_id[settings.web_search_engine]

    def engine(self, id_: str) -> SearchEngine:
        """The engine with this `id`; the default one where there is none, as for a choice of an earlier version."""
        return self._by_id.get(id_, self.default)
