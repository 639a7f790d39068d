"""Retrieval from the web: a question → an engine's results → their pages → ranked passages and the trace of how."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import zip_longest
from uuid import NAMESPACE_URL, UUID, uuid5

import structlog

from kb import lexical, tracing
from kb.access import Principal
from kb.chunking import chunk_document
from kb.embedding import EmbeddingModels, embedded_text
from kb.errors import N_, Cancelled, KbError, TooManyAddresses
from kb.fetching.addresses import show_address
from kb.languages import language_of
from kb.models import Beginning, Chunk, ParsedDocument, Passage, RetrievalProfile, Route, Trace, chunk_id
from kb.reranking import FindReranker
from kb.retrieval.in_memory import search_dense, search_lexical
from kb.retrieval.overviews import MOST_CHUNKS, from_beginning
from kb.retrieval.ranking import build_contexts
from kb.retrieval.reference import References
from kb.retrieval.relevance import Cosines
from kb.retrieval.search import FOREIGN_SHARE, UNKNOWN_LANGUAGE
from kb.retrieval.selection import above_threshold, choose, nearest, rank, rerank
from kb.retrieval.steps import Steps
from kb.vectors import Hit
from kb.web_search import MOST_RESULTS, SearchEngine, WebResult, WebSearch
from kb.web_search.following import IsCancelled, OnProgress
from kb.web_search.metasearch import AUTOMATIC
from kb.web_search.named import Naming, read_naming
from kb.web_search.pages import LoadedPage, WebPages
from kb.web_search.passages import ReadPage, WebPassage, WebProgress, WebRetrieval, WebStage

# The highest one that loses nothing, in one language and across two: see docs/decisions.md.
PROFILE = RetrievalProfile(threshold=0.45, top_k=8, context_tokens=4000)
MOST_OF_ONE_PAGE = 3  # passages
PAGE_CHARACTERS = 150_000  # of a page are searched
# A second or two of embedding. Of more chunks, those that the lexical route finds are embedded, then beginnings.
MOST_EMBEDDED = 64
MOST_LEXICAL_EMBEDDED = 48

DENSE_STEP = "dense_exact"  # all chunks are compared, without an index
NO_MODEL = N_("left out: the embedding model is not available")

_ENGLISH = re.compile(r"\b(?:the|an?|is|are|was|of|in|to|what|which|who|how|why|when|where|do(?:es)?|did|can)\b", re.I)

log = structlog.get_logger()


class WebRetriever:
    """Answers questions with passages of web pages. Safe to share among threads."""

    def __init__(
        self,
        search: WebSearch,
        pages: WebPages,
        embeddings: EmbeddingModels,
        references: References,
        most_pages: int,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        find_reranker: FindReranker = lambda _principal: None,
    ) -> None:
        self._search = search
        self._pages = pages
        self._embeddings = embeddings
        self._references = references
        self._most_pages = most_pages
        self._now = now
        self._find_reranker = find_reranker

    def retrieve(
        self,
        principal: Principal,
        question: str,
        engine: str = "",
        on_progress: OnProgress = lambda _progress: None,
        is_cancelled: IsCancelled = lambda: False,
        widened: int = 0,
    ) -> WebRetrieval:
        """The best passages for `question` of the pages that it names, else of those that an engine finds.

        `engine` is an id, empty the default. Takes up to WEB_SEARCH_TIMEOUT_SECONDS and WEB_PAGES_TIMEOUT_SECONDS.
        Pages that cannot be read are in the result with their reasons, and what the engine says of them stands in. No
        passages means that nothing relevant is there. `on_progress` is called in this thread. `widened`: so many times
        wider than usual (`RetrievalProfile.wider`).
        Errors: `WebSearchError`, which is `NoWebResults` when the engine found nothing, and `Cancelled`; for pages that
        the question names, `TooManyAddresses`, and the `FetchError` of the first if none can be read.
        """
        with tracing.span("search the web") as span:
            retrieval = self._retrieve(principal, question, engine, on_progress, is_cancelled, widened)
            span.note({"zhiwen.retrieval.passages": len(retrieval.passages)})
        return retrieval

    def _retrieve(
        self,
        principal: Principal,
        question: str,
        engine: str,
        on_progress: OnProgress,
        is_cancelled: IsCancelled,
        widened: int,
    ) -> WebRetrieval:
        naming = read_naming(question)
        self._pages.prepare()
        asked = None if naming.addresses else self._search.engine(engine)
        run = _Run(principal, question, naming.rest if naming.addresses else question, asked, on_progress, is_cancelled)
        run.widened, run.profile = widened, PROFILE.wider(widened)
        if asked is None:
            passages = self._answer_from_named(run, naming)
        else:
            self._read(run, self._find(run, asked))
            run.go_on(WebStage.RANKING, len(run.pages), len(run.pages))
            passages = self._rank(run)
        unread = [page.error for page in run.pages if not page.is_read]
        log.info("web_search.done", user=str(principal.user_id), engine=engine, pages=len(run.pages), unread=unread)
        return run.result(passages)

    def _answer_from_named(self, run: _Run, naming: Naming) -> Sequence[WebPassage]:
        """Passages of the pages that the question names, whatever their relevance: the best, or the first ones."""
        count = len(naming.addresses)
        if count > MOST_RESULTS:
            raise TooManyAddresses(count=count, limit=MOST_RESULTS)
        run.profile = replace(run.profile, threshold=0.0, top_k=max(run.profile.top_k, count))
        run.most_of_one_page = -(-run.profile.top_k // count)
        run.searched_at = self._now()
        self._read(run, [WebResult(show_address(address), address, "") for address in naming.addresses])
        if not any(page.is_read for page in run.pages):
            raise run.pages[0].reason
        run.go_on(WebStage.RANKING, len(run.pages), len(run.pages))
        passages = [] if naming.asks_for_whole else self._rank(run)
        return passages or run.read_beginnings()

    # --- pages ---

    def _find(self, run: _Run, engine: SearchEngine) -> Sequence[WebResult]:
        run.go_on(WebStage.SEARCHING, name="" if engine.id == AUTOMATIC else engine.label)
        with run.steps.take("search") as note:
            results = engine.search(run.question, self._most_pages, language_code(run.question))
            note.remaining = len(results)
        run.searched_at = self._now()
        return results

    def _read(self, run: _Run, results: Sequence[WebResult]) -> None:
        """Read the pages, and cut them into chunks."""
        total = len(results)
        run.go_on(WebStage.READING, 0, total)
        with run.steps.take("read_pages") as note:
            loaded = self._pages.read(
                results,
                lambda page, done: run.on_progress(WebProgress(WebStage.READING, done, total, page.host)),
                run.is_cancelled,
                are_all_wanted=run.engine is None,
            )
            note.remaining = sum(each.page.is_read for each in loaded)
        with run.steps.take("chunks") as note:
            for each in loaded:
                run.add(each)
            note.remaining = len(run.chunks)

    # --- passages ---

    def _rank(self, run: _Run) -> Sequence[WebPassage]:
        with run.steps.take("analyze") as note:
            run.terms = lexical.question_terms(run.question)
            note.remaining = len(run.terms)
        if not run.chunks:  # no page could be read, and the engine says nothing of them
            return []
        with run.steps.take(Route.LEXICAL.value) as note:
            hits = search_lexical(lexical.weighted_terms(run.question), run.chunks, len(run.chunks))
            note.remaining = len(hits)
        dense, cosines = self._search_dense(run, hits)
        routes = {Route.DENSE: dense, Route.LEXICAL: hits[: run.profile.candidates]}
        ranked = rank(run.question, routes, self._weights(run), cosines, run.steps)
        found = [ranked.passage(each, run.page_of(each.chunk).title) for each in ranked.candidates]
        found = rerank(run.question, found, self._find_reranker(run.principal), run.steps)
        run.check()
        relevant = above_threshold(found, run.profile, run.steps)
        if not relevant:
            run.nearest = nearest(found)
        passages = choose(relevant, run.profile, run.steps, run.most_of_one_page)
        with run.steps.take("budget") as note:
            around = {chunk.id: chunk for chunk in run.chunks}
            contexts = build_contexts(passages, around, run.profile.neighbours, run.profile.context_tokens)
            note.remaining = sum(1 for context in contexts if context)
        return [run.passage(passage, context) for passage, context in zip(passages, contexts, strict=True)]

    def _search_dense(self, run: _Run, hits: Sequence[Hit]) -> tuple[list[Hit], Cosines | None]:
        """What the embedding model finds; nothing where it cannot be used, because the lexical route goes on alone."""
        try:
            model = self._embeddings.default
            run.profile = run.profile.with_weights(model.dense_weight)
            if lexical.foreign_share(run.question, model.scripts) >= FOREIGN_SHARE:
                run.steps.leave_out(DENSE_STEP, UNKNOWN_LANGUAGE)
                return [], None
            with run.steps.take("embed") as note:
                question = model.embed_question(run.question)  # first: it fails at once where the model is not there
                reference = self._references.of(model)
                chosen = _to_embed(hits, run.chunks)
                vectors = model.embed_documents([embedded_text(chunk) for chunk in chosen])
                note.remaining = len(chosen)
        except KbError as error:
            log.warning("web_search.no_dense_route", reason=str(error))
            run.steps.leave_out(DENSE_STEP, NO_MODEL)
            return [], None
        run.check()
        with run.steps.take(DENSE_STEP) as note:
            dense = search_dense(question, chosen, vectors, len(chosen))
            note.remaining = len(dense)
        run.has_dense = True
        return dense, Cosines(question, reference, dense)

    def _weights(self, run: _Run) -> Mapping[Route, float]:
        if not run.has_dense:
            return {Route.DENSE: 0.0, Route.LEXICAL: 1.0}
        return {Route.DENSE: run.profile.dense_weight or 0.0, Route.LEXICAL: run.profile.lexical_weight or 0.0}


@dataclass(slots=True)
class _Run:
    """One retrieval under way: its input, and what was found so far.

    `question` is what passages are compared with: all that is `asked` but the addresses in it. `engine` is None if
    there are some.
    """

    principal: Principal
    asked: str
    question: str
    engine: SearchEngine | None
    on_progress: OnProgress
    is_cancelled: IsCancelled
    widened: int = 0
    steps: Steps = field(default_factory=Steps)
    profile: RetrievalProfile = PROFILE
    most_of_one_page: int = MOST_OF_ONE_PAGE
    searched_at: datetime | None = None
    pages: list[ReadPage] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)
    terms: tuple[str, ...] = ()
    nearest: tuple[Passage, ...] = ()
    has_dense: bool = False
    beginnings: tuple[Beginning, ...] = ()
    _page_of: dict[UUID, ReadPage] = field(default_factory=dict)  # by their chunks' document

    def check(self) -> None:
        if self.is_cancelled():
            raise Cancelled

    def go_on(self, stage: WebStage, done: int = 0, total: int = 0, name: str = "") -> None:
        self.check()
        self.on_progress(WebProgress(stage, done, total, name))

    def add(self, loaded: LoadedPage) -> None:
        """Keep a page and its chunks; of one that could not be read, the snippet is the only one."""
        page, document = loaded.page, loaded.document
        page_id = uuid5(NAMESPACE_URL, page.address)
        if page_id in self._page_of:  # another result redirects to it
            return
        if document is None:
            chunks = _chunks(page_id, page.title, ParsedDocument(page.snippet))
        else:
            beginning = _beginning(document)
            chunks = _chunks(page_id, page.title, beginning)
            page = replace(page, chunks=len(chunks), is_cut=beginning is not document)
        self.pages.append(page)
        self.chunks += chunks
        self._page_of[page_id] = page

    def read_beginnings(self) -> list[WebPassage]:
        """The first passages of each page that could be read, in order; together they fit the context."""
        pages = {page_id: page for page_id, page in self._page_of.items() if page.is_read}
        budget = self.profile.context_tokens // len(pages)
        passages: list[Passage] = []
        beginnings: list[Beginning] = []
        with self.steps.take("beginnings") as note:
            for page_id, page in pages.items():
                chunks = [chunk for chunk in self.chunks if chunk.document_id == page_id][: MOST_CHUNKS // len(pages)]
                first = from_beginning(page.title, chunks, budget, len(passages))
                beginnings.append(Beginning(page.title, len(first), page.chunks))
                passages += first
            note.remaining = len(passages)
        self.beginnings = tuple(beginnings)
        return [self.passage(passage, passage.context) for passage in passages]

    def page_of(self, chunk: Chunk) -> ReadPage:
        return self._page_of[chunk.document_id]

    def passage(self, passage: Passage, context: str) -> WebPassage:
        """Without the chunk's search terms, which are bulky and can be computed again."""
        page = self.page_of(passage.chunk)
        kept = replace(passage, context=context, chunk=replace(passage.chunk, terms=""))
        fetched_at = page.fetched_at if page.is_read else self.searched_at
        return WebPassage(kept, page.address, fetched_at, page.published, not page.is_read)

    def result(self, passages: Sequence[WebPassage]) -> WebRetrieval:
        trace = Trace(tuple(self.steps.taken), self.profile, self.steps.milliseconds, self.terms)
        return WebRetrieval(
            self.asked,
            self.engine.id if self.engine else "",
            self.engine.label if self.engine else "",
            self.searched_at,
            tuple(passages),
            tuple(self.pages),
            trace,
            tuple(self.passage(each, "") for each in self.nearest),
            self.widened,
            self.beginnings,
        )


def language_code(question: str) -> str:
    """The question's language as `SearchEngine.search` takes it; empty where it is neither Chinese nor English."""
    language = language_of(question)
    return language.value if language.is_chinese or _ENGLISH.search(question) else ""


def _beginning(document: ParsedDocument) -> ParsedDocument:
    """The document itself unless it is too long."""
    if len(document.text) <= PAGE_CHARACTERS:
        return document
    return replace(
        document,
        text=document.text[:PAGE_CHARACTERS],
        pages=tuple(page for page in document.pages if page.start < PAGE_CHARACTERS),
        headings=tuple(heading for heading in document.headings if heading.start < PAGE_CHARACTERS),
        tables=tuple(rows for rows in document.tables if rows.start < PAGE_CHARACTERS),
    )


def _chunks(page_id: UUID, title: str, document: ParsedDocument) -> list[Chunk]:
    """The chunks of a page, with the terms of its title, their headings and their text."""
    chunks = []
    for span in chunk_document(document):
        text = document.text[span.start : span.end]
        chunks.append(
            Chunk(
                id=chunk_id(page_id, span.ordinal),
                document_id=page_id,
                version_id=page_id,
                ordinal=span.ordinal,
                start=span.start,
                end=span.end,
                page=span.page,
                heading=span.heading,
                text=text,
                terms=lexical.terms(title, span.heading, text),
            )
        )
    return chunks


def _to_embed(hits: Sequence[Hit], chunks: Sequence[Chunk]) -> list[Chunk]:
    """The chunks that are worth it: what the lexical route finds, then the first chunks of each page in turn.

    In another language than the question's, that route finds nothing, and a page's beginning says what it is about.
    """
    if len(chunks) <= MOST_EMBEDDED:
        return list(chunks)
    chosen = {hit.chunk.id: hit.chunk for hit in hits[:MOST_LEXICAL_EMBEDDED]}
    for chunk in _in_turn(chunks):
        if len(chosen) >= MOST_EMBEDDED:
            break
        chosen.setdefault(chunk.id, chunk)
    return list(chosen.values())


def _in_turn(chunks: Sequence[Chunk]) -> Iterator[Chunk]:
    """The first chunk of each page, then the second of each, and so on."""
    pages: dict[UUID, list[Chunk]] = {}
    for chunk in chunks:
        pages.setdefault(chunk.document_id, []).append(chunk)
    for row in zip_longest(*pages.values()):
        yield from (chunk for chunk in row if chunk is not None)
