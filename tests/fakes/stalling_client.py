"""A client of which only the beginning of a request's body comes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.types import ASGIApp, Message


def send_and_stall(
    app: ASGIApp, method: str, path: str, beginning: bytes, query: str = "", headers: Mapping[str, str] | None = None
) -> list[Message]:
    """Send `beginning`, and nothing more. Returns what the app replies."""
    asking: list[Message] = [{"type": "http.request", "body": beginning, "more_body": True}]
    sent: list[Message] = []

    async def receive() -> Message:
        if not asking:
            await asyncio.sleep(20)
        return asking.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    named = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {"type": "http", "method": method, "headers": named, "path": path, "query_string": query.encode()}

    async def ask() -> None:
        await app(scope | {"root_path": ""}, receive, send)

    asyncio.run(ask())
    return sent
