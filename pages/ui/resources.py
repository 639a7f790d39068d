"""What the pages use of the web process. The composition root in `web` provides it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol, Self

from kb.access import Principal
from kb.answers import Answers
from kb.audit import acting_from
from kb.config import Settings
from kb.errors import KbError, SignedOut
from kb.health import HealthMonitor
from kb.local import LocalServices
from kb.models import Account, ServiceHealth, User
from kb.services import Services
from pages.ui.session_cookie import belongs_to_page, page_address, remembered_in_run, session_token


class Web(Protocol):
    """The parts of the web process; see `web.app.Web`."""

    @property
    def settings(self) -> Settings: ...
    @property
    def has_login(self) -> bool: ...
    @property
    def local(self) -> LocalServices: ...
    @property
    def services(self) -> Services: ...
    @property
    def answers(self) -> Answers: ...
    @property
    def health_monitor(self) -> HealthMonitor: ...
    @property
    def is_started(self) -> bool: ...
    def start(self) -> Self: ...
    def warm_up(self) -> None: ...
    def health(self) -> list[ServiceHealth]: ...
    def close(self) -> None: ...


class _Provider:
    """Opens the web process's parts at first use, and again after a failure."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._open: Callable[[], Web] | None = None
        self._web: Web | None = None

    def provide(self, open_web: Callable[[], Web]) -> None:
        with self._lock:
            self._open = open_web

    def web(self) -> Web:
        with self._lock:
            if self._web is None:
                if self._open is None:
                    raise RuntimeError("the web process has not provided its parts")
                self._web = self._open()
            return self._web.start()

    def started(self) -> Web | None:
        """The parts, if they were started; waits for nothing and nobody."""
        web = self._web
        return web if web is not None and web.is_started else None

    def has_login(self) -> bool:
        """Whether pages and routes need somebody who has signed in. Before the settings are read, nothing is there."""
        web = self._web
        return web is not None and web.has_login

    def close(self) -> None:
        with self._lock:
            if self._web is not None:
                self._web.close()
                self._web = None


_provider = _Provider()
provide = _provider.provide
web = _provider.web
started = _provider.started
has_login = _provider.has_login
close = _provider.close


def services() -> Services:
    """Errors: `SetupError`, `DatabaseUnavailable`."""
    if (address := page_address()) is not None:  # what a page then does is recorded with it
        acting_from(address)
    return web().services


def answers() -> Answers:
    return web().answers


def health_monitor() -> HealthMonitor:
    return web().health_monitor


def local_services() -> LocalServices:
    return web().local


def current_user() -> User:
    """Who acts, and what they chose. Without a login, the local user. Errors: `SignedOut`."""
    account, users = current_account(), services().users
    return users.local() if account is None else users.get(account.principal)


def current_principal() -> Principal:
    """Who acts, without what is stored of them. Errors: `SignedOut`."""
    account = current_account()
    return services().users.local_principal() if account is None else account.principal


def current_account() -> Account | None:
    """Who has signed in; None where there is no login. Asks SQL once in each run of the script.

    Errors: `SignedOut`, also if somebody else has signed in since the page was opened, which holds what that one saw.
    """
    if not has_login():
        return None
    account = remembered_in_run(lambda: services().accounts.sessions.find(session_token()))
    if account is None or not belongs_to_page(account.id):
        raise SignedOut
    return account


def is_signed_out() -> bool:
    """Whether the login session has ended that the page was drawn for."""
    try:
        current_account()
    except SignedOut:
        return True
    except KbError:  # whatever it is, the page will say so
        return False
    return False


def warm_up() -> None:
    """In the background, load what the first question would wait for."""
    web().warm_up()
