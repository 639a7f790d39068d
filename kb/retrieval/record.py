"""A retrieval as JSON, for a message's row and for the live stream of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kb.formats import from_json, to_json
from kb.models import Retrieval, Source, Sources


def to_record(retrieval: Retrieval) -> dict[str, Any]:
    """Without the chunks' search terms, which are bulky and can be computed again."""
    passages = tuple(replace(passage, chunk=replace(passage.chunk, terms="")) for passage in retrieval.passages)
    return to_json(replace(retrieval, passages=passages))


def from_record(record: Mapping[str, Any]) -> Retrieval:
    """Errors: `kb.formats.Unreadable`."""
    return from_json(Retrieval, record)


def sources_from(record: Mapping[str, Any]) -> Sources:
    """The passages' names alone. Errors: `kb.formats.Unreadable`."""
    passages = from_record(record).passages
    return Sources(tuple(Source(passage.rank, passage.document_name, passage.chunk.page) for passage in passages))
