"""The routes for conversations as files: one of them, or an archive of all that a search finds."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from functools import partial
from http import HTTPStatus
from typing import IO
from urllib.parse import quote
from uuid import UUID

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from kb.access import Principal
from kb.access.tickets import CONVERSATIONS, Action
from kb.errors import KbError
from kb.exports import Format, Wording
from kb.models import Choices, Mode
from kb.services import Services
from pages.ui.chat_sidebar import mode_names
from pages.ui.citations import dangling_text
from pages.ui.i18n import LANGUAGES, error_text, moment, place_label, time_zone, translate
from web.base_path import BASE_PATH
from web.signed_in import ticket_holder
from web.statuses import status_of

EXPORTS_AT_ONCE = 2  # further ones wait, in no thread that others need
MEMORY_BYTES = 8 << 20  # of an archive; a larger one goes to a temporary file
BLOCK_BYTES = 1 << 16
ARCHIVE_NAME = "zhiwen-conversations.zip"
MEDIA_TYPES = {Format.MARKDOWN: "text/markdown", Format.JSON: "application/json"}


def export_routes(services: Callable[[], Services]) -> list[Route]:
    """The routes over `services`, which may raise a `KbError` while the process cannot serve yet."""

    exporting = anyio.CapacityLimiter(EXPORTS_AT_ONCE)

    async def one(request: Request) -> Response:
        try:
            return await anyio.to_thread.run_sync(lambda: _one(request, services()), limiter=exporting)
        except KbError as error:
            return _refusal(error, request)

    async def found(request: Request) -> Response:
        try:
            archive = await anyio.to_thread.run_sync(lambda: _found(request, services()), limiter=exporting)
        except KbError as error:
            return _refusal(error, request)
        return StreamingResponse(_blocks(archive), headers=_headers(ARCHIVE_NAME), media_type="application/zip")

    return [
        Route(f"{BASE_PATH}api/conversations/{{conversation_id:uuid}}", one, methods=["GET"]),
        Route(f"{BASE_PATH}api/conversations", found, methods=["GET"]),
    ]


def _one(request: Request, services: Services) -> Response:
    principal, file_format = _principal(request, services), _format(request)
    conversation_id: UUID = request.path_params["conversation_id"]
    name, text = services.exports.one(principal, conversation_id, file_format, _wording(request))
    return Response(text, headers=_headers(name), media_type=MEDIA_TYPES[file_format])


def _found(request: Request, services: Services) -> IO[bytes]:
    """The archive, to be read from its beginning."""
    query = request.query_params
    choices = Choices.from_texts(query.get("mode"), [query.get("knowledge_base")])
    mode: Mode | None = choices.mode if query.get("mode") else None
    write = partial(services.exports.write_all, search=query.get("search", ""), mode=mode)
    archive = tempfile.SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115 - closed by who sends it
    try:
        principal = _principal(request, services)
        write(archive, principal, _format(request), _wording(request), knowledge_base_id=choices.scope.first_id)
    except BaseException:
        archive.close()
        raise
    archive.seek(0)
    return archive


async def _blocks(archive: IO[bytes]) -> AsyncIterator[bytes]:
    with archive:
        while block := await asyncio.to_thread(archive.read, BLOCK_BYTES):
            yield block


def _principal(request: Request, services: Services) -> Principal:
    """Errors: `PageClosed`."""
    ticket = request.query_params.get("ticket", "")
    return ticket_holder(request, services.tickets, ticket, Action.EXPORT, CONVERSATIONS)


def _format(request: Request) -> Format:
    return Format.JSON if request.query_params.get("format") == Format.JSON else Format.MARKDOWN


def _wording(request: Request) -> Wording:
    """In the language and the time zone of the page that the request comes from."""
    code = _code(request)
    zone = time_zone(request.query_params.get("timezone", ""))
    return Wording(
        translate=partial(translate, code=code),
        modes=mode_names(code),
        moment=partial(moment, code=code, zone=zone),
        place=lambda source: place_label(source.document_name, source.page, source.heading, code),
        dangling=partial(dangling_text, code=code),
        reason=lambda error: error_text(error, code)[0],
    )


def _code(request: Request) -> str:
    code = request.query_params.get("language", "")
    return code if code in LANGUAGES else "en"


def _headers(name: str) -> dict[str, str]:
    return {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "Cache-Control": "private, no-store",
    }


def _refusal(error: KbError, request: Request) -> Response:
    message, remedy = error_text(error, _code(request))
    status: HTTPStatus = status_of(error)
    return Response(f"{message}\n{remedy}\n", status, media_type="text/plain")
