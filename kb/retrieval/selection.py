"""From the hits of both routes to the passages that are kept: the same for knowledge bases and for web pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from kb.embedding import embedded_text
from kb.errors import N_, KbError
from kb.models import Passage, RetrievalProfile, Route
from kb.reranking import Reranker
from kb.retrieval.ranking import Candidate, by_rerank, fuse, gate_lexical, merge_identical
from kb.retrieval.relevance import Cosines, Relevance
from kb.retrieval.steps import Steps
from kb.vectors import Hit

MOST_RERANKED = 50  # as many as one route brings; a model on one's own CPU takes seconds for more

RERANKED = N_("{count} put in order by {model}")
WEIGHTS = N_("dense {dense}, lexical {lexical}")
LEXICAL_LOWERED = N_(
    "lexical weight lowered from {before} to {lexical}, dense weight raised to {dense}: "
    "no lexical hit holds more than {coverage} of the question"
)
NONE_REACHED = N_("the best candidate has a relevance of {best}, below the threshold of {threshold}")
NEAREST = 5

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Ranked:
    """The candidates of both routes, the best first, and what compares them with the question."""

    candidates: Sequence[Candidate]
    relevance: Relevance

    def passage(self, candidate: Candidate, document_name: str, knowledge_base: str = "") -> Passage:
        """The candidate with its scores; it has no rank yet."""
        chunk, dense = candidate.chunk, candidate.dense
        return Passage(
            chunk=chunk,
            document_name=document_name,
            fused=candidate.fused,
            overlap=self.relevance.overlap(chunk),
            relevance=self.relevance.of(chunk, dense.score if dense else None),
            dense=dense,
            lexical=candidate.lexical,
            knowledge_base=knowledge_base,
        )


def rank(
    question: str,
    routes: Mapping[Route, Sequence[Hit]],
    weights: Mapping[Route, float],
    cosines: Cosines | None,
    steps: Steps,
) -> Ranked:
    """Fuse the routes by weights that fit how well each did. Without `cosines`, they say nothing about the question."""
    relevance = Relevance(question, cosines)
    if all(weights.values()):
        with steps.take("gate") as note:
            covered = max((relevance.coverage(hit.chunk) for hit in routes[Route.LEXICAL]), default=0.0)
            before, weights = weights, gate_lexical(weights, covered)
            note.text = WEIGHTS if weights == before else LEXICAL_LOWERED
            note.values = {route.value: f"{weight:.2f}" for route, weight in weights.items()}
            note.values |= {"before": f"{before[Route.LEXICAL]:.2f}", "coverage": f"{covered:.0%}"}
    with steps.take("fuse") as note:
        candidates = fuse(routes, weights, cosines.above if cosines else None)
        note.remaining = len(candidates)
    return Ranked(candidates, relevance)


def rerank(question: str, passages: Sequence[Passage], reranker: Reranker | None, steps: Steps) -> list[Passage]:
    """The passages in the order that `reranker` gives the first of them; the others stay behind these.

    Where it fails, the order stays, and the trace says why: no answer is lost for want of a better order.
    """
    if reranker is None or not passages:
        return list(passages)
    first, others = passages[:MOST_RERANKED], passages[MOST_RERANKED:]
    texts = list(dict.fromkeys(embedded_text(passage.chunk) for passage in first))
    with steps.take("rerank") as note:
        note.remaining = len(passages)
        try:
            scores = dict(zip(texts, reranker.scores(question, texts), strict=True))
        except KbError as error:
            log.warning("rerank.failed", reason=str(error))
            note.text, note.values = error.message, error.values
            return list(passages)
        note.text, note.values = RERANKED, {"count": str(len(first)), "model": reranker.model}
    scored = [replace(passage, rerank=scores[embedded_text(passage.chunk)]) for passage in first]
    return [*sorted(scored, key=by_rerank), *others]


def above_threshold(passages: Sequence[Passage], profile: RetrievalProfile, steps: Steps) -> list[Passage]:
    """The passages whose relevance reaches the threshold."""
    with steps.take("threshold") as note:
        kept = [passage for passage in passages if passage.relevance >= profile.threshold]
        note.remaining = len(kept)
        if passages and not kept:
            note.text = NONE_REACHED
            note.values = {"best": f"{max(each.relevance for each in passages):.2f}"}
            note.values |= {"threshold": f"{profile.threshold:.2f}"}
    return kept


def nearest(passages: Iterable[Passage]) -> tuple[Passage, ...]:
    """The few most relevant, with their ranks: what is kept of candidates where none reached the threshold."""
    ordered = merge_identical(sorted(passages, key=lambda each: (-each.relevance, -each.fused)))
    return tuple(replace(passage, rank=rank) for rank, passage in enumerate(ordered[:NEAREST], 1))


def choose(passages: Iterable[Passage], profile: RetrievalProfile, steps: Steps, most_of_one: int = 0) -> list[Passage]:
    """The best passages, one for each distinct text, with their ranks.

    At most `most_of_one` come from one document; 0 is any number.
    """
    with steps.take("distinct") as note:
        kept = merge_identical(passages)
        note.remaining = len(kept)
    if most_of_one:
        with steps.take("spread") as note:
            kept = _spread(kept, most_of_one)
            note.remaining = len(kept)
    with steps.take("top_k") as note:
        chosen = [replace(passage, rank=rank) for rank, passage in enumerate(kept[: profile.top_k], 1)]
        note.remaining = len(chosen)
    return chosen


def _spread(passages: Iterable[Passage], most_of_one: int) -> list[Passage]:
    taken: Counter[object] = Counter()
    kept = []
    for passage in passages:
        taken[passage.chunk.document_id] += 1
        if taken[passage.chunk.document_id] <= most_of_one:
            kept.append(passage)
    return kept
