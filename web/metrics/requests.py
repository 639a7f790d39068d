"""Counts requests and open pages."""

from __future__ import annotations

import re
import time

from prometheus_client import Counter, Gauge, Histogram
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kb.metrics import PROCESS
from pages.ui.frame import PAGES
from web.base_path import BASE_PATH, page_path
from web.missing import STREAMLITS_OWN

OTHER = "other"
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_CONVERTOR = re.compile(r":\w+(?=\})")

_requests = Counter(
    "zhiwen_http_requests", "Requests, by route, method and status.", ["route", "method", "status"], registry=PROCESS
)
_seconds = Histogram(
    "zhiwen_http_request_duration_seconds",
    "Requests until the last byte of the response.",
    ["route", "method"],
    buckets=_BUCKETS,
    registry=PROCESS,
)
_open_sessions = Gauge("zhiwen_open_sessions", "Pages that are open in browsers.", registry=PROCESS)


class RequestCounts:
    """ASGI middleware that counts every request once it has ended, and every websocket while it is open."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._count_request(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._count_session(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _count_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, began = 500, time.perf_counter()  # what the server answers if the app raises

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note_status)
        finally:
            route, method = route_of(scope), scope["method"] if scope["method"] in METHODS else OTHER
            _requests.labels(route, method, str(status)).inc()
            _seconds.labels(route, method).observe(time.perf_counter() - began)

    async def _count_session(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_open = False

        async def note_accepted(message: Message) -> None:
            nonlocal is_open
            if message["type"] == "websocket.accept" and not is_open:
                is_open = True
                _open_sessions.inc()
            await send(message)

        try:
            await self._app(scope, receive, note_accepted)
        finally:
            if is_open:
                _open_sessions.dec()


def route_of(scope: Scope) -> str:
    """The template of the route that answered, such as `/api/files/{id}`: one of few, whatever is asked."""
    route = scope.get("route")
    template = str(getattr(route, "path", ""))
    if not isinstance(route, Mount):  # of one, `root_path` is the same once more
        base_path = scope.get("path_params", {}).get("base_path", "")
        template = str(scope.get("root_path", "")).strip("/").removeprefix(base_path) + template
    template = template.replace(BASE_PATH.strip("/"), "").strip("/")
    if template and template[0] != "{":  # else it takes any path
        return "/" + _CONVERTOR.sub("", template)
    path = page_path(scope)
    if path in PAGES:
        return f"/{path}"
    first = path.partition("/")[0]
    return f"/{first}/" if first in STREAMLITS_OWN else OTHER
