"""A client that sends slowly, or much at once, holds up no other user's uploads."""

from __future__ import annotations

import asyncio
from typing import cast
from uuid import UUID, uuid4

import pytest
from starlette.requests import Request
from starlette.types import Message

from kb.errors import UploadStalled
from kb.models import Document
from web import receiving
from web.receiving import UPLOADS_OF_ONE_USER, Body, Receiver

SAVED = cast("Document", object())


def keep(file: Body, *, expected_bytes: int) -> Document:
    while file.read(1 << 20):
        pass
    return SAVED


class Client:
    """Sends `times` pieces of `size` bytes, each after `pause` seconds; the last one only when told to."""

    def __init__(self, size: int, times: int, pause: float) -> None:
        self._size = size
        self._left = times
        self._pause = pause
        self.has_begun = asyncio.Event()
        self.may_end = asyncio.Event()

    async def receive(self) -> Message:
        self.has_begun.set()
        await asyncio.sleep(self._pause)
        self._left -= 1
        if self._left == 0:
            await self.may_end.wait()
        return {"type": "http.request", "body": bytes(self._size), "more_body": self._left > 0}

    async def upload(self, receiver: Receiver, user_id: UUID) -> Document:
        request = Request({"type": "http", "headers": []}, self.receive)
        return await receiver.receive(request, user_id, "notes.md", 1, keep, lambda: None)


def test_client_that_sends_next_to_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "STALL_SECONDS", 0.1)
    monkeypatch.setattr(receiving, "STALL_BYTES", 1000)

    async def upload(size: int) -> Document:
        client = Client(size, times=20, pause=0.01)
        client.may_end.set()
        return await client.upload(Receiver(), uuid4())

    assert asyncio.run(upload(1000)) is SAVED
    with pytest.raises(UploadStalled):
        asyncio.run(upload(1))


def test_one_user_leaves_room_for_others() -> None:
    async def upload() -> None:
        receiver, user_id = Receiver(), uuid4()
        slow = [Client(1, times=1, pause=0) for _ in range(UPLOADS_OF_ONE_USER + 1)]
        running = [asyncio.create_task(client.upload(receiver, user_id)) for client in slow]
        *first, last = slow
        await asyncio.gather(*(client.has_begun.wait() for client in first))
        other = Client(1, times=1, pause=0)
        other.may_end.set()
        assert await other.upload(receiver, uuid4()) is SAVED
        assert not last.has_begun.is_set()
        first[0].may_end.set()
        await last.has_begun.wait()
        for client in slow:
            client.may_end.set()
        assert await asyncio.gather(*running) == [SAVED] * len(slow)

    asyncio.run(upload())
