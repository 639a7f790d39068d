"""What a search engine found, cleaned for pages and models: plain text, usable addresses, each page once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from email.utils import parsedate_to_datetime
from html import unescape
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx

from kb.names import clean_label

MOST_RESULTS = 20
SNIPPET_CHARACTERS = 1000
_ADDRESS_CHARACTERS = 2000
# What Brave and Tavily accept; the others cut longer queries themselves.
_QUERY_CHARACTERS = 400
_QUERY_WORDS = 50

_HIDDEN = re.compile(r"<(script|style)\b.*?</\1\s*>|<!--.*?-->", re.IGNORECASE | re.DOTALL)
# By name, because List<String> and a < b are text.
_INLINE_TAG = re.compile(
    r"</?(?:a|abbr|b|big|code|del|em|font|i|ins|mark|s|small|span|strike|strong|sub|sup|tt|u|wbr)(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
_BLOCK_TAG = re.compile(
    r"</?(?:blockquote|body|br|button|div|form|h[1-6]|head|hr|html|iframe|img|input|li|link|meta|object|ol|p|pre|script"
    r"|style|svg|table|tbody|td|th|tr|ul|video)(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
# Parameters that say where a visitor came from, and choose no other page.
_TRACKING = re.compile(r"utm_\w+|gclid|fbclid|msclkid|yclid|mc_[ce]id|igshid", re.IGNORECASE)
_HOST = re.compile(r"[\w.:-]+")  # httpx escapes a space in it instead of refusing it
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class WebResult:
    """A page that a search engine found. The texts are plain, in one line; `address` is an http or https URL."""

    title: str
    address: str
    snippet: str
    published: date | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A result as the engine gave it: any field may be missing or of another type."""

    title: object
    address: object
    snippet: object
    published: object = None


def clean_query(query: str) -> str:
    """The query in one line, no longer than every engine accepts."""
    words = clean_label(query, 2 * _QUERY_CHARACTERS).split()[:_QUERY_WORDS]
    return " ".join(words)[:_QUERY_CHARACTERS].strip()


def clean_results(found: Iterable[Found], count: int) -> list[WebResult]:
    """The first `count` (at most MOST_RESULTS) usable results, in the engine's order."""
    results: dict[str, WebResult] = {}
    for raw in found:
        if len(results) >= min(count, MOST_RESULTS):
            break
        if url := _web_url(raw.address):
            title = plain_text(raw.title, limit=255) or url.host
            result = WebResult(title, str(url), plain_text(raw.snippet, SNIPPET_CHARACTERS), _date_of(raw.published))
            results.setdefault(page_key(result.address), result)
    return list(results.values())


def plain_text(text: object, limit: int) -> str:
    """`text` without markup and control characters, in one line of at most `limit` characters."""
    if not isinstance(text, str):
        return ""
    text = _HIDDEN.sub(" ", text[: 4 * limit])
    text = unescape(_BLOCK_TAG.sub(" ", _INLINE_TAG.sub("", text)))
    line = " ".join(clean_label(text, 2 * limit).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def page_key(address: str) -> str:
    """The same for addresses that lead to one page: other scheme, `www.`, last slash, fragment or tracking."""
    parts = urlsplit(address)
    host = (parts.hostname or "").removeprefix("www.")
    port = "" if parts.port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{parts.port}"
    kept = [(name, value) for name, value in parse_qsl(parts.query, True) if not _TRACKING.fullmatch(name)]
    # A page that is drawn by a script keeps its path behind `#!` or `#/`.
    fragment = parts.fragment if parts.fragment.startswith(("!", "/")) else ""
    return f"{host}{port}{parts.path.rstrip('/')}?{urlencode(sorted(kept))}#{fragment}"


def _web_url(address: object) -> httpx.URL | None:
    """The address, encoded as a browser would; None if it cannot be opened on the web or carries a password."""
    if not isinstance(address, str) or len(address := address.strip()) > _ADDRESS_CHARACTERS:
        return None
    try:
        url = httpx.URL(address)
        is_web = url.scheme in _DEFAULT_PORTS and _HOST.fullmatch(url.host)
        is_usable = is_web and not url.userinfo and urlsplit(str(url)).port != 0
    except (ValueError, httpx.InvalidURL):
        return None
    return url if is_usable and len(str(url)) <= _ADDRESS_CHARACTERS else None


def _date_of(value: object) -> date | None:
    """The day in an ISO date and time or in that of a mail; None for words such as “2 days ago”."""
    if not isinstance(value, str):
        return None
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            return read(value.strip()).date()
        except (ValueError, IndexError, OverflowError):
            continue
    return None
