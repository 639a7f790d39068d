"""As many open pages as there are file descriptors for. Whoever comes then is told, so that all others go on."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from kb.environment import descriptor_limit
from kb.errors import N_
from pages.ui.frame import PAGES
from web.base_path import page_path
from web.missing import notice_page

# 60 open pages took 244 descriptors: a websocket each, and what its script's event loop holds. One more for requests.
FOR_EACH = 5
FOR_OTHERS = 150  # databases, logs, uploads, answers
# Streamlit keeps so many sessions whose page was closed or reloaded, for so long, and counts that when another one is.
FOR_CLOSED = 3  # descriptors
MOST_CLOSED = 128
CLOSED_SECONDS = 120.0
TRY_AGAIN = 1013  # the websocket code for it
LOG_SECONDS = 60.0

TITLE = N_("Too many open pages")
TEXT = N_(
    "All {count} pages that this server can hold are open. Close those that you do not need, or try again in a minute. "
    "A higher limit of open files (ulimit -n) allows more."
)
NEXT_STEP = N_("Try again")

log = structlog.get_logger()


def capacity() -> int:
    """How many pages can be open at a time."""
    return max(1, (descriptor_limit() - FOR_OTHERS) // FOR_EACH)


class SessionLimit:
    """ASGI middleware that refuses new pages and their websockets when `most()` are open."""

    def __init__(
        self, app: ASGIApp, most: Callable[[], int] = capacity, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._most = most
        self._open = 0
        self._clock = clock
        self._closed: deque[float] = deque(maxlen=MOST_CLOSED)  # when
        self._note = _Seldom(clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._admit(scope, receive, send)
        elif self._is_full and _opens_a_page(scope):
            self._log()
            page = notice_page(scope, 503, TITLE, TEXT, NEXT_STEP, count=self._open)
            page.headers["Retry-After"] = "60"
            await page(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_back = self._open < self._most() and bool(self._closed) and _is_reconnected(scope)
        if self._is_full and not is_back:
            self._log()
            await WebSocketClose(TRY_AGAIN)(scope, receive, send)
            return
        if is_back:
            self._closed.pop()
        self._open += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._open -= 1
            self._note_closed()

    @property
    def _is_full(self) -> bool:
        return self._open + len(self._closed) * FOR_CLOSED // FOR_EACH >= self._most()

    def _note_closed(self) -> None:
        now = self._clock()
        while self._closed and now - self._closed[0] >= CLOSED_SECONDS:
            self._closed.popleft()
        self._closed.append(now)

    def _log(self) -> None:
        if self._note.is_due():
            log.warning("web.full", open_pages=self._open, remedy="raise the limit of open files (ulimit -n)")


def log_accept_errors_seldom() -> None:
    """asyncio writes a traceback for each connection that it has no descriptor for; one a minute says as much."""
    note = _Seldom(time.monotonic)
    logging.getLogger("asyncio").addFilter(
        lambda record: not record.getMessage().startswith("socket.accept() out of system resource") or note.is_due()
    )


class _Seldom:
    """True at most once in `LOG_SECONDS`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = -LOG_SECONDS

    def is_due(self) -> bool:
        if self._clock() - self._last < LOG_SECONDS:
            return False
        self._last = self._clock()
        return True


def _is_reconnected(scope: Scope) -> bool:
    """Whether a page whose connection broke off names its session, which it is given back."""
    return len(Headers(scope=scope).get("sec-websocket-protocol", "").split(",")) > 2


def _opens_a_page(scope: Scope) -> bool:
    is_page = scope["type"] == "http" and scope["method"] == "GET" and page_path(scope) in PAGES
    return is_page and "text/html" in Headers(scope=scope).get("accept", "")
