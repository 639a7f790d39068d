"""The routes for files: uploads stream to disk; originals can be downloaded, and their pages seen as images."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from urllib.parse import quote
from uuid import UUID

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from kb.access import Principal
from kb.access.tickets import Action
from kb.errors import KbError, NotFound
from kb.library import DOCUMENT, Added
from kb.models import Original
from kb.services import Services
from pages.ui.i18n import error_text
from web.base_path import BASE_PATH
from web.receiving import Receiver
from web.signed_in import require_signed_in, ticket_holder
from web.statuses import status_of

DRAWINGS_AT_ONCE = 4  # of which one is drawn, and the others wait or are in memory
IMAGE_SECONDS = 600  # that a browser may show an image again without asking
_NOT_PLAIN = re.compile(r"[^ !#$&+.\w^`|~()\[\]@=,;{}-]", re.ASCII)


def file_routes(services: Callable[[], Services]) -> list[Route]:
    """The routes over `services`, which may raise a `KbError` while the process cannot serve yet."""
    receiver = Receiver()
    drawings = anyio.CapacityLimiter(DRAWINGS_AT_ONCE)

    async def upload(request: Request) -> Response:
        try:
            added = await _save(request, await asyncio.to_thread(services), receiver)
        except KbError as error:
            return _refusal(error, request)
        document = added.document
        body = {"id": str(document.id), "name": document.name, "workers_told": document.latest.sent_at is not None}
        body |= {"was_there": added.was_there, "shares_name": added.shares_name}
        return JSONResponse(body, HTTPStatus.OK if added.was_there else HTTPStatus.CREATED)

    async def download(request: Request) -> Response:
        try:
            original = await asyncio.to_thread(lambda: _find_original(request, services()))
        except KbError as error:
            return _explanation(error, request)
        headers = {"Content-Disposition": attachment(original.name), "Cache-Control": "private, no-store"}
        return FileResponse(original.path, headers=headers, media_type="application/octet-stream")

    async def show_page(request: Request) -> Response:
        try:
            image = await anyio.to_thread.run_sync(lambda: _draw_page(request, services()), limiter=drawings)
        except KbError as error:
            return _explanation(error, request)
        return Response(image, headers={"Cache-Control": f"private, max-age={IMAGE_SECONDS}"}, media_type="image/jpeg")

    file = "{knowledge_base_id:uuid}/{version_id:uuid}"
    return [
        Route(f"{BASE_PATH}api/uploads/{{knowledge_base_id:uuid}}", upload, methods=["PUT"]),
        Route(f"{BASE_PATH}api/originals/{file}", download, methods=["GET"]),
        Route(f"{BASE_PATH}api/pages/{file}/{{page:int}}", show_page, methods=["GET"]),
    ]


def _find_original(request: Request, services: Services) -> Original:
    principal, knowledge_base_id = _check_ticket(request, services)
    version_id = request.path_params["version_id"]
    if request.method == "HEAD":
        return services.documents.original(principal, knowledge_base_id, version_id)
    return services.documents.download(principal, knowledge_base_id, version_id, asks_further(request))


def _draw_page(request: Request, services: Services) -> bytes:
    principal, knowledge_base_id = _check_ticket(request, services)
    version_id, page = request.path_params["version_id"], request.path_params["page"]
    return services.spots.draw(principal, knowledge_base_id, version_id, page)


def _check_ticket(request: Request, services: Services) -> tuple[Principal, UUID]:
    """Who acts, and in which knowledge base. Errors: `PageClosed`."""
    knowledge_base_id: UUID = request.path_params["knowledge_base_id"]
    ticket = request.query_params.get("ticket", "")
    holder = ticket_holder(request, services.tickets, ticket, Action.DOWNLOAD, knowledge_base_id)
    return holder, knowledge_base_id


def asks_further(request: Request) -> bool:
    """Whether a part of a file is asked for that is not its beginning, as by a download that goes on."""
    return not request.headers.get("range", "bytes=0-").replace(" ", "").startswith("bytes=0-")


def attachment(name: str) -> str:
    """A Content-Disposition that keeps `name` in any script (RFC 6266); what knows no `filename*` gets it in ASCII."""
    plain = _NOT_PLAIN.sub("_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


async def _save(request: Request, services: Services, receiver: Receiver) -> Added:
    """Keep the body as a document, or as the new version of the one that the query names. Once, if it is sent twice."""
    knowledge_base_id: UUID = request.path_params["knowledge_base_id"]
    origin = request.headers.get("origin", "")
    ticket = request.headers.get("x-ticket", "")
    principal = ticket_holder(request, services.tickets, ticket, Action.UPLOAD, knowledge_base_id, origin)
    name = request.query_params.get("name", "")
    arrivals = services.arrivals
    keep = partial(arrivals.register, principal, knowledge_base_id, name, is_once=True)
    if replaced := request.query_params.get("replaces"):
        keep = partial(arrivals.replace_once, principal, knowledge_base_id, _to_id(replaced), name)
    signed_in = partial(require_signed_in, request, lambda token: services.accounts.sessions.find(token))
    return await receiver.receive(request, principal.user_id, name, services.settings.max_upload_mb, keep, signed_in)


def _to_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFound(what=DOCUMENT) from None


def _refusal(error: KbError, request: Request) -> Response:
    message, remedy = error_text(error, request.query_params.get("language"))
    body = {"code": error.code, "message": message, "remedy": remedy, "can_retry": error.retry_helps}
    # What is left of the body is not read, so the connection cannot serve another request.
    return JSONResponse(body, status_of(error), {"Connection": "close"})


def _explanation(error: KbError, request: Request) -> Response:
    """For a person who followed a link."""
    message, remedy = error_text(error, request.query_params.get("language"))
    return Response(f"{message}\n{remedy}\n", status_of(error), media_type="text/plain")
