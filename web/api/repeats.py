"""Requests that programs may repeat: the header `Idempotency-Key`, see `kb.access.idempotency`.

It works for the routes of a router with `Repeatable` that take `new_id: NewId`: what they create gets that id.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import Depends, Header, Request, Response
from fastapi.routing import APIRoute
from starlette.types import Message

from kb.access import Principal
from kb.access.idempotency import ALIVE_SECONDS, Claim, IdempotencyKeys, KeptReply
from kb.errors import IdempotencyKeyReused, KbError
from web.api.parties import Parties, principal_of
from web.receiving import Body as UploadBody
from web.receiving import Receiver

HEADER = "Idempotency-Key"
LONGEST = 255
BLOCK_BYTES = 1 << 16
Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Read = Callable[[Request, str], Coroutine[Any, Any, None]]  # what is left of a body; given the reply to it
receiver = Receiver()  # of all uploads by programs


def _new_id(
    request: Request,
    _idempotency_key: Annotated[
        str | None,
        Header(
            alias=HEADER,
            min_length=1,
            max_length=LONGEST,
            description="A random name of the request. Sent again within 24 h, it gets the same reply.",
            examples=["9f0c2b7e-3d1a-4e55-8c86-0a7d5b1f2c34"],
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

        is_upload = self.body_field is None  # it has no model of its body, which streams

        async def handle_once(request: Request) -> Response:
            name = request.headers.get(HEADER, "")
            if not 0 < len(name) <= LONGEST:
                return await handle(request)
            parties: Parties = await asyncio.to_thread(request.app.state.parties)
            principal = await asyncio.to_thread(principal_of, request, parties)
            keys = parties.services.idempotency_keys
            asked = f"{request.method} {request.url.path}?{request.url.query}"
            found = await asyncio.to_thread(keys.claim, principal, name, asked)
            read = partial(_read_upload, principal, parties) if is_upload else _read
            if isinstance(found, KeptReply):
                return await _repeat(request, found, read)
            return await _run(request, handle, keys, found, read)

        return handle_once


async def _repeat(request: Request, kept: KeptReply, read: Read) -> Response:
    """Errors: `IdempotencyKeyReused` if the request brings something else; those of `read`."""
    body = _Digested(request)
    await read(body.request, kept.text)
    if body.digest.hexdigest() != kept.body:
        raise IdempotencyKeyReused
    return Response(kept.text, kept.status, {"Idempotent-Replayed": "true"}, "application/json")


async def _run(request: Request, handle: Handler, keys: IdempotencyKeys, claim: Claim, read: Read) -> Response:
    body = _Digested(request)
    request.state.claim = claim
    async with _alive(keys, claim):
        try:
            response = await handle(body.request)
        except Exception:
            await asyncio.to_thread(keys.release, claim)
            raise
        # Whatever did not succeed created nothing. If this process dies before the reply is kept, or what is left of
        # the body does not come, the claim remains.
        if response.status_code >= 300:
            await asyncio.to_thread(keys.release, claim)
            return response
        text = bytes(response.body).decode()
        if not body.is_read:  # what the request creates was there already
            await read(body.request, text)
    await asyncio.to_thread(keys.keep, claim, response.status_code, text, body.digest.hexdigest())
    return response


class _Digested:
    """A request whose body is digested as it is read."""

    def __init__(self, request: Request) -> None:
        self.request = Request(request.scope, self._receive)
        self.digest = hashlib.sha256()
        self.is_read = False
        self._from = request.receive

    async def _receive(self) -> Message:
        message = await self._from()
        self.digest.update(message.get("body", b""))
        self.is_read = not message.get("more_body", False)
        return message


async def _read(request: Request, _reply: str) -> None:
    """To its end; `LimitedBodies` bounds it."""
    async for _block in request.stream():
        pass


async def _read_upload(principal: Principal, parties: Parties, request: Request, reply: str) -> None:
    """As an upload is read, with its limits, though nothing is kept. Errors: those of `Receiver`."""

    def pass_over(file: UploadBody, /, *, expected_bytes: int) -> None:
        while file.read(BLOCK_BYTES):
            pass

    limit_mb = parties.services.settings.max_upload_mb
    name, known = str(json.loads(reply)["name"]), partial(principal_of, request, parties)
    await receiver.receive(request, principal.user_id, name, limit_mb, pass_over, known)


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
