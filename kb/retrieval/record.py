"""A retrieval as JSON, for a message's row and for the live stream of an answer."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any
from uuid import UUID

from kb.models import Chunk, Passage, Retrieval, RetrievalProfile, RouteHit, Source, Sources, Step, Trace


def to_record(retrieval: Retrieval) -> dict[str, Any]:
    """Without the chunks' search terms, which are bulky and can be computed again."""
    slim = replace(
        retrieval,
        passages=tuple(replace(passage, chunk=replace(passage.chunk, terms="")) for passage in retrieval.passages),
    )
    record = asdict(slim)
    for passage in record["passages"]:
        for name in ("document_id", "version_id"):
            passage["chunk"][name] = str(passage["chunk"][name])
    return record


def from_record(record: dict[str, Any]) -> Retrieval:
    trace = record["trace"]
    return Retrieval(
        question=record["question"],
        passages=tuple(_passage(passage) for passage in record["passages"]),
        trace=Trace(
            steps=tuple(Step(**step) for step in trace["steps"]),
            profile=RetrievalProfile(**trace["profile"]),
            milliseconds=trace["milliseconds"],
            terms=tuple(trace["terms"]),
        ),
    )


def sources_from(record: dict[str, Any]) -> Sources:
    """The passages' names alone."""
    passages = record.get("passages", ())
    return Sources(tuple(Source(p["rank"], p["document_name"], p["chunk"].get("page", 0)) for p in passages))


def _passage(record: dict[str, Any]) -> Passage:
    chunk = record["chunk"]
    ids = {name: UUID(chunk[name]) for name in ("document_id", "version_id")}
    hits = {name: RouteHit(**record[name]) if record[name] else None for name in ("dense", "lexical")}
    return Passage(**(record | hits | {"chunk": Chunk(**(chunk | ids))}))
