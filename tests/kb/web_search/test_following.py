"""A search of the web that a coroutine follows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from threading import Event

import pytest

from kb.errors import Cancelled, NoWebResults
from kb.web_search.following import follow
from kb.web_search.passages import WebProgress, WebRetrieval, WebStage

Tell = Callable[[WebProgress], None]
SEARCHING = WebProgress(WebStage.SEARCHING)


def test_progress_comes_before_the_result() -> None:
    def work(tell: Tell, _is_cancelled: Callable[[], bool]) -> WebRetrieval:
        for done in range(50):
            tell(WebProgress(WebStage.READING, done, 50))
        return WebRetrieval("?")

    async def run() -> list[WebProgress | WebRetrieval]:
        return [each async for each in follow(work)]

    *progress, result = asyncio.run(run())
    assert [each.done for each in progress if isinstance(each, WebProgress)] == list(range(50))
    assert result == WebRetrieval("?")


def test_error_is_raised_after_the_progress() -> None:
    def work(tell: Tell, _is_cancelled: Callable[[], bool]) -> WebRetrieval:
        tell(SEARCHING)
        raise NoWebResults(engine="Bing")

    told: list[object] = []

    async def run() -> None:
        async for each in follow(work):
            told.append(each)

    with pytest.raises(NoWebResults):
        asyncio.run(run())
    assert told == [SEARCHING]


@pytest.mark.parametrize("ends", ["closed", "cancelled"])
def test_work_hears_that_nobody_waits_any_more(ends: str) -> None:
    heard, is_reading = Event(), Event()

    def work(tell: Tell, is_cancelled: Callable[[], bool]) -> WebRetrieval:
        tell(SEARCHING)
        is_reading.set()
        while not is_cancelled():
            heard.wait(0.01)
        heard.set()
        raise Cancelled

    async def read_all() -> None:
        async with aclosing(follow(work)) as found:
            async for _ in found:
                if ends == "closed":
                    return

    async def run() -> None:
        task = asyncio.create_task(read_all())
        await asyncio.to_thread(is_reading.wait)
        if ends == "cancelled":
            task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() == (ends == "cancelled")
        assert await asyncio.to_thread(heard.wait, 60)

    asyncio.run(run())
