"""Calls of tools share a process."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import anyio
import pytest
from mcp import types

from kb.access import Principal
from kb.tools.server import CALLS_AT_ONCE, CALLS_OF_USER, ToolServer
from kb.tools.tool import Arguments, Result, Tool


def test_calls_of_one_user_leave_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    busy, other = Principal(uuid4()), Principal(uuid4())
    begun, is_over = threading.Semaphore(0), threading.Event()

    def run(_services: Any, acting: Principal, _given: Arguments) -> Result:
        if acting == busy:
            begun.release()
            is_over.wait(20)
        return Result()

    tool = Tool("slow", "Slow", "", Arguments, Result, run)
    monkeypatch.setattr("kb.tools.server.TOOLS", {"slow": tool})
    server = ToolServer(lambda _acting: cast(Any, None), lambda acting: acting, lambda error, _acting: str(error))

    async def call(acting: Principal) -> None:
        params = types.CallToolRequestParams(name="slow")
        done = await server._call(cast(Any, SimpleNamespace(request=acting)), params)
        assert not done.is_error

    async def go() -> None:
        async with anyio.create_task_group() as calls:
            for _ in range(2 * CALLS_AT_ONCE):
                calls.start_soon(call, busy)
            for _ in range(CALLS_OF_USER):
                await anyio.to_thread.run_sync(begun.acquire)
            with anyio.fail_after(10):
                await call(other)
            is_over.set()

    try:
        anyio.run(go)
    finally:
        is_over.set()
