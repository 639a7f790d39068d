"""What lives in a worker process: its parts, its heartbeat and its reaper."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import dramatiq
import structlog
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import Middleware, ShutdownNotifications

from kb.config import Settings
from kb.environment import raise_descriptor_limit, silence_packages
from kb.errors import KbError, Unavailable
from kb.home import keep_private
from kb.ingestion import newest_collections, threads_of
from kb.library import recount_all
from kb.logs import configure_logs
from kb.metrics import Publisher
from kb.parsing.isolation import why_network_is_open
from kb.parsing.own_folder import clear_left_folders
from kb.progress import WorkerInfo
from kb.services import Services, WorkerParts, build_services, build_worker_parts
from kb.tracing.setup import start_tracing, stop_tracing
from workers.broker import INGESTION_QUEUE, MAINTENANCE_QUEUE, DramatiqQueue
from workers.message_counts import MessageCounts
from workers.recycling import Recycling

HEARTBEAT_SECONDS = 2.0
REAPER_SECONDS = 2.0
WAITS_SECONDS = 60.0  # 0.2 s of a processor with 100,000 queued documents
SEALER_SECONDS = 1.0
METRICS_SECONDS = 5.0
RECYCLING_SECONDS = 2.0
SWEEPER_SECONDS = 86_400.0
RECONCILER_SECONDS = 10.0  # until the next try, where Milvus or SQL did not respond
CHECK_HOUR = 3  # of the night, by the local clock
CHECKED_SECONDS = 600.0  # ago, by another worker: then this one need not
CONNECT_SECONDS = 20.0
CONNECT_PAUSE_SECONDS = 1.0
# When a worker starts, it warms up the collections of this many newest knowledge bases.
WARM_COLLECTIONS = 10
# Embedding threads return from native code many times a second and need the interpreter briefly each time. By default
# they would wait up to 5 ms for a thread that analyses text or talks to SQL.
SWITCH_SECONDS = 0.0005

log = structlog.get_logger()


class WorkerRuntime(Middleware):
    """Builds the parts when a worker process boots, and closes them when it stops."""

    def __init__(self, settings: Settings, replace: Callable[[], None]) -> None:
        self._settings = settings
        self._replace = replace
        self._queue: DramatiqQueue | None = None
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._services: Services | None = None
        self._parts: WorkerParts | None = None
        self._was_checked = False

    @property
    def middleware(self) -> tuple[Middleware, ...]:
        """The broker's middleware.

        This comes first, so that the parts exist before any message is taken and are closed after the last one. The
        second interrupts a running actor when the worker shuts down; ingestion then puts its document back.
        """
        return (self, ShutdownNotifications(), MessageCounts())

    def attach(self, broker: RedisBroker) -> None:
        """Send this process's own messages through `broker`."""
        self._queue = DramatiqQueue(broker)

    @property
    def queue(self) -> DramatiqQueue:
        if self._queue is None:
            raise RuntimeError("no broker is attached")
        return self._queue

    @property
    def parts(self) -> WorkerParts:
        if self._parts is None:
            raise RuntimeError("the worker process has not booted")
        return self._parts

    # --- dramatiq's hooks ---

    def after_process_boot(self, broker: dramatiq.Broker) -> None:
        silence_packages()
        raise_descriptor_limit()
        configure_logs(self._settings)
        start_tracing("worker")
        keep_private(self._settings.home)
        sys.setswitchinterval(SWITCH_SECONDS)
        clear_left_folders()
        self._services = self._connect()
        self._parts = build_worker_parts(self._services)
        self._metrics = Publisher(self._services.quick_redis)
        self._since = datetime.now(UTC)
        threading.Thread(target=self._warm_up, name="warm-up", daemon=True).start()
        self._every(HEARTBEAT_SECONDS, "heartbeat", self._beat)
        self._every(REAPER_SECONDS, "reaper", self._reap)
        self._every(WAITS_SECONDS, "waits", self.parts.claims.bound_waits)
        self._every(SEALER_SECONDS, "sealer", self.parts.ingestion.seal)
        self._every(METRICS_SECONDS, "metrics", self._metrics.publish)
        self._every(SWEEPER_SECONDS, "sweeper", self._sweep)
        self._next_check = datetime.now()  # nights are local
        self._every(RECONCILER_SECONDS, "reconciler", self._reconcile)
        if reason := why_network_is_open():
            log.warning("worker.parsers_reach_network", detail=reason)
        log.info("worker.started", worker=self.parts.id, threads=self._settings.worker_threads)

    def _connect(self) -> Services:
        """Wait for the database for a while. Any other failure ends the process, and its supervisor restarts it.

        Dramatiq swallows errors here, and would then take messages that this worker cannot process.
        """
        deadline = time.monotonic() + CONNECT_SECONDS
        while True:
            try:
                return build_services(self._settings, self.queue, durable=False)
            except Exception as error:
                if not isinstance(error, Unavailable) or time.monotonic() > deadline:
                    log.exception("worker.not_started")
                    raise SystemExit(f"The worker cannot start: {error}") from error
                log.warning("worker.waits", reason=error.code, detail=str(error))
                self._stopping.wait(CONNECT_PAUSE_SECONDS)

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """A worker with one thread gets another for the small files that come while it is busy with a large one."""
        worker.worker_threads = max(2, worker.worker_threads)
        self.parts.ingestion.lane.threads = min(worker.worker_threads, threads_of(self._settings))
        recycling = Recycling(self._settings, worker, self.parts.ingestion, self._replace, self._stopping)
        self._every(RECYCLING_SECONDS, "recycling", recycling.look)

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        self._stopping.set()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        for thread in self._threads:
            thread.join(timeout=5)
        if self._services is None or self._parts is None:
            return
        try:
            self._metrics.publish()
            self._services.board.withdraw_worker(self._parts.id)
        except KbError as error:
            log.warning("worker.not_withdrawn", reason=error.code)
        self._parts.ingestion.close()
        self._services.close()
        stop_tracing()
        log.info("worker.stopped", worker=self._parts.id)

    # --- its threads ---

    def _every(self, seconds: float, name: str, work: Callable[[], None]) -> None:
        """Repeat `work` in a thread until the worker stops. When a service is down, the next round tries again."""

        def repeat() -> None:
            while True:
                try:
                    work()
                except KbError as error:
                    log.warning(f"worker.{name}_failed", reason=error.code, detail=str(error))
                except Exception:
                    log.exception(f"worker.{name}_defect")
                if self._stopping.wait(seconds):
                    return

        thread = threading.Thread(target=repeat, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _warm_up(self) -> None:
        """Load everything before the first document needs it, and fetch the model for new knowledge bases."""
        assert self._services is not None
        services, ingestion = self._services, self.parts.ingestion
        steps: tuple[Callable[[], None], ...] = (
            lambda: ingestion.warm_up(services.models_to_warm()),
            gc.freeze,  # what is loaded by now will never be garbage
            lambda: ingestion.warm_up_collections(newest_collections(services.database, WARM_COLLECTIONS)),
            lambda: services.embeddings.fetch(services.embeddings.default.name),
        )
        for step in steps:
            try:
                step()
            except KbError as error:
                log.warning("worker.not_warm", reason=error.code, detail=str(error))  # the pages show this, too

    def _beat(self) -> None:
        """Renew the leases and announce this worker."""
        assert self._services is not None
        self.parts.claims.renew()
        worker_id = self.parts.id
        host, pid, _ = worker_id.rsplit(":", 2)
        threads = self._settings.worker_threads
        ingestion = self.parts.ingestion
        speed, measured = (round(value, 2) for value in ingestion.speed.per_second())
        info = WorkerInfo(worker_id, host, int(pid), threads, ingestion.active, self._since, speed, measured)
        self._services.board.announce_worker(info)

    def _reap(self) -> None:
        """Requeue what dead workers left, and send messages that were never sent or got lost."""
        if expired := self.parts.claims.expire():
            log.warning("reaper.expired", versions=expired)
        for version_id in self.parts.claims.due(resend=self.queue.waiting(INGESTION_QUEUE) == 0):
            self.queue.send_version(version_id)
        if self.queue.waiting(MAINTENANCE_QUEUE) == 0:
            self._send_clean_ups()
            if self.parts.deliveries.are_due():
                self.queue.send_deliver_webhooks()

    def _send_clean_ups(self) -> None:
        knowledge_bases, documents = self.parts.cleanup.pending()
        for document_id in documents:
            self.queue.send_clear_document(document_id)
        for knowledge_base_id in knowledge_bases:
            self.queue.send_clear_knowledge_base(knowledge_base_id)
        for version_id in self.parts.cleanup.stale_versions():
            self.parts.cleanup.clear_version(version_id)

    def _reconcile(self) -> None:
        """Compare SQL with Milvus and the uploads: at the start, each night, and once Milvus Lite was restarted."""
        self.parts.checks.check_loaded()
        moment = datetime.now()
        if is_due(self._next_check, moment):
            self.parts.checks.check_all(timedelta(seconds=CHECKED_SECONDS if self._was_checked else 0))
            self._next_check, self._was_checked = next_night(moment), True

    def _sweep(self) -> None:
        """Delete what broken uploads left, and conversations, audit events and figures of usage that need not be kept;
        correct counters, which only a defect or an edit by hand makes wrong.
        """
        assert self._services is not None
        if (days := self._settings.conversation_days) and (expired := self._services.conversations.expire(days)):
            log.info("sweeper.expired", conversations=expired)
        if cleared := self._services.audit.clear():
            log.info("sweeper.cleared", audit_events=cleared)
        if cleared := self._services.usage.clear():
            log.info("sweeper.cleared", usage_figures=cleared)
        if swept := self._services.files.delete_partial(SWEEPER_SECONDS):
            log.info("sweeper.deleted", partial_files=swept)
        self.parts.deliveries.purge()
        for knowledge_base_id, wrong in recount_all(self._services.database).items():
            log.warning("sweeper.corrected", knowledge_base=str(knowledge_base_id), counters=wrong)


def is_due(planned: datetime, moment: datetime) -> bool:
    """Whether the check that is planned for then is due. It is, too, where the clock was ahead when it was planned."""
    return moment >= planned or planned > next_night(moment)


def next_night(moment: datetime) -> datetime:
    """When the next check of the night is due, by the local clock."""
    tonight = moment.replace(hour=CHECK_HOUR, minute=0, second=0, microsecond=0)
    return tonight if tonight > moment else tonight + timedelta(days=1)
