"""Fusing two routes into one ranking; pure.

Min-max of scores rather than reciprocal ranks: with one weak route, ranks alone let it drown the strong one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kb.models import Chunk, Route, RouteHit
from kb.vectors import Hit


@dataclass(frozen=True, slots=True)
class Candidate:
    """A chunk that at least one route found."""

    chunk: Chunk
    fused: float
    dense: RouteHit | None
    lexical: RouteHit | None


def scale(hits: Sequence[Hit]) -> dict[str, RouteHit]:
    """Rank and min-max scaled score of each hit, by chunk id; where all score alike, all are scaled to 1."""
    if not hits:
        return {}
    ordered = sorted(hits, key=lambda hit: (-hit.score, hit.chunk.id))
    best, worst = ordered[0].score, ordered[-1].score
    spread = best - worst
    return {
        hit.chunk.id: RouteHit(rank, hit.score, (hit.score - worst) / spread if spread else 1.0)
        for rank, hit in enumerate(ordered, 1)
    }


def fuse(routes: Mapping[Route, Sequence[Hit]], weights: Mapping[Route, float]) -> list[Candidate]:
    """All chunks of both routes, the best fused score (0 to 1) first. What a route did not find counts 0 there."""
    total = sum(weights.values()) or 1.0
    scaled = {route: scale(hits) for route, hits in routes.items()}
    chunks = {hit.chunk.id: hit.chunk for hits in routes.values() for hit in hits}
    candidates = []
    for chunk_id, chunk in chunks.items():
        found = {route: places[chunk_id] for route, places in scaled.items() if chunk_id in places}
        fused = sum(weights[route] * hit.scaled for route, hit in found.items()) / total
        candidates.append(Candidate(chunk, fused, found.get(Route.DENSE), found.get(Route.LEXICAL)))
    return sorted(candidates, key=lambda candidate: (-candidate.fused, candidate.chunk.id))
