"""Chat completions: the answers that the pages give, to a conversation that the program keeps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from kb.answers import Feed
from kb.errors import KbError
from kb.prompts import language_in
from kb.questions import check_question
from pages.ui.session_cookie import home_path
from web.api.parties import Asker, Parties, Serving, principal_of
from web.api.problems import language_of
from web.openai_api.completion import DONE, Completion, Delta, page_of, sse
from web.openai_api.models import find_target
from web.openai_api.problems import error_body
from web.openai_api.requests import ChatRequest

router = APIRouter()
GONE = 499  # for the log: nobody reads it
LOOK_SECONDS = 3.0  # within which an answer ends whose key was revoked, or whose user suspended


@router.post("/chat/completions", response_model=None)
async def create_chat_completion(request: Request, parties: Serving, acting: Asker, wanted: ChatRequest) -> Response:
    """Errors before the first piece are HTTP errors, also of a stream."""
    check_question(wanted.question)
    target = await asyncio.to_thread(find_target, parties.services, acting, wanted.model)
    await asyncio.to_thread(parties.services.request_limits.count_answer, acting)
    feed = parties.answers.ask(
        acting,
        wanted.question,
        target.mode,
        target.scope,
        wanted.history,
        target.model_id,
        language_of(request),
        wanted.instructions,
        wanted.sampling,
    )
    language = language_in(wanted.question, wanted.history, language_of(request))
    home = f"{request.url.scheme}://{request.url.netloc}{home_path()}"
    completion = Completion(wanted.model, language, wanted.stream, page_of(home, target.scope.first_id))
    watch = asyncio.create_task(_stop_when_gone(request, feed))
    deltas = _while_allowed(completion.deltas(feed.events()), request, parties)
    try:
        first = await anext(deltas, None)
        if wanted.stream:
            body = _stream(completion, first, deltas, wanted, feed, watch, language_of(request))
            headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # nginx would hold back what comes
            return StreamingResponse(body, headers=headers, media_type="text/event-stream")
        async for _delta in deltas:
            pass
    except BaseException:
        watch.cancel()
        feed.stop()
        raise
    watch.cancel()
    return Response(status_code=GONE) if feed.is_stopped else JSONResponse(completion.whole())


async def _stream(
    completion: Completion,
    first: Delta | None,
    deltas: AsyncIterator[Delta],
    wanted: ChatRequest,
    feed: Feed,
    watch: asyncio.Task[None],
    language: str,
) -> AsyncIterator[str]:
    has_usage = wanted.stream_options.include_usage
    try:
        yield sse(completion.chunk({"role": "assistant", "content": ""}, has_usage))
        if first:
            yield sse(completion.chunk(first, has_usage))
        async for delta in deltas:
            yield sse(completion.chunk(delta, has_usage))
        found = completion.annotations(completion.text.whole)
        last = completion.chunk({"annotations": found} if found else {}, has_usage, completion.finish_reason)
        yield sse(last | completion.sources())
        if has_usage:
            yield sse(completion.usage_chunk())
        yield DONE
    except KbError as error:
        yield sse(error_body(error, language))
    finally:
        feed.stop()
        watch.cancel()


async def _while_allowed(deltas: AsyncIterator[Delta], request: Request, parties: Parties) -> AsyncIterator[Delta]:
    """Errors: `KeyRefused` once the key of the request is good no more."""
    looked = time.monotonic()
    async for delta in deltas:
        if time.monotonic() - looked > LOOK_SECONDS:
            await asyncio.to_thread(principal_of, request, parties)
            looked = time.monotonic()
        yield delta


async def _stop_when_gone(request: Request, feed: Feed) -> None:
    """Stop the model once the program has closed its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    feed.stop()
