"""What a worker counts, every web process can show."""

from __future__ import annotations

from collections.abc import Iterator

import dramatiq
import pytest
from dramatiq import Worker
from dramatiq.brokers.stub import StubBroker

from kb.errors import RedisUnavailable
from kb.metrics import WORKERS, read_shared
from kb.models import VersionState
from tests.conftest import Core
from tests.real_services import wait_until
from tests.workers.conftest import Workers, ended
from workers.message_counts import MessageCounts


def counted(core: Core, name: str) -> dict[tuple[str, ...], float]:
    """The sums of one name, by the values of its labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for metric in read_shared(core.services.quick_redis)
        for sample in metric.samples
        if sample.name == name
    }


def test_worker_adds_its_counts_when_it_stops(core: Core, workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.runtime.METRICS_SECONDS", 3600.0)
    document = core.upload(core.knowledge_base(), "a.md", "# A\n\nText.")
    workers.send(core, document)
    workers.start()
    assert ended(core, document).state is VersionState.READY
    workers.close()
    assert counted(core, "zhiwen_ingestion_documents_total") == {("", "ready"): 1}
    assert counted(core, "dramatiq_messages_total")["ingest_version", "ingestion"] == 1
    assert counted(core, "dramatiq_message_duration_milliseconds_count")["ingest_version", "ingestion"] == 1


def test_worker_adds_its_counts_while_it_runs(core: Core, workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that one that is killed loses only those of the last seconds."""
    monkeypatch.setattr("workers.runtime.METRICS_SECONDS", 0.05)
    document = core.upload(core.knowledge_base(), "a.md", "# A\n\nText.")
    workers.send(core, document)
    workers.start()
    wait_until(lambda: counted(core, "zhiwen_ingestion_documents_total") == {("", "ready"): 1}, what="the count")


def test_worker_stops_without_redis(core: Core, workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_publisher: object) -> None:
        raise RedisUnavailable(detail="away")

    monkeypatch.setattr("kb.metrics.Publisher.publish", fail)
    workers.start()
    workers.close()


@pytest.fixture
def broker() -> Iterator[StubBroker]:
    broker = StubBroker(middleware=[MessageCounts()])
    yield broker
    broker.close()


def test_failed_messages_are_counted(broker: StubBroker) -> None:
    @dramatiq.actor(broker=broker, actor_name="divide", queue_name="sums")
    def divide(number: int) -> float:
        return 1 / number

    def value(name: str) -> float:
        return WORKERS.get_sample_value(name, {"queue_name": "sums", "actor_name": "divide"}) or 0.0

    names = ("dramatiq_messages_total", "dramatiq_message_errors_total")
    before = [value(name) for name in names]
    worker = Worker(broker, worker_timeout=20, worker_threads=1)
    divide.send(1)
    divide.send(0)
    worker.start()
    broker.join("sums", fail_fast=False)
    worker.stop()
    assert [value(name) - then for name, then in zip(names, before, strict=True)] == [2, 1]


def test_counting_opens_no_port_and_writes_no_file() -> None:
    """Dramatiq's own middleware forks a server that listens on all addresses."""
    assert not MessageCounts().forks
