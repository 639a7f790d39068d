"""The embedded worker as a process of its own: killed, and ended with its parent."""

from __future__ import annotations

import signal

import psutil

from kb.local.plan import REPLACE
from kb.models import VersionState
from tests.conftest import Core
from tests.e2e.web import is_alive
from tests.real_services import wait_until
from tests.workers.conftest import StartProcess, ended, make_large
from workers.embedded import NICENESS

PARTS = 200
LONG = "\n\n".join(f"# Part {number}\n\n" + "Apples and pears. " * 35 for number in range(PARTS))


def test_next_worker_resumes_after_kill_9(core: Core, start_process: StartProcess) -> None:
    knowledge_base = core.knowledge_base()
    documents = [core.upload(knowledge_base, f"{number}.md", LONG) for number in range(2)]
    make_large(core, *documents)  # the worker takes one of them
    first = start_process("hold")
    wait_until(lambda: core.document(documents[0].id).latest.stored_chunks, 30, "a batch stored")
    parser = psutil.Process(first.pid).children()
    first.kill()
    first.wait()
    wait_until(lambda: not any(map(is_alive, parser)), what="its parser's end")
    stopped = core.document(documents[0].id).latest
    assert stopped.state is VersionState.EMBEDDING
    assert 0 < stopped.stored_chunks < PARTS
    second = start_process(WORKER_RECYCLE_DOCUMENTS="2")
    versions = [ended(core, document) for document in documents]
    assert [(version.state, version.chunks) for version in versions] == [(VersionState.READY, PARTS)] * 2
    assert (versions[0].attempts, versions[0].crashes) == (2, 0)
    assert [core.count(document) for document in documents] == [PARTS] * 2
    assert core.services.vectors.count(knowledge_base.collection) == 2 * PARTS
    # It has done its share, and has itself replaced. (The killed one may be listed for a while.)
    assert second.wait(30) == REPLACE
    assert second.pid not in [worker.pid for worker in core.services.board.workers()]


def test_worker_ends_with_its_parent(core: Core, start_process: StartProcess) -> None:
    worker = start_process()
    wait_until(core.services.board.workers, 30, "a sign of life")
    # Whoever waits for an answer goes before files.
    assert psutil.Process(worker.pid).nice() == min(psutil.Process().nice() + NICENESS, 19)
    assert worker.stdin
    worker.stdin.close()
    assert worker.wait(timeout=30) == 0
    assert core.services.board.workers() == []


def test_sigterm_requeues_the_document(core: Core, start_process: StartProcess) -> None:
    document = core.upload(core.knowledge_base(), "a.md", LONG)
    worker = start_process("hold")
    wait_until(lambda: core.document(document.id).latest.stored_chunks, 30, "a batch stored")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=30) == 0
    version = core.document(document.id).latest
    assert (version.state, version.crashes) == (VersionState.QUEUED, 0)
    assert 0 < version.stored_chunks < PARTS
