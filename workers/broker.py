"""The broker and its middleware.

The queue is never the truth: SQL is. A message only says that there is something to do, so it carries ids alone, may be
lost (the reaper sends it again) and may come twice (the claim fails). Hence no Retries, no AgeLimit and no TimeLimit:
retries, patience and time limits belong to the claim and the parser.
"""

from __future__ import annotations

import dramatiq
from dramatiq import Consumer
from dramatiq.brokers.redis import RedisBroker
from dramatiq.encoder import JSONEncoder
from dramatiq.middleware import Middleware, ShutdownNotifications

from kb.config import Settings, load_settings
from workers.runtime import WorkerRuntime
from workers.sending import INGESTION_QUEUE

NAMESPACE = "zhiwen:queue"
HEARTBEAT_TIMEOUT_MS = 60_000
UNHURRIED_MS = 500


class Broker(RedisBroker):
    """Looks often for new files, and less often for the rest: clearing up can wait, and nothing is ever delayed."""

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5_000) -> Consumer:
        return super().consume(queue_name, prefetch, timeout if queue_name == INGESTION_QUEUE else UNHURRIED_MS)


def build_broker(settings: Settings) -> RedisBroker:
    middleware: list[Middleware] = [
        # First, so that the parts exist before any message is taken, and are closed after the last one.
        WorkerRuntime(settings),
        # Interrupts a running actor when the worker shuts down; ingestion then puts its document back.
        ShutdownNotifications(),
    ]
    return Broker(  # type: ignore[no-untyped-call]
        url=settings.redis_url or "redis://127.0.0.1:6379/0",
        namespace=NAMESPACE,
        middleware=middleware,
        heartbeat_timeout=HEARTBEAT_TIMEOUT_MS,
        # What a killed worker had fetched comes back within the heartbeat time; by default it takes hours.
        maintenance_chance=1_000_000,
    )


broker = build_broker(load_settings())
dramatiq.set_encoder(JSONEncoder())
dramatiq.set_broker(broker)
