"""One search through an engine of the library ddgs. Imported at the first search: ddgs loads a browser's HTTP stack."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import primp
from ddgs.base import BaseSearchEngine
from ddgs.engines import ENGINES
from ddgs.engines.bing import Bing
from ddgs.exceptions import DDGSException, RatelimitException, TimeoutException
from ddgs.http_client import HttpClient, Response
from ddgs.results import TextResult

from kb.errors import N_, WebSearchBlocked, WebSearchError, WebSearchUnreachable, WebSearchUnreadable
from kb.providers import host_of, shorten
from kb.web_search.api_engine import CHALLENGE
from kb.web_search.results import Found

Scraper: TypeAlias = type[BaseSearchEngine[TextResult]]

# DuckDuckGo sends its captcha with 202.
_BLOCKING = (202, 403, 418, 429, 503)
# Country and language, as ddgs writes them.
_REGIONS = {"en": "us-en", "zh_CN": "cn-zh", "zh_TW": "tw-zh"}


def find_scraper(name: str) -> Scraper:
    """The engine's class. Bing is not in ddgs' list, because it at times gives unrelated results, but it is kept up."""
    return Bing if name == "bing" else ENGINES["text"][name]


def scrape(scraper: Scraper, label: str, query: str, language: str, seconds: float) -> list[Found]:
    """What the engine found, which may be nothing. Errors: `WebSearchError`, or `TimeoutError`."""
    as_found: Any = type(scraper.__name__, (scraper,), {"result_type": _AsFound})
    engine: BaseSearchEngine[TextResult] = as_found(timeout=math.ceil(seconds))
    client = engine.http_client = _WatchedClient(engine.http_client)
    try:
        results = engine.search(query, region=_REGIONS.get(language, "us-en")) or []
    except TimeoutException as error:
        raise TimeoutError from error
    except RatelimitException as error:
        raise WebSearchBlocked(engine=label, detail=str(error)) from error
    except DDGSException as error:
        if isinstance(error.__cause__, primp.ConnectError | primp.DNSError):
            host = host_of(engine.search_url)
            raise WebSearchUnreachable(engine=label, host=host, detail=type(error.__cause__).__name__) from error
        raise WebSearchError(engine=label, detail=shorten(str(error))) from error
    except Exception as error:  # its reading of the page, which is not the one that it knows
        raise WebSearchUnreadable(engine=label, detail=type(error).__name__) from error
    if not results and CHALLENGE.search(client.last_text):
        raise WebSearchBlocked(engine=label, detail=N_("it asks for a captcha"))
    return [Found(result.title, result.href, result.body) for result in results]


@dataclass
class _AsFound:
    """A result as the page has it. ddgs' own decodes addresses, so that ?q=a%26b leads to another page."""

    title: str = ""
    href: str = ""
    body: str = ""


class _WatchedClient(HttpClient):
    """Raises where a reply is none with results: ddgs' engines take every status but 200 for “nothing found”."""

    def __init__(self, inner: HttpClient) -> None:
        self.client = inner.client
        self.last_text = ""

    def request(self, *args: Any, **kwargs: Any) -> Response:
        response = super().request(*args, **kwargs)
        if response.status_code in _BLOCKING:
            raise RatelimitException(f"HTTP {response.status_code}")
        if response.status_code != 200:
            raise DDGSException(f"HTTP {response.status_code}")
        self.last_text = response.text
        return response
