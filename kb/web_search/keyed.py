"""Search engines that need a key: Tavily, Brave and Bocha."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from pydantic import SecretStr

from kb.errors import N_
from kb.web_search.api_engine import ApiEngine, Query, Reply, mappings
from kb.web_search.results import MOST_RESULTS, Found


class TavilyEngine(ApiEngine):
    """https://docs.tavily.com/documentation/api-reference/endpoint/search"""

    id = "tavily"
    label = "Tavily"
    setting = "TAVILY_API_KEY"

    def __init__(self, key: SecretStr, timeout_seconds: float, base_url: str = "https://api.tavily.com") -> None:
        super().__init__(base_url, key, timeout_seconds)

    def _query(self, query: str, count: int, language: str) -> Query:
        body = {"query": query, "max_results": min(count, MOST_RESULTS), "search_depth": "basic"}
        return Query("/search", body=body, headers={"Authorization": f"Bearer {self._key.get_secret_value()}"})

    def _rows(self, value: Mapping[str, object]) -> Iterable[Found]:
        return [
            Found(row.get("title"), row.get("url"), row.get("content"), row.get("published_date"))
            for row in mappings(value["results"])
        ]


class BraveEngine(ApiEngine):
    """https://api-dashboard.search.brave.com/app/documentation/web-search/get-started"""

    id = "brave"
    label = "Brave Search API"
    setting = "BRAVE_API_KEY"
    # Its codes are its own and an unknown one is refused; without one it goes by the query.
    _LANGUAGES: Mapping[str, str] = {"en": "en", "zh_CN": "zh-hans", "zh_TW": "zh-hant"}

    def __init__(self, key: SecretStr, timeout_seconds: float, base_url: str = "https://api.search.brave.com") -> None:
        super().__init__(base_url, key, timeout_seconds)

    def _query(self, query: str, count: int, language: str) -> Query:
        parameters = {"q": query, "count": str(min(count, MOST_RESULTS)), "text_decorations": "false"}
        if language in self._LANGUAGES:
            parameters["search_lang"] = self._LANGUAGES[language]
        headers = {"X-Subscription-Token": self._key.get_secret_value()}
        return Query("/res/v1/web/search", parameters, headers=headers)

    def _rows(self, value: Mapping[str, object]) -> Iterable[Found]:
        web = value.get("web")
        if web is None:  # it is left out where nothing was found
            return []
        return [
            Found(row.get("title"), row.get("url"), row.get("description"), row.get("page_age"))
            for row in mappings(web["results"])  # type: ignore[index]
        ]


class BochaEngine(ApiEngine):
    """https://open.bochaai.com; the answer has the form of Bing's former API, inside `data`."""

    id = "bocha"
    label = N_("Bocha")
    setting = "BOCHA_API_KEY"

    def __init__(self, key: SecretStr, timeout_seconds: float, base_url: str = "https://api.bocha.cn") -> None:
        super().__init__(base_url, key, timeout_seconds)

    def _query(self, query: str, count: int, language: str) -> Query:
        body = {"query": query, "count": min(count, MOST_RESULTS), "summary": True, "freshness": "noLimit"}
        return Query("/v1/web-search", body=body, headers={"Authorization": f"Bearer {self._key.get_secret_value()}"})

    def _rows(self, value: Mapping[str, object]) -> Iterable[Found]:
        code = str(value.get("code", 200))
        if code != "200":  # an error inside a 200
            raise self._refusal(int(code) if code.isdecimal() else 200, Reply(200, json.dumps(value)))
        pages = value["data"].get("webPages")  # type: ignore[attr-defined]
        if pages is None:
            return []
        return [
            Found(row.get("name"), row.get("url"), row.get("summary") or row.get("snippet"), row.get("datePublished"))
            for row in mappings(pages["value"])
        ]
