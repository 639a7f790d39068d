"""From the spans of a range to the chunks that are stored."""

from __future__ import annotations

import hashlib

from kb import lexical
from kb.ingestion.claims import Job
from kb.models import Chunk, ChunkSpan, chunk_id
from kb.ranges import Range


def build_chunk(job: Job, stretch: Range, span: ChunkSpan) -> Chunk:
    """The chunk of one span, with the terms of its document's name and title, its headings and its text."""
    text = stretch.document.text[span.start : span.end]
    return Chunk(
        id=chunk_id(job.version_id, span.ordinal),
        document_id=job.document_id,
        version_id=job.version_id,
        ordinal=span.ordinal,
        start=stretch.start + span.start,
        end=stretch.start + span.end,
        page=span.page,
        heading=span.heading,
        text=text,
        terms=lexical.terms(job.name, stretch.document.title, span.heading, text),
    )


def digest(before: str, model: str, stretch: Range) -> str:
    """Tells whether two attempts would store the same chunks; `before` is the digest of the ranges before."""
    state = hashlib.sha256(f"{before}{model}".encode())
    state.update(stretch.document.text.encode(errors="replace"))
    for span in stretch.spans:
        state.update(f"{span.start}:{span.end};".encode())
    return state.hexdigest()
