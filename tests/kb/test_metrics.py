"""Counters: how those of workers are summed in Redis, and that answers and ingestion move them."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Thread
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, Metric
from prometheus_client.parser import text_string_to_metric_families

from kb import metrics
from kb.errors import DatabaseUnavailable, NotFound, RedisUnavailable
from kb.ingestion import oldest_waiting
from kb.metrics import PROCESS, WORKERS, Publisher, StageTimes, read_shared
from kb.metrics.registries import OTHER, FewNames
from kb.metrics.shared import KEY
from kb.models import MessageState, Mode, Scope, VersionState
from kb.redis import QuickRedis, quick
from kb.services import WorkerParts
from tests.conftest import Core, Library, MakeSettings
from tests.fakes.model_server import ModelServer
from tests.kb.answers.chat import Chat, build_answers
from tests.real_services import Redis, wait_until


class Worker:
    """What one worker process counts."""

    def __init__(self, redis: QuickRedis) -> None:
        self.registry = CollectorRegistry()
        self.files = Counter("files", "Files.", ["kind"], registry=self.registry)
        self.seconds = Histogram("seconds", "Seconds.", ["stage"], buckets=(1, 10), registry=self.registry)
        self.publisher = Publisher(redis, self.registry)


@pytest.fixture
def redis_client(make_settings: MakeSettings, redis_url: str) -> Iterator[QuickRedis]:
    client = quick(make_settings(redis_url=redis_url))
    with client.asked() as asked:
        asked.flushall()
    yield client
    client.close()


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    return registry.get_sample_value(name, labels) or 0.0


def samples(found: list[Metric]) -> dict[tuple[str, ...], float]:
    return {(sample.name, *sample.labels.values()): sample.value for metric in found for sample in metric.samples}


# --- sums of all workers ---------------------------------------------------------------------------------------


def test_counts_of_all_workers_are_summed(redis_client: QuickRedis) -> None:
    first, second = Worker(redis_client), Worker(redis_client)
    first.files.labels("pdf").inc(2)
    second.files.labels("pdf").inc(3)
    second.files.labels("md").inc()
    for _ in range(2):  # the second time, there is nothing to add
        first.publisher.publish()
        second.publisher.publish()
    first.files.labels("pdf").inc()
    first.publisher.publish()
    found = samples(read_shared(redis_client, first.registry))
    assert found == {("files_total", "md"): 1, ("files_total", "pdf"): 6}


def test_histograms_keep_their_buckets_in_order(redis_client: QuickRedis) -> None:
    first, second = Worker(redis_client), Worker(redis_client)
    first.seconds.labels("parsing").observe(0.5)
    first.seconds.labels("parsing").observe(5)
    second.seconds.labels("parsing").observe(50)
    first.publisher.publish()
    second.publisher.publish()
    (metric,) = [metric for metric in read_shared(redis_client, first.registry) if metric.name == "seconds"]
    buckets = [(sample.labels["le"], sample.value) for sample in metric.samples if "le" in sample.labels]
    assert buckets == [("1.0", 1), ("10.0", 2), ("+Inf", 3)]
    assert samples([metric])["seconds_sum", "parsing"] == 55.5
    assert samples([metric])["seconds_count", "parsing"] == 3


def test_worker_that_ends_takes_no_counts_along(redis_client: QuickRedis) -> None:
    killed = Worker(redis_client)
    killed.files.labels("pdf").inc()
    killed.publisher.publish()
    killed.files.labels("pdf").inc()  # lost with it
    restarted = Worker(redis_client)
    restarted.publisher.publish()
    assert samples(read_shared(redis_client, restarted.registry)) == {("files_total", "pdf"): 1}


def test_counts_are_made_up_for_when_redis_is_back(make_settings: MakeSettings, own_redis: Redis) -> None:
    redis = quick(make_settings(redis_url=own_redis.url))
    worker = Worker(redis)
    worker.files.labels("pdf").inc()
    own_redis.stop()
    with pytest.raises(RedisUnavailable):
        worker.publisher.publish()
    worker.files.labels("pdf").inc()
    own_redis.start()
    again = Publisher(redis, worker.registry)  # a new process begins with what it counts itself
    worker.files.labels("pdf").inc()

    def is_published() -> bool:
        try:
            worker.publisher.publish()
        except RedisUnavailable:
            return False
        return True

    wait_until(is_published, what="Redis")
    again.publish()
    assert samples(read_shared(redis, worker.registry)) == {("files_total", "pdf"): 4}
    redis.close()


def test_names_of_another_release_are_left_out(redis_client: QuickRedis) -> None:
    with redis_client.asked() as client:
        client.hset(KEY, '["renamed_total", []]', "1")
    assert samples(read_shared(redis_client, Worker(redis_client).registry)) == {}


def test_names_that_people_make_up_are_few() -> None:
    names = FewNames(most=2)
    assert [names.of(name) for name in ("a", "b", "c", "a", "d")] == ["a", "b", OTHER, "a", OTHER]


# --- what moves them -------------------------------------------------------------------------------------------


def test_time_is_spent_on_stages_that_take_turns() -> None:
    times = StageTimes()
    assert list(times.spend_on_each(VersionState.PARSING, iter([1, 2]))) == [1, 2]
    with pytest.raises(ZeroDivisionError), times.spend(VersionState.EMBEDDING):
        _ = 1 / 0
    assert set(times.seconds) == {VersionState.PARSING, VersionState.EMBEDDING}


def test_ingested_document_moves_the_counters(core: Core, worker: WorkerParts) -> None:
    def count(name: str, **labels: str) -> float:
        return value(WORKERS, name, **labels)

    stages = ("parsing", "embedding", "indexing")
    timed = "zhiwen_ingestion_stage_duration_seconds_count"
    ended, stored = "zhiwen_ingestion_documents_total", "zhiwen_ingestion_chunks_total"
    before = [count(timed, stage=stage) for stage in stages]
    ready, failed = count(ended, outcome="ready", error=""), count(ended, outcome="failed", error="blank_file")
    chunks = count(stored)
    base = core.knowledge_base()
    document = core.upload(base, "pears.md", "# Pears\n\nA pear is green.")
    worker.ingestion.ingest(document.latest.id)
    worker.ingestion.ingest(core.upload(base, "empty.md", "\n").latest.id)
    assert count(ended, outcome="ready", error="") == ready + 1
    assert count(ended, outcome="failed", error="blank_file") == failed + 1
    assert count(stored) == chunks + core.count(core.document(document.id))
    after = [count(timed, stage=stage) for stage in stages]
    assert [now - then for now, then in zip(after, before, strict=True)] == [2, 1, 1]


def test_answer_moves_the_counters(core: Core, worker: WorkerParts) -> None:
    base = core.knowledge_base()
    worker.ingestion.ingest(core.upload(base, "pears.md", "# Pears\n\nA pear is green.").latest.id)
    expected = {
        ("zhiwen_answers_total", "knowledge", "done", ""): 1,
        ("zhiwen_answer_first_token_seconds_count", "knowledge"): 1,
        ("zhiwen_answer_duration_seconds_count", "knowledge"): 1,
        ("zhiwen_retrievals_total", "found", ""): 1,
        ("zhiwen_retrieval_step_duration_seconds_count", "dense"): 1,
        ("zhiwen_retrieval_step_duration_seconds_count", "lexical"): 1,
        ("zhiwen_model_tokens_total", "fake", "prompt"): 1,
    }

    def counted() -> dict[tuple[str, ...], float]:
        found = samples(list(PROCESS.collect()))
        return {key: found.get(key, 0) for key in expected}

    before = counted()
    with ModelServer() as server:
        answers = build_answers(core.services, server)
        chat = Chat(core, answers, server)
        chat.finished(chat.start("What colour is a pear?", mode=Mode.KNOWLEDGE, base=base.id))
        wait_until(lambda: answers.running == 0, what="the end of the run")
        answers.close()
    assert {key: number - before[key] for key, number in counted().items()} == expected


def test_failed_search_is_counted_by_its_error(core: Core) -> None:
    failed = {"outcome": "failed", "error": "not_found"}
    before = value(PROCESS, "zhiwen_retrievals_total", **failed)
    with pytest.raises(NotFound):
        core.services.retriever.retrieve(core.user, Scope.of(UUID(int=1)), "pears")
    assert value(PROCESS, "zhiwen_retrievals_total", **failed) == before + 1


def test_answer_of_a_dead_process_has_no_times() -> None:
    labels = {"mode": "unknown", "state": "interrupted", "error": ""}
    before = value(PROCESS, "zhiwen_answers_total", **labels)
    metrics.note_answer(None, MessageState.INTERRUPTED, None, 0.0, 0.0)
    metrics.note_answer(Mode.LLM, MessageState.FAILED, DatabaseUnavailable(detail="away"), 1.0, 0.0)
    assert value(PROCESS, "zhiwen_answers_total", **labels) == before + 1
    assert PROCESS.get_sample_value("zhiwen_answer_duration_seconds_count", {"mode": "unknown"}) is None


def test_counting_in_many_threads_loses_nothing() -> None:
    def count() -> None:
        for _ in range(1000):
            metrics.note_chunks(1)

    before = value(WORKERS, "zhiwen_ingestion_chunks_total")
    threads = [Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value(WORKERS, "zhiwen_ingestion_chunks_total") == before + 4000


def test_oldest_waiting_document_is_one_that_nobody_began_with(library: Library) -> None:
    assert oldest_waiting(library.database) is None
    base = library.knowledge_base()
    first, _second = library.upload(base, "a.md"), library.upload(base, "b.md")
    assert oldest_waiting(library.database) == library.version(first).created_at
    library.documents.cancel(library.user, first.id)
    assert oldest_waiting(library.database) == library.version(_second).created_at
    library.knowledge_bases.delete(library.user, base.id)
    assert oldest_waiting(library.database) is None


def test_help_and_types_are_valid_before_anything_is_counted() -> None:
    from prometheus_client import generate_latest

    for registry in (PROCESS, WORKERS):
        families = list(text_string_to_metric_families(generate_latest(registry).decode()))
        assert families
        assert all(family.documentation and family.type != "unknown" for family in families)
