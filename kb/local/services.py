"""The web process's side of the embedded services."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from kb.errors import N_, SetupError
from kb.local.plan import Folders, Plan
from kb.local.ports import is_listening
from kb.local.processes import is_same_process
from kb.local.redis_server import find_redis_server, is_ready, start_failure
from kb.local.run_state import RunState, ServiceState, read_run_state
from kb.local.supervisor_process import SupervisorProcess

if TYPE_CHECKING:
    from kb.config import Settings  # at run time the supervisor would load it, too

WORKER_COMMAND = (sys.executable, "-m", "workers.embedded")
HOLDER_SECONDS = 10.0  # to wait for whoever holds the folder: our supervisor's start, or another one's end
REDIS_SECONDS = 3.0
POLL_SECONDS = 0.01

# Why a folder that another process holds cannot be shared.
_UNSEEN = N_(
    "The folder {folder} is held by another process ({process}), and cannot be shared: its processes cannot "
    "be seen from here."
)
_UNREACHABLE = N_(
    "The folder {folder} is held by another process ({process}), and cannot be shared: its Redis cannot be "
    "reached from here."
)
_OTHER_SERVICES = N_(
    "The folder {folder} is held by another process ({process}), and cannot be shared: it runs {running}, but {needed} "
    "is needed here."
)
_OTHER_ADDRESS = N_(
    "The folder {folder} is held by another process ({process}), and cannot be shared: it was given another {setting}."
)


class LocalServices:
    """Starts what `settings` name no URL for, or joins what runs on the same folder already.

    After `start`, `settings` hold the URLs of all services. With every URL configured nothing is ever started.
    """

    def __init__(self, settings: Settings, worker_command: tuple[str, ...] = WORKER_COMMAND) -> None:
        self.settings = settings
        self._given = settings
        self._worker_command = worker_command
        self._plan: Plan | None = None
        self._supervisor: SupervisorProcess | None = None

    def start(self) -> None:
        """Return once the addresses are known and Redis accepts connections; Milvus may take a second more.

        Raises `SetupError` when that cannot be: no redis-server, a folder that cannot be written or is held by
        somebody whom this process cannot join, services that do not stay up.
        """
        if self._supervisor or not self._given.needs_embedded_services:
            return
        self._plan = plan = make_plan(self._given, self._worker_command)
        self._supervisor = _start_supervisor(plan)
        try:
            state = self._wait_for_holder(plan, self._supervisor)
            if plan.redis_server:
                self._wait_for_redis(plan, state)
        except BaseException:
            self.stop()
            raise
        self.settings = self._given.model_copy(update=_urls(plan, state))

    def stop(self) -> None:
        """End the services, unless other web processes go on with them. Takes 5 s at most; may be called twice."""
        if self._supervisor:
            self._supervisor.stop()
            self._supervisor = None

    def states(self) -> list[ServiceState]:
        """The state of each embedded service; empty where all are external."""
        if not self._plan:
            return []
        state = read_run_state(self._plan.folders.run_state)
        known = {service.name: service for service in state.services}
        if not self._is_held(state):
            detail = "waiting for the supervisor to start it" if self._supervisor else "stopped"
            return [_down(name, known.get(name), detail) for name in self._plan.service_names]
        return [self._with_address(service, state) for service in state.services]

    def _wait_for_holder(self, plan: Plan, supervisor: SupervisorProcess) -> RunState:
        deadline = time.monotonic() + HOLDER_SECONDS
        while not self._is_held(state := read_run_state(plan.folders.run_state)):
            if supervisor.deaths:
                raise SetupError(
                    N_("The embedded services cannot be started: {detail}"),
                    N_("Look at {log}."),
                    detail=supervisor.last_words,
                    log=plan.folders.log("supervisor"),
                )
            if time.monotonic() > deadline:
                raise _held_error(plan, state, _UNSEEN)
            time.sleep(POLL_SECONDS)
        running = tuple(service.name for service in state.services)
        if running != plan.service_names:
            others = {"running": _list(running), "needed": _list(plan.service_names)}
            raise _held_error(plan, state, _OTHER_SERVICES, **others)
        for setting, ours, theirs in (
            ("MILVUS_URI", plan.milvus_uri, state.milvus_uri),
            ("REDIS_URL", plan.redis_url, state.redis_url),
        ):
            if ours and ours != theirs:  # the worker that runs would never see what is done here
                raise _held_error(plan, state, _OTHER_ADDRESS, setting=setting)
        if plan.database_digest != state.database_digest:
            raise _held_error(plan, state, _OTHER_ADDRESS, setting="DATABASE_URL")
        return state

    def _wait_for_redis(self, plan: Plan, state: RunState) -> None:
        """A Redis that takes longer, since it loads much, goes on without us; one that died twice is an error."""
        deadline = time.monotonic() + REDIS_SECONDS
        while not is_ready(state.ports["redis"], state.redis_password):
            current = read_run_state(plan.folders.run_state)
            for service in current.services:
                if service.name == "redis" and service.restarts and not service.running:
                    raise start_failure(service.detail, plan.folders.redis, plan.folders.log("redis"))
            if time.monotonic() > deadline:
                if not self._is_ours(state) and not is_listening(state.ports["redis"]):
                    raise _held_error(plan, state, _UNREACHABLE)
                return
            time.sleep(POLL_SECONDS)

    def _is_ours(self, state: RunState) -> bool:
        return bool(state.holder and self._supervisor and state.holder.pid == self._supervisor.pid)

    def _is_held(self, state: RunState) -> bool:
        """Whether the supervisor that wrote `state` runs: ours, or another web's."""
        if not state.holder:
            return False
        pid = state.holder.pid
        return is_same_process(pid, state.identities.get(pid, ""))

    def _with_address(self, service: ServiceState, state: RunState) -> ServiceState:
        """A service that another program's port made move says so: this process still talks to the old address."""
        ours = {"milvus": self.settings.milvus_uri, "redis": self.settings.redis_url}
        theirs = {"milvus": state.milvus_uri, "redis": state.redis_url}
        if ours.get(service.name) == theirs.get(service.name):
            return service
        return replace(service, detail=f"moved to port {state.ports[service.name]}: restart this web process")


def make_plan(settings: Settings, worker_command: tuple[str, ...]) -> Plan:
    """What to run for `settings`, once the folders exist and can be written."""
    folders = Folders(settings.home)
    try:
        folders.create()
        _try_writing(folders)
    except OSError as error:
        raise _folder_error(folders, error) from error
    return Plan(
        home=str(settings.home),
        web_pid=os.getpid(),
        milvus=not settings.milvus_uri,
        milvus_uri=settings.milvus_uri,
        redis_url=settings.redis_url,
        redis_server="" if settings.redis_url else find_redis_server(folders.redis),
        database_url=settings.database_url,
        worker_command=worker_command,
    )


def _start_supervisor(plan: Plan) -> SupervisorProcess:
    try:
        return SupervisorProcess(plan)
    except OSError as error:
        raise _folder_error(plan.folders, error) from error


def _folder_error(folders: Folders, error: OSError) -> SetupError:
    return SetupError(
        N_("The data folder {folder} cannot be written: {detail} ({path})."),
        N_("Make room in it and let this user write it, or set ZHIWEN_HOME to another folder."),
        folder=folders.home,
        detail=error.strerror or error,
        path=error.filename,
    )


def _try_writing(folders: Folders) -> None:
    probe = folders.run / f"probe-{os.getpid()}"
    try:
        probe.write_bytes(bytes(65_536))
    finally:
        probe.unlink(missing_ok=True)


def _urls(plan: Plan, state: RunState) -> dict[str, str]:
    urls = {"milvus_uri": state.milvus_uri} if plan.milvus else {}
    return {**urls, "redis_url": state.redis_url} if plan.redis_server else urls


def _down(name: str, last: ServiceState | None, detail: str) -> ServiceState:
    return ServiceState(name, None, False, last.restarts if last else 0, None, detail)


def _held_error(plan: Plan, state: RunState, problem: str, **values: str) -> SetupError:
    process = "PID ?"
    if holder := state.holder:
        process = f"PID {holder.web_pid}, supervisor {holder.pid}, {holder.since:%Y-%m-%d %H:%M:%S} UTC"
    solution = N_("End that process, or set ZHIWEN_HOME to another folder.")
    return SetupError(problem, solution, folder=plan.home, process=process, **values)


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "nothing"
