"""Documents, their versions, and how far the ingestion of one is."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from uuid import UUID

from kb.errors import from_code
from kb.notes import Note

MEASURED_SECONDS = 10.0  # a shorter measurement tells nothing about the rest


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
    missing_chunks: int = 0  # that Milvus should hold and does not: see `kb.reconciling`
    file_missing: bool = False  # it was not there, or cut, when that was last looked at
    memory_peak_mb: int | None = None  # the most that the process took which read the file; None: not known

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
    measured_seconds: float = 0.0  # how long the rate was measured

    @property
    def seconds_left(self) -> float | None:
        """About how long this stage takes yet, as fast as it went lately; None until that can be told."""
        if self.rate <= 0 or self.measured_seconds < MEASURED_SECONDS:
            return None
        if self.total:
            return max(0, self.total - self.done) / self.rate
        if 0 < self.page < self.pages:
            return self.done * (self.pages / self.page - 1) / self.rate
        return None
