"""The end of a web process loses no answer: after SIGTERM it takes no new request, and ends what it has begun.

uvicorn closes its port and the websockets at once; a page opens its own again, on another web process where there is
one, and follows its answer from there. Requests and answers go on for `DRAIN_SECONDS`. Ctrl+C, or a second SIGTERM,
ends answers at once, and requests soon.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

POLL_SECONDS = 0.1
GRACE_SECONDS = 2.0  # for requests, also where nothing is waited for: most end by themselves, without a traceback

Handler = Callable[[int, FrameType | None], Any] | int | None

log = structlog.get_logger()


class Drain:
    """What a web process still does after SIGTERM, and until when."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds = 0.0
        self._until: float | None = None
        self._requests: set[asyncio.Task[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def listen(self, seconds: Callable[[], float]) -> None:
        """Note the signals from now on, and pass them on to whoever had them before. On the server's event loop."""
        self._loop = asyncio.get_running_loop()
        if threading.current_thread() is not threading.main_thread():  # which alone may have a handler
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            before: Handler = signal.getsignal(number)
            signal.signal(number, partial(self._note, before, seconds))

    def wait(self, count: Callable[[], int]) -> None:
        """Return when no answer runs any more, of which there are `count()`, or when the time is over."""
        running = count()
        if running and self._is_open():
            log.info("web.draining", answers=running, seconds=self._seconds, remedy="a second signal ends it at once")
        while running and self._is_open():
            time.sleep(POLL_SECONDS)
            running = count()

    def admit(self, request: asyncio.Task[Any]) -> None:
        """This request is cancelled when the time is over."""
        self._requests.add(request)
        request.add_done_callback(self._requests.discard)

    def begin(self, seconds: float) -> None:
        """The process ends in `seconds`, or sooner if that was said before."""
        until = self._clock() + seconds
        if self._until is not None:
            until = min(self._clock(), self._until)
        self._until, self._seconds = until, seconds
        if self._loop:
            self._loop.call_soon_threadsafe(self._cancel_later, max(until - self._clock(), GRACE_SECONDS))

    def _note(self, before: Handler, seconds: Callable[[], float], number: int, frame: FrameType | None) -> None:
        self.begin(seconds() if number == signal.SIGTERM else 0.0)
        if callable(before):
            before(number, frame)

    def _is_open(self) -> bool:
        return self._until is not None and self._clock() < self._until

    def _cancel_later(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._cancel_requests)

    def _cancel_requests(self) -> None:
        for request in self._requests:
            request.cancel()


class Draining:
    """ASGI middleware: `drain` knows the requests that are being answered. (Websockets are closed by the server.)"""

    def __init__(self, app: ASGIApp, drain: Drain) -> None:
        self._app = app
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (request := asyncio.current_task()):
            self._drain.admit(request)
        await self._app(scope, receive, send)
