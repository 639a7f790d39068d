"""Retrieval: a question and a retrieval profile → ranked passages and the trace of how.

Chat, testing, benchmarks and the LangChain retriever all call `Retriever.retrieve`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from uuid import UUID

from kb import lexical
from kb.embedding import EmbeddingModel, EmbeddingModels, Vectors, require_same
from kb.errors import N_
from kb.library import Documents, KnowledgeBases
from kb.models import Beginning, FileList, KnowledgeBase, Passage, Retrieval, RetrievalProfile, Route, Step, Trace
from kb.retrieval.overviews import Overviews
from kb.retrieval.ranking import Candidate, build_contexts, fuse, neighbour_ids
from kb.vectors import Hit, VectorStore

# From this share of letters on in scripts that the model does not know, its vectors only harm.
FOREIGN_SHARE = 0.2
MOST_CANDIDATES = 2_000

DOCUMENTS = "documents"  # the first step: how many documents can be searched

UNKNOWN_LANGUAGE = N_("left out: the embedding model does not know the question's language")
NO_BM25 = N_("left out: this Milvus server has no BM25 (it came with 2.5)")
WEIGHT_ZERO = N_("left out: its weight is 0")


class Retriever:
    """Retrieves from any knowledge base of any user. Safe to share among threads."""

    def __init__(
        self,
        knowledge_bases: KnowledgeBases,
        documents: Documents,
        vectors: VectorStore,
        embeddings: EmbeddingModels,
    ) -> None:
        self._knowledge_bases = knowledge_bases
        self._documents = documents
        self._vectors = vectors
        self._overviews = Overviews(documents, vectors)
        self._embeddings = embeddings
        self._pool = ThreadPoolExecutor(16, thread_name_prefix="retrieval")

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def retrieve(
        self, user_id: UUID, knowledge_base_id: UUID, question: str, profile: RetrievalProfile | None = None
    ) -> Retrieval:
        """The best passages for `question`, by the knowledge base's own profile unless one is given.

        Errors: `NotFound`, `Unavailable`, `ModelError`, and those of `EmbeddingModels.get` and `require_same`. No
        passages means that nothing relevant is there, or nothing ready at all (`trace.documents` is 0), never that
        something failed.
        """
        knowledge_base = self._knowledge_bases.get(user_id, knowledge_base_id)
        profile = profile or knowledge_base.profile
        model = self._embeddings.get(knowledge_base.embedding_model)
        run = _Run(user_id, knowledge_base, model, question, profile)
        with run.step(DOCUMENTS) as note:
            note.remaining = knowledge_base.ready_count
        if not knowledge_base.ready_count:
            return run.result(())
        if overview := self._overviews.find(user_id, knowledge_base, question, profile):
            run.steps += overview.steps
            run.files, run.beginnings = overview.files, overview.beginnings
            return run.result(overview.passages)
        routes = self._find(run)
        with run.step("fuse") as note:
            candidates = fuse(routes, run.weights)
            note.remaining = len(candidates)
        passages = self._select(run, candidates)
        return run.result(self._add_contexts(run, passages))

    # --- both routes ---

    def _find(self, run: _Run) -> dict[Route, list[Hit]]:
        """The best live hits of both routes; searches wider where dead versions crowd out live ones."""
        with run.step("analyze") as note:
            run.terms = lexical.question_terms(run.question)
            note.remaining = len(run.terms)
        run.weights = self._weights(run)
        limit = run.profile.candidates
        while True:
            routes = self._search(run, limit)
            live = self._keep_live(run, routes)
            crowded = any(len(live[route]) < len(routes[route]) for route in routes)
            # A route that found fewer than it was asked for has nothing more to find.
            short = any(len(live[route]) < run.profile.candidates and len(routes[route]) >= limit for route in live)
            if not (crowded and short) or limit >= MOST_CANDIDATES:
                # No more than without the dead ones: scores are scaled between the best and the worst of them.
                return {route: hits[: run.profile.candidates] for route, hits in live.items()}
            limit = min(limit * 4, MOST_CANDIDATES)

    def _weights(self, run: _Run) -> dict[Route, float]:
        """The weights that hold for this question; a route of weight 0 is not asked."""
        weights = {Route.DENSE: run.profile.dense_weight, Route.LEXICAL: run.profile.lexical_weight}
        if not self._vectors.server.has_bm25:
            run.left_out[Route.LEXICAL] = NO_BM25
            return {Route.DENSE: 1.0, Route.LEXICAL: 0.0}
        foreign = lexical.foreign_share(run.question, run.model.scripts)
        if foreign >= FOREIGN_SHARE and weights[Route.LEXICAL]:
            run.left_out[Route.DENSE] = UNKNOWN_LANGUAGE
            weights[Route.DENSE] = 0.0
        return weights

    def _search(self, run: _Run, limit: int) -> dict[Route, list[Hit]]:
        """Both routes at once."""
        searches: Mapping[Route, Callable[[_Run, int], list[Hit]]] = {
            Route.DENSE: self._search_dense,
            Route.LEXICAL: self._search_lexical,
        }
        asked = {
            route: self._pool.submit(search, run, limit) for route, search in searches.items() if run.weights[route]
        }
        for route in searches:
            if route not in asked:
                run.steps.append(Step(route.value, 0.0, 0, run.left_out.get(route, WEIGHT_ZERO)))
        return {route: future.result() for route, future in asked.items()}

    def _search_dense(self, run: _Run, limit: int) -> list[Hit]:
        if run.vector is None:
            with run.step("embed") as note:
                run.vector = run.model.embed_question(run.question)
                note.remaining = 1
        base = run.knowledge_base
        require_same(base, run.model.name, len(run.vector))
        with run.step(Route.DENSE.value) as note:
            hits = self._vectors.search_dense(base.collection, base.index, run.vector, limit, run.profile.ef)
            note.remaining = len(hits)
        return hits

    def _search_lexical(self, run: _Run, limit: int) -> list[Hit]:
        with run.step(Route.LEXICAL.value) as note:
            hits = self._vectors.search_lexical(run.knowledge_base.collection, lexical.terms(run.question), limit)
            note.remaining = len(hits)
        return hits

    def _keep_live(self, run: _Run, routes: Mapping[Route, Sequence[Hit]]) -> dict[Route, list[Hit]]:
        """Only hits of versions that SQL lists as live: SQL is the truth, Milvus follows it."""
        with run.step("live") as note:
            versions = {hit.chunk.version_id for hits in routes.values() for hit in hits}
            run.names = self._documents.live_names(run.user_id, run.knowledge_base.id, versions)
            kept = {route: [hit for hit in hits if hit.chunk.version_id in run.names] for route, hits in routes.items()}
            note.remaining = len({hit.chunk.id for hits in kept.values() for hit in hits})
        return kept

    # --- the ranking ---

    def _select(self, run: _Run, candidates: Sequence[Candidate]) -> list[Passage]:
        """Threshold and top k."""
        with run.step("threshold") as note:
            passages = [_passage(run, candidate) for candidate in candidates]
            passages = [passage for passage in passages if passage.relevance >= run.profile.threshold]
            note.remaining = len(passages)
        with run.step("top_k") as note:
            chosen = [replace(passage, rank=rank) for rank, passage in enumerate(passages[: run.profile.top_k], 1)]
            note.remaining = len(chosen)
        return chosen

    def _add_contexts(self, run: _Run, passages: Sequence[Passage]) -> tuple[Passage, ...]:
        """Neighbouring chunks, within the budget; every passage is kept, for it was found."""
        distance = run.profile.neighbours
        with run.step("neighbours") as note:
            wanted = neighbour_ids(passages, distance) if distance else []
            found = {chunk.id: chunk for chunk in self._vectors.get(run.knowledge_base.collection, wanted)}
            found = {key: chunk for key, chunk in found.items() if chunk.enabled}
            note.remaining = len(found)
        with run.step("budget") as note:
            contexts = build_contexts(passages, found, distance, run.profile.context_tokens)
            note.remaining = sum(1 for context in contexts if context)
        return tuple(replace(passage, context=text) for passage, text in zip(passages, contexts, strict=True))


@dataclass(slots=True)
class _Note:
    remaining: int = 0


@dataclass(slots=True)
class _Run:
    """One retrieval under way: its input, and its trace as it grows."""

    user_id: UUID
    knowledge_base: KnowledgeBase
    model: EmbeddingModel
    question: str
    profile: RetrievalProfile
    weights: dict[Route, float] = field(default_factory=dict)
    left_out: dict[Route, str] = field(default_factory=dict)
    terms: tuple[str, ...] = ()
    vector: Vectors | None = None
    names: dict[UUID, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    files: FileList | None = None
    beginnings: tuple[Beginning, ...] = ()
    began: float = field(default_factory=time.perf_counter)

    @contextmanager
    def step(self, name: str) -> Iterator[_Note]:
        """Time a step and note what it left."""
        note, began = _Note(), time.perf_counter()
        yield note
        self.steps.append(Step(name, (time.perf_counter() - began) * 1000, note.remaining))

    def result(self, passages: tuple[Passage, ...]) -> Retrieval:
        total = (time.perf_counter() - self.began) * 1000
        trace = Trace(tuple(self.steps), self.profile, total, self.terms)
        return Retrieval(self.question, passages, trace, self.files, self.beginnings)


def _passage(run: _Run, candidate: Candidate) -> Passage:
    terms = set(candidate.chunk.terms.split())
    overlap = sum(term in terms for term in run.terms) / len(run.terms) if run.terms else 0.0
    relevance = overlap
    if run.weights[Route.DENSE] and run.knowledge_base.index.metric == "COSINE":
        cosine = max(candidate.dense.score, 0.0) if candidate.dense else 0.0
        relevance = (overlap + cosine) / 2
    return Passage(
        chunk=candidate.chunk,
        document_name=run.names[candidate.chunk.version_id],
        rank=0,
        fused=candidate.fused,
        overlap=overlap,
        relevance=relevance,
        dense=candidate.dense,
        lexical=candidate.lexical,
    )
