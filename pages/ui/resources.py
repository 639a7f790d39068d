"""The core's parts, built once for the web process."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from functools import cache
from typing import Generic, TypeVar

import structlog

from kb.answers import Answers
from kb.config import Settings, load_settings
from kb.errors import KbError
from kb.health import check_health
from kb.llm import preload
from kb.local import LocalServices
from kb.models import ServiceHealth, User
from kb.services import Services, build_answers, build_services

log = structlog.get_logger()

Part = TypeVar("Part")
_building = threading.RLock()


class _Once(Generic[Part]):
    """A part that is built at its first use. Pages that ask meanwhile wait; a failed build is tried again."""

    def __init__(self, build: Callable[[], Part]) -> None:
        self._build = build
        self._built: list[Part] = []

    def __call__(self) -> Part:
        with _building:
            if not self._built:
                self._built.append(self._build())
            return self._built[0]

    def forget(self, end: Callable[[Part], None]) -> None:
        """End the part, if it was built."""
        with _building:
            while self._built:
                end(self._built.pop())


@_Once
def local_services() -> LocalServices:
    """The embedded services, started at first use. Errors: `SetupError`."""
    local = LocalServices(load_settings())
    local.start()
    # The broker is made from the environment, here as in a worker process that somebody starts by hand.
    os.environ.update({"REDIS_URL": local.settings.redis_url, "MILVUS_URI": local.settings.milvus_uri})
    return local


def settings() -> Settings:
    """The settings with the embedded services' addresses filled in."""
    return local_services().settings


@_Once
def services() -> Services:
    """Errors: `SetupError`, `DatabaseUnavailable`."""
    return build_services(settings())


@_Once
def answers() -> Answers:
    return build_answers(services())


def current_user() -> User:
    """Who acts. Without a login, the local user."""
    return services().users.local()


def start() -> None:
    """Start what is missing and connect, before the first page asks. Errors: `SetupError`, `DatabaseUnavailable`."""
    services()
    answers()


@cache
def warm_up() -> None:
    """In the background, load what the first question of a session would wait for; once a process."""
    threading.Thread(target=_load_models, name="warm-up", daemon=True).start()


def _load_models() -> None:
    try:
        services().embedding.embed_question("warm up")
    except KbError as error:
        log.warning("warm_up.failed", reason=error.code)  # the question itself will say so to the user
    preload()
    gc.freeze()  # as the launcher does for what is there before the first page


def health() -> list[ServiceHealth]:
    """Each service, and the worker where it is ours. Errors: `SetupError`, `DatabaseUnavailable`."""
    workers = [state for state in local_services().states() if state.name == "worker"]
    return check_health(services().pings()) + [
        ServiceHealth(state.name, state.running, state.detail or ("running" if state.running else "not running"), 0.0)
        for state in workers
    ]


def close() -> None:
    """End what was started, in reverse order."""
    answers.forget(Answers.close)
    services.forget(Services.close)
    local_services.forget(LocalServices.stop)
