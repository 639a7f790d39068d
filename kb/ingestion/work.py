"""A version on its way through the pipeline."""

from __future__ import annotations

from dataclasses import dataclass, field

from kb.embedding import EmbeddingModel
from kb.ingestion.claims import Job
from kb.ingestion.making_way import Stint
from kb.metrics import StageTimes
from kb.notes import Note
from kb.progress import Meter


@dataclass(slots=True)
class Work:
    """A claimed version on its way, and the model of its knowledge base."""

    job: Job
    model: EmbeddingModel
    meter: Meter
    times: StageTimes
    kept: int  # chunks that an earlier attempt stored for good
    stored: int = 0
    digest: str = ""  # of all ranges so far
    chunks: int = 0  # in all ranges so far
    pages: int = 0  # so far
    page: int = 0  # of the last stored chunk
    pages_total: int = 0
    notes: tuple[Note, ...] = ()
    is_cleared: bool = False  # of what an earlier attempt stored in vain
    has_created: bool = False  # the collection, which did not exist
    stint: Stint = field(default_factory=Stint)
