"""The actors. Each looks up what its message's id stands for and calls one function of the core."""

from __future__ import annotations

from uuid import UUID

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from workers.broker import (
    CHECK_KNOWLEDGE_BASE,
    CLEAR_DOCUMENT,
    CLEAR_KNOWLEDGE_BASE,
    DELIVER_WEBHOOKS,
    INGEST_VERSION,
    INGESTION_QUEUE,
    MAINTENANCE_QUEUE,
    NOTE_LEFTOVERS,
)
from workers.runtime import WorkerRuntime


def declare_actors(broker: RedisBroker, runtime: WorkerRuntime) -> None:
    """Declare all actors on `broker`. Clean-ups have a queue of their own, so they do not wait for long ingestions."""

    @dramatiq.actor(broker=broker, actor_name=INGEST_VERSION, queue_name=INGESTION_QUEUE, notify_shutdown=True)
    def ingest_version(version_id: str) -> None:
        """Parse, chunk, embed and index the version whose turn it is; the message only tells that one waits."""
        runtime.parts.ingestion.ingest_next(UUID(version_id))

    @dramatiq.actor(broker=broker, actor_name=CLEAR_DOCUMENT, queue_name=MAINTENANCE_QUEUE)
    def clear_document(document_id: str) -> None:
        """Delete a deleted document's chunks, files and rows."""
        runtime.parts.cleanup.clear_document(UUID(document_id))

    @dramatiq.actor(broker=broker, actor_name=CLEAR_KNOWLEDGE_BASE, queue_name=MAINTENANCE_QUEUE)
    def clear_knowledge_base(knowledge_base_id: str) -> None:
        """Drop a deleted knowledge base's Milvus collection, files and rows."""
        runtime.parts.cleanup.clear_knowledge_base(UUID(knowledge_base_id))

    @dramatiq.actor(broker=broker, actor_name=CHECK_KNOWLEDGE_BASE, queue_name=MAINTENANCE_QUEUE)
    def check_knowledge_base(knowledge_base_id: str) -> None:
        """Compare what Milvus and the disk hold of a knowledge base with SQL."""
        runtime.parts.checks.check_knowledge_base(UUID(knowledge_base_id))

    @dramatiq.actor(broker=broker, actor_name=NOTE_LEFTOVERS, queue_name=MAINTENANCE_QUEUE)
    def note_leftovers() -> None:
        """Look for what Milvus and the disk hold that SQL does not know."""
        runtime.parts.checks.note_leftovers()

    @dramatiq.actor(broker=broker, actor_name=DELIVER_WEBHOOKS, queue_name=MAINTENANCE_QUEUE)
    def deliver_webhooks() -> None:
        """Tell programs of what is in the outbox and due."""
        runtime.parts.deliveries.deliver_due()
