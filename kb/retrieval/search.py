"""The search of one index: both routes at once, their hits ranked and judged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from threading import Lock
from uuid import UUID

from kb import lexical, tracing
from kb.access import Principal
from kb.embedding import EmbeddingModel, Vectors, require_same
from kb.errors import N_, KbError
from kb.library import Documents
from kb.models import Passage, RetrievalProfile, Route
from kb.reranking import Reranker
from kb.retrieval.corpora import Corpus
from kb.retrieval.ranking import count_distinct, first_distinct
from kb.retrieval.reference import Reference, References
from kb.retrieval.relevance import Cosines
from kb.retrieval.selection import Ranked, above_threshold, nearest, rank, rerank
from kb.retrieval.steps import Steps
from kb.vectors import Hit, VectorStore

# From this share of letters on in scripts that the model does not know, its vectors only harm.
FOREIGN_SHARE = 0.2
MOST_CANDIDATES = 2_000

UNKNOWN_LANGUAGE = N_("left out: the embedding model does not know the question's language")
NO_BM25 = N_("left out: this Milvus server has no BM25 (it came with 2.5)")
WEIGHT_ZERO = N_("left out: its weight is 0")


class AskedQuestion:
    """A question and its vectors. Shared by threads.

    Each model embeds it once, however many indexes are searched; one that failed is not asked again.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._locks: defaultdict[str, Lock] = defaultdict(Lock)
        self._vectors: dict[str, Vectors | KbError] = {}

    def vector(self, model: EmbeddingModel) -> Vectors:
        """(dimension,). Errors: the model's."""
        with self._locks[model.name]:
            if model.name not in self._vectors:
                try:
                    self._vectors[model.name] = model.embed_question(self.text)
                except KbError as error:
                    self._vectors[model.name] = error
            found = self._vectors[model.name]
        if isinstance(found, KbError):
            raise found
        return found


@dataclass(slots=True)
class Search:
    """The search of one corpus under way: its input, and what is known so far. `profile` has both weights."""

    principal: Principal
    corpus: Corpus
    question: AskedQuestion
    profile: RetrievalProfile
    model: EmbeddingModel
    steps: Steps
    reranker: Reranker | None = None
    is_foreign: bool = False  # in a language that the model does not know
    weights: dict[Route, float] = field(default_factory=dict)
    left_out: dict[Route, str] = field(default_factory=dict)
    vector: Vectors | None = None
    reference: Reference | None = None
    names: dict[UUID, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """The passages whose relevance reaches the threshold, the best first, without ranks; else the nearest ones."""

    passages: Sequence[Passage] = ()
    nearest: Sequence[Passage] = ()


class IndexSearcher:
    """Searches one index after another, or several at once. Safe to share among threads."""

    def __init__(self, documents: Documents, vectors: VectorStore, references: References, pool: Executor) -> None:
        """`pool` runs the routes."""
        self._documents = documents
        self._vectors = vectors
        self._references = references
        self._pool = pool

    def find(self, search: Search) -> Found:
        """What the corpus has to say to the question.

        Errors: those of SQL, Milvus, the model and `require_same`.
        """
        search.weights = self._weights(search)
        routes = self._find_live(search)
        ranked = self._rank(search, routes)
        label = search.corpus.label
        found = [ranked.passage(each, search.names[each.chunk.version_id], label) for each in ranked.candidates]
        found = rerank(search.question.text, found, search.reranker, search.steps)
        passages = above_threshold(found, search.profile, search.steps)
        return Found(passages, () if passages else nearest(found))

    # --- both routes ---

    def _find_live(self, search: Search) -> dict[Route, list[Hit]]:
        """The best live hits of both routes; searches wider where dead versions or copies crowd out others."""
        wanted = limit = search.profile.candidates
        while True:
            routes = self._search(search, limit)
            live = self._keep_live(search, routes)
            # A route that found fewer than it was asked for has nothing more to find.
            short = any(
                len(routes[route]) >= limit and (len(hits) < wanted or count_distinct(hits) < search.profile.top_k)
                for route, hits in live.items()
            )
            if not short or limit >= MOST_CANDIDATES:
                # No more than without the others: scores are scaled between the best and the worst of them.
                return {route: first_distinct(hits, wanted) for route, hits in live.items()}
            limit = min(limit * 4, MOST_CANDIDATES)

    def _weights(self, search: Search) -> dict[Route, float]:
        """The weights that hold for this question; a route of weight 0 is not asked."""
        profile = search.profile
        weights = {Route.DENSE: profile.dense_weight or 0.0, Route.LEXICAL: profile.lexical_weight or 0.0}
        search.is_foreign = lexical.foreign_share(search.question.text, search.model.scripts) >= FOREIGN_SHARE
        if not self._vectors.server.has_bm25:
            search.left_out[Route.LEXICAL] = NO_BM25
            return {Route.DENSE: 1.0, Route.LEXICAL: 0.0}
        if search.is_foreign and weights[Route.LEXICAL]:
            search.left_out[Route.DENSE] = UNKNOWN_LANGUAGE
            weights[Route.DENSE] = 0.0
        return weights

    def _search(self, search: Search, limit: int) -> dict[Route, list[Hit]]:
        """Both routes at once."""
        searches: Mapping[Route, Callable[[Search, int], list[Hit]]] = {
            Route.DENSE: self._search_dense,
            Route.LEXICAL: self._search_lexical,
        }
        asked = {
            route: self._pool.submit(tracing.carried(ask), search, limit)
            for route, ask in searches.items()
            if search.weights[route]
        }
        for route in searches:
            if route not in asked:
                search.steps.leave_out(route.value, search.left_out.get(route, WEIGHT_ZERO))
        return {route: future.result() for route, future in asked.items()}

    def _search_dense(self, search: Search, limit: int) -> list[Hit]:
        if search.vector is None:
            with search.steps.take("embed") as note:
                search.vector = search.question.vector(search.model)
                note.remaining = 1
        base = search.corpus.base
        require_same(base, search.model.name, len(search.vector))
        search.reference = self._references.of(search.model)
        with search.steps.take(Route.DENSE.value) as note:
            hits = self._vectors.search_dense(
                base.collection, base.index, search.vector, limit, search.profile.ef, search.corpus.within
            )
            note.remaining = len(hits)
        return hits

    def _search_lexical(self, search: Search, limit: int) -> list[Hit]:
        corpus = search.corpus
        with search.steps.take(Route.LEXICAL.value) as note:
            terms = lexical.weighted_terms(search.question.text)
            hits = self._vectors.search_lexical(corpus.base.collection, terms, limit, corpus.within)
            note.remaining = len(hits)
        return hits

    def _keep_live(self, search: Search, routes: Mapping[Route, Sequence[Hit]]) -> dict[Route, list[Hit]]:
        """Only hits of versions that SQL lists as live: SQL is the truth, Milvus follows it."""
        with search.steps.take("live") as note:
            corpus = search.corpus
            versions = {hit.chunk.version_id for hits in routes.values() for hit in hits}
            search.names = self._documents.live_names(search.principal, corpus.base.id, versions)
            kept = {
                route: [
                    hit for hit in hits if hit.chunk.version_id in search.names and corpus.holds(hit.chunk.document_id)
                ]
                for route, hits in routes.items()
            }
            note.remaining = len({hit.chunk.id for hits in kept.values() for hit in hits})
        return kept

    # --- the ranking ---

    def _rank(self, search: Search, routes: Mapping[Route, Sequence[Hit]]) -> Ranked:
        cosines = None
        if search.vector is not None and search.reference and not search.is_foreign:
            cosines = Cosines(search.vector, search.reference, routes[Route.DENSE])
        return rank(search.question.text, routes, search.weights, cosines, search.steps)
