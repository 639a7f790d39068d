"""From a parsed document's spans to the chunks that are stored."""

from __future__ import annotations

import hashlib

from kb import lexical
from kb.ingestion.claims import Job
from kb.models import Chunk, ChunkSpan, ParsedDocument, chunk_id


def embedded_text(chunk: Chunk) -> str:
    """What the embedding model sees of a chunk: its heading path belongs to its meaning."""
    return f"{chunk.heading}\n{chunk.text}" if chunk.heading else chunk.text


def build_chunk(job: Job, document: ParsedDocument, span: ChunkSpan) -> Chunk:
    """The chunk of one span, with the terms of its document's name and title, its headings and its text."""
    text = document.text[span.start : span.end]
    return Chunk(
        id=chunk_id(job.version_id, span.ordinal),
        document_id=job.document_id,
        version_id=job.version_id,
        ordinal=span.ordinal,
        start=span.start,
        end=span.end,
        page=span.page,
        heading=span.heading,
        text=text,
        terms=lexical.terms(job.name, document.title, span.heading, text),
    )


def digest(model: str, document: ParsedDocument, spans: list[ChunkSpan]) -> str:
    """Tells whether two attempts would store the same chunks."""
    state = hashlib.sha256(model.encode())
    state.update(document.text.encode(errors="replace"))
    for span in spans:
        state.update(f"{span.start}:{span.end};".encode())
    return state.hexdigest()
