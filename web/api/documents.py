"""Documents: upload, state, chunks, and what can be done with them."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from functools import partial
from typing import Annotated
from uuid import UUID

import anyio
import anyio.to_thread
from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from kb.access import Principal
from kb.library import Added
from kb.models import Chunk, Document, VersionState
from web.api.knowledge_bases import ID, KnowledgeBaseId
from web.api.paging import Cursor, Limit, Page, cursor_of, place_of
from web.api.parties import Parties, Reader, Serving, Writer, principal_of
from web.api.problems import language_of, reason_of
from web.api.repeats import NewId, Repeatable, receiver
from web.receiving import Keep
from web.uploads import asks_further, attachment

router = APIRouter(tags=["documents"], route_class=Repeatable)
LONGEST_WAIT_SECONDS = 60.0
LOOK_SECONDS = 0.5
LOOKS_AT_ONCE = 4  # at SQL; who only waits takes no thread from others
DOCUMENT_ID = "7d1f0b52-8f0e-4a43-8a0c-0f6a3f1f9b20"
DocumentId = Annotated[UUID, Path(examples=[DOCUMENT_ID])]
FILE = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
MANUAL = {"value": "# Maintenance\n\nValve 7 is checked each spring."}
FILE_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": FILE["application/octet-stream"] | {"examples": {"Markdown": MANUAL}}},
    }
}
_looks = anyio.CapacityLimiter(LOOKS_AT_ONCE)


class DocumentOut(BaseModel):
    id: UUID = Field(examples=[DOCUMENT_ID])
    knowledge_base_id: UUID = Field(examples=[ID])
    name: str = Field(examples=["manual.pdf"])
    state: VersionState = Field(examples=[VersionState.READY])
    is_searchable: bool = Field(description="Whether questions find it: an earlier version may answer meanwhile.")
    chunks: int = Field(examples=[118])
    size_bytes: int = Field(examples=[48213])
    created_at: datetime
    finished_at: datetime | None = None
    memory_peak_mb: int | None = Field(
        default=None,
        description="The most memory that the process took which read the file; null: it waits or runs, or the system "
        "does not tell.",
        examples=[96],
    )
    error: str = Field(default="", description="The code of why it failed.", examples=[""])
    reason: str = Field(default="", description="Why it failed and what to do, in words.", examples=[""])

    @classmethod
    def of(cls, document: Document, language: str) -> DocumentOut:
        version = document.latest
        reason = reason_of(version.error, version.error_values, language)
        return cls(
            id=document.id,
            knowledge_base_id=document.knowledge_base_id,
            name=document.name,
            state=version.state,
            is_searchable=document.live_version_id is not None,
            chunks=version.chunks,
            size_bytes=version.size_bytes,
            created_at=version.created_at,
            finished_at=version.finished_at,
            memory_peak_mb=version.memory_peak_mb,
            error=version.error,
            reason=reason,
        )


class ChunkOut(BaseModel):
    ordinal: int = Field(description="Its place in the document, from 0.", examples=[0])
    page: int = Field(description="0: the document has no pages.", examples=[3])
    heading: str = Field(examples=["Maintenance > Yearly checks"])
    text: str = Field(examples=["Valve 7 is checked each spring."])

    @classmethod
    def of(cls, chunk: Chunk) -> ChunkOut:
        return cls(ordinal=chunk.ordinal, page=chunk.page, heading=chunk.heading, text=chunk.text)


@router.get("/knowledge-bases/{knowledge_base_id}/documents")
def list_documents(
    request: Request,
    parties: Serving,
    acting: Reader,
    knowledge_base_id: KnowledgeBaseId,
    limit: Limit = 50,
    cursor: Cursor = "",
    state: Annotated[
        VersionState | None, Query(description="Only those in this state.", examples=[VersionState.READY])
    ] = None,
) -> Page[DocumentOut]:
    """The oldest first."""
    found = parties.services.documents.after(acting, knowledge_base_id, place_of(cursor), limit + 1, state)
    shown = [DocumentOut.of(document, language_of(request)) for document in found[:limit]]
    last = found[limit - 1].latest if len(found) > limit else None
    return Page(items=shown, next=cursor_of(last.created_at, last.id) if last else None)


@router.put("/knowledge-bases/{knowledge_base_id}/documents", status_code=202, openapi_extra=FILE_BODY)
async def upload_document(
    request: Request,
    parties: Serving,
    acting: Writer,
    knowledge_base_id: KnowledgeBaseId,
    name: Annotated[
        str,
        Query(
            min_length=1, max_length=1000, description="The file's name, with its extension.", examples=["manual.md"]
        ),
    ],
    new_id: NewId,
) -> DocumentOut:
    """The body is the file itself, which streams to disk. Workers then process it: see its state, or wait for it."""
    register = parties.services.arrivals.register
    return await _receive(
        request, parties, acting, name, partial(register, acting, knowledge_base_id, name, new_id=new_id)
    )


@router.get("/documents/{document_id}")
def get_document(request: Request, parties: Serving, acting: Reader, document_id: DocumentId) -> DocumentOut:
    return DocumentOut.of(parties.services.documents.get(acting, document_id), language_of(request))


@router.get("/documents/{document_id}/wait")
async def wait_for_document(
    request: Request,
    parties: Serving,
    acting: Reader,
    document_id: DocumentId,
    seconds: Annotated[float, Query(ge=0, le=LONGEST_WAIT_SECONDS, examples=[30.0])] = 30.0,
) -> DocumentOut:
    """Answers once it is ready, failed or cancelled, or after `seconds`, whatever its state is then."""
    since, get = time.monotonic(), parties.services.documents.get
    while True:
        document = await anyio.to_thread.run_sync(get, acting, document_id, limiter=_looks)
        waited = time.monotonic() - since
        if not document.latest.state.is_pending or waited >= seconds or await request.is_disconnected():
            return DocumentOut.of(document, language_of(request))
        await asyncio.sleep(pause_after(waited, seconds))
        acting = await anyio.to_thread.run_sync(principal_of, request, parties, limiter=_looks)  # it may be revoked


def pause_after(waited: float, seconds: float) -> float:
    """Until the next look. Programs wait for hundreds of documents at once, so it is longer the longer they have."""
    return min(max(LOOK_SECONDS, waited / 8), seconds - waited)


@router.get("/documents/{document_id}/chunks")
def list_chunks(
    parties: Serving,
    acting: Reader,
    document_id: DocumentId,
    first: Annotated[int, Query(ge=0, le=10_000_000, description="The ordinal of the first one.", examples=[0])] = 0,
    limit: Limit = 50,
) -> list[ChunkOut]:
    """Those of the version that answers; none while there is no such version."""
    return [ChunkOut.of(chunk) for chunk in parties.services.documents.chunks(acting, document_id, first, limit)]


@router.get(
    "/documents/{document_id}/original",
    response_class=FileResponse,
    responses={200: {"content": FILE}},
)
def get_original(request: Request, parties: Serving, acting: Reader, document_id: DocumentId) -> FileResponse:
    """The file as it was uploaded."""
    documents = parties.services.documents
    document = documents.get(acting, document_id)
    original = documents.download(acting, document.knowledge_base_id, document.latest.id, asks_further(request))
    headers = {"Content-Disposition": attachment(original.name), "Cache-Control": "private, no-store"}
    return FileResponse(original.path, headers=headers, media_type="application/octet-stream")


@router.put("/documents/{document_id}/original", status_code=202, openapi_extra=FILE_BODY)
async def replace_document(
    request: Request, parties: Serving, acting: Writer, document_id: DocumentId, new_id: NewId
) -> DocumentOut:
    """The body is the file's new content; its name stays. The old content answers until the new one is ready."""
    found = await anyio.to_thread.run_sync(parties.services.documents.get, acting, document_id)
    replace = partial(parties.services.arrivals.replace, acting, document_id, new_id=new_id)
    return await _receive(request, parties, acting, found.name, replace)


@router.post("/documents/{document_id}/retry", status_code=202)
def retry_document(request: Request, parties: Serving, acting: Writer, document_id: DocumentId) -> DocumentOut:
    """Queue a failed or cancelled one again."""
    parties.services.documents.retry(acting, document_id)
    return DocumentOut.of(parties.services.documents.get(acting, document_id), language_of(request))


@router.post("/documents/{document_id}/cancel", status_code=202)
def cancel_document(request: Request, parties: Serving, acting: Writer, document_id: DocumentId) -> DocumentOut:
    """A queued one at once, a running one at its next batch."""
    parties.services.documents.cancel(acting, document_id)
    return DocumentOut.of(parties.services.documents.get(acting, document_id), language_of(request))


@router.delete("/documents/{document_id}", status_code=204)
def delete_document(parties: Serving, acting: Writer, document_id: DocumentId) -> Response:
    """With all its chunks. This cannot be undone."""
    parties.services.documents.delete(acting, document_id)
    return Response(status_code=204)


async def _receive(request: Request, parties: Parties, acting: Principal, name: str, keep: Keep[Added]) -> DocumentOut:
    """Have `keep` save the body of the request, in a thread, while it arrives."""
    limit_mb, known = parties.services.settings.max_upload_mb, partial(principal_of, request, parties)
    added = await receiver.receive(request, acting.user_id, name, limit_mb, keep, known)
    return DocumentOut.of(added.document, language_of(request))
