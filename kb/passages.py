"""What programs are told of the passages that a retrieval found, and of what it could not search."""

from __future__ import annotations

from collections.abc import Iterator

from kb.errors import fill, from_code
from kb.languages import Language
from kb.models import Passage, Retrieval
from kb.prompts import tell_unread


def scores_of(passage: Passage) -> dict[str, float | None]:
    """Each grows with relevance; None: that route did not find it, or no model was asked."""
    return {
        "relevance": _rounded(passage.relevance),
        "cosine": _rounded(passage.dense.score) if passage.dense else None,
        "bm25": _rounded(passage.lexical.score) if passage.lexical else None,
        "fused": _rounded(passage.fused),
        "rerank": None if passage.rerank is None else _rounded(passage.rerank),
    }


def gaps_of(retrieval: Retrieval) -> Iterator[str]:
    for unread in retrieval.unread:
        yield tell_unread(unread, Language.ENGLISH)
    if retrieval.unsearchable:
        names = f" ({', '.join(retrieval.unsearchable.names)})" if retrieval.unsearchable.names else ""
        yield f"Some documents could not be searched{names}. See zhiwen doctor."
    for each in retrieval.not_searched:
        error = from_code(each.code, each.values)
        yield f"“{each.knowledge_base}” was not searched: {fill(error.message, error.values)}"


def _rounded(score: float) -> float:
    return round(score, 4)
