"""Calls that end in time, whatever they wait for."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

from kb import tracing

Result = TypeVar("Result")


def begin(work: Callable[[], Result]) -> Future[Result]:
    """Run `work` in a thread of its own, which keeps no process alive."""
    future: Future[Result] = Future()
    carried = tracing.carried(work)

    def run() -> None:
        try:
            future.set_result(carried())
        except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread
            future.set_exception(error)

    Thread(target=run, name="deadline", daemon=True).start()
    return future


def within(seconds: float, work: Callable[[], Result]) -> Result:
    """What `work` returns or raises; `TimeoutError` if that takes longer.

    In a thread of its own, because no HTTP client bounds the whole of a request: looking up the host and each piece of
    the reply have a limit each, if any. A thread that is too late ends with its request.
    """
    return begin(work).result(seconds)
