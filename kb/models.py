"""The domain's dataclasses and enums. No I/O."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from kb.errors import KbError, from_code
from kb.notes import Note

Kept = TypeVar("Kept", bound=StrEnum)


def known(kept: object, default: Kept) -> Kept:
    """The member of an enum that was stored; `default` for one that only another release knows."""
    return next((each for each in type(default) if each == kept), default)


class Mode(StrEnum):
    """What a question in the chat is answered with."""

    LLM = "llm"
    KNOWLEDGE = "knowledge"
    WEB = "web"
    TEST = "test"

    @property
    def uses_files(self) -> bool:
        """Whether a question uses the files of its conversation."""
        return self in (Mode.LLM, Mode.KNOWLEDGE)

    @property
    def uses_documents(self) -> bool:
        """Whether its questions are looked up in knowledge bases."""
        return self in (Mode.KNOWLEDGE, Mode.TEST)


class KnowledgeBaseKind(StrEnum):
    LIBRARY = "library"  # people create, fill and choose it
    ATTACHMENTS = "attachments"  # the files of one conversation, in no list; see `kb.attachments`


class VersionState(StrEnum):
    """Where one ingestion of a document stands."""

    QUEUED = "queued"
    PARSING = "parsing"
    EMBEDDING = "embedding"
    INDEXING = "indexing"
    READY = "ready"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_running(self) -> bool:
        return self in (VersionState.PARSING, VersionState.EMBEDDING, VersionState.INDEXING)

    @property
    def is_pending(self) -> bool:
        """Neither ready nor given up."""
        return self is VersionState.QUEUED or self.is_running

    @property
    def is_given_up(self) -> bool:
        """Nothing goes on until its owner retries it."""
        return self in (VersionState.FAILED, VersionState.CANCELLED)


class DocumentOrder(StrEnum):
    """How a list of documents is sorted; what is equal comes newest first."""

    ACTIVITY = "activity"  # in progress first, then waiting, then the rest
    NEWEST = "newest"
    NAME = "name"
    LARGEST = "largest"
    STATE = "state"  # what needs attention first


class Role(StrEnum):
    USER = "user"
    ASSISTANT = "assistant"
    NOTICE = "notice"  # a line of the page's own, such as "now answering from …"; never sent to a model


class MessageState(StrEnum):
    STREAMING = "streaming"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class Route(StrEnum):
    """One way to find candidates."""

    DENSE = "dense"
    LEXICAL = "lexical"


# --- documents -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PageStart:
    """Page `number` (1-based) begins at character `start` of the parsed text."""

    start: int
    number: int


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of `level` (1 is the highest) whose line begins at character `start` of the parsed text."""

    start: int
    level: int
    title: str


@dataclass(frozen=True, slots=True)
class TableRows:
    """Characters `start` to `end` of the parsed text are rows of a table, one a line."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class LineBox:
    """Where characters `start` to `end` of the parsed text stand on their page, as it is shown.

    The sides are fractions of the page's width and height, from its upper left corner.
    """

    start: int
    end: int
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """A file's text with the positions of its pages, headings, tables and lines, as character offsets into `text`.

    `pages` is empty for formats without pages; all tuples are in order of `start`. Pages are whole where each is a
    thing of its own, as slides and sheets are: none goes on with the one before.
    """

    text: str
    pages: tuple[PageStart, ...] = ()
    headings: tuple[Heading, ...] = ()
    title: str = ""
    has_whole_pages: bool = False
    notes: tuple[Note, ...] = ()
    tables: tuple[TableRows, ...] = ()
    lines: tuple[LineBox, ...] = ()  # of PDF files and pictures


@dataclass(frozen=True, slots=True)
class ChunkSpan:
    """A stretch of a parsed text: characters `start` to `end`, its page (0: none) and heading path."""

    ordinal: int
    start: int
    end: int
    page: int
    heading: str


def chunk_id(version_id: UUID, ordinal: int) -> str:
    """A chunk's id: the same at each attempt, so that storing a chunk again replaces it."""
    return f"{version_id.hex}-{ordinal:06d}"


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stored span of a document. `text` is what was embedded; `terms` what BM25 sees."""

    id: str
    document_id: UUID
    version_id: UUID
    ordinal: int = 0
    start: int = 0
    end: int = 0
    page: int = 0
    heading: str = ""
    text: str = ""
    terms: str = ""
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """How a knowledge base's vectors are indexed in Milvus."""

    index_type: str = "HNSW"  # or FLAT, IVF_FLAT, IVF_SQ8
    metric: str = "COSINE"  # or IP, L2
    m: int = 16
    ef_construction: int = 200
    nlist: int = 128


# What a wider search multiplies the candidates of each route by, and how many it takes at most.
WIDER_CANDIDATES, MOST_WIDER_CANDIDATES = 4, 500


@dataclass(frozen=True, slots=True)
class RetrievalProfile:
    """The settings of one retrieval.

    `dense_weight` and `lexical_weight` scale the min-max normalised scores; None is what suits the embedding model.
    `candidates` is how many each route brings; `ef` is HNSW's search width; `threshold` drops passages whose relevance
    (0 to 1, see `kb.retrieval.relevance`) is lower; `neighbours` chunks before and after each passage go to the model
    with it, up to `context_tokens`.
    """

    dense_weight: float | None = None
    lexical_weight: float | None = None
    candidates: int = 50
    ef: int = 100
    threshold: float = 0.5
    top_k: int = 5
    neighbours: int = 1
    context_tokens: int = 3000

    def wider(self, times: int = 1) -> RetrievalProfile:
        """For a question that found nothing: a lower threshold, more candidates and more passages.

        The first time halves the threshold; from the second on there is none, so that the best candidates are given
        whatever they say.
        """
        if times < 1:
            return self
        candidates = min(self.candidates * WIDER_CANDIDATES, MOST_WIDER_CANDIDATES)
        return replace(
            self,
            threshold=self.threshold / 2 if times == 1 else 0.0,
            candidates=max(candidates, self.candidates),
            ef=max(self.ef, candidates),
            top_k=self.top_k * 2,
        )

    def with_weights(self, dense_weight: float) -> RetrievalProfile:
        """With both weights set; `dense_weight` is what suits the embedding model. Weights that are set stay."""
        dense = self.dense_weight
        if dense is None:
            dense = dense_weight if self.lexical_weight is None else max(0.0, 1 - self.lexical_weight)
        lexical = max(0.0, 1 - dense) if self.lexical_weight is None else self.lexical_weight
        return replace(self, dense_weight=dense, lexical_weight=lexical)


@dataclass(frozen=True, slots=True)
class KnowledgeBase:
    id: UUID
    owner_id: UUID
    name: str
    collection: str
    embedding_model: str
    dimension: int
    index: IndexSettings
    profile: RetrievalProfile
    created_at: datetime
    document_count: int = 0
    ready_count: int = 0
    kind: KnowledgeBaseKind = KnowledgeBaseKind.LIBRARY
    prompt: str = ""  # a template of its own: see `kb.prompt_templates`

    @property
    def partition(self) -> UUID | None:
        """Its part of a Milvus collection that it shares with others; None: the collection is its own."""
        return self.id if self.kind is KnowledgeBaseKind.ATTACHMENTS else None


@dataclass(frozen=True, slots=True)
class Version:
    """One ingestion of a document; `error` is a code of `kb.errors`, `error_values` its values."""

    id: UUID
    document_id: UUID
    state: VersionState
    file_key: str
    size_bytes: int
    created_at: datetime
    attempts: int = 0
    crashes: int = 0
    pages: int = 0
    chunks: int = 0
    stored_chunks: int = 0
    error: str = ""
    error_values: dict[str, str] = field(default_factory=dict)
    retry_at: datetime | None = None
    heartbeat_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    media_type: str = ""  # the format, decided at registration
    notes: tuple[Note, ...] = ()  # what its chunks lack of the file
    sent_at: datetime | None = None  # when the workers were told of it
    cancel_requested: bool = False

    @property
    def can_retry(self) -> bool:
        """Whether its owner may queue it again, and that can help."""
        if self.state is VersionState.FAILED:
            return from_code(self.error, self.error_values).retry_helps
        return self.state is VersionState.CANCELLED


@dataclass(frozen=True, slots=True)
class Document:
    """One source in a knowledge base; `latest` is its newest version, `live_version_id` the one that answers."""

    id: UUID
    knowledge_base_id: UUID
    name: str
    live_version_id: UUID | None
    created_at: datetime
    latest: Version


@dataclass(frozen=True, slots=True)
class Original:
    """The file of one version as it was uploaded: the user's `name` for it, and where it is."""

    name: str
    path: Path
    media_type: str


@dataclass(frozen=True, slots=True)
class Progress:
    """The last sign of life of a running ingestion: `done` of `total` units (pages or chunks) of `stage`.

    How many chunks there are is not known (0) while a large file is still being read, at `page` of `pages`.
    """

    stage: VersionState
    done: int
    total: int
    rate: float  # units a second
    at: datetime
    worker: str = ""
    page: int = 0
    pages: int = 0


# --- retrieval --------------------------------------------------------------------------------------------------
#
# Kept as JSON with each answer, so every field but ids needs a default: see `kb.formats`.


@dataclass(frozen=True, slots=True)
class RouteHit:
    """Where one route placed a chunk: `rank` (1 is the best), its raw `score` and the score `scaled` to 0…1."""

    rank: int = 0
    score: float = 0.0
    scaled: float = 0.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a text stands: its document, page (0: none) and heading path; its knowledge base, if several were asked."""

    document_name: str = ""
    page: int = 0
    heading: str = ""
    knowledge_base: str = ""


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk that retrieval returned, with its scores and ranks; `context` is its text with its neighbours'.

    `also_in` names the other places that hold the same text and were found, too. `knowledge_base` is the name of the
    passage's one, if several were asked.
    """

    chunk: Chunk
    document_name: str = ""
    rank: int = 0
    fused: float = 0.0
    overlap: float = 0.0  # share of the question's terms that stand in the chunk
    relevance: float = 0.0  # what the threshold is applied to
    dense: RouteHit | None = None
    lexical: RouteHit | None = None
    context: str = ""
    also_in: tuple[Place, ...] = ()
    knowledge_base: str = ""
    rerank: float | None = None  # what a reranking model says (0 to 1); None: it was not asked

    @property
    def place(self) -> Place:
        return Place(self.document_name, self.chunk.page, self.chunk.heading, self.knowledge_base)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a retrieval: its name, how long it took, how many candidates it left, and why, if it matters.

    `note` is an English text for the translators; `note_values` fills its `{names}`. `knowledge_base` is the name of
    the one that the step was taken in, if several were asked; it is empty for steps of all together.
    """

    name: str = ""
    milliseconds: float = 0.0
    remaining: int = 0
    note: str = ""
    note_values: dict[str, str] = field(default_factory=dict)
    knowledge_base: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """What each step of a retrieval did, with times."""

    steps: tuple[Step, ...] = ()
    profile: RetrievalProfile = field(default_factory=RetrievalProfile)
    milliseconds: float = 0.0  # from the question to the passages; routes and knowledge bases are asked side by side
    terms: tuple[str, ...] = ()

    @property
    def documents(self) -> int:
        """How many documents could be searched; with none, finding nothing says nothing about the question."""
        return self.steps[0].remaining if self.steps else 0


@dataclass(frozen=True, slots=True)
class FileList:
    """The names of the first files that can be asked, by name, and how many there are in all.

    If several `knowledge_bases` were asked, each name begins with that of its knowledge base. `is_chosen`: the question
    was limited to these files. `which`: it means one of them and does not say which.
    """

    names: tuple[str, ...] = ()
    total: int = 0
    which: bool = False
    knowledge_bases: int = 1
    is_chosen: bool = False


@dataclass(frozen=True, slots=True)
class Beginning:
    """How much of a file was read from its beginning: `chunks` of `total`."""

    name: str = ""
    chunks: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Unread:
    """A file that a question asks for by its name and that has no text (yet): its `state`, a `VersionState`, and why.

    `error` is a code of `kb.errors`, `error_values` its values.
    """

    name: str = ""
    state: str = ""
    error: str = ""
    error_values: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Retrieval:
    """The answer of `kb.retrieval.retrieve`: the passages, the best first, and the trace of how.

    `files` are given for a question about the knowledge base. `beginnings` tell that the passages were not searched
    for: they are files from their beginning, in order, without scores. `unread` are files that the question names and
    that could not be read, or are not ready yet. `nearest` are the best candidates where none reached the threshold.
    `widened` is how often the search was made wider than the profile (`RetrievalProfile.wider`). `are_attached`: only
    files of the conversation were searched, and no knowledge base.
    """

    question: str = ""
    passages: tuple[Passage, ...] = ()
    trace: Trace = field(default_factory=Trace)
    files: FileList | None = None
    beginnings: tuple[Beginning, ...] = ()
    unread: tuple[Unread, ...] = ()
    prompt: str = ""  # the template of the knowledge bases that were asked, if it is not the default
    nearest: tuple[Passage, ...] = ()
    widened: int = 0
    are_attached: bool = False


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a question is looked up: knowledge bases, and only these documents of them where some are named."""

    knowledge_base_ids: tuple[UUID, ...] = ()
    document_ids: tuple[UUID, ...] = ()

    @classmethod
    def of(cls, knowledge_base_id: UUID | None) -> Scope:
        """One knowledge base, or none."""
        return cls((knowledge_base_id,) if knowledge_base_id else ())

    def among(self, knowledge_base_ids: Collection[UUID]) -> Scope:
        """Without the knowledge bases that are not among these; with none left, without the documents, too."""
        kept = tuple(each for each in self.knowledge_base_ids if each in knowledge_base_ids)
        return Scope(kept, self.document_ids) if kept else Scope()

    @property
    def first_id(self) -> UUID | None:
        """The knowledge base that stands for the scope where only one can be shown."""
        return self.knowledge_base_ids[0] if self.knowledge_base_ids else None


NOWHERE = Scope()  # of questions that use no documents


# --- conversations ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Choices:
    """What a user chose last. Kept as JSON: unknown fields are ignored, missing or unreadable ones have defaults."""

    mode: Mode = Mode.KNOWLEDGE
    scope: Scope = NOWHERE
    search_engine: str = ""  # its id; empty: the default

    def to_json(self) -> dict[str, object]:
        first = self.scope.first_id
        return {
            "version": 1,
            "mode": self.mode.value,
            "knowledge_base_id": str(first) if first else None,  # for releases that knew one only
            "knowledge_base_ids": [str(each) for each in self.scope.knowledge_base_ids],
            "document_ids": [str(each) for each in self.scope.document_ids],
            "search_engine": self.search_engine,
        }

    @classmethod
    def from_json(cls, stored: object) -> Choices:
        values = stored if isinstance(stored, dict) else {}
        base_ids = values.get("knowledge_base_ids", [values.get("knowledge_base_id")])
        return cls.from_texts(values.get("mode"), base_ids, values.get("document_ids"), values.get("search_engine"))

    @classmethod
    def from_texts(
        cls, mode: object, knowledge_base_ids: object, document_ids: object = (), search_engine: object = ""
    ) -> Choices:
        """From stored or typed texts, whatever they are."""
        base_ids = _ids(knowledge_base_ids)
        scope = Scope(base_ids, _ids(document_ids) if base_ids else ())
        engine = search_engine if isinstance(search_engine, str) else ""
        return cls(known(mode, Mode.KNOWLEDGE), scope, engine)


def _ids(texts: object) -> tuple[UUID, ...]:
    """Those of the texts that are ids, each once."""
    found: dict[UUID, None] = {}
    for text in texts if isinstance(texts, list | tuple) else ():
        with suppress(ValueError):
            found[UUID(str(text))] = None
    return tuple(found)


@dataclass(frozen=True, slots=True)
class User:
    id: UUID
    name: str
    chat_model: str = ""
    last_choices: Choices = Choices()


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation, with the mode and the scope of its next question. `shown_id` ends the branch that is shown."""

    id: UUID
    owner_id: UUID
    title: str
    mode: Mode
    scope: Scope
    created_at: datetime
    updated_at: datetime
    shown_id: UUID | None = None
    pinned_at: datetime | None = None
    is_named: bool = False  # the user or a model gave the title; else it is made of the first question


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """One service's state, as `/healthz` and the System page show it."""

    name: str
    ok: bool
    detail: str  # its version, or what is wrong
    milliseconds: float
    error: KbError | None = None
    checked_at: datetime = field(default_factory=lambda: datetime.now(UTC))
