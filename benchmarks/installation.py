"""A temporary installation to measure: its own folder, services and worker, and uploads into it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from kb.access import Principal
from kb.config import Settings, load_settings
from kb.errors import Unavailable, from_code
from kb.local import LocalServices
from kb.models import Document, KnowledgeBase, VersionState
from kb.services import Services, build_services
from workers.broker import DramatiqQueue, build_broker

ROOT = Path(__file__).resolve().parents[1]
# All temporary installations share one copy of the built-in model.
MODELS = ROOT / "build" / "models"
START_SECONDS = 60.0
POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Installation:
    """Running services and the local user."""

    services: Services
    principal: Principal
    local: LocalServices | None = None

    def create_knowledge_base(self, name: str, model: str = "") -> KnowledgeBase:
        """`model`: another embedding model than the default one."""
        embeddings = self.services.embeddings
        embedding = embeddings.get(model) if model else embeddings.default
        return self.services.knowledge_bases.create(self.principal, name, embedding.name, embedding.dimension)

    def upload(self, knowledge_base_id: UUID, files: Iterable[tuple[str, BinaryIO]]) -> list[Document]:
        """Register files by name and content, in this order."""
        register = self.services.arrivals.register
        return [register(self.principal, knowledge_base_id, name, content).document for name, content in files]

    def list_documents(self, knowledge_base_id: UUID) -> list[Document]:
        return self.services.documents.list(self.principal, knowledge_base_id, limit=1_000_000)

    def wait_until_done(
        self, knowledge_base_id: UUID, timeout_seconds: float, poll_seconds: float = POLL_SECONDS
    ) -> bool:
        """Wait until every document is ready, failed or cancelled. False: the time is over."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            counts = self.services.documents.count_by_state(self.principal, knowledge_base_id)
            if not any(VersionState(state).is_pending and count for state, count in counts.items()):
                return True
            time.sleep(poll_seconds)
        return False

    def clear(self, knowledge_base: KnowledgeBase) -> None:
        """Delete a knowledge base and its collection in Milvus: the services may outlive the measurement."""
        self.services.knowledge_bases.delete(self.principal, knowledge_base.id)
        self.services.vectors.drop(knowledge_base.collection)


@contextmanager
def temporary_home() -> Iterator[Path]:
    """A data folder that is deleted after the block. It shares the built-in model with all others."""
    MODELS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="zhiwen-benchmark-", ignore_cleanup_errors=True) as folder:
        home = Path(folder).resolve()
        (home / "models").symlink_to(MODELS, target_is_directory=True)
        yield home


@contextmanager
def temporary_installation() -> Iterator[Installation]:
    """Start the services without a URL (MILVUS_URI, REDIS_URL, DATABASE_URL) and a worker; end them after the block.

    External services are used as they are, so nobody else should use them meanwhile.
    """
    with temporary_home() as home, ExitStack() as stack:
        local = LocalServices(load_settings(zhiwen_home=home))
        stack.callback(local.stop)
        local.start()
        installation = stack.enter_context(connected(local.settings, local))
        if not any(state.name == "worker" for state in local.states()):
            stack.enter_context(_worker(local.settings))
        wait_for_worker(installation)
        yield installation


@contextmanager
def connected(settings: Settings, local: LocalServices | None = None) -> Iterator[Installation]:
    """Connect to running services, and wait for Milvus to start."""
    queue = DramatiqQueue(build_broker(settings))
    services = build_services(settings, queue)
    try:
        _wait_for_milvus(services)
        yield Installation(services, services.users.local_principal(), local)
    finally:
        services.close()
        queue.close()


@contextmanager
def _worker(settings: Settings) -> Iterator[None]:
    """A worker for external services."""
    command = (sys.executable, "-m", "workers.embedded")
    own = {"ZHIWEN_HOME": str(settings.home), "MILVUS_URI": settings.milvus_uri, "REDIS_URL": settings.redis_url}
    with subprocess.Popen(
        command, cwd=ROOT, env=os.environ | own, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            assert process.stdin
            process.stdin.close()  # which ends it


def _wait_for_milvus(services: Services) -> None:
    _wait_for(lambda: bool(services.vectors.ping()), "Milvus is not responding.")


def wait_for_worker(installation: Installation) -> None:
    _wait_for(lambda: bool(installation.services.board.workers()), "No worker started.")


def _wait_for(sign: Callable[[], bool], complaint: str) -> None:
    """Wait until `sign` is true, also through outages of a service. Ends the program after a time limit."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with suppress(Unavailable):
            if sign():
                return
        time.sleep(POLL_SECONDS)
    sys.exit(complaint)


def ready(documents: Sequence[Document]) -> list[Document]:
    return [document for document in documents if document.latest.state is VersionState.READY]


def report_failures(documents: Sequence[Document]) -> dict[str, int]:
    """Print the user's message for each file that is not ready. Returns the number of files by reason."""
    reasons: Counter[str] = Counter()
    for document in documents:
        version = document.latest
        if version.state is VersionState.READY:
            continue
        reason = version.error or f"unfinished_{version.state}"
        message = from_code(version.error, version.error_values) if version.error else f"it is still {version.state}"
        print(f"{reason}: {document.name}: {message}")
        reasons[reason] += 1
    return dict(reasons.most_common())
