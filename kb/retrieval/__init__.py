"""Retrieval: a question, a scope and a retrieval profile → ranked passages and the trace of how.

Chat, testing, benchmarks and the LangChain retriever all call `Retriever.retrieve`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from uuid import UUID

from kb import lexical, tracing
from kb.access import Principal
from kb.embedding import EmbeddingModel, EmbeddingModels
from kb.errors import N_, CollectionMissing, KbError
from kb.library import Documents, KnowledgeBases
from kb.metrics import note_failed_retrieval, note_retrieval
from kb.models import (
    Chunk,
    KnowledgeBase,
    NotSearched,
    Passage,
    Retrieval,
    RetrievalProfile,
    Scope,
    Trace,
    Unsearchable,
)
from kb.prompt_templates import joint_template
from kb.reranking import FindReranker, Reranker
from kb.retrieval.corpora import Corpus, find_corpora
from kb.retrieval.gaps import NAMED_FILES, Gaps
from kb.retrieval.overviews import Overview, Overviews
from kb.retrieval.ranking import build_contexts, merge_indexes, neighbour_ids
from kb.retrieval.reference import References
from kb.retrieval.search import AskedQuestion, Found, IndexSearcher, Search
from kb.retrieval.selection import choose, nearest
from kb.retrieval.steps import Steps
from kb.vectors import VectorStore

DOCUMENTS = "documents"  # the first step: how many documents can be searched
LEFT_OUT = "left_out"  # a knowledge base that could not be searched, and why

NO_LETTERS = N_("the question has no letters or digits, so there is nothing to search for")
DELETED = N_("Chosen knowledge bases that no longer exist: {count}")
NONE_CHOSEN = N_("none of the chosen documents is ready")
NOTHING_READY = N_("left out: none of its documents is ready")
PARTLY_READ = N_("These files were read only in part: {names}.")
PARTLY_READ_AND_MORE = N_("These files were read only in part: {names} and {more} more.")


class Retriever:
    """Retrieves from any knowledge bases of any user. Safe to share among threads."""

    def __init__(
        self,
        knowledge_bases: KnowledgeBases,
        documents: Documents,
        vectors: VectorStore,
        embeddings: EmbeddingModels,
        references: References,
        find_reranker: FindReranker = lambda _principal: None,
        request_check: Callable[[UUID], None] = lambda _knowledge_base_id: None,
    ) -> None:
        """`request_check` has a worker compare a knowledge base with what Milvus holds of it."""
        self._knowledge_bases = knowledge_bases
        self._documents = documents
        self._vectors = vectors
        self._overviews = Overviews(documents, vectors)
        self._gaps = Gaps(documents, vectors, request_check)
        self._embeddings = embeddings
        self._references = references
        self._find_reranker = find_reranker
        # Two pools: a search of an index waits for its routes, which must not queue behind other such searches.
        self._indexes = ThreadPoolExecutor(16, thread_name_prefix="retrieval-index")
        self._routes = ThreadPoolExecutor(16, thread_name_prefix="retrieval")
        self._searcher = IndexSearcher(documents, vectors, self._references, self._routes)

    def close(self) -> None:
        for pool in (self._indexes, self._routes):
            pool.shutdown(wait=False, cancel_futures=True)

    def prepare(self, model: EmbeddingModel) -> None:
        """Measure what the first question of this model would wait for. Errors: the model's."""
        self._references.of(model)

    def retrieve(
        self,
        principal: Principal,
        scope: Scope,
        question: str,
        profile: RetrievalProfile | Mapping[UUID, RetrievalProfile] | None = None,
        widened: int = 0,
    ) -> Retrieval:
        """The best passages for `question`, each knowledge base by its own profile or by what `profile` gives.

        `widened`: so many times wider than that (`RetrievalProfile.wider`).

        Knowledge bases are searched side by side, each with its own model and index. One that is gone, empty or fails
        is left out, and the trace says why; one that fails is in `not_searched`, too.
        Errors: `NotFound` if none is left; `TooManyDocuments`, `Unavailable`, `ModelError`, and, for a search, those
        of `EmbeddingModels.get` and `require_same`, where no other knowledge base has an answer. No passages means
        that nothing relevant is there, or nothing ready at all (`trace.documents` is 0), never that something failed;
        with `unsearchable` documents, that they could not be searched.
        """
        run = _Run(principal, AskedQuestion(question), widened=widened)
        try:
            with tracing.span("retrieve", {"gen_ai.operation.name": "retrieval"}) as span:
                retrieval = self._retrieve(run, scope, profile)
                span.note({"zhiwen.retrieval.passages": len(retrieval.passages)})
        except KbError as error:
            note_failed_retrieval(error)
            raise
        note_retrieval(retrieval.trace, has_found=bool(retrieval.passages))
        return retrieval

    def _retrieve(
        self, run: _Run, scope: Scope, profile: RetrievalProfile | Mapping[UUID, RetrievalProfile] | None
    ) -> Retrieval:
        principal = run.principal
        with run.steps.take(DOCUMENTS) as note:
            run.corpora, gone = find_corpora(self._knowledge_bases, self._documents, principal, scope)
            note.remaining = sum(corpus.ready_count for corpus in run.corpora)
            if scope.document_ids and not note.remaining:
                note.text = NONE_CHOSEN
        if gone:
            run.steps.leave_out(LEFT_OUT, DELETED, {"count": str(gone)})
        run.profiles = {corpus.base.id: _profile_of(corpus.base, profile) for corpus in run.corpora}
        run.profile = _joint_profile(list(run.profiles.values())).wider(run.widened)
        is_searchable = self._analyze(run)
        if not is_searchable:
            return run.result(())
        if overview := self._find_overview(run):
            run.overview = overview
            run.unsearchable = self._find_gaps(run, is_empty=not overview.passages)
            return run.result(overview.passages)
        run.reranker = self._find_reranker(principal)
        found = self._search_all(run)
        passages = self._select(run, [each.passages for each in found])
        run.unsearchable = self._find_gaps(run, is_empty=not passages)
        if not passages:
            run.nearest = nearest(passage for each in found for passage in each.nearest)
            self._tell_partly_read(run)
        return run.result(self._add_contexts(run, passages))

    def _analyze(self, run: _Run) -> bool:
        """Find the question's terms. False: there is nothing to search for."""
        with run.steps.take("analyze") as note:
            run.terms = lexical.question_terms(run.question.text)
            note.remaining = len(run.terms)
            is_searchable = bool(lexical.analyze(run.question.text))
            if not is_searchable:
                note.text = NO_LETTERS
        return is_searchable

    def _find_overview(self, run: _Run) -> Overview | None:
        try:
            return self._overviews.find(run.principal, run.corpora, run.question.text, run.profile, run.steps)
        except CollectionMissing:
            return None  # the search says which one it is

    def _find_gaps(self, run: _Run, is_empty: bool) -> Unsearchable | None:
        return self._gaps.find(run.principal, run.corpora, run.missing, is_empty=is_empty)

    # --- the search ---

    def _search_all(self, run: _Run) -> list[Found]:
        """What each corpus has, without those that fail if another one has passages."""
        if len(run.corpora) == 1:
            return [self._search(run, run.corpora[0], run.steps)]
        steps = [Steps(corpus.step_label) for corpus in run.corpora]
        searches = [
            self._indexes.submit(tracing.carried(self._search), run, corpus, own)
            for corpus, own in zip(run.corpora, steps, strict=True)
        ]
        found: list[Found] = []
        errors: list[KbError] = []
        for corpus, own, search in zip(run.corpora, steps, searches, strict=True):
            try:
                found.append(search.result())
            except KbError as error:
                errors.append(error)
                own.leave_out(LEFT_OUT, error.message, error.values)
                run.not_searched.append(NotSearched(corpus.step_label, error.code, error.values))
            run.steps.taken += own.taken
        if errors and not any(each.passages for each in found):
            raise errors[0]
        return found

    def _search(self, run: _Run, corpus: Corpus, steps: Steps) -> Found:
        is_alone = len(run.corpora) == 1
        if not corpus.ready_count and not is_alone:
            steps.leave_out(LEFT_OUT, NOTHING_READY)
            return Found()
        model = self._embeddings.get(corpus.base.embedding_model)
        if not corpus.ready_count:
            return Found()
        weighted = run.profiles[corpus.base.id].wider(run.widened).with_weights(model.dense_weight)
        if is_alone:
            run.profile = weighted
        search = Search(run.principal, corpus, run.question, weighted, model, steps, run.reranker)
        try:
            with tracing.span("search", {"zhiwen.knowledge_base.id": str(corpus.base.id)}):
                found = self._searcher.find(search)
        except CollectionMissing as error:
            run.missing.add(corpus.base.id)
            steps.leave_out(LEFT_OUT, error.message, error.values)
            return Found()
        run.collections.update({passage.chunk.version_id: corpus.base.collection for passage in found.passages})
        return found

    # --- what is shown of it ---

    def _select(self, run: _Run, found: Sequence[Sequence[Passage]]) -> list[Passage]:
        """One ranking of all corpora, one passage for each distinct text, top k."""
        passages = [passage for each in found for passage in each]
        if len(run.corpora) > 1:
            with run.steps.take("merge") as note:
                passages = merge_indexes(found)
                note.remaining = len(passages)
        return choose(passages, run.profile, run.steps)

    def _tell_partly_read(self, run: _Run) -> None:
        """What was asked for may stand where a file could not be read."""
        total, names = 0, list[str]()
        for corpus in run.corpora:
            count, some = self._documents.partly_read(run.principal, corpus.base.id, NAMED_FILES, corpus.document_ids)
            total, names = total + count, [*names, *some][:NAMED_FILES]
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
            found = self._neighbours(run, passages, distance) if distance else {}
            note.remaining = len(found)
        with run.steps.take("budget") as note:
            contexts = build_contexts(passages, found, distance, run.profile.context_tokens)
            note.remaining = sum(1 for context in contexts if context)
        return tuple(replace(passage, context=text) for passage, text in zip(passages, contexts, strict=True))

    def _neighbours(self, run: _Run, passages: Sequence[Passage], distance: int) -> dict[str, Chunk]:
        """The enabled chunks around the passages, by their ids."""
        groups: defaultdict[str, list[Passage]] = defaultdict(list)
        for passage in passages:
            groups[run.collections[passage.chunk.version_id]].append(passage)
        chunks = self._routes.map(
            lambda collection: self._vectors.get(collection, neighbour_ids(groups[collection], distance)), groups
        )
        return {chunk.id: chunk for some in chunks for chunk in some if chunk.enabled}


@dataclass(slots=True)
class _Run:
    """One retrieval under way: its input, and its trace as it grows."""

    principal: Principal
    question: AskedQuestion
    widened: int = 0
    corpora: list[Corpus] = field(default_factory=list)
    profile: RetrievalProfile = field(default_factory=RetrievalProfile)
    profiles: dict[UUID, RetrievalProfile] = field(default_factory=dict)  # before widening, by knowledge base
    terms: tuple[str, ...] = ()
    reranker: Reranker | None = None
    steps: Steps = field(default_factory=Steps)
    overview: Overview = field(default_factory=Overview)
    nearest: tuple[Passage, ...] = ()
    collections: dict[UUID, str] = field(default_factory=dict)  # of the versions that passages are from
    missing: set[UUID] = field(default_factory=set)  # knowledge bases whose collections are not there
    unsearchable: Unsearchable | None = None
    not_searched: list[NotSearched] = field(default_factory=list)

    def result(self, passages: tuple[Passage, ...]) -> Retrieval:
        trace = Trace(tuple(self.steps.taken), self.profile, self.steps.milliseconds, self.terms, self.profiles)
        found = self.overview
        # Attached files have no template of their own.
        prompt = joint_template([corpus.base.prompt for corpus in self.corpora if not corpus.base.partition])
        return Retrieval(
            self.question.text,
            passages,
            trace,
            found.files,
            found.beginnings,
            found.unread,
            prompt,
            self.nearest,
            self.widened,
            all(corpus.base.partition for corpus in self.corpora),
            self.unsearchable,
            tuple(self.not_searched),
        )


def _profile_of(
    base: KnowledgeBase, given: RetrievalProfile | Mapping[UUID, RetrievalProfile] | None
) -> RetrievalProfile:
    if isinstance(given, RetrievalProfile):
        return given
    return (given or {}).get(base.id, base.profile)


def _joint_profile(profiles: Sequence[RetrievalProfile]) -> RetrievalProfile:
    """The settings for what is done once for all knowledge bases: the most generous ones of any."""
    return replace(
        profiles[0],
        top_k=max(profile.top_k for profile in profiles),
        neighbours=max(profile.neighbours for profile in profiles),
        context_tokens=max(profile.context_tokens for profile in profiles),
    )
