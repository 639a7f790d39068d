"""Threads that users share."""

from __future__ import annotations

import threading
from functools import partial
from uuid import uuid4

import anyio
import anyio.to_thread

from kb.fair_threads import FairThreads


def test_one_user_leaves_threads_to_others() -> None:
    threads, busy, is_over = FairThreads(4, 3), uuid4(), threading.Event()
    begun, lock = list[int](), threading.Lock()

    def work(number: int) -> None:
        with lock:
            begun.append(number)
        is_over.wait(20)

    async def go() -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(threads.run, busy, partial(work, number))
            with anyio.fail_after(10):
                while len(begun) < 3:
                    await anyio.sleep(0.01)
                assert await threads.run(uuid4(), lambda: "mine") == "mine"
            assert len(begun) == 3
            is_over.set()
        assert sorted(begun) == list(range(8))

    try:
        anyio.run(go)
    finally:
        is_over.set()
