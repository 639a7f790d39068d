"""The script of docs/api.md, run as a program of its own against a server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp

from kb.services import WorkerParts
from kb.webhooks.signing import new_secret, signed
from tests.conftest import Core
from tests.real_services import free_port, wait_until
from tests.web.api.conftest import Program

GUIDE = Path(__file__).parents[3] / "docs" / "api.md"


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """Its address."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, 20, "the server")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def working(core: Core, worker: WorkerParts) -> Iterator[None]:
    """What is uploaded meanwhile is ingested."""
    has_ended = threading.Event()

    def work() -> None:
        done = 0
        while not has_ended.wait(0.05):
            for version_id in [subject for what, subject in core.queue.sent if what == "version"][done:]:
                worker.ingestion.ingest(version_id)
                done += 1

    thread = threading.Thread(target=work)
    thread.start()
    yield
    has_ended.set()
    thread.join()


def scripts() -> list[str]:
    """Those of the guide, in its order."""
    return re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


def run_script(script: str, url: str, key: str, python: str = sys.executable) -> str:
    """What it prints."""
    environment = os.environ | {"ZHIWEN_URL": url, "ZHIWEN_KEY": key, "PYTHONIOENCODING": "utf-8"}
    command = [python, "-c", script]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=150, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_events_are_verified_as_the_guide_says() -> None:
    defined: dict[str, Any] = {}
    exec(scripts()[-1], defined)
    secret, body = new_secret(), b'{"type": "webhook.test"}'
    headers = signed(secret, "1", int(time.time()), body)
    assert defined["is_genuine"](secret, headers, body)
    assert not defined["is_genuine"](secret, headers, body + b" ")
    assert not defined["is_genuine"](new_secret(), headers, body)
    assert not defined["is_genuine"](secret, signed(secret, "1", int(time.time()) - 600, body), body)


@pytest.mark.parametrize("core", ["lite"], indirect=True)
def test_script_of_the_guide_runs(core: Core, worker: WorkerParts, program: Program) -> None:
    client = program()
    key = client.headers["Authorization"].removeprefix("Bearer ")
    with served(client.app) as url, working(core, worker):
        printed = run_script(scripts()[0], url, key)
    first, chunk, passage, *_answer = printed.splitlines()
    assert first.strip() == "ready"
    assert chunk.startswith("0 Maintenance ")
    assert "Valve 8 is checked each autumn." in chunk  # of the second content
    assert passage.startswith("1 manual.md 0 ")
    assert "**Valve 7 is checked each spring, before the first delivery.**" in printed  # no model: a quotation
    assert core.services.knowledge_bases.list(core.user) == []
