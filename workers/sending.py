"""Putting messages into the queues. Call it after the row is committed; messages carry ids only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from dramatiq.brokers.redis import RedisBroker

from kb import redis as kb_redis
from kb.ingestion import mark_sent
from kb.services import Services, WorkerParts

INGESTION_QUEUE = "ingestion"
MAINTENANCE_QUEUE = "maintenance"


def send_versions(services: Services, version_ids: Sequence[UUID]) -> None:
    """Tell the workers of new work. Errors: `RedisUnavailable`; the work is safe, and a worker finds it later."""
    from workers.ingestion import ingest_version

    with kb_redis.translated():
        for version_id in version_ids:
            ingest_version.send(str(version_id))
    mark_sent(services.database, list(version_ids), datetime.now(UTC))


def send_clear_document(document_id: UUID) -> None:
    """Have a deleted document cleared. Errors: `RedisUnavailable`; the reaper sends it again."""
    from workers.maintenance import clear_document

    with kb_redis.translated():
        clear_document.send(str(document_id))


def send_clear_knowledge_base(knowledge_base_id: UUID) -> None:
    """Have a deleted knowledge base cleared. Errors: `RedisUnavailable`; the reaper sends it again."""
    from workers.maintenance import clear_knowledge_base

    with kb_redis.translated():
        clear_knowledge_base.send(str(knowledge_base_id))


def send_due(broker: RedisBroker, parts: WorkerParts) -> None:
    """The reaper's part: send what SQL says is to be done and no message stands for."""
    from workers.ingestion import ingest_version

    idle = waiting(broker, INGESTION_QUEUE) == 0
    maintenance_idle = waiting(broker, MAINTENANCE_QUEUE) == 0
    for version_id in parts.claims.due(resend=idle):
        with kb_redis.translated():
            ingest_version.send(str(version_id))
    if maintenance_idle:
        knowledge_bases, documents = parts.cleanup.pending()
        for document_id in documents:
            send_clear_document(document_id)
        for knowledge_base_id in knowledge_bases:
            send_clear_knowledge_base(knowledge_base_id)
        for version_id in parts.cleanup.stale_versions():
            parts.cleanup.clear_version(version_id)


def waiting(broker: RedisBroker, queue: str) -> int:
    """How many messages wait in a queue. Errors: `RedisUnavailable`."""
    with kb_redis.translated():
        return int(broker.client.llen(f"{broker.namespace}:{queue}"))
