"""What a web process still does after SIGTERM, and until when."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest
from starlette.types import Message, Receive, Scope, Send

from web.draining import Drain, Draining


class Clock:
    """Each look at it takes a second."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


@pytest.fixture
def received() -> Iterator[list[int]]:
    """The signals that reach the handlers that were there before."""
    numbers: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, lambda number, _frame: numbers.append(number))
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("sent", "looks"),
    [
        ([], 1),
        ([signal.SIGTERM], 4),  # until none runs
        ([signal.SIGINT], 1),
        ([signal.SIGTERM, signal.SIGTERM], 1),
        ([signal.SIGTERM, signal.SIGINT], 1),
    ],
)
def test_answers_end_after_the_first_sigterm_only(
    received: list[int], monkeypatch: pytest.MonkeyPatch, sent: list[int], looks: int
) -> None:
    monkeypatch.setattr("web.draining.POLL_SECONDS", 0.0)
    drain, left = Drain(), [3, 2, 1, 0]

    async def serve() -> None:
        drain.listen(lambda: 60.0)
        for number in sent:
            os.kill(os.getpid(), number)
            await asyncio.sleep(0)

    asyncio.run(serve())
    drain.wait(lambda: left.pop(0))
    assert 4 - len(left) == looks
    assert received == sent


def test_waiting_ends_with_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.draining.POLL_SECONDS", 0.0)
    drain = Drain(Clock())
    drain.begin(5.0)
    looks: list[int] = []

    def count() -> int:
        looks.append(1)
        return 1

    drain.wait(count)
    assert 2 <= len(looks) <= 6


def test_request_that_is_almost_over_ends_by_itself() -> None:
    """Also after Ctrl+C."""
    drain, ended = Drain(), list[str]()

    async def serve() -> None:
        drain.listen(lambda: 0.0)
        request = asyncio.create_task(asyncio.sleep(0.05, "answered"))
        drain.admit(request)
        drain.begin(0.0)
        ended.append(await request)

    asyncio.run(serve())
    assert ended == ["answered"]


@pytest.mark.parametrize("seconds", [0.0, 60.0])
def test_requests_end_with_the_time(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr("web.draining.GRACE_SECONDS", 0.01)
    drain = Drain()
    ended: list[str] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        try:
            await asyncio.sleep(0.05 if seconds else 60)
            ended.append(f"{scope['type']} answered")
        except asyncio.CancelledError:
            ended.append(f"{scope['type']} cancelled")
            raise

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(_message: Message) -> None:
        pass

    async def serve() -> None:
        drain.listen(lambda: seconds)
        request = asyncio.create_task(Draining(app, drain)({"type": "http"}, receive, send))
        await asyncio.sleep(0)
        drain.begin(seconds)
        await asyncio.wait([request])

    asyncio.run(serve())
    assert ended == ["http answered" if seconds else "http cancelled"]
