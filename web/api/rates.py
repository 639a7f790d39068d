"""Limits on how often programs may ask, before anything of a request is read or looked up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import anyio
import anyio.to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kb.access.request_limits import UNKNOWN, WINDOW_SECONDS, RequestLimits, Standing
from kb.errors import KbError, TooManyRequests
from web.api.parties import KEY_IS_VALID, Parties, token_of

LOOKS_AT_ONCE = 4  # at Redis; others wait their turn


class RateLimits:
    """ASGI middleware. Limits stand in the headers of each reply (draft-ietf-httpapi-ratelimit-headers).

    `questions` end the paths at which models are asked; `problem` gives a refusal the form of the API.
    """

    def __init__(
        self,
        app: ASGIApp,
        parties: Callable[[], Parties],
        problem: Callable[[Request, KbError], Response],
        questions: tuple[str, ...],
    ) -> None:
        self._app = app
        self._parties = parties
        self._problem = problem
        self._questions = questions
        self._limits: RequestLimits | None = None  # those of the last request
        self._looking: anyio.CapacityLimiter | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = _Asked.of(scope, self._questions)
        refusal = self._limits.refusal(*asked) if self._limits else None
        standings: Sequence[Standing] = ()
        if refusal is None:
            self._looking = self._looking or anyio.CapacityLimiter(LOOKS_AT_ONCE)
            try:
                standings = await anyio.to_thread.run_sync(self._count, asked, limiter=self._looking)
            except KbError:  # the process cannot serve yet, and the routes say why
                await self._app(scope, receive, send)
                return
            refusal = next((standing for standing in standings if standing.is_exceeded), None)
        if refusal is None:
            await self._pass(asked.token, standings, scope, receive, send)
        else:
            await self._refuse(refusal, scope, receive, send)

    def _count(self, asked: _Asked) -> Sequence[Standing]:
        self._limits = self._parties().services.request_limits
        return self._limits.count(*asked)

    async def _pass(
        self, token: str, standings: Sequence[Standing], scope: Scope, receive: Receive, send: Send
    ) -> None:
        """With the limits in the reply; notes what the routes found out about the key."""
        state = scope.setdefault("state", {})

        async def send_noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_fields([each for each in standings if each.name != UNKNOWN]))
                if KEY_IS_VALID in state and self._limits:
                    self._limits.note_key(token, state[KEY_IS_VALID])
            await send(message)

        await self._app(scope, receive, send_noting)

    async def _refuse(self, refusal: Standing, scope: Scope, receive: Receive, send: Send) -> None:
        reply = self._problem(Request(scope), TooManyRequests(seconds=refusal.seconds))
        reply.headers.update(_fields([refusal]))
        headers = Headers(scope=scope)
        if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
            reply.headers["Connection"] = "close"  # what comes of its body is not read
        await reply(scope, receive, send)


class _Asked(NamedTuple):
    token: str
    address: str
    is_question: bool

    @classmethod
    def of(cls, scope: Scope, questions: tuple[str, ...]) -> _Asked:
        token = token_of(Headers(scope=scope))
        address = scope["client"][0] if scope.get("client") else ""
        return cls(token, address, scope["method"] == "POST" and scope["path"].endswith(questions))


def _fields(standings: Sequence[Standing]) -> dict[str, str]:
    if not standings:
        return {}
    policies = (f'"{each.name}";q={each.most};w={WINDOW_SECONDS}' for each in standings)
    left = (f'"{each.name}";r={each.left};t={each.seconds}' for each in standings)
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(left)}
