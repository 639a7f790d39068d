"""Ingestion: from a queued version to chunks that can be found."""

from kb.ingestion.backlog import Backlog
from kb.ingestion.claims import Claims, Job
from kb.ingestion.cleanup import Cleanup
from kb.ingestion.overview import (
    FailingCleanUp,
    QueueDepth,
    dimensions_in_use,
    failing_clean_ups,
    models_in_use,
    newest_collections,
    oldest_waiting,
    queue_depth,
)
from kb.ingestion.parsers import threads_of
from kb.ingestion.pipeline import Ingestion
from kb.ingestion.turns import Turns
from kb.progress import new_worker_id

__all__ = [
    "Backlog",
    "Claims",
    "Cleanup",
    "FailingCleanUp",
    "Ingestion",
    "Job",
    "QueueDepth",
    "Turns",
    "dimensions_in_use",
    "failing_clean_ups",
    "models_in_use",
    "new_worker_id",
    "newest_collections",
    "oldest_waiting",
    "queue_depth",
    "threads_of",
]
