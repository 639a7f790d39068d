"""A SearXNG server: https://docs.searxng.org/dev/search_api.html."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import SecretStr

from kb.errors import KbError, SearxngJsonOff, SearxngUnreachable, WebSearchBlocked
from kb.providers import host_of, shorten
from kb.web_search.api_engine import CHALLENGE, ApiEngine, Query, Reply, mappings
from kb.web_search.results import Found


class SearxngEngine(ApiEngine):
    """Asks the owner's server, which asks other engines. Many servers have their JSON API switched off."""

    id = "searxng"
    label = "SearXNG"
    setting = "SEARXNG_URL"

    def __init__(self, address: str, timeout_seconds: float) -> None:
        super().__init__(address.rstrip("/").removesuffix("/search"), SecretStr(""), timeout_seconds)

    @property
    def is_configured(self) -> bool:
        return bool(self._base_url)

    def _query(self, query: str, count: int, language: str) -> Query:
        return Query("/search", {"q": query, "format": "json", "language": language.replace("_", "-") or "all"})

    def _rows(self, value: Mapping[str, object]) -> Iterable[Found]:
        rows = mappings(value["results"])
        if not rows and (silent := _unresponsive(value.get("unresponsive_engines"))):
            raise WebSearchBlocked(engine=self.label, detail=silent)
        return [Found(row.get("title"), row.get("url"), row.get("content"), row.get("publishedDate")) for row in rows]

    def _refusal(self, status: int, reply: Reply) -> KbError:
        # SearXNG answers 403 to a format that its settings do not list, and 429 where its limiter is on.
        if status == 403 and not CHALLENGE.search(reply.text):
            return SearxngJsonOff(host=host_of(self._base_url), detail="HTTP 403")
        if status == 404 or 300 <= status < 400:
            return self._unreachable(shorten(f"HTTP {status} {reply.location}".strip()))
        return super()._refusal(status, reply)

    def _page_error(self, reply: Reply) -> KbError:
        if reply.status == 200 and not CHALLENGE.search(reply.text):
            return SearxngJsonOff(host=host_of(self._base_url), detail="HTML")
        return super()._page_error(reply)

    def _unreachable(self, detail: str) -> KbError:
        return SearxngUnreachable(engine=self.label, host=host_of(self._base_url), detail=detail)


def _unresponsive(engines: object) -> str:
    """The engines behind SearXNG that failed, with their reasons: [["google", "Suspended: CAPTCHA"], …]."""
    if not isinstance(engines, list):
        return ""
    named = (": ".join(map(str, engine)) if isinstance(engine, list) else str(engine) for engine in engines)
    return shorten("; ".join(named))
