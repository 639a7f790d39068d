"""How a worker process boots."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta

import pytest
import sqlalchemy as sa

from kb.audit import Action, record
from kb.config import Settings
from kb.database.tables import audit_events, conversations, document_counts, now
from kb.errors import DatabaseUnavailable, SetupError
from kb.models import Mode
from kb.queue import Queue
from kb.services import Services, build_services
from tests.conftest import Core
from tests.real_services import wait_until
from tests.workers.conftest import Workers
from workers import runtime


def failing(monkeypatch: pytest.MonkeyPatch, *failures: Exception) -> list[Exception]:
    """Make the first attempts to connect fail; returns the failures that are still to come."""
    left = list(failures)

    def build(settings: Settings, queue: Queue, durable: bool) -> Services:
        if left:
            raise left.pop(0)
        return build_services(settings, queue, durable)

    monkeypatch.setattr(runtime, "build_services", build)
    monkeypatch.setattr(runtime, "CONNECT_PAUSE_SECONDS", 0.0)
    return left


def test_worker_waits_for_the_database(core: Core, workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    left = failing(monkeypatch, *[DatabaseUnavailable(detail="it starts")] * 3)
    workers.start()
    assert left == []
    wait_until(core.services.board.workers)


@pytest.mark.parametrize("failure", [SetupError("EMBEDDING_MODEL is no model."), ZeroDivisionError("a defect")])
def test_worker_exits_when_it_cannot_start(
    failure: Exception, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dramatiq swallows errors at boot; without its parts the worker would fail every document."""
    failing(monkeypatch, failure)
    with pytest.raises(SystemExit, match=str(failure)):
        workers.start()


def test_worker_stops_waiting_for_the_database(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, *[DatabaseUnavailable(detail="gone")] * 3)
    monkeypatch.setattr(runtime, "CONNECT_SECONDS", -1.0)
    with pytest.raises(SystemExit, match="The database is not responding"):
        workers.start()


def test_only_the_web_process_waits_for_the_disk(core: Core, workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut must not lose what a user was told is saved; a worker can repeat its progress."""
    built: list[Services] = []

    def build(settings: Settings, queue: Queue, durable: bool) -> Services:
        built.append(build_services(settings, queue, durable))
        return built[-1]

    monkeypatch.setattr(runtime, "build_services", build)
    workers.start()
    modes = []
    for services in (core.services, *built):
        with services.database.read() as connection:
            modes.append(connection.scalar(sa.text("PRAGMA synchronous")))
    assert modes == [2, 1]  # FULL, NORMAL


def test_worker_corrects_wrong_counters(core: Core, workers: Workers) -> None:
    knowledge_base = core.knowledge_base()
    with core.services.database.write() as connection:
        connection.execute(sa.update(document_counts).values(documents=7))
    workers.start()
    wait_until(lambda: core.services.knowledge_bases.get(core.user, knowledge_base.id).document_count == 0)


def test_worker_deletes_conversations_that_need_not_be_kept(core: Core) -> None:
    old, new = (core.services.conversations.create(core.user, name, Mode.LLM) for name in ("Old", "New"))
    long_ago = {"updated_at": now() - timedelta(days=31)}
    with core.services.database.write() as connection:
        connection.execute(sa.update(conversations).where(conversations.c.id == old.id).values(long_ago))
    with closing(Workers(core.services.settings.model_copy(update={"conversation_days": 30}))) as workers:
        workers.start()
        wait_until(lambda: core.services.conversations.search(core.user) == [new], what="the sweeper")


def test_worker_clears_old_audit_events(core: Core, workers: Workers) -> None:
    with core.services.database.write() as connection:
        record(connection, core.user, Action.SIGNED_OUT)
        record(connection, core.user, Action.SIGNED_IN)
        old = audit_events.c.action == Action.SIGNED_OUT.value
        connection.execute(sa.update(audit_events).where(old).values(at=now() - timedelta(days=366)))
    workers.start()

    def kept() -> list[str]:
        with core.services.database.read() as connection:
            return list(connection.scalars(sa.select(audit_events.c.action)))

    wait_until(lambda: kept() == [Action.SIGNED_IN])
