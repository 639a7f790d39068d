"""The services of the running Zhiwen, or the configured ones, for one command; and who acts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from kb.access import Principal
from kb.config import Settings, load_settings
from kb.environment import silence_packages
from kb.home import keep_private
from kb.local.running import running
from kb.logs import configure_logs
from kb.queue import Queue
from kb.services import Services, build_services
from kb.users import Users


class OpenedQueue(Queue, Protocol):
    def close(self) -> None: ...


OpenQueue = Callable[[Settings], OpenedQueue]


@dataclass(frozen=True, slots=True)
class Connected:
    """The parts of the core, and the user for whom a command acts."""

    services: Services
    principal: Principal


@contextmanager
def connected(open_queue: OpenQueue) -> Iterator[Connected]:
    """Errors: `SetupError` if nothing runs on the home folder; `DatabaseUnavailable`."""
    settings = running(load_settings())
    prepare_process(settings)
    keep_private(settings.home)
    queue = open_queue(settings)
    try:
        services = build_services(settings, queue)
        try:
            yield Connected(services, acting_user(services.users))
        finally:
            services.close()
    finally:
        queue.close()


def prepare_process(settings: Settings) -> None:
    """Log for people, and only what they should see; packages send nothing by themselves."""
    silence_packages()
    configure_logs(settings.model_copy(update={"log_level": "WARNING", "log_format": "text"}))


def acting_user(users: Users) -> Principal:
    """Who the command acts as: the local user. The one place that changes once there are accounts."""
    return users.local_principal()
