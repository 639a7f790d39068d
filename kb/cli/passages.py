"""How commands print what a retrieval found."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from kb.errors import fill, from_code
from kb.models import Passage, Retrieval
from kb.places import name_place


def place_of(passage: Passage) -> str:
    """“handbook.pdf, p. 3, Holidays > Notice”."""
    chunk = passage.chunk
    page = name_place(passage.document_name, chunk.page, chunk.heading)
    return ", ".join(filter(None, [passage.document_name, page, chunk.heading]))


def scores_of(passage: Passage) -> dict[str, float | None]:
    """Each grows with relevance; None: that route did not find it, or no model was asked."""
    return {
        "relevance": _rounded(passage.relevance),
        "cosine": _rounded(passage.dense.score) if passage.dense else None,
        "bm25": _rounded(passage.lexical.score) if passage.lexical else None,
        "fused": _rounded(passage.fused),
        "rerank": None if passage.rerank is None else _rounded(passage.rerank),
    }


def to_json(passage: Passage) -> dict[str, Any]:
    chunk = passage.chunk
    return {
        "rank": passage.rank,
        "document": passage.document_name,
        "document_id": chunk.document_id,
        "version_id": chunk.version_id,
        "page": chunk.page or None,
        "heading": chunk.heading,
        "text": chunk.text,
        "scores": scores_of(passage),
    }


def complain_about_gaps(retrieval: Retrieval) -> None:
    """Say on standard error what should have been searched and could not be."""
    for line in gaps_of(retrieval):
        print(line, file=sys.stderr)


def gaps_of(retrieval: Retrieval) -> Iterator[str]:
    if retrieval.unsearchable:
        names = f" ({', '.join(retrieval.unsearchable.names)})" if retrieval.unsearchable.names else ""
        yield f"Some documents could not be searched{names}. See zhiwen doctor."
    for each in retrieval.not_searched:
        error = from_code(each.code, each.values)
        yield f"“{each.knowledge_base}” was not searched: {fill(error.message, error.values)}"


def _rounded(score: float) -> float:
    return round(score, 4)
