"""Actors that clear what was deleted. On a queue of their own, so that they need not wait for long ingestions."""

from uuid import UUID

import dramatiq

from workers.broker import broker
from workers.runtime import runtime_of
from workers.sending import MAINTENANCE_QUEUE


@dramatiq.actor(broker=broker, queue_name=MAINTENANCE_QUEUE)
def clear_document(document_id: str) -> None:
    """Delete a deleted document's chunks, files and rows."""
    runtime_of(broker).parts.cleanup.clear_document(UUID(document_id))


@dramatiq.actor(broker=broker, queue_name=MAINTENANCE_QUEUE)
def clear_knowledge_base(knowledge_base_id: str) -> None:
    """Drop a deleted knowledge base's Milvus collection, files and rows."""
    runtime_of(broker).parts.cleanup.clear_knowledge_base(UUID(knowledge_base_id))
