"""Search engines over real HTTP, with the answers that their documentation shows and with the odd ones of practice.

`with SearchServer() as server:` serves SearXNG, Tavily, Brave, Bocha, and pages for people as Bing and DuckDuckGo
show them. Each API knows the key KEY and refuses others as the real one does. `server.next_reply` replaces every
answer; `server.silence` makes it say nothing, and `server.trickle` send one byte after the other without an end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "sk-known-to-the-server"

SEARXNG: dict[str, Any] = {
    "query": "知问",
    "number_of_results": 0,
    "results": [
        {
            "url": "https://example.org/guide?utm_source=feed",
            "title": "知问 <em>guide</em>",
            "content": "How to ask &amp; what to\u202e expect.",
            "publishedDate": "2026-03-01T08:00:00",
            "engine": "bing",
            "engines": ["bing", "mojeek"],
            "positions": [1, 2],
            "score": 3.0,
            "category": "general",
        },
        {"url": "http://www.example.org/guide/", "title": "The same page", "content": "Again.", "publishedDate": None},
        {"url": "ftp://example.org/file", "title": "No web page", "content": ""},
        {"url": "https://example.com/", "title": "", "content": None, "engine": "mojeek"},
    ],
    "answers": [],
    "corrections": [],
    "infoboxes": [],
    "suggestions": ["知问 下载"],
    "unresponsive_engines": [["duckduckgo", "CAPTCHA"]],
}
TAVILY: dict[str, Any] = {
    "query": "知问",
    "follow_up_questions": None,
    "answer": None,
    "images": [],
    "results": [
        {
            "title": "知问 guide",
            "url": "https://example.org/guide",
            "content": "How to ask.",
            "score": 0.91,
            "raw_content": None,
            "published_date": "Sun, 01 Mar 2026 08:00:00 GMT",
        },
        {"title": "Example", "url": "https://example.com/", "content": "More.", "score": 0.5, "raw_content": None},
    ],
    "response_time": 0.8,
    "request_id": "123e4567-e89b-12d3-a456-426614174111",
}
BRAVE: dict[str, Any] = {
    "type": "search",
    "query": {"original": "知问", "more_results_available": True},
    "mixed": {"type": "mixed", "main": [{"type": "web", "index": 0, "all": False}]},
    "web": {
        "type": "search",
        "results": [
            {
                "title": "知问 guide",
                "url": "https://example.org/guide",
                "description": "How to <strong>ask</strong> with List&lt;String&gt;.",
                "page_age": "2026-03-01T08:00:00",
                "age": "March 1, 2026",
                "language": "zh",
                "family_friendly": True,
            },
            {"title": "Example", "url": "https://example.com/", "description": "More.", "age": "2 days ago"},
        ],
    },
}
BOCHA: dict[str, Any] = {
    "code": 200,
    "log_id": "d71841ad20095f61",
    "msg": None,
    "data": {
        "_type": "SearchResponse",
        "queryContext": {"originalQuery": "知问"},
        "webPages": {
            "webSearchUrl": "",
            "totalEstimatedMatches": 2,
            "value": [
                {
                    "id": None,
                    "name": "知问 guide",
                    "url": "https://example.org/guide",
                    "snippet": "How",
                    "summary": "How to ask.",
                    "siteName": "example.org",
                    "datePublished": "2026-03-01T08:00:00+08:00",
                },
                {"name": "Example", "url": "https://example.com/", "snippet": "More.", "datePublished": None},
            ],
            "someResultsRemoved": False,
        },
        "images": None,
        "videos": None,
    },
}
BING = """<!DOCTYPE html><html><body><ol id="b_results">
<li class="b_algo"><h2><a href="https://www.bing.com/ck/a?!&amp;p=1&amp;u=a1aHR0cHM6Ly9leGFtcGxlLm9yZy9ndWlkZQ&amp;ntb=1">
<strong>知问</strong> guide</a></h2><p>How to ask.</p></li>
<li class="b_algo"><h2><a href="https://example.com/?q=a%26b&amp;c=d">List&lt;String&gt;</a></h2><p>More.</p></li>
<li class="b_algo"><h2><a href="https://www.bing.com/aclick?ld=1">An advertisement</a></h2><p>Buy.</p></li>
</ol></body></html>"""
DUCKDUCKGO = """<!DOCTYPE html><html><body><div class="result__body links_main">
<h2 class="result__title"><a href="https://example.net/duck">A duck</a></h2>
<a class="result__snippet" href="https://example.net/duck">Found by a <b>duck</b>.</a></div></body></html>"""
NOTHING_PAGE = "<!DOCTYPE html><html><body><p>There are no results.</p></body></html>"
LOGIN_PAGE = "<!DOCTYPE html><html><head><title>Sign in</title></head><body><form></form></body></html>"
CAPTCHA_PAGE = "<!DOCTYPE html><html><body>Complete the CAPTCHA to show that you are human.</body></html>"


@dataclass(frozen=True)
class Answer:
    status: int
    body: object  # JSON; a text is sent as it is
    headers: Mapping[str, str] | None = None


# How each service refuses a key, by its path.
_REFUSALS = {
    "/search": Answer(401, {"detail": {"error": "Unauthorized: missing or invalid API key."}}),
    "/res/v1/web/search": Answer(
        422,
        {
            "type": "ErrorResponse",
            "error": {
                "id": "b7e6",
                "status": 422,
                "code": "SUBSCRIPTION_TOKEN_INVALID",
                "detail": "The provided subscription token is invalid.",
                "meta": {"component": "authentication"},
            },
            "time": 1772352000,
        },
    ),
    "/v1/web-search": Answer(401, {"code": "401", "message": "Invalid API KEY", "log_id": "d718"}),
}
_ANSWERS: dict[str, object] = {
    "/searxng/search": SEARXNG,
    "/search": TAVILY,
    "/res/v1/web/search": BRAVE,
    "/v1/web-search": BOCHA,
    "/bing": BING,
    "/duckduckgo": DUCKDUCKGO,
    "/nothing": NOTHING_PAGE,
    "/captcha": CAPTCHA_PAGE,
}
_STATUSES = {"/limited": 429, "/anomaly": 202, "/broken": 500}


@dataclass
class Asked:
    """A request: its path, its parameters (from the address or the JSON body) and its headers in lower case."""

    path: str
    parameters: dict[str, Any]
    headers: dict[str, str]


class SearchServer:
    """Serves on 127.0.0.1 from a thread, inside a `with`."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.next_reply: Answer | None = None
        self.silence = False
        self.trickle = False
        self.closing = Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> SearchServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(owner: SearchServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._serve({name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            is_json = self.headers["Content-Type"] == "application/json"
            fields = {name: values[0] for name, values in parse_qs(body).items()}
            self._serve(json.loads(body) if is_json else fields)

        def _serve(self, parameters: dict[str, Any]) -> None:
            path = urlsplit(self.path).path
            headers = {name.lower(): value for name, value in self.headers.items()}
            owner.asked.append(Asked(path, parameters, headers))
            if owner.silence:
                owner.closing.wait()
            elif owner.trickle:
                self._trickle()
            else:
                self._answer(self._choose(path, headers))

        def _choose(self, path: str, headers: Mapping[str, str]) -> Answer:
            if owner.next_reply:
                return owner.next_reply
            given = headers.get("x-subscription-token") or headers.get("authorization", "").removeprefix("Bearer ")
            if path in _REFUSALS and given != KEY:
                return _REFUSALS[path]
            if path in _ANSWERS:
                return Answer(200, _ANSWERS[path])
            return Answer(_STATUSES.get(path, 404), "<html>no results here</html>")

        def _answer(self, answer: Answer) -> None:
            text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body, ensure_ascii=False)
            data = text.encode()
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(data)))
            for name, value in (answer.headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(data)
            except OSError:
                return  # the client has read enough

        def _trickle(self) -> None:
            self.send_response(200)
            self.end_headers()
            while not owner.closing.wait(0.01):
                try:
                    self.wfile.write(b" ")
                except OSError:
                    return

        def log_message(self, *_: Any) -> None:
            """Log nothing: tests read `asked`."""

    return Handler
