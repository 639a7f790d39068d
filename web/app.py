"""The composition root of the web process: the embedded services, the core's parts, and when they start and end."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any

import structlog
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Mount, Route
from streamlit import config

from kb.answers import Answers
from kb.completions import preload
from kb.config import Settings, load_settings
from kb.environment import raise_descriptor_limit, silence_packages
from kb.errors import KbError
from kb.health import HealthMonitor, check_health
from kb.home import keep_private
from kb.local import LocalServices, ServiceState
from kb.logs import configure_logs
from kb.models import ServiceHealth
from kb.services import Services, build_answers, build_services
from kb.tracing.setup import start_tracing, stop_tracing
from pages.ui import resources
from pages.ui.session_cookie import home_path, use_public_port
from web import api, openai_api
from web.acting_from import ActingFrom
from web.api.parties import Parties
from web.base_path import BASE_PATH
from web.draining import Drain, Draining
from web.exports import export_routes
from web.gone import GoneClients
from web.login import Login
from web.login_mode import needs_login
from web.metrics import RequestCounts, metrics_routes
from web.missing import MissingPages
from web.oidc import OidcLogin
from web.origins import OwnPagesOnly, allow_public_hosts, public_port
from web.page_style import PageStyle
from web.probes import probe_routes
from web.scripts import script_routes
from web.security import SecurityHeaders
from web.sessions import SessionLimit, log_accept_errors_seldom
from web.signed_in import SignedInOnly
from web.spans import RequestSpans
from web.tools import tool_routes
from web.uploads import file_routes
from workers.broker import DramatiqQueue, build_broker

log = structlog.get_logger()
drain = Drain()


class Web:
    """The parts of one web process. `start` builds what is missing; after a failure it can be called again."""

    def __init__(self, settings: Settings, has_login: bool = False) -> None:
        self.has_login = has_login
        self.local = LocalServices(settings, own_url())
        self._lock = threading.RLock()
        self._closers: list[Callable[[], None]] = []
        self.is_started = False

    @property
    def settings(self) -> Settings:
        """The settings with the embedded services' addresses filled in."""
        return self.local.settings

    @cached_property
    def services(self) -> Services:
        queue = DramatiqQueue(build_broker(self.settings))
        self._closers.append(queue.close)
        services = build_services(self.settings, queue)
        self._closers.append(services.close)
        services.chat_models.start()
        return services

    @cached_property
    def answers(self) -> Answers:
        answers = build_answers(self.services)
        self._closers.append(answers.close)
        answers.watch_for_dead()
        return answers

    @property
    def health_monitor(self) -> HealthMonitor:
        """Started by the first look at it: Milvus' client takes 80 MB, which an idle web process need not load."""
        with self._lock:
            return self._health_monitor

    @cached_property
    def _health_monitor(self) -> HealthMonitor:
        monitor = HealthMonitor(self.services.pings())
        self._closers.append(monitor.close)
        monitor.start()
        return monitor

    def start(self) -> Web:
        """Start the embedded services that are needed, then connect. Callers wait for one another.

        Errors: `SetupError`, `DatabaseUnavailable`. What was built stays, so that trying again costs little.
        """
        with self._lock:
            self.local.start()
            _ = self.services, self.answers
            if self.has_login:
                _ = self._first_account_announced
            self.is_started = True
        return self

    @cached_property
    def _first_account_announced(self) -> bool:
        """Tell who started this process, and nobody else, how to make the first account."""
        token = self.services.accounts.registration.first_token()
        if token:
            print(f"\n  Zhiwen: create the first account at {own_url()}signup\n  Token: {token}\n", flush=True)
        return bool(token)

    @cached_property
    def _warming(self) -> threading.Thread:
        thread = threading.Thread(target=self._load_models, name="warm-up", daemon=True)
        thread.start()
        return thread

    def warm_up(self) -> None:
        """In the background, load what the first question would wait for; once a process."""
        with self._lock:
            _ = self._warming

    def _load_models(self) -> None:
        try:
            for name in self.services.models_to_warm():
                self._load_model(name)
        except KbError as error:
            log.warning("warm_up.failed", reason=error.code)
        preload()
        gc.freeze()

    def _load_model(self, name: str) -> None:
        try:
            model = self.services.embeddings.get(name)
            model.embed_question("warm up")
            if not model.is_remote:  # a start costs nobody two dozen requests
                self.services.retriever.prepare(model)
        except KbError as error:
            log.warning("warm_up.failed", model=name, reason=error.code)  # a question itself will say so to the user

    def health(self) -> list[ServiceHealth]:
        """Each service, and the worker where it is ours."""
        services = check_health(self.services.pings())
        return services + [self._worker_health(state) for state in self.local.states() if state.name == "worker"]

    def _worker_health(self, worker: ServiceState) -> ServiceHealth:
        if worker.running and worker.had_time_to_start and not self._are_workers_heard():
            return ServiceHealth(worker.name, False, "not responding", 0.0)
        return ServiceHealth(
            worker.name, worker.running, worker.detail or ("running" if worker.running else "not running"), 0.0
        )

    def _are_workers_heard(self) -> bool:
        """Whether one gave a sign of life lately, which nobody can tell while Redis does not respond."""
        try:
            return bool(self.services.board.workers())
        except KbError:
            return True

    def close(self) -> None:
        """End what was started, in reverse order."""
        with self._lock:
            self.is_started = False
            while self._closers:
                self._closers.pop()()
            self.local.stop()


def build_web(settings: Settings, has_login: bool = False) -> Web:
    """The web process's parts, not started yet."""
    return Web(settings, has_login)


@asynccontextmanager
async def lifespan(_app: object) -> AsyncIterator[dict[str, Any]]:
    """Start the services before the first page, and end them with the process."""
    resources.provide(_open_web)
    drain.listen(_drain_seconds)
    allow_public_hosts()
    use_public_port(public_port())
    log_accept_errors_seldom()
    try:
        await asyncio.to_thread(resources.web)
    except KbError as error:
        # The pages say what is wrong and how to mend it; a process that exits would only say it in a log.
        log.error("web.not_ready", reason=error.code, detail=str(error))
    # Streamlit collects garbage after every run; what is imported by now will never be garbage.
    gc.freeze()
    print(f"\n  Zhiwen: {own_url()}\n", flush=True)
    yield {}
    await asyncio.to_thread(drain.wait, _running_answers)
    await asyncio.to_thread(resources.close)
    await asyncio.to_thread(stop_tracing)


def _drain_seconds() -> float:
    web = resources.started()
    return web.settings.drain_seconds if web else 0.0


def _running_answers() -> int:
    web = resources.started()
    return web.answers.running if web else 0


def _open_web() -> Web:
    silence_packages()
    raise_descriptor_limit()
    settings = load_settings()
    configure_logs(settings)
    start_tracing("web")
    keep_private(settings.home)
    return build_web(settings, needs_login(settings, config.get_option("server.address")))


def own_url() -> str:
    """The address of this web process, as a browser on this machine would open it."""
    scheme = "https" if config.get_option("server.sslCertFile") else "http"
    host = config.get_option("server.address") or "localhost"
    host = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}:{config.get_option('server.port')}{home_path()}"


def _parties() -> Parties:
    """For programs, whose first question shall not wait for the model any more than that of a page."""
    resources.warm_up()
    return Parties(resources.services(), resources.answers())


def build_routes() -> list[Route | Mount]:
    """All routes besides Streamlit's, which has read its options by now."""
    return [
        *probe_routes(),
        *metrics_routes(),
        *script_routes(),
        *file_routes(resources.services),
        *export_routes(resources.services),
        Mount(f"{BASE_PATH}{api.PATH.strip('/')}", api.build_api(_parties)),
        Mount(f"{BASE_PATH}{openai_api.PATH.strip('/')}", openai_api.build_openai_api(_parties)),
        *tool_routes(_parties),
        *Login(lambda: resources.services().accounts, resources.has_login).routes(),
        *OidcLogin(lambda: resources.services().accounts, resources.has_login).routes(),
    ]


def build_middleware(routes: Sequence[BaseRoute]) -> list[Middleware]:
    """What each request passes, outermost first. `routes` are those of `build_routes`."""
    return [
        Middleware(Draining, drain=drain),
        Middleware(RequestCounts),
        Middleware(GoneClients),
        Middleware(RequestSpans),
        Middleware(SecurityHeaders),
        Middleware(OwnPagesOnly),
        Middleware(ActingFrom),
        Middleware(SignedInOnly),
        Middleware(SessionLimit),
        Middleware(MissingPages, routes=routes),
        Middleware(PageStyle),
    ]
