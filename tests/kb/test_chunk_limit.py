"""A document of more chunks than MAX_CHUNKS_PER_DOCUMENT fails before hours are spent on embedding them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
import sqlalchemy as sa

from kb import ranges
from kb.database.tables import versions
from kb.effort import LARGE
from kb.models import Document, VersionState
from kb.services import WorkerParts, build_worker_parts
from tests.conftest import Core

LIMIT = 5
SECTION = "Apples and pears. " * 40  # a chunk of its own


@pytest.fixture
def worker(core: Core) -> Iterator[WorkerParts]:
    settings = core.services.settings.model_copy(update={"max_chunks_per_document": LIMIT})
    parts = build_worker_parts(replace(core.services, settings=settings))
    yield parts
    parts.ingestion.close()


def upload(core: Core, count: int, effort: int = 1) -> Document:
    text = "\n\n".join(f"# Part {number}\n\n{SECTION}" for number in range(count))
    document = core.upload(core.knowledge_base(), "long.md", text)
    change = sa.update(versions).where(versions.c.id == document.latest.id).values(effort=effort)
    with core.services.database.write() as connection:
        connection.execute(change)
    return document


def counted(core: Core, document: Document) -> int | None:
    with core.services.database.read() as connection:
        count: int | None = connection.scalar(
            sa.select(versions.c.counted_chunks).where(versions.c.id == document.latest.id)
        )
    return count


def test_large_document_of_too_many_chunks_fails_before_it_is_embedded(core: Core, worker: WorkerParts) -> None:
    document = upload(core, 3 * LIMIT, LARGE)
    assert worker.ingestion.ingest(document.latest.id) is VersionState.FAILED
    version = core.document(document.id).latest
    assert (version.error, version.error_values) == (
        "too_many_chunks",
        {"name": "long.md", "count": str(3 * LIMIT), "limit": str(LIMIT)},
    )
    assert version.can_retry
    assert bool(version.memory_peak_mb) == (sys.platform == "linux")
    assert core.embedding.batches == []


def test_document_taken_for_a_small_one_fails_at_the_limit(
    core: Core, worker: WorkerParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "RANGE_CHARACTERS", 1_500)
    document = upload(core, 3 * LIMIT)
    assert worker.ingestion.ingest(document.latest.id) is VersionState.FAILED
    assert core.document(document.id).latest.error_values["count"] == str(3 * LIMIT)
    assert sum(map(len, core.embedding.batches)) <= LIMIT


def test_large_document_within_the_limit_becomes_ready(core: Core, worker: WorkerParts) -> None:
    document = upload(core, LIMIT, LARGE)
    assert worker.ingestion.ingest(document.latest.id) is VersionState.READY
    assert core.count(document) == counted(core, document) == LIMIT
    assert sum(map(len, core.embedding.batches)) == LIMIT
