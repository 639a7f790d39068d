"""The services of the running Zhiwen, or the configured ones, for one command; and who acts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from kb.access import Principal
from kb.accounts import first_administrator
from kb.accounts.rows import folded_name
from kb.audit import COMMAND_LINE, acting_from
from kb.cli.printing import CommandFailed
from kb.config import Settings, load_settings
from kb.environment import silence_packages
from kb.home import keep_private
from kb.library.knowledge_bases import find_named
from kb.local.plan import Folders
from kb.local.run_state import read_run_state
from kb.local.running import running, with_addresses
from kb.logs import configure_logs
from kb.models import Account, KnowledgeBase
from kb.queue import Queue
from kb.services import Services, build_services
from kb.users import Users

LOOPBACK = ("localhost", "127.0.0.1", "::1")
DEFAULT_ADDRESS = "http://localhost:8501"


class OpenedQueue(Queue, Protocol):
    def close(self) -> None: ...


OpenQueue = Callable[[Settings], OpenedQueue]


@dataclass(frozen=True, slots=True)
class Connected:
    """The parts of the core, and the user for whom a command acts."""

    services: Services
    principal: Principal


@contextmanager
def connected(open_queue: OpenQueue, must_run: bool = True) -> Iterator[Connected]:
    """`must_run`: False for commands that ask nothing but SQL, and may be used while nothing runs.

    Errors: `SetupError` if nothing runs on the home folder, or never did; `DatabaseUnavailable`.
    """
    settings = running(load_settings()) if must_run else with_addresses(load_settings())
    if settings.needs_embedded_services:  # there are none yet
        raise CommandFailed(f"{settings.home} holds no data. Start Zhiwen once (zhiwen run), or set ZHIWEN_HOME.")
    prepare_process(settings)
    keep_private(settings.home)
    acting_from(COMMAND_LINE)
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
    """As `KnowledgeBases.named`.

    Errors: `CommandFailed` that lists the names.
    """
    bases = connected.services.knowledge_bases.list(connected.principal)
    if found := find_named(bases, connected.principal, name):
        return found
    known = ", ".join(f"“{base.name}”" for base in bases) or "none yet"
    raise CommandFailed(f"There is no knowledge base “{' '.join(name.split())}”. Knowledge bases: {known}.")


def prepare_process(settings: Settings) -> None:
    """Log for people, and only what they should see; packages send nothing by themselves."""
    silence_packages()
    configure_logs(settings.model_copy(update={"log_level": "WARNING", "log_format": "text"}))


def acting_user(users: Users) -> Principal:
    """As whom a command acts: the local user, who is the first administrator where there are accounts."""
    return users.local_principal()


def acting_administrator(services: Services) -> Principal:
    """As whom a command keeps accounts: whoever can open the home folder could act as any of the administrators.

    Errors: `CommandFailed` while there are no accounts.
    """
    found = first_administrator(services.database)
    if found is None:
        raise CommandFailed("There are no accounts yet. zhiwen user add NAME makes the first one, an administrator.")
    return found


def find_account(services: Services, name: str) -> Account:
    """By its name, however it is written, or by its id. Errors: `CommandFailed` that lists the names."""
    accounts = services.accounts.administration.accounts(acting_administrator(services))
    for account in accounts:
        if folded_name(name) == folded_name(account.name) or name == str(account.id):
            return account
    raise CommandFailed(f"There is no user “{name}”. Users: {', '.join(f'“{each.name}”' for each in accounts)}.")


def web_address(settings: Settings) -> str:
    """Where browsers open Zhiwen: of PUBLIC_URLS rather one that others can reach, too; else as this machine does."""
    public = settings.public_urls.split()
    reachable = [url for url in public if urlsplit(url).hostname not in LOOPBACK]
    holder = read_run_state(Folders(settings.home).run_state).holder
    return (reachable or public or [holder.url if holder else ""])[0].rstrip("/") or DEFAULT_ADDRESS
