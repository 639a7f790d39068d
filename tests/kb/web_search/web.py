"""A search engine, the pages that it finds, and retrievers that ask them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from kb.access import Principal
from kb.embedding import EmbeddingModels
from kb.fetching import Fetcher, PageReader
from kb.retrieval.reference import References
from kb.web_search import WebSearch
from kb.web_search.pages import PageLimits, WebPages
from kb.web_search.passages import WebRetrieval
from kb.web_search.retriever import WebRetriever
from tests.conftest import MakeSettings
from tests.fakes.embedding import HashedWords
from tests.fakes.search_server import Answer, SearchServer
from tests.fakes.web_pages import WebPages as WebServer

USER = Principal(UUID(int=1))
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PATIENCE = PageLimits(60, 60)
FILLER = "The museum opens at nine and shows old ships, maps and the tools of sailors in twelve rooms. " * 4


def page(title: str, body: str) -> str:
    return f"<html><head><title>{title}</title></head><body><article>{body}</article></body></html>"


REFUNDS = page("Refund policy", f"<h1>Refund policy</h1><p>Refunds take thirty days.</p><p>{FILLER}</p>")
WARRANTY = page("Warranty", f"<p>The warranty of the pump lasts two years.</p><p>{FILLER}</p>")


class Web:
    """A search engine and the pages that it finds, and retrievers that ask them."""

    def __init__(
        self,
        engine: SearchServer,
        pages: WebServer,
        reader: PageReader,
        make_settings: MakeSettings,
        embedding: HashedWords,
    ) -> None:
        self.engine, self.pages, self.embedding = engine, pages, embedding
        self._reader, self._make_settings = reader, make_settings

    def finds(self, *rows: dict[str, str]) -> None:
        self.engine.next_reply = Answer(200, {"results": list(rows)})

    def row(self, path: str, body: str = "", title: str = "A page", snippet: str = "", **more: str) -> dict[str, str]:
        """A result of the engine; `body` is the page at `path`, if it is no page of the server's own."""
        url = self.pages.serve(path, body.encode()) if body else self.pages.url(path)
        return {"url": url, "title": title, "content": snippet, **more}

    def retriever(self, limits: PageLimits = PATIENCE, **settings: Any) -> WebRetriever:
        given: dict[str, Any] = {"searxng_url": f"{self.engine.url}/searxng", "web_search_engine": "searxng"}
        made = self._make_settings(**(given | {"embedding_model": "test"} | settings))
        fetcher = Fetcher(self.pages.authority, now=lambda: NOW)
        return WebRetriever(
            WebSearch(made),
            WebPages(fetcher, self._reader, limits),
            EmbeddingModels(made, threads=1),
            References(made.models),
            made.web_search_pages,
            now=lambda: NOW,
        )

    def retrieve(self, question: str, limits: PageLimits = PATIENCE, **settings: Any) -> WebRetrieval:
        return self.retriever(limits, **settings).retrieve(USER, question)


def steps(found: WebRetrieval) -> list[str]:
    return [step.name for step in found.trace.steps]
