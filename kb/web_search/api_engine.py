"""What the engines with an HTTP API share: one bounded request, and our errors for what goes wrong with it."""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from http.client import responses as REASONS

import httpx
from pydantic import SecretStr

from kb.deadlines import within
from kb.errors import (
    N_,
    KbError,
    NoWebResults,
    WebSearchBlocked,
    WebSearchError,
    WebSearchKeyRefused,
    WebSearchNotConfigured,
    WebSearchNotJson,
    WebSearchQuotaSpent,
    WebSearchTimeout,
    WebSearchUnreachable,
    WebSearchUnreadable,
)
from kb.providers import CONNECT_SECONDS, host_of, shorten, words_of
from kb.web_search.engine import CHECK_QUERY
from kb.web_search.results import Found, WebResult, clean_query, clean_results

LARGEST_REPLY = 5_000_000  # bytes
_HEADERS = {
    "User-Agent": "Zhiwen",
    # A SearXNG with its limiter on refuses requests that do not name text/html and a language.
    "Accept": "application/json, text/html;q=0.1",
    "Accept-Language": "*",
}
_OUT_OF_QUOTA = re.compile(r"quota|balance|insufficient|enough money|usage limit|余额|额度|欠费", re.IGNORECASE)
_ABOUT_KEY = re.compile(r"api.?key|token|credential|authenticat|unauthori[sz]ed|密钥|令牌", re.IGNORECASE)
CHALLENGE = re.compile(
    r"captcha|turnstile|cf-chl|anomaly-modal|unusual traffic|not a robot|are human|robot check|人机验证|安全验证",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Query:
    """What to send: `parameters` in the address for GET, or `body` as JSON for POST."""

    path: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, object] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    text: str
    location: str = ""

    @property
    def is_page(self) -> bool:
        return self.text.lstrip("\ufeff \t\r\n").startswith("<")


class ApiEngine:
    """A `SearchEngine` behind an HTTP API. Subclasses say what to ask and where the results are in the answer."""

    id = ""
    label = ""
    setting = ""

    def __init__(self, base_url: str, key: SecretStr, timeout_seconds: float) -> None:
        self._base_url = base_url.rstrip("/")
        self._key = key
        self._timeout_seconds = timeout_seconds

    @property
    def is_configured(self) -> bool:
        return bool(self._key.get_secret_value())

    def search(self, query: str, count: int, language: str) -> Sequence[WebResult]:
        if not self.is_configured:
            raise WebSearchNotConfigured(engine=self.label, setting=self.setting)
        if not (cleaned := clean_query(query)):
            raise NoWebResults(engine=self.label)
        asked = self._query(cleaned, count, language)
        try:
            reply = within(self._timeout_seconds, lambda: self._read(asked))
        except (TimeoutError, httpx.ReadTimeout, httpx.WriteTimeout, httpx.PoolTimeout) as error:
            raise WebSearchTimeout(engine=self.label, seconds=f"{self._timeout_seconds:g}") from error
        except httpx.DecodingError as error:
            raise WebSearchUnreadable(engine=self.label, detail=N_("it is damaged")) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(shorten(str(error)) or type(error).__name__) from error
        results = clean_results(self._found_in(reply), count)
        if not results:
            raise NoWebResults(engine=self.label)
        return results

    def check(self) -> WebResult:
        return self.search(CHECK_QUERY, 1, "en")[0]

    def _query(self, query: str, count: int, language: str) -> Query:
        raise NotImplementedError

    def _rows(self, value: Mapping[str, object]) -> Iterable[Found]:
        """The results in the answer; one of another shape may raise TypeError, KeyError or AttributeError."""
        raise NotImplementedError

    def _read(self, asked: Query) -> Reply:
        """Send it and read the reply. Redirects are not followed: they would take the key elsewhere."""
        deadline = time.monotonic() + self._timeout_seconds
        timeout = httpx.Timeout(self._timeout_seconds, connect=min(CONNECT_SECONDS, self._timeout_seconds))
        with httpx.stream(
            "POST" if asked.body is not None else "GET",
            self._base_url + asked.path,
            params=asked.parameters,
            json=asked.body,
            headers={**_HEADERS, **asked.headers},
            timeout=timeout,
            verify=_tls(),
        ) as response:
            data = bytearray()
            for piece in response.iter_bytes(65536):
                data += piece
                if len(data) > LARGEST_REPLY:
                    raise WebSearchUnreadable(engine=self.label, detail=N_("it is too long"))
                if time.monotonic() > deadline:
                    raise TimeoutError
            return Reply(response.status_code, data.decode(errors="replace"), response.headers.get("location", ""))

    def _found_in(self, reply: Reply) -> Iterable[Found]:
        if reply.status != 200:
            raise self._refusal(reply.status, reply)
        if reply.is_page:
            raise self._page_error(reply)
        try:
            value = json.loads(reply.text)
            if not isinstance(value, Mapping):
                raise TypeError
            return list(self._rows(value))
        except (ValueError, RecursionError) as error:
            raise WebSearchUnreadable(engine=self.label, detail=N_("it is not JSON")) from error
        except (TypeError, KeyError, AttributeError) as error:
            raise WebSearchUnreadable(engine=self.label, detail=N_("it has no list of results")) from error

    def _refusal(self, status: int, reply: Reply) -> KbError:
        """The error for a reply that is none with results, in the engine's own words where it has any."""
        if reply.is_page and status not in (401, 429):
            return self._page_error(reply)
        key = self._key.get_secret_value()
        words = shorten(words_of(reply.text), key) or REASONS.get(status, "")
        detail = f"HTTP {status}: {words}"
        said = _unescaped(reply.text)  # codes included, such as Brave's QUOTA_LIMITED
        if status in (402, 432, 433) or (status in (403, 429) and _OUT_OF_QUOTA.search(said)):
            return WebSearchQuotaSpent(engine=self.label, detail=detail)
        if status == 429:
            return WebSearchBlocked(engine=self.label, detail=detail)
        if status in (401, 403) or (status in (400, 422) and _ABOUT_KEY.search(said)):
            return WebSearchKeyRefused(engine=self.label, setting=self.setting, detail=detail)
        return WebSearchError(engine=self.label, detail=detail)

    def _page_error(self, reply: Reply) -> KbError:
        """The error for HTML where JSON was due."""
        if CHALLENGE.search(reply.text):
            return WebSearchBlocked(engine=self.label, detail=N_("it asks for a captcha"))
        return WebSearchNotJson(engine=self.label, detail=f"HTTP {reply.status}")

    def _unreachable(self, detail: str) -> KbError:
        return WebSearchUnreachable(engine=self.label, host=host_of(self._base_url), detail=detail)


@cache
def _tls() -> ssl.SSLContext:
    """Loaded once: the certificates take a processor 50 ms."""
    return httpx.create_ssl_context()


def _unescaped(text: str) -> str:
    """JSON with its letters as they are: many servers write 余额 as \\u4f59\\u989d."""
    try:
        return json.dumps(json.loads(text), ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def mappings(rows: object) -> list[Mapping[str, object]]:
    """The objects in a JSON list; TypeError if it is no list."""
    if not isinstance(rows, list):
        raise TypeError
    return [row for row in rows if isinstance(row, Mapping)]
