"""How an attempt to ingest a version appears in a trace: its stages are part of it (`kb.metrics.StageTimes`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kb import tracing
from kb.errors import Cancelled, LeaseLost
from kb.ingestion.claims import Job
from kb.ingestion.making_way import MakesWay
from kb.progress import ProgressBoard

# An attempt that ends so has not failed.
NO_FAILURES = (Cancelled, LeaseLost, MakesWay)


def ingest_span(job: Job, board: ProgressBoard) -> tracing.Span:
    """Part of the trace of whoever queued the version, if that is known."""
    if not tracing.is_on():
        return tracing.NO_SPAN
    attributes: dict[str, str | int] = {
        "messaging.system": "dramatiq",
        "messaging.destination.name": "ingestion",
        "messaging.operation.name": "ingest",
        "messaging.operation.type": "process",
        "zhiwen.version.id": str(job.version_id),
        "zhiwen.document.id": str(job.document_id),
        "zhiwen.knowledge_base.id": str(job.knowledge_base.id),
        "zhiwen.document.media_type": job.media_type,
        "zhiwen.document.bytes": job.size_bytes,
    }
    return tracing.span("ingest", attributes, tracing.Kind.CONSUMER, parent=board.trace_of(job.version_id))


@contextmanager
def noting_failure(span: tracing.Span) -> Iterator[None]:
    """For the block whose errors go no further than the attempt."""
    try:
        yield
    except NO_FAILURES:
        raise
    except Exception as error:
        span.fail(error)
        raise
