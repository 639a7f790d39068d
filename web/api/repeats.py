"""Requests that programs may repeat: the header `Idempotency-Key`, see `kb.access.idempotency`.

It works for the routes of a router with `Repeatable` that take `new_id: NewId`: what they create gets that id.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import Depends, Header, Request, Response
from fastapi.routing import APIRoute
from starlette.types import Message

from kb.access.idempotency import ALIVE_SECONDS, Claim, IdempotencyKeys, KeptReply
from kb.errors import IdempotencyKeyReused, KbError
from web.api.parties import Parties, principal_of

HEADER = "Idempotency-Key"
LONGEST = 255
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def _new_id(
    request: Request,
    _idempotency_key: Annotated[
        str | None,
        Header(
            alias=HEADER,
            min_length=1,
            max_length=LONGEST,
            description="A random name of the request. Sent again within 24 h, it gets the same reply.",
        ),
    ] = None,
) -> UUID:
    claim: Claim | None = getattr(request.state, "claim", None)
    return claim.id if claim else uuid4()


NewId = Annotated[UUID, Depends(_new_id)]


class Repeatable(APIRoute):
    def get_route_handler(self) -> Handler:
        handle: Handler = super().get_route_handler()
        if "new_id" not in inspect.signature(self.endpoint).parameters:
            return handle

        async def handle_once(request: Request) -> Response:
            name = request.headers.get(HEADER, "")
            if not 0 < len(name) <= LONGEST:
                return await handle(request)
            parties: Parties = await asyncio.to_thread(request.app.state.parties)
            principal = await asyncio.to_thread(principal_of, request, parties)
            keys = parties.services.idempotency_keys
            asked = f"{request.method} {request.url.path}?{request.url.query}"
            found = await asyncio.to_thread(keys.claim, principal, name, asked)
            if isinstance(found, KeptReply):
                return await _repeat(request, found)
            return await _run(request, handle, keys, found)

        return handle_once


async def _repeat(request: Request, kept: KeptReply) -> Response:
    """Errors: `IdempotencyKeyReused` if the request brings something else."""
    body = hashlib.sha256()
    async for block in request.stream():
        body.update(block)
    if body.hexdigest() != kept.body:
        raise IdempotencyKeyReused
    return Response(kept.text, kept.status, {"Idempotent-Replayed": "true"}, "application/json")


async def _run(request: Request, handle: Handler, keys: IdempotencyKeys, claim: Claim) -> Response:
    body, is_read = hashlib.sha256(), False

    async def receive() -> Message:
        nonlocal is_read
        message = await request.receive()
        body.update(message.get("body", b""))
        is_read = not message.get("more_body", False)
        return message

    request.state.claim = claim
    try:
        async with _alive(keys, claim):
            response = await handle(Request(request.scope, receive))
            while not is_read:
                await receive()
    except Exception:
        await asyncio.to_thread(keys.release, claim)
        raise
    # Whatever did not succeed created nothing. If this process dies before the reply is kept, the claim remains.
    if response.status_code < 300:
        text = bytes(response.body).decode()
        await asyncio.to_thread(keys.keep, claim, response.status_code, text, body.hexdigest())
    else:
        await asyncio.to_thread(keys.release, claim)
    return response


@asynccontextmanager
async def _alive(keys: IdempotencyKeys, claim: Claim) -> AsyncIterator[None]:
    """Gives signs of life within the block."""

    async def repeat() -> None:
        while True:
            await asyncio.sleep(ALIVE_SECONDS)
            with suppress(KbError):
                await asyncio.to_thread(keys.note_alive, claim)

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        task.cancel()
