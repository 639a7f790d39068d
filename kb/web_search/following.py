"""A retrieval from the web for coroutines: it runs in a thread, and its progress arrives as it is made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from threading import Event

from kb.web_search.passages import WebProgress, WebRetrieval

OnProgress = Callable[[WebProgress], None]
IsCancelled = Callable[[], bool]
Work = Callable[[OnProgress, IsCancelled], WebRetrieval]


async def follow(work: Work) -> AsyncGenerator[WebProgress | WebRetrieval, None]:
    """Run `work(on_progress, is_cancelled)` in a thread: its progress, and at last its result. Errors: those of `work`.

    Closing the iterator, or cancelling who waits for it, tells `work` that it is cancelled and does not wait for it.
    """
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[WebProgress | None] = asyncio.Queue()
    is_cancelled = Event()

    def tell(progress: WebProgress) -> None:
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(arrived.put_nowait, progress)

    task = asyncio.ensure_future(asyncio.to_thread(work, tell, is_cancelled.is_set))
    task.add_done_callback(lambda _task: arrived.put_nowait(None))
    try:
        while (progress := await arrived.get()) is not None:
            yield progress
        yield task.result()
    finally:
        is_cancelled.set()
        task.cancel()
