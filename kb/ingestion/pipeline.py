"""The use case: a queued version → parse → chunk → embed → index → ready. Resumable, and harmless to run twice.

A document is read, chunked and stored range by range (`kb.ranges`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from threading import Lock
from uuid import UUID

import structlog

from kb import lexical, tracing
from kb.config import Settings
from kb.effort import LARGE
from kb.embedding import EmbeddingCache, EmbeddingModel, EmbeddingModels, embedded_text, require_same
from kb.errors import (
    N_,
    Cancelled,
    DiskFull,
    KbError,
    LeaseLost,
    MilvusRefused,
    NoText,
    TooManyChunks,
    UnexpectedFailure,
    WorkerMemoryShort,
    is_disk_full,
)
from kb.formats import to_json
from kb.ingestion.chunks import build_chunk, digest
from kb.ingestion.claims import Claims, Job
from kb.ingestion.cleanup import Cleanup
from kb.ingestion.endings import Endings
from kb.ingestion.making_way import MakesWay, look_for_others
from kb.ingestion.pace import Pace, Speed
from kb.ingestion.parsers import Parsers, threads_of
from kb.ingestion.sealing import Sealing
from kb.ingestion.spans import ingest_span, noting_failure
from kb.ingestion.turns import LargeLane, Turns
from kb.ingestion.work import Work
from kb.library import FileStore, LineBoxWriter
from kb.metrics import StageTimes, note_chunks, note_ingested
from kb.models import ChunkSpan, VersionState
from kb.notes import Notes, merge_notes
from kb.parsing import Limits
from kb.parsing.media_types import DRAWN
from kb.progress import Meter, ProgressBoard
from kb.ranges import Range, read_ranges
from kb.vectors import VectorStore

# After a longer step, check the claim before storing anything. Each progress update checks it, too.
CHECK_SECONDS = 0.5

log = structlog.get_logger()


class _ChunksChanged(Exception):
    """Not the same chunks as in the attempt before, for example because of an update in between."""


class Ingestion:
    """Ingests versions for one worker process, in as many threads as `settings.worker_threads`."""

    def __init__(
        self,
        settings: Settings,
        claims: Claims,
        turns: Turns,
        cleanup: Cleanup,
        files: FileStore,
        vectors: VectorStore,
        embeddings: EmbeddingModels,
        board: ProgressBoard,
        worker_id: str,
        check: Callable[[UUID], None],
    ) -> None:
        """`check` compares what Milvus holds of a knowledge base with SQL."""
        self._settings = settings
        self._claims = claims
        self._turns = turns
        self._choosing = Lock()
        self.lane = LargeLane(threads_of(settings))
        self._endings = Endings(claims, cleanup)
        self._files = files
        self._vectors = vectors
        self._embeddings = embeddings
        self._embedded = EmbeddingCache()
        self._pace = Pace()
        self.speed = Speed()
        self._board = board
        self._worker_id = worker_id
        self._check_knowledge_base = check
        self._active: set[UUID] = set()
        self.finished = 0  # versions, since the process started
        self.is_draining = False  # the process is to end: no thread takes a version beside that of its message
        self._sealing = Sealing(vectors)
        self._limits = Limits(settings.parsing_timeout_seconds, settings.parsing_page_timeout_seconds)
        self.parsers = Parsers(settings)

    def warm_up(self, models: Iterable[str]) -> None:
        """Start and load what the first document would wait for. Errors: `KbError`; a later call may succeed.

        `models` are names of embedding models. One that cannot be loaded does not keep the others from it.
        """
        self.parsers.start()
        lexical.terms("warm up 預熱")
        for name in models:
            try:
                self._embeddings.get(name).embed_documents(["warm up"])
            except KbError as error:
                log.warning("ingestion.not_warm", model=name, reason=error.code)  # its documents will say so
        self._vectors.ping()

    def warm_up_collections(self, collections: Sequence[str]) -> None:
        """Make Milvus collections ready for their first question. Errors: `MilvusUnavailable`."""
        for collection in collections:
            with suppress(MilvusRefused):  # it is being deleted
                self._vectors.warm_up(collection)

    def close(self) -> None:
        """End the parser processes that are idle."""
        self.parsers.close()

    @property
    def active(self) -> int:
        """How many versions are being ingested right now."""
        return len(self._active)

    def ingest(self, version_id: UUID) -> VersionState | None:
        """Ingest this version. Returns None if it could not be claimed. Never raises because of the file's content."""
        job = self._claims.claim(version_id)
        return self._work_on(job)[0] if job else None

    def ingest_next(self, version_id: UUID) -> None:
        """Ingest the version whose turn it is, and then another if that was large: no message may wait for the room.

        Likewise with a limit for each user: the messages of those that had no place are gone.

        `version_id`, of which a message told, is ingested if no list shows it.
        """
        while job := self._claim_next(version_id):
            _, was_large = self._work_on(job)
            if self.is_draining or not (was_large or self._claims.most_per_user):
                return

    def _claim_next(self, version_id: UUID) -> Job | None:
        with self._choosing:
            with_large = self.lane.has_room
            while found := self._turns.next(with_large=with_large):
                if job := self._claim(found):
                    return job
            if with_large or not self._turns.is_large(version_id):
                return self._claim(version_id)
        return None

    def _claim(self, version_id: UUID) -> Job | None:
        job = self._claims.claim(version_id)
        if job and job.effort >= LARGE:
            self.lane.enter(version_id)
        return job

    def _work_on(self, job: Job) -> tuple[VersionState | None, bool]:
        """The version's state afterwards, None if the claim was lost; and whether it was large."""
        self.speed.begin()
        self._active.add(job.version_id)
        try:
            with ingest_span(job, self._board) as span:
                state = self._ingest(job, span)
            return state, self.lane.holds(job.version_id)
        finally:
            self._claims.let_go(job)
            self.lane.leave(job.version_id)
            self._active.discard(job.version_id)
            self.finished += 1
            self.speed.end()

    def _ingest(self, job: Job, span: tracing.Span) -> VersionState | None:
        version_id = job.version_id
        bound = log.bind(version=str(version_id), document=str(job.document_id))
        bound.info("ingestion.started", stored_chunks=job.stored_chunks)
        try:
            with noting_failure(span):
                self._process(job, span)
        except LeaseLost:
            self._endings.lose(job, bound)
            return None
        except Cancelled:
            return self._endings.cancel(job, bound)
        except MakesWay:
            return self._endings.make_way(job, bound)
        except KbError as error:
            return self._endings.give_up_or_wait(job, error, bound)
        except MemoryError:  # what was taken is given back by now
            return self._endings.give_up_or_wait(job, WorkerMemoryShort(name=job.name), bound)
        except Exception as error:  # noqa: BLE001
            if is_disk_full(error):
                return self._endings.give_up_or_wait(job, DiskFull(name=job.name), bound)
            # A defect of ours must not take the worker along, nor be taken for an absence: the user sees it.
            bound.exception("ingestion.defect")
            return self._endings.give_up(job, UnexpectedFailure(name=job.name, detail=type(error).__name__), bound)
        except BaseException:
            # The worker is shutting down.
            with suppress(KbError):  # if this cannot be stored, the lease runs out
                self._claims.release(job)
                bound.info("ingestion.released")
                note_ingested("released")
            raise
        bound.info("ingestion.ready")
        note_ingested(VersionState.READY.value)
        return VersionState.READY

    def seal(self) -> None:
        """Make what was stored quick to search, once there is a pause or enough was stored."""
        self._sealing.seal(is_idle=not self._active)

    # --- the stages ---

    def _process(self, job: Job, span: tracing.Span) -> None:
        model, times = self._embeddings.get(job.knowledge_base.embedding_model), StageTimes()
        try:
            if job.effort >= LARGE and not job.counted_chunks:
                self._count(job, model, times)
            try:
                work = self._store_document(job, model, times, job.stored_chunks)
            except _ChunksChanged:
                work = self._store_document(job, model, times, 0)
            span.note({"zhiwen.document.chunks": work.chunks, "zhiwen.document.pages": work.pages})
            with times.spend(VersionState.INDEXING):
                self._finish(work)
        finally:
            times.note()

    def _count(self, job: Job, model: EmbeddingModel, times: StageTimes) -> None:
        """Count the chunks of a large document: if they are too many, it fails before hours were spent on it.

        Reading takes a few per cent of the time, and what OCR reads is kept.
        """
        with self._reading(self._begin(job, model, times)) as ranges:
            count = sum(len(stretch.spans) for stretch in ranges)
        if not count:
            raise NoText(name=job.name)
        self._require_few(job, count)
        effort = max(LARGE, count)
        self._claims.enter(job, VersionState.PARSING, counted_chunks=count, effort=effort)
        job.counted_chunks, job.effort = count, effort

    def _store_document(self, job: Job, model: EmbeddingModel, times: StageTimes, kept: int) -> Work:
        """Read the file and store its chunks, range by range."""
        work = self._begin(job, model, times, kept)
        boxes_path = self._files.line_boxes(job.file_key) if job.media_type in DRAWN else None
        with self._reading(work) as ranges, LineBoxWriter(boxes_path) as boxes:
            began = time.monotonic()
            for stretch in ranges:
                self._check_after(began, job)
                if work.chunks + len(stretch.spans) > self._settings.max_chunks_per_document:
                    rest = sum(len(following.spans) for following in ranges)
                    self._require_few(job, work.chunks + len(stretch.spans) + rest)
                boxes.add(stretch.document, stretch.start)
                self._store_range(work, stretch)
                began = time.monotonic()
        if not work.chunks:
            raise NoText(name=job.name)
        return work

    def _require_few(self, job: Job, count: int) -> None:
        limit = self._settings.max_chunks_per_document
        if count > limit:
            raise TooManyChunks(name=job.name, count=f"{count:,}", limit=f"{limit:,}")

    def _begin(self, job: Job, model: EmbeddingModel, times: StageTimes, kept: int = 0) -> Work:
        work = Work(job, model, Meter(self._board, job.version_id, self._worker_id), times, kept)
        work.meter.report(VersionState.PARSING, 0, 0)
        return work

    @contextmanager
    def _reading(self, work: Work) -> Iterator[Iterator[Range]]:
        """The ranges of the file, which a parser reads as they are taken."""
        job, path = work.job, self._files.path(work.job.file_key, work.job.name)

        def report(done: int, total: int) -> None:
            work.pages_total = total
            if work.stint.caught_up and not job.counted_chunks:
                work.meter.report(VersionState.EMBEDDING, work.stored, 0, work.page, total)
            elif not (work.chunks or job.counted_chunks):
                work.meter.report(VersionState.PARSING, done, total)

        with self.parsers.lend(lambda: self._claims.check(job)) as parser:
            parts = parser.parse(
                *(path, job.name, job.media_type, self._limits, report),
                is_cancelled=lambda: self._is_stopped(work),
                recognised=self._files.recognised(job.file_key),
            )
            try:
                with closing(parts):
                    yield work.times.spend_on_each(VersionState.PARSING, read_ranges(parts))
            finally:
                job.memory_peak_mb = max(job.memory_peak_mb or 0, parser.peak_mb) or None

    def _store_range(self, work: Work, stretch: Range) -> None:
        """Embed and store the chunks of one range, except those that an earlier attempt stored for good."""
        work.digest = digest(work.digest, work.model.name, stretch)
        work.chunks += len(stretch.spans)
        work.pages += stretch.new_pages
        work.notes = merge_notes([*work.notes, *stretch.notes])
        if work.kept and work.digest != work.job.chunks_digest:
            if work.chunks > work.kept or stretch.is_last:
                raise _ChunksChanged
            return
        if not stretch.spans:
            return
        new = [span for span in stretch.spans if span.ordinal >= work.kept]
        self._begin_storing(work, work.chunks - len(new))
        work.kept = 0  # what follows is new
        while new:
            size = self._pace.batch_of(work.model.name)
            self._store(work, stretch, new[:size])
            new = new[size:]

    def _begin_storing(self, work: Work, stored: int) -> None:
        """Note the range in hand, of which the first chunks may be stored. Prepares the Milvus collection at first."""
        job = work.job
        if not work.is_cleared and job.knowledge_base.dimension is not None:  # else the first vectors tell it
            work.has_created |= self._vectors.create(job.knowledge_base)
        self._claims.enter(
            job,
            VersionState.EMBEDDING,
            pages=work.pages,
            chunks=job.counted_chunks or work.chunks,
            stored_chunks=stored,
            chunks_digest=work.digest,
        )
        if job.chunks_digest and not work.is_cleared:
            # What came after the last noted batch, or belongs to other chunks, is written again from scratch.
            self._vectors.delete_from(job.knowledge_base.collection, job.version_id, stored)
        work.is_cleared, work.stored = True, stored

    def _store(self, work: Work, stretch: Range, spans: Sequence[ChunkSpan]) -> None:
        """Embed and store one batch."""
        job = work.job
        self._report(work, stretch)
        chunks = [build_chunk(job, stretch, span) for span in spans]
        began = time.monotonic()
        with work.times.spend(VersionState.EMBEDDING):
            vectors = self._embedded.embed_documents(work.model, [embedded_text(chunk) for chunk in chunks])
        self._pace.note(work.model.name, len(chunks), time.monotonic() - began)
        self._check_after(began, job)
        is_first = job.knowledge_base.dimension is None
        if is_first:
            self._claims.settle_dimension(job, vectors.shape[1])
        base = job.knowledge_base
        require_same(base, work.model.name, vectors.shape[1])
        if is_first:
            work.has_created |= self._vectors.create(base)
        with work.times.spend(VersionState.INDEXING):
            self._vectors.upsert(base.collection, chunks, vectors, base.partition)
        note_chunks(len(chunks))
        self._sealing.note(base.collection, len(chunks))
        work.stored, work.page = spans[-1].ordinal + 1, spans[-1].page or work.page
        if job.counted_chunks:
            self.speed.note(len(spans))
        work.stint.note_stored()
        is_done = stretch.is_last and work.stored == work.chunks
        self._claims.advance(job, work.stored, VersionState.INDEXING if is_done else VersionState.EMBEDDING)
        self._report(work, stretch)
        if not is_done:
            look_for_others(job, work.stint, self.lane, self._turns)

    def _report(self, work: Work, stretch: Range) -> None:
        """How many chunks there will be is known from the last range on if they were not counted; before, the pages
        tell how far it is.
        """
        if total := work.chunks if stretch.is_last else work.job.counted_chunks:
            work.meter.report(VersionState.EMBEDDING, work.stored, total)
        else:
            work.meter.report(VersionState.EMBEDDING, work.stored, 0, work.page, work.pages_total)

    def _finish(self, work: Work) -> None:
        """Count, switch, and clear the version that was replaced. Sealing follows, for many documents at once."""
        job, total = work.job, work.chunks
        collection = job.knowledge_base.collection
        work.meter.report(VersionState.INDEXING, 0, 1)
        found = self._vectors.count_first(collection, job.version_id, total)
        if found != total:
            self._claims.enter(job, VersionState.INDEXING, stored_chunks=0)  # the next attempt stores all anew
            log.warning("ingestion.chunks_missing", version=str(job.version_id), found=found, total=total)
            raise MilvusRefused(detail=N_("not all stored chunks can be found"))
        seconds, notes = work.times.so_far(), to_json(Notes(work.notes))
        replaced = self._claims.switch(job, seconds, pages=work.pages, chunks=total, notes=notes)
        work.meter.report(VersionState.READY, total, total)
        if not job.counted_chunks:
            self.speed.note(job.effort)
        if replaced:
            self._vectors.delete_version(collection, replaced)
        if work.has_created:  # there may have been one before, with other documents
            with suppress(KbError):  # what it is about is noted
                self._check_knowledge_base(job.knowledge_base.id)

    def _check_after(self, began: float, job: Job) -> None:
        """After a step that took long, do not write for a claim that was lost or cancelled meanwhile."""
        if time.monotonic() - began > CHECK_SECONDS:
            self._claims.check(job)

    def _is_stopped(self, work: Work) -> bool:
        try:
            self._claims.check(work.job)
        except (Cancelled, LeaseLost):
            return True
        look_for_others(work.job, work.stint, self.lane, self._turns)
        return False
