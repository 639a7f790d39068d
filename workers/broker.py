"""The Dramatiq broker, and the core's `Queue` on it.

SQL is the truth, never the queue: a message only says that there is something to do. So there are no Retries, AgeLimit
or TimeLimit middleware; retries, patience and time limits belong to the claim and the parser.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from uuid import UUID

from dramatiq import Consumer, Message
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import Middleware

from kb import redis as kb_redis
from kb import tracing
from kb.config import Settings

NAMESPACE = "zhiwen:queue"
INGESTION_QUEUE = "ingestion"
MAINTENANCE_QUEUE = "maintenance"
INGEST_VERSION = "ingest_version"
CLEAR_DOCUMENT = "clear_document"
CLEAR_KNOWLEDGE_BASE = "clear_knowledge_base"
CHECK_KNOWLEDGE_BASE = "check_knowledge_base"
NOTE_LEFTOVERS = "note_leftovers"
DELIVER_WEBHOOKS = "deliver_webhooks"
HEARTBEAT_TIMEOUT_MS = 60_000
TRACE_SECONDS = 86_400  # for so long a queued version is known as part of the trace of its upload
MAINTENANCE_POLL_MS = 500


class Broker(RedisBroker):
    """A Redis broker that polls the maintenance queue less often: clean-ups can wait."""

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5_000) -> Consumer:
        poll_ms = timeout if queue_name == INGESTION_QUEUE else MAINTENANCE_POLL_MS
        return super().consume(queue_name, prefetch, poll_ms)


def build_broker(settings: Settings, middleware: Sequence[Middleware] = ()) -> RedisBroker:
    """A broker on `settings.redis_url`. Nothing is connected before its first use."""
    return Broker(  # type: ignore[no-untyped-call]
        url=settings.redis_url,
        namespace=NAMESPACE,
        middleware=list(middleware),
        heartbeat_timeout=HEARTBEAT_TIMEOUT_MS,
        # What a killed worker had fetched comes back within the heartbeat time; by default it takes hours.
        maintenance_chance=1_000_000,
    )


class DramatiqQueue:
    """`kb.queue.Queue` over Dramatiq. Messages name their actor, so a sender needs no actors of its own."""

    def __init__(self, broker: RedisBroker) -> None:
        self._broker = broker

    def send_version(self, version_id: UUID) -> None:
        with self._span(INGESTION_QUEUE):
            self._leave_trace(version_id)
            self._send(INGESTION_QUEUE, INGEST_VERSION, version_id)

    def send_clear_document(self, document_id: UUID) -> None:
        self._send(MAINTENANCE_QUEUE, CLEAR_DOCUMENT, document_id)

    def send_clear_knowledge_base(self, knowledge_base_id: UUID) -> None:
        self._send(MAINTENANCE_QUEUE, CLEAR_KNOWLEDGE_BASE, knowledge_base_id)

    def send_check(self, knowledge_base_id: UUID) -> None:
        self._send(MAINTENANCE_QUEUE, CHECK_KNOWLEDGE_BASE, knowledge_base_id)

    def send_deliver_webhooks(self) -> None:
        """Have programs told of what they wait for. Of workers only: SQL tells them when."""
        self._send(MAINTENANCE_QUEUE, DELIVER_WEBHOOKS)

    def send_note_leftovers(self) -> None:
        self._send(MAINTENANCE_QUEUE, NOTE_LEFTOVERS)

    def waiting(self, queue_name: str) -> int:
        """How many messages wait in a queue. Errors: `RedisUnavailable`."""
        with kb_redis.translated():
            return int(self._broker.client.llen(f"{self._broker.namespace}:{queue_name}"))

    def close(self) -> None:
        self._broker.close()
        self._broker.client.close()

    def _span(self, queue_name: str) -> tracing.Span:
        """Only inside of a trace: what a reaper sends again is no work of its own."""
        if not tracing.carrier():
            return tracing.NO_SPAN
        attributes = {
            "messaging.system": "dramatiq",
            "messaging.destination.name": queue_name,
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
        }
        return tracing.span(f"send {queue_name}", attributes, tracing.Kind.PRODUCER)

    def _leave_trace(self, version_id: UUID) -> None:
        """Not in the message: a worker ingests the version whose turn it is, whatever the message names."""
        if carrier := tracing.carrier():
            with kb_redis.translated():
                self._broker.client.set(kb_redis.trace_key(version_id), json.dumps(carrier), ex=TRACE_SECONDS)

    def _send(self, queue_name: str, actor_name: str, *subject: UUID) -> None:
        message: Message[None] = Message(
            queue_name=queue_name, actor_name=actor_name, args=tuple(map(str, subject)), kwargs={}, options={}
        )
        with kb_redis.translated():
            self._broker.enqueue(message)
