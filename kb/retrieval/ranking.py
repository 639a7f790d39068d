"""Two routes' hits → one ranking, and what goes to the model with each passage. Pure functions.

Scores are fused by min-max rather than by reciprocal ranks: with ranks alone, a weak route drowns a strong one. But
min-max also scales the best of bad hits to 1, so the lexical route gets less weight where its hits hold little of the
question, as with a question in another language than the documents.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from kb.models import Chunk, Passage, Route, RouteHit, chunk_id
from kb.vectors import Hit

Level = Callable[[str, float], float]  # a text and its score → a score that can be compared with those of other texts

# Coverage from which on, and up to which, the lexical route counts fully and not at all.
GATE_OPEN = 0.4
GATE_SHUT = 0.1
# How much the share of the question's terms counts beside the relevance where several indexes are merged; measured by
# `benchmarks.merge`: .05 to .15 do as well.
OVERLAP_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Candidate:
    """A chunk that at least one route found."""

    chunk: Chunk
    fused: float
    dense: RouteHit | None
    lexical: RouteHit | None


def scale(hits: Sequence[Hit], level: Level | None = None) -> dict[str, RouteHit]:
    """Rank and min-max scaled score of each hit, by chunk id; where all score alike, all are scaled to 1.

    `level` makes scores comparable first. The hits keep their own.
    """
    if not hits:
        return {}
    levels = {hit.chunk.id: level(hit.chunk.text, hit.score) if level else hit.score for hit in hits}
    ordered = sorted(hits, key=lambda hit: (-levels[hit.chunk.id], hit.chunk.id))
    best, worst = levels[ordered[0].chunk.id], levels[ordered[-1].chunk.id]
    spread = best - worst
    return {
        hit.chunk.id: RouteHit(rank, hit.score, (levels[hit.chunk.id] - worst) / spread if spread else 1.0)
        for rank, hit in enumerate(ordered, 1)
    }


def gate_lexical(weights: Mapping[Route, float], coverage: float) -> dict[Route, float]:
    """The weights if no lexical hit holds more than `coverage` (0 to 1) of the question's terms.

    What the lexical route loses goes to the dense route. Nothing changes if one of them is not asked.
    """
    dense, lexical = weights[Route.DENSE], weights[Route.LEXICAL]
    if not dense or not lexical:
        return dict(weights)
    trust = min(max((coverage - GATE_SHUT) / (GATE_OPEN - GATE_SHUT), 0.0), 1.0)
    return {Route.DENSE: dense + lexical * (1 - trust), Route.LEXICAL: lexical * trust}


def fuse(
    routes: Mapping[Route, Sequence[Hit]], weights: Mapping[Route, float], dense_level: Level | None = None
) -> list[Candidate]:
    """All chunks of both routes, the best fused score (0 to 1) first. What a route did not find counts 0 there.

    `dense_level` makes the cosines of texts in different scripts comparable: a model gives texts in the question's own
    language higher ones, whatever they say.
    """
    total = sum(weights.values()) or 1.0
    scaled = {route: scale(hits, dense_level if route is Route.DENSE else None) for route, hits in routes.items()}
    chunks = {hit.chunk.id: hit.chunk for hits in routes.values() for hit in hits}
    candidates = []
    for key, chunk in chunks.items():
        found = {route: places[key] for route, places in scaled.items() if key in places}
        fused = sum(weights[route] * hit.scaled for route, hit in found.items()) / total
        candidates.append(Candidate(chunk, fused, found.get(Route.DENSE), found.get(Route.LEXICAL)))
    return sorted(candidates, key=lambda candidate: (-candidate.fused, candidate.chunk.id))


def by_rerank(passage: Passage) -> tuple[bool, float, float]:
    """To sort by what a reranking model says, those that it has not read behind the others."""
    return passage.rerank is None, -(passage.rerank or 0.0), -passage.fused


def merge_indexes(found: Iterable[Sequence[Passage]]) -> list[Passage]:
    """One ranking of the passages of several indexes, each best first.

    Scores of different indexes cannot be compared, so each index's stay scaled within it. They are weighed by the
    relevance of its best passage, which can be compared: the best passage of an index that holds little about the
    question does not come first. Where indexes hold much about it, their best relevances are often both 1, and the
    share of the question's terms decides. The order within an index stays. If a reranking model has read passages of
    each, its scores decide, which can be compared, too.
    """
    found = [passages for passages in found if passages]
    if found and all(any(passage.rerank is not None for passage in passages) for passages in found):
        return sorted((passage for passages in found for passage in passages), key=by_rerank)
    merged: list[Passage] = []
    for passages in found:
        best = max((passage.relevance + OVERLAP_SHARE * passage.overlap for passage in passages), default=0.0)
        best /= 1 + OVERLAP_SHARE
        merged += [replace(passage, fused=passage.fused * best) for passage in passages]
    return sorted(merged, key=lambda passage: -passage.fused)


def text_key(text: str) -> str:
    """Equal for texts that differ in nothing but white space."""
    return " ".join(text.split())


def count_distinct(hits: Iterable[Hit]) -> int:
    """How many different texts there are."""
    return len({text_key(hit.chunk.text) for hit in hits})


def first_distinct(hits: Sequence[Hit], count: int) -> list[Hit]:
    """The hits up to the one with the `count`-th distinct text."""
    seen: set[str] = set()
    for place, hit in enumerate(hits):
        seen.add(text_key(hit.chunk.text))
        if len(seen) > count:
            return list(hits[:place])
    return list(hits)


def merge_identical(passages: Iterable[Passage]) -> list[Passage]:
    """One passage for each distinct text, in order: the first, which names the places of the others."""
    merged: dict[str, Passage] = {}
    for passage in passages:
        key = text_key(passage.chunk.text)
        first = merged.setdefault(key, passage)
        if passage.place not in (first.place, *first.also_in):
            merged[key] = replace(first, also_in=(*first.also_in, passage.place))
    return list(merged.values())


_WIDE = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003134f]")


def estimate_tokens(text: str) -> int:
    """About how many tokens a model makes of `text`: one for a Han character, one for four others."""
    wide = len(_WIDE.findall(text))
    return wide + (len(text) - wide + 3) // 4


def neighbour_ids(passages: Iterable[Passage], distance: int) -> list[str]:
    """The ids of the chunks up to `distance` before and after each passage, without the passages' own."""
    wanted: dict[str, None] = {}
    own = set()
    for passage in passages:
        own.add(passage.chunk.id)
        ordinal = passage.chunk.ordinal
        for other in range(max(0, ordinal - distance), ordinal + distance + 1):
            wanted[chunk_id(passage.chunk.version_id, other)] = None
    return [other for other in wanted if other not in own]


def build_contexts(
    passages: Sequence[Passage], neighbours: Mapping[str, Chunk], distance: int, budget: int
) -> list[str]:
    """The context of each passage, the best first; together at most `budget` tokens.

    Every passage gets its own chunk while the budget lasts (an empty string after that), then neighbours are
    added, the best passage's first. A chunk that stands in one context is not repeated in another.
    """
    remaining = budget
    members: list[list[Chunk]] = []
    used: set[str] = set()
    for passage in passages:
        cost = estimate_tokens(passage.chunk.text)
        fits = cost <= remaining or not used
        members.append([passage.chunk] if fits else [])
        if fits:
            remaining -= cost
            used.add(passage.chunk.id)
    for passage, chunks in zip(passages, members, strict=True):
        if not chunks:
            continue
        for other in _around(passage.chunk, neighbours, distance):
            cost = estimate_tokens(other.text)
            if other.id not in used and cost <= remaining:
                chunks.append(other)
                used.add(other.id)
                remaining -= cost
    return [_join(chunks) for chunks in members]


def _around(chunk: Chunk, neighbours: Mapping[str, Chunk], distance: int) -> list[Chunk]:
    """Neighbours of the same version, the nearest first."""
    offsets = [sign * step for step in range(1, distance + 1) for sign in (1, -1)]
    ids = [chunk_id(chunk.version_id, chunk.ordinal + offset) for offset in offsets if chunk.ordinal + offset >= 0]
    return [neighbours[other] for other in ids if other in neighbours]


def _join(chunks: Sequence[Chunk]) -> str:
    """The chunks' texts in order, without repeating what two of them share."""
    text, end = "", -1
    for chunk in sorted(chunks, key=lambda chunk: chunk.ordinal):
        shared = max(0, end - chunk.start) if end >= 0 else 0
        gap = "\n" if text and chunk.start > end else ""
        text += gap + chunk.text[shared:]
        end = chunk.end
    return text
