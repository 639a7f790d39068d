"""`dramatiq workers`, as people start workers of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from kb.models import VersionState
from tests.conftest import Core
from tests.real_services import ROOT, wait_until
from tests.workers.conftest import ended, environment

COMMAND = (sys.executable, "-m", "dramatiq", "workers", "-p", "1", "-t", "1", "--worker-shutdown-timeout", "5000")


def start(values: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        COMMAND,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | values,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_dramatiq_starts_a_worker_by_the_package_name(core: Core) -> None:
    core.queue.is_away = True  # the worker's reaper finds the document
    worker = start(
        environment(core.services.settings)
        | {"EMBEDDING_MODEL": "openai:none", "OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}
    )
    try:
        wait_until(core.services.board.workers, 60, "a sign of life")
        document = core.upload(core.knowledge_base(), "empty.md", b"")
        assert ended(core, document).state is VersionState.FAILED
    finally:
        worker.send_signal(signal.SIGTERM)
        output, _ = worker.communicate(timeout=30)
    assert worker.returncode == 0, output


def test_worker_without_services_says_what_it_needs() -> None:
    worker = start({"REDIS_URL": "", "MILVUS_URI": ""})
    output, _ = worker.communicate(timeout=60)
    assert worker.returncode != 0
    assert "needs MILVUS_URI and REDIS_URL" in output
