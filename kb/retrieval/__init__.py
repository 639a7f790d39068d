"""Retrieval: a question and a retrieval profile → ranked passages and the trace of how.

Chat, testing, benchmarks and the LangChain retriever all call `Retriever.retrieve`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import UUID

from kb import lexical
from kb.embedding import EmbeddingModel, EmbeddingModels, Vectors, require_same
from kb.errors import N_
from kb.library import Documents, KnowledgeBases
from kb.models import KnowledgeBase, Passage, Retrieval, RetrievalProfile, Route, Scope, Trace
from kb.retrieval.overviews import Overview, Overviews
from kb.retrieval.ranking import (
    Candidate,
    build_contexts,
    count_distinct,
    first_distinct,
    fuse,
    gate_lexical,
    merge_identical,
    neighbour_ids,
)
from kb.retrieval.reference import Reference, References
from kb.retrieval.relevance import Cosines, Relevance
from kb.retrieval.steps import Steps
from kb.vectors import Hit, VectorStore

# From this share of letters on in scripts that the model does not know, its vectors only harm.
FOREIGN_SHARE = 0.2
MOST_CANDIDATES = 2_000
NAMED_FILES = 5  # that were read only in part

DOCUMENTS = "documents"  # the first step: how many documents can be searched

UNKNOWN_LANGUAGE = N_("left out: the embedding model does not know the question's language")
NO_BM25 = N_("left out: this Milvus server has no BM25 (it came with 2.5)")
WEIGHT_ZERO = N_("left out: its weight is 0")
NO_LETTERS = N_("the question has no letters or digits, so there is nothing to search for")
PARTLY_READ = N_("These files were read only in part: {names}.")
PARTLY_READ_AND_MORE = N_("These files were read only in part: {names} and {more} more.")
WEIGHTS = N_("dense {dense}, lexical {lexical}")
LEXICAL_LOWERED = N_(
    "lexical weight lowered from {before} to {lexical}, dense weight raised to {dense}: "
    "no lexical hit holds more than {coverage} of the question"
)


class Retriever:
    """Retrieves from any knowledge base of any user. Safe to share among threads."""

    def __init__(
        self,
        knowledge_bases: KnowledgeBases,
        documents: Documents,
        vectors: VectorStore,
        embeddings: EmbeddingModels,
        models: Path,
    ) -> None:
        """`models` is the folder of the built-in models."""
        self._knowledge_bases = knowledge_bases
        self._documents = documents
        self._vectors = vectors
        self._overviews = Overviews(documents, vectors)
        self._embeddings = embeddings
        self._references = References(models)
        self._pool = ThreadPoolExecutor(16, thread_name_prefix="retrieval")

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def prepare(self, model: EmbeddingModel) -> None:
        """Measure what the first question of this model would wait for. Errors: the model's."""
        self._references.of(model)

    def retrieve(
        self, user_id: UUID, scope: Scope, question: str, profile: RetrievalProfile | None = None
    ) -> Retrieval:
        """The best passages for `question`, by the knowledge base's own profile unless one is given.

        Errors: `NotFound`, `Unavailable`, `ModelError`, and, for a search, those of `EmbeddingModels.get` and
        `require_same`. No passages means that nothing relevant is there, or nothing ready at all (`trace.documents` is
        0), never that something failed.
        """
        (knowledge_base_id,) = scope.knowledge_base_ids
        knowledge_base = self._knowledge_bases.get(user_id, knowledge_base_id)
        profile = profile or knowledge_base.profile
        run = _Run(user_id, knowledge_base, question, profile)
        with run.steps.take(DOCUMENTS) as note:
            note.remaining = knowledge_base.ready_count
        is_searchable = self._analyze(run)
        if not is_searchable:
            return run.result(())
        if overview := self._overviews.find(user_id, knowledge_base, question, profile, run.steps):
            run.overview = overview
            return run.result(overview.passages)
        run.model = self._embeddings.get(knowledge_base.embedding_model)
        if not knowledge_base.ready_count:
            return run.result(())
        run.profile = profile.with_weights(run.model.dense_weight)
        run.weights = self._weights(run)
        routes = self._find(run)
        passages = self._select(run, self._fuse(run, routes))
        if not passages:
            self._tell_partly_read(run)
        return run.result(self._add_contexts(run, passages))

    def _analyze(self, run: _Run) -> bool:
        """Find the question's terms. False: there is nothing to search for."""
        with run.steps.take("analyze") as note:
            run.terms = lexical.question_terms(run.question)
            note.remaining = len(run.terms)
            is_searchable = bool(lexical.analyze(run.question))
            if not is_searchable:
                note.text = NO_LETTERS
        run.relevance = Relevance(run.question)
        return is_searchable

    # --- both routes ---

    def _find(self, run: _Run) -> dict[Route, list[Hit]]:
        """The best live hits of both routes; searches wider where dead versions or copies crowd out others."""
        wanted = limit = run.profile.candidates
        while True:
            routes = self._search(run, limit)
            live = self._keep_live(run, routes)
            # A route that found fewer than it was asked for has nothing more to find.
            short = any(
                len(routes[route]) >= limit and (len(hits) < wanted or count_distinct(hits) < run.profile.top_k)
                for route, hits in live.items()
            )
            if not short or limit >= MOST_CANDIDATES:
                # No more than without the others: scores are scaled between the best and the worst of them.
                return {route: first_distinct(hits, wanted) for route, hits in live.items()}
            limit = min(limit * 4, MOST_CANDIDATES)

    def _weights(self, run: _Run) -> dict[Route, float]:
        """The weights that hold for this question; a route of weight 0 is not asked."""
        weights = {Route.DENSE: run.profile.dense_weight or 0.0, Route.LEXICAL: run.profile.lexical_weight or 0.0}
        run.is_foreign = lexical.foreign_share(run.question, run.model.scripts) >= FOREIGN_SHARE
        if not self._vectors.server.has_bm25:
            run.left_out[Route.LEXICAL] = NO_BM25
            return {Route.DENSE: 1.0, Route.LEXICAL: 0.0}
        if run.is_foreign and weights[Route.LEXICAL]:
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
                run.steps.leave_out(route.value, run.left_out.get(route, WEIGHT_ZERO))
        return {route: future.result() for route, future in asked.items()}

    def _search_dense(self, run: _Run, limit: int) -> list[Hit]:
        if run.vector is None:
            with run.steps.take("embed") as note:
                run.vector = run.model.embed_question(run.question)
                note.remaining = 1
        base = run.knowledge_base
        require_same(base, run.model.name, len(run.vector))
        run.reference = self._references.of(run.model)
        with run.steps.take(Route.DENSE.value) as note:
            hits = self._vectors.search_dense(base.collection, base.index, run.vector, limit, run.profile.ef)
            note.remaining = len(hits)
        return hits

    def _search_lexical(self, run: _Run, limit: int) -> list[Hit]:
        with run.steps.take(Route.LEXICAL.value) as note:
            terms = lexical.weighted_terms(run.question)
            hits = self._vectors.search_lexical(run.knowledge_base.collection, terms, limit)
            note.remaining = len(hits)
        return hits

    def _keep_live(self, run: _Run, routes: Mapping[Route, Sequence[Hit]]) -> dict[Route, list[Hit]]:
        """Only hits of versions that SQL lists as live: SQL is the truth, Milvus follows it."""
        with run.steps.take("live") as note:
            versions = {hit.chunk.version_id for hits in routes.values() for hit in hits}
            run.names = self._documents.live_names(run.user_id, run.knowledge_base.id, versions)
            kept = {route: [hit for hit in hits if hit.chunk.version_id in run.names] for route, hits in routes.items()}
            note.remaining = len({hit.chunk.id for hits in kept.values() for hit in hits})
        return kept

    # --- the ranking ---

    def _fuse(self, run: _Run, routes: Mapping[Route, Sequence[Hit]]) -> list[Candidate]:
        """The candidates of both routes, the best first, by weights that fit how well each route did."""
        cosines = None
        if run.vector is not None and run.reference and not run.is_foreign:
            cosines = Cosines(run.vector, run.reference, routes[Route.DENSE])
            run.relevance = Relevance(run.question, cosines)
        if all(run.weights.values()):
            with run.steps.take("gate") as note:
                covered = max((run.relevance.coverage(hit.chunk) for hit in routes[Route.LEXICAL]), default=0.0)
                before, run.weights = run.weights, gate_lexical(run.weights, covered)
                note.text = WEIGHTS if run.weights == before else LEXICAL_LOWERED
                note.values = {route.value: f"{weight:.2f}" for route, weight in run.weights.items()}
                note.values |= {"before": f"{before[Route.LEXICAL]:.2f}", "coverage": f"{covered:.0%}"}
        with run.steps.take("fuse") as note:
            candidates = fuse(routes, run.weights, cosines.above if cosines else None)
            note.remaining = len(candidates)
        return candidates

    def _select(self, run: _Run, candidates: Sequence[Candidate]) -> list[Passage]:
        """Threshold, one passage for each distinct text, top k."""
        with run.steps.take("threshold") as note:
            passages = [_passage(run, candidate) for candidate in candidates]
            passages = [passage for passage in passages if passage.relevance >= run.profile.threshold]
            note.remaining = len(passages)
        with run.steps.take("distinct") as note:
            passages = merge_identical(passages)
            note.remaining = len(passages)
        with run.steps.take("top_k") as note:
            chosen = [replace(passage, rank=rank) for rank, passage in enumerate(passages[: run.profile.top_k], 1)]
            note.remaining = len(chosen)
        return chosen

    def _tell_partly_read(self, run: _Run) -> None:
        """What was asked for may stand where a file could not be read."""
        total, names = self._documents.partly_read(run.user_id, run.knowledge_base.id, NAMED_FILES)
        if not total:
            return
        with run.steps.take("partly_read") as note:
            note.remaining = total
            note.text = PARTLY_READ if total == len(names) else PARTLY_READ_AND_MORE
            note.values = {"names": ", ".join(names), "more": str(total - len(names))}

    def _add_contexts(self, run: _Run, passages: Sequence[Passage]) -> tuple[Passage, ...]:
        """Neighbouring chunks, within the budget; every passage is kept, for it was found."""
        distance = run.profile.neighbours
        with run.steps.take("neighbours") as note:
            wanted = neighbour_ids(passages, distance) if distance else []
            found = {chunk.id: chunk for chunk in self._vectors.get(run.knowledge_base.collection, wanted)}
            found = {key: chunk for key, chunk in found.items() if chunk.enabled}
            note.remaining = len(found)
        with run.steps.take("budget") as note:
            contexts = build_contexts(passages, found, distance, run.profile.context_tokens)
            note.remaining = sum(1 for context in contexts if context)
        return tuple(replace(passage, context=text) for passage, text in zip(passages, contexts, strict=True))


@dataclass(slots=True)
class _Run:
    """One retrieval under way: its input, and its trace as it grows."""

    user_id: UUID
    knowledge_base: KnowledgeBase
    question: str
    profile: RetrievalProfile
    model: EmbeddingModel = field(init=False)  # for a search only
    is_foreign: bool = False  # in a language that the model does not know
    weights: dict[Route, float] = field(default_factory=dict)
    left_out: dict[Route, str] = field(default_factory=dict)
    terms: tuple[str, ...] = ()
    relevance: Relevance = field(init=False)
    vector: Vectors | None = None
    reference: Reference | None = None
    names: dict[UUID, str] = field(default_factory=dict)
    steps: Steps = field(default_factory=Steps)
    overview: Overview = field(default_factory=Overview)

    def result(self, passages: tuple[Passage, ...]) -> Retrieval:
        trace = Trace(tuple(self.steps.taken), self.profile, self.steps.milliseconds, self.terms)
        found = self.overview
        return Retrieval(self.question, passages, trace, found.files, found.beginnings, found.unread)


def _passage(run: _Run, candidate: Candidate) -> Passage:
    chunk, dense = candidate.chunk, candidate.dense
    return Passage(
        chunk=chunk,
        document_name=run.names[chunk.version_id],
        rank=0,
        fused=candidate.fused,
        overlap=run.relevance.overlap(chunk),
        relevance=run.relevance.of(chunk, dense.score if dense else None),
        dense=dense,
        lexical=candidate.lexical,
    )
