"""Messages and the reaper, over a real Redis and Dramatiq's own worker."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import sqlalchemy as sa

from kb import tracing
from kb.database import tables
from kb.errors import RedisUnavailable
from kb.models import VersionState
from kb.services import build_worker_parts
from tests.conftest import Core
from tests.fakes.collector import Collector, need_packages
from tests.real_services import Redis, wait_until
from tests.workers.conftest import Workers, ended
from workers.broker import INGESTION_QUEUE

TEXT = "# Part\n\nSome text."
LONG = "\n\n".join(f"# Part {number}\n\n" + "Apples and pears. " * 35 for number in range(200))


def rows(core: Core, table: sa.Table[Any]) -> int:
    with core.services.database.read() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def test_upload_becomes_ready(core: Core, workers: Workers) -> None:
    document = core.upload(core.knowledge_base(), "a.md", TEXT)
    workers.send(core, document)
    workers.start()
    assert ended(core, document).state is VersionState.READY
    assert core.count(document) == 1


def test_message_holds_only_an_id(core: Core, workers: Workers) -> None:
    document = core.upload(core.knowledge_base(), "secret-name.md", "secret text")
    workers.send(core, document)
    (raw,) = core.services.redis.hgetall("zhiwen:queue:ingestion.msgs").values()
    message = json.loads(raw)
    assert (message["args"], message["kwargs"]) == ([str(document.latest.id)], {})
    assert "secret" not in raw
    assert workers.queue.waiting(INGESTION_QUEUE) == 1


def test_duplicate_messages_have_one_effect(core: Core, workers: Workers) -> None:
    document = core.upload(core.knowledge_base(), "a.md", TEXT)
    for _ in range(3):
        workers.send(core, document)
    workers.start()
    ended(core, document)
    wait_until(lambda: workers.queue.waiting(INGESTION_QUEUE) == 0)
    wait_until(lambda: core.services.redis.hlen("zhiwen:queue:ingestion.msgs") == 0)
    version = core.document(document.id).latest
    assert (version.state, version.attempts, core.count(document)) == (VersionState.READY, 1, 1)


def test_reaper_finds_unsent_versions(core: Core, workers: Workers) -> None:
    """The web process died between the commit and the message."""
    document = core.upload(core.knowledge_base(), "a.md", TEXT)
    workers.start()
    assert ended(core, document).state is VersionState.READY


def test_reaper_resends_lost_messages(core: Core, workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kb.ingestion.claims.RESEND_SECONDS", 0.5)
    document = core.upload(core.knowledge_base(), "a.md", TEXT)
    workers.send(core, document)
    core.services.redis.flushall()
    workers.start()
    assert ended(core, document).state is VersionState.READY


def test_bad_file_does_not_block_others(core: Core, workers: Workers) -> None:
    knowledge_base = core.knowledge_base()
    documents = [core.upload(knowledge_base, name, text) for name, text in (("a.pdf", b"%PDF-"), ("b.md", TEXT))]
    workers.start()
    assert [ended(core, document).state for document in documents] == [VersionState.FAILED, VersionState.READY]


def test_expired_lease_is_taken_over(core: Core, workers: Workers) -> None:
    dead = build_worker_parts(core.services)
    document = core.upload(core.knowledge_base(), "a.md", TEXT)
    dead.claims._lease *= 0
    assert dead.claims.claim(document.latest.id)
    dead.ingestion.close()
    workers.start()
    version = ended(core, document)
    assert (version.state, version.attempts) == (VersionState.READY, 2)


def test_worker_is_listed_until_it_stops(core: Core, workers: Workers) -> None:
    assert core.services.board.workers() == []
    workers.start()
    wait_until(core.services.board.workers)
    (worker,) = core.services.board.workers()
    assert (worker.threads, worker.busy) == (1, 0)
    workers.stop()
    assert core.services.board.workers() == []


def test_stopping_worker_requeues_its_document(core: Core, workers: Workers) -> None:
    def slowly(_texts: object) -> None:
        for _ in range(1000):
            time.sleep(0.005)

    core.embedding.before_batch = slowly
    document = core.upload(core.knowledge_base(), "a.md", TEXT)
    workers.start()
    wait_until(lambda: core.document(document.id).latest.state is VersionState.EMBEDDING)
    workers.stop()
    version = core.document(document.id).latest
    assert (version.state, version.crashes, version.error) == (VersionState.QUEUED, 0, "")
    assert core.count(document) == 0


def test_deleted_items_are_cleared(core: Core, workers: Workers) -> None:
    kept, gone = core.knowledge_base("Kept"), core.knowledge_base("Gone")
    documents = [core.upload(base, f"{n}.md", TEXT) for n, base in enumerate((kept, kept, gone))]
    workers.start()
    for document in documents:
        ended(core, document)
    core.services.documents.delete(core.user, documents[0].id)
    workers.queue.send_clear_document(documents[0].id)
    core.services.knowledge_bases.delete(core.user, gone.id)
    workers.queue.send_clear_knowledge_base(gone.id)
    wait_until(lambda: (rows(core, tables.knowledge_bases), rows(core, tables.documents)) == (1, 1))
    assert core.services.vectors.count(kept.collection) == 1


def test_reaper_clears_deleted_items_without_a_message(core: Core, workers: Workers) -> None:
    knowledge_base = core.knowledge_base()
    document = core.upload(knowledge_base, "a.md", TEXT)
    core.services.documents.delete(core.user, document.id)
    workers.start()
    wait_until(lambda: rows(core, tables.documents) == 0)
    core.services.knowledge_bases.delete(core.user, knowledge_base.id)
    wait_until(lambda: rows(core, tables.knowledge_bases) == 0)


def test_upload_while_redis_is_down_is_ingested_later(own_core: Core, own_workers: Workers, own_redis: Redis) -> None:
    own_redis.kill()
    document = own_core.upload(own_core.knowledge_base(), "a.md", TEXT)
    with pytest.raises(RedisUnavailable):
        own_workers.queue.send_version(document.latest.id)
    assert own_core.document(document.id).latest.state is VersionState.QUEUED
    own_redis.start()
    own_workers.start()
    assert ended(own_core, document).state is VersionState.READY


def test_ingestion_survives_a_redis_kill(own_core: Core, own_workers: Workers, own_redis: Redis) -> None:
    own_core.embedding.before_batch = lambda _texts: time.sleep(0.3)
    knowledge_base = own_core.knowledge_base()
    documents = [own_core.upload(knowledge_base, f"{n}.md", LONG) for n in range(2)]
    own_workers.start()
    wait_until(lambda: own_core.document(documents[0].id).latest.stored_chunks, 30)
    own_redis.kill()
    time.sleep(1)
    own_redis.start()
    states = [ended(own_core, document, 60).state for document in documents]
    assert states == [VersionState.READY] * 2
    counts = [own_core.document(document.id).latest.chunks for document in documents]
    assert [own_core.count(document) for document in documents] == counts == [200, 200]


def test_worker_sends_traces_of_what_it_ingests(core: Core, workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    need_packages()
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{collector.authority}")
        document = core.upload(core.knowledge_base(), "a.md", TEXT)
        workers.send(core, document)
        workers.start()
        ended(core, document)
        workers.stop()
        assert not tracing.is_on()
        ingestion = collector.named("ingest")
        assert (ingestion.service, ingestion.parent_id) == ("zhiwen-worker", "")
        assert ingestion.attributes["zhiwen.document.id"] == str(document.id)
