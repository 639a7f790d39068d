"""The ingestion actor."""

from uuid import UUID

import dramatiq

from workers.broker import broker
from workers.runtime import runtime_of
from workers.sending import INGESTION_QUEUE


@dramatiq.actor(broker=broker, queue_name=INGESTION_QUEUE, notify_shutdown=True)
def ingest_version(version_id: str) -> None:
    """Parse, chunk, embed and index one version."""
    runtime_of(broker).parts.ingestion.ingest(UUID(version_id))
