"""How commands print what a retrieval found."""

from __future__ import annotations

import sys
from typing import Any

from kb.models import Passage, Retrieval
from kb.passages import gaps_of, scores_of
from kb.places import name_place


def place_of(passage: Passage) -> str:
    """“handbook.pdf, p. 3, Holidays > Notice”."""
    chunk = passage.chunk
    page = name_place(passage.document_name, chunk.page, chunk.heading)
    return ", ".join(filter(None, [passage.document_name, page, chunk.heading]))


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
