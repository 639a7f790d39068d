"""The services of the running Zhiwen, or the configured ones, for one command; and who acts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from kb.access import Principal
from kb.cli.printing import CommandFailed
from kb.config import Settings, load_settings
from kb.environment import silence_packages
from kb.home import keep_private
from kb.local.running import running
from kb.logs import configure_logs
from kb.models import KnowledgeBase
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


def find_knowledge_base(connected: Connected, name: str) -> KnowledgeBase:
    """By its name, in any case, or by its id. The user's own goes before one that is shared with them.

    Errors: `CommandFailed` that lists the names.
    """
    bases = connected.services.knowledge_bases.list(connected.principal)
    wanted = " ".join(name.split())
    for is_wanted in (
        lambda base: base.name == wanted,
        lambda base: base.name.casefold() == wanted.casefold(),
        lambda base: str(base.id) == wanted,
    ):
        if found := list(filter(is_wanted, bases)):
            return min(found, key=lambda base: base.owner_id != connected.principal.user_id)
    known = ", ".join(f"“{base.name}”" for base in bases) or "none yet"
    raise CommandFailed(f"There is no knowledge base “{wanted}”. Knowledge bases: {known}.")


def prepare_process(settings: Settings) -> None:
    """Log for people, and only what they should see; packages send nothing by themselves."""
    silence_packages()
    configure_logs(settings.model_copy(update={"log_level": "WARNING", "log_format": "text"}))


def acting_user(users: Users) -> Principal:
    """Who the command acts as: the local user. The one place that changes once there are accounts."""
    return users.local_principal()
