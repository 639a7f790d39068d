"""Files that clients send: they stream to a thread that saves them, so many at once in all and of one user."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol, TypeVar
from uuid import UUID

import anyio.from_thread
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from kb.errors import UploadStalled, UploadTooLarge
from kb.fair_threads import FairThreads

# A client that sends less than this in that time is refused: it occupies what others wait for.
STALL_SECONDS = 60.0
STALL_BYTES = 64 * 1024
LONG_SECONDS = 3.0  # an upload that took longer is asked once more whether its client may still send it
# Each upload occupies a thread and a block of memory. Further uploads wait; TCP holds back what their clients send.
UPLOADS_AT_ONCE = 16
UPLOADS_OF_ONE_USER = 6  # two pages send three each


Kept = TypeVar("Kept")
_Kept = TypeVar("_Kept", covariant=True)


class Keep(Protocol[_Kept]):
    def __call__(self, file: Body, /, *, expected_bytes: int) -> _Kept: ...


class Receiver:
    """Has uploads saved, in threads of its own. For one event loop."""

    def __init__(self) -> None:
        self._threads = FairThreads(UPLOADS_AT_ONCE, UPLOADS_OF_ONE_USER)

    async def receive(
        self,
        request: Request,
        user_id: UUID,
        name: str,
        limit_mb: int,
        keep: Keep[Kept],
        require_allowed: Callable[[], object],
    ) -> Kept:
        """Have `keep` save the body of the request while it arrives; `expected_bytes` is 0 if the client did not say.

        `require_allowed` raises once the client is known no more, as a key that was revoked meanwhile.
        Errors: `UploadTooLarge`, `UploadStalled`, those of `keep` and `require_allowed`; `ClientDisconnect` when the
        client cancels.
        """
        limit_bytes = limit_mb << 20
        declared = request.headers.get("content-length", "")
        expected_bytes = int(declared) if declared.isdigit() else 0
        if expected_bytes > limit_bytes:
            raise _too_large(name, limit_bytes)
        body = Body(request, name, limit_bytes, require_allowed)
        return await self._threads.run(user_id, lambda: keep(body, expected_bytes=expected_bytes))


class Body:
    """A request's body as a file, for a worker thread. It holds one block of it in memory.

    Errors: `UploadTooLarge`, `UploadStalled`, those of `require_allowed`; `ClientDisconnect` when the client cancels.
    """

    def __init__(self, request: Request, name: str, limit_bytes: int, require_allowed: Callable[[], object]) -> None:
        self._receive = request.receive
        self._require_allowed = require_allowed
        self._began = time.monotonic()
        self._name = name
        self._limit_bytes = limit_bytes
        self._total = 0
        self._buffer = bytearray()
        self._is_complete = False
        # Since enough has come last: what came, and how long it was waited for.
        self._came = 0
        self._waited = 0.0

    def read(self, size: int, /) -> bytes:
        block: bytes = anyio.from_thread.run(self._read, size)
        if not block and time.monotonic() - self._began > LONG_SECONDS:  # nothing is kept yet
            self._require_allowed()
        return block

    async def _read(self, size: int) -> bytes:
        while len(self._buffer) < size and not self._is_complete:
            message = await self._next()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk = message.get("body", b"")
            self._total += len(chunk)
            if self._total > self._limit_bytes:
                raise _too_large(self._name, self._limit_bytes)
            self._buffer += chunk
            self._is_complete = not message.get("more_body", False)
        block = bytes(self._buffer[:size])
        del self._buffer[:size]
        return block

    async def _next(self) -> Message:
        began = time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), STALL_SECONDS - self._waited)
        except TimeoutError:
            raise UploadStalled(name=self._name, seconds=round(STALL_SECONDS)) from None
        self._waited += time.monotonic() - began
        self._came += len(message.get("body", b""))
        if self._came >= STALL_BYTES:
            self._came, self._waited = 0, 0.0
        return message


def _too_large(name: str, limit_bytes: int) -> UploadTooLarge:
    return UploadTooLarge(name=name, limit=limit_bytes >> 20)
