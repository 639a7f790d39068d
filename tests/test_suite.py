"""The tests' own tools."""

from __future__ import annotations

import pytest

from kb.parsing import ParserProcess
from kb.services import WorkerParts
from tests.conftest import Core


@pytest.mark.xdist_group("one-worker")
def test_group_reaches_the_scheduler(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("loadgroup", default=False):
        pytest.skip("needs --dist=loadgroup")
    assert request.node.nodeid.endswith("@one-worker")


def test_worker_reads_in_a_shared_process(
    core: Core, worker: WorkerParts, parser_processes: list[ParserProcess]
) -> None:
    document = core.upload(core.knowledge_base(), "a.md", "Tea.")
    worker.ingestion.ingest(document.latest.id)
    with worker.ingestion.parsers.lend() as last_used:
        assert last_used in parser_processes
