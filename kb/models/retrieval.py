"""A retrieval: its settings, where it looks, what it finds, and the trace of how.

From `RouteHit` on, all is kept as JSON with each answer, so every field but ids needs a default: see `kb.formats`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from enum import StrEnum
from uuid import UUID

from kb.models.texts import Chunk


class Route(StrEnum):
    """One way to find candidates."""

    DENSE = "dense"
    LEXICAL = "lexical"


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

    def with_top_k(self, top_k: int) -> RetrievalProfile:
        """With so many passages; the routes bring at least as many candidates."""
        return replace(self, top_k=top_k, candidates=max(self.candidates, top_k), ef=max(self.ef, top_k))

    def with_weights(self, dense_weight: float) -> RetrievalProfile:
        """With both weights set; `dense_weight` is what suits the embedding model. Weights that are set stay."""
        dense = self.dense_weight
        if dense is None:
            dense = dense_weight if self.lexical_weight is None else max(0.0, 1 - self.lexical_weight)
        lexical = max(0.0, 1 - dense) if self.lexical_weight is None else self.lexical_weight
        return replace(self, dense_weight=dense, lexical_weight=lexical)


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
    """What each step of a retrieval did, with times.

    `profile` is what it went by, widened and with the weights of the embedding model. `profiles` are those that it was
    asked with, by the ids of the knowledge bases; empty in answers of earlier releases.
    """

    steps: tuple[Step, ...] = ()
    profile: RetrievalProfile = field(default_factory=RetrievalProfile)
    milliseconds: float = 0.0  # from the question to the passages; routes and knowledge bases are asked side by side
    terms: tuple[str, ...] = ()
    profiles: dict[UUID, RetrievalProfile] = field(default_factory=dict)

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
class Unsearchable:
    """Documents whose chunks Milvus lacks (`kb.reconciling`): how many (0: not known yet), and the first names."""

    documents: int = 0
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NotSearched:
    """A knowledge base that could not be searched, while others could: its name, a code of `kb.errors`, its values."""

    knowledge_base: str = ""
    code: str = ""
    values: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Retrieval:
    """The answer of `kb.retrieval.retrieve`: the passages, the best first, and the trace of how.

    `files` are given for a question about the knowledge base. `beginnings` tell that the passages were not searched
    for: they are files from their beginning, in order, without scores. `unread` are files that the question names and
    that could not be read, or are not ready yet. `nearest` are the best candidates where none reached the threshold.
    `widened` is how often the search was made wider than the profile (`RetrievalProfile.wider`). `are_attached`: only
    files of the conversation were searched, and no knowledge base. `unsearchable` are documents that should have been
    searched and could not be: then no passages does not mean that nothing relevant is there. `not_searched` are
    knowledge bases that failed, while others had passages.
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
    unsearchable: Unsearchable | None = None
    not_searched: tuple[NotSearched, ...] = ()
