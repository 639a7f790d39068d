"""The process between the web process and the embedded services: `python -m kb.local.supervisor`, its plan on stdin.

It waits for the folder's lock, starts the services, restarts those that die, and ends them all when its web process
goes.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import FrameType

from filelock import FileLock, Timeout

from kb.local.plan import Plan, build_specs, plan_from_json
from kb.local.redis_data import RedisData, prepare_data
from kb.local.redis_server import write_configuration
from kb.local.run_state import Holder, RunState, read_run_state, write_run_state
from kb.local.service import Service, bound_log, end_process, start_time
from kb.local.sockets import REDIS, choose_folder, clear_folder, milvus_uri, redis_url
from kb.stderr import complain

LOCK_POLL_SECONDS = 0.1
TICK_SECONDS = 1.0
LEFTOVER_GRACE_SECONDS = 2.0


def main() -> None:
    plan = plan_from_json(sys.stdin.readline())
    lifeline = Lifeline(sys.stdin.fileno(), plan.web_pid)
    lock = FileLock(plan.folders.lock)
    if wait_for_lock(lock, lifeline):
        supervise(plan, lifeline)


class Lifeline:
    """Says when the supervisor must end: its stdin closed, its parent changed, or it got a signal.

    The pipe alone is not enough: a process forked by the web process may keep its other end open.
    """

    def __init__(self, stdin: int, parent_pid: int) -> None:
        self._stdin = stdin
        self._parent_pid = parent_pid
        self._told = False
        self._wake, signal_end = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(signal_end, False)
        signal.set_wakeup_fd(signal_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # wakes `wait`, so that a service's death is noticed at once
        signal.signal(signal.SIGTERM, self._tell)
        signal.signal(signal.SIGINT, self._tell)

    def wait(self, seconds: float) -> bool:
        """Wait until something happens, at most `seconds`. True: go on; False: end."""
        readable, _, _ = select.select([self._stdin, self._wake], [], [], seconds)
        if self._wake in readable:
            os.read(self._wake, 4096)
        closed = self._stdin in readable and not os.read(self._stdin, 4096)
        return not (closed or self._told or os.getppid() != self._parent_pid)

    def _tell(self, _number: int, _frame: FrameType | None) -> None:
        self._told = True


def wait_for_lock(lock: FileLock, lifeline: Lifeline) -> bool:
    """Wait until the folder is ours: after a kill -9 the previous services need seconds to end. False: told to end."""
    while lifeline.wait(0):
        try:
            lock.acquire(blocking=False)
        except Timeout:
            lifeline.wait(LOCK_POLL_SECONDS)
        else:
            return True
    return False


def supervise(plan: Plan, lifeline: Lifeline) -> None:
    """Run the services of `plan` until the lifeline ends. The caller holds the folder's lock."""
    state = prepare(plan)
    services = [Service(spec) for spec in build_specs(plan, state)]
    try:
        run(plan, state, services, lifeline)
    finally:
        # First of all: a web process that starts now must wait for the lock, and not be refused.
        publish(plan, replace(state, holder=None), services)
        for service in reversed(services):  # the worker needs the others to hand back its documents
            service.stop()
        clear_folder(Path(state.sockets), plan.folders.run)
        publish(plan, state.without_processes(), [])


def run(plan: Plan, state: RunState, services: list[Service], lifeline: Lifeline) -> None:
    """Start each service when it is due and publish changes, until the lifeline ends."""
    redis_data = RedisData(plan)
    alive = True
    while alive:
        changes = [service.tick() for service in services]
        for service, has_changed in zip(services, changes, strict=True):
            if has_changed and service.spec.name == "redis":
                redis_data.look(service)
        if any(changes):
            publish(plan, state, services)
        alive = lifeline.wait(_seconds_until_next(services))
        for service in services:
            with contextlib.suppress(OSError):  # a full disk must not end the services
                bound_log(service.spec.log)


def prepare(plan: Plan) -> RunState:
    """End what a killed supervisor left behind, choose the addresses."""
    remembered = read_run_state(plan.folders.run_state)
    for service in remembered.services:
        if service.pid:
            end_process(service.pid, remembered.started.get(service.pid, 0.0), LEFTOVER_GRACE_SECONDS)
    # After the death of its supervisor, a web process keeps using the addresses that it knows.
    is_known = remembered.holder is not None and remembered.holder.token == plan.token
    folder = Path(remembered.sockets) if is_known else choose_folder(plan.folders.run)
    folder.mkdir(mode=0o700, exist_ok=True)
    password = remembered.redis_password or secrets.token_urlsafe(24)
    if plan.redis_server:
        prepare_data(plan)
        write_configuration(plan.folders.redis_config, plan.folders.redis, folder / REDIS, password)
    return RunState(
        holder=Holder(os.getpid(), plan.web_pid, plan.web_started, plan.url, plan.token),
        milvus_uri=milvus_uri(folder) if plan.milvus else plan.milvus_uri,
        redis_url=redis_url(folder, password) if plan.redis_server else plan.redis_url,
        redis_password=password,
        sockets=str(folder),
    )


def publish(plan: Plan, state: RunState, services: list[Service]) -> None:
    """Write what runs now. If the disk is full, report it and go on: it must not end the services."""
    states = tuple(service.state for service in services)
    started = {service.pid: start_time(service.pid) for service in states if service.pid}
    try:
        write_run_state(plan.folders.run_state, replace(state, services=states, started=started))
    except OSError as error:
        complain(f"The state of the services cannot be written: {error}")


def _seconds_until_next(services: list[Service]) -> float:
    due = [service.seconds_until_due for service in services]
    return min([TICK_SECONDS, *(seconds for seconds in due if seconds is not None)])


if __name__ == "__main__":
    main()
