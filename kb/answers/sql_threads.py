"""Threads for the SQL of answers, so that starting and saving one never waits behind retrievals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

SQL_THREADS = 4

T = TypeVar("T")


class SqlThreads:
    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(SQL_THREADS, thread_name_prefix="answers-sql")

    def run(self, function: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
        """Call a function from the event loop."""
        return asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)

    def close(self) -> None:
        """Wait for what they still do; it must end before the database is closed."""
        self._pool.shutdown()
