"""What answers that end together do to one another."""

from __future__ import annotations

import asyncio
import time
from threading import Lock
from types import SimpleNamespace
from typing import Any, cast

import structlog

from kb.answers.producer import Producer

NOTHING = cast("Any", None)


def test_answers_are_checked_one_after_the_other() -> None:
    checking, done = Lock(), []

    def check(passages: dict[int, str]) -> None:
        assert checking.acquire(blocking=False), "two at once"
        time.sleep(0.01)  # long enough for another one to begin
        checking.release()
        done.append(passages)

    async def check_all() -> None:
        producer = Producer(NOTHING, NOTHING, NOTHING, NOTHING)
        run = cast("Any", SimpleNamespace(passages_to_check=lambda: {1: "a pear"}, check_support=check))
        await asyncio.gather(*(producer._check_support(run, structlog.get_logger()) for _ in range(5)))

    asyncio.run(check_all())
    assert len(done) == 5
