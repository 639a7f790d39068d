"""A worker compares SQL with Milvus and the uploads: at its start, each night, and on request."""

from __future__ import annotations

from datetime import datetime

import pytest

from kb.services import WorkerParts
from tests.conftest import Core
from tests.real_services import wait_until
from tests.workers.conftest import Workers
from workers.runtime import is_due, next_night


def test_worker_compares_at_its_start_and_on_request(core: Core, worker: WorkerParts, workers: Workers) -> None:
    base = core.knowledge_base()
    first, second = (core.upload(base, name, "# A\n\nText.") for name in ("a.md", "b.md"))
    for document in (first, second):
        worker.ingestion.ingest(document.latest.id)
    core.services.vectors.delete_version(base.collection, first.latest.id)
    workers.start()
    wait_until(lambda: core.document(first.id).latest.missing_chunks, what="the check at the start")
    core.services.vectors.delete_version(base.collection, second.latest.id)
    workers.queue.send_check(base.id)
    wait_until(lambda: core.document(second.id).latest.missing_chunks, what="the check that was asked for")


@pytest.mark.parametrize(("hour", "day"), [(2, 1), (3, 2), (23, 2)])
def test_next_check_is_at_night(hour: int, day: int) -> None:
    assert next_night(datetime(2026, 5, 1, hour, 0)) == datetime(2026, 5, day, 3, 0)


def test_check_is_due_at_its_time_and_after_a_clock_was_ahead() -> None:
    planned = next_night(datetime(2026, 5, 1, 12, 0))
    assert not is_due(planned, datetime(2026, 5, 1, 12, 0))
    assert not is_due(planned, datetime(2026, 5, 2, 2, 59))
    assert is_due(planned, datetime(2026, 5, 2, 3, 0))
    assert is_due(planned, datetime(2026, 4, 30, 12, 0))
