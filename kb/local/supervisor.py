"""The process between the web and the embedded services: `python -m kb.local.supervisor`, the plan on its stdin.

It waits for the folder's lock, starts the services, restarts the dead, and ends them all when its web process goes.
While another supervisor holds the folder it stands by; that one's end makes it take over, at the same addresses.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from dataclasses import replace
from datetime import UTC, datetime

from filelock import FileLock, Timeout

from kb.local import logs
from kb.local.lifeline import Lifeline
from kb.local.plan import Plan, plan_from_json
from kb.local.ports import HOST, choose_port
from kb.local.processes import end_process, identity
from kb.local.redis_server import write_configuration
from kb.local.run_state import Holder, RunState, read_run_state, write_run_state
from kb.local.service import Service
from kb.local.specs import build_specs

LOCK_POLL_SECONDS = 0.1
TICK_SECONDS = 1.0
LEFTOVER_GRACE_SECONDS = 2.0


def main() -> None:
    plan = plan_from_json(sys.stdin.readline())
    lifeline = Lifeline(sys.stdin.fileno(), plan.web_pid)
    lock = FileLock(plan.folders.lock)
    if wait_for_lock(lock, lifeline):
        supervise(plan, lifeline)


def wait_for_lock(lock: FileLock, lifeline: Lifeline) -> bool:
    """Stand by until the folder is ours. False: the lifeline ended before."""
    while lifeline.wait(0):
        try:
            lock.acquire(blocking=False)
        except Timeout:
            lifeline.wait(LOCK_POLL_SECONDS)
        else:
            return True
    return False


def supervise(plan: Plan, lifeline: Lifeline) -> None:
    """Run the services of `plan` until the lifeline ends. The folder's lock is held."""
    state = prepare(plan)
    services = [Service(spec) for spec in build_specs(plan, state)]
    try:
        run(plan, state, services, lifeline)
    finally:
        # Before anything ends: who starts now must wait for the lock, not join what is ending.
        publish(plan, replace(state, holder=None), services)
        for service in reversed(services):  # the worker needs the others to put back what it is doing
            service.stop()
        publish(plan, state.without_processes(), [])


def run(plan: Plan, state: RunState, services: list[Service], lifeline: Lifeline) -> None:
    """Start each service when it is due, and say what changed, until the lifeline ends."""
    alive = True
    while alive:
        changes = [service.tick() for service in services]
        if any(changes):
            publish(plan, state, services)
        alive = lifeline.wait(_seconds_until_next(services))
        _bound_logs(services)


def prepare(plan: Plan) -> RunState:
    """End what a killed supervisor left, choose the addresses (the same as before, if they are free), write them."""
    remembered = read_run_state(plan.folders.run_state)
    for service in remembered.services:
        if service.pid:
            end_process(service.pid, remembered.identities.get(service.pid, ""), LEFTOVER_GRACE_SECONDS)
    ports = dict(remembered.ports)
    for name in plan.service_names:
        if name != "worker":
            others = [port for other, port in ports.items() if other != name]
            ports[name] = choose_port(ports.get(name), taken=others)
    password = remembered.redis_password or secrets.token_urlsafe(24)
    if plan.redis_server:
        write_configuration(plan.folders.redis_config, plan.folders.redis, ports["redis"], password)
    return RunState(
        holder=Holder(os.getpid(), plan.web_pid, datetime.now(UTC)),
        milvus_uri=f"http://{HOST}:{ports['milvus']}" if plan.milvus else plan.milvus_uri,
        redis_url=f"redis://:{password}@{HOST}:{ports['redis']}/0" if plan.redis_server else plan.redis_url,
        redis_password=password,
        database_digest=plan.database_digest,
        ports=ports,
    )


def publish(plan: Plan, state: RunState, services: list[Service]) -> None:
    """Write what runs now. A full disk is only reported: it must not end the services."""
    states = tuple(service.state for service in services)
    pids = [os.getpid(), *(service.pid for service in states if service.pid)]
    current = replace(state, services=states, identities={pid: identity(pid) for pid in pids})
    try:
        write_run_state(plan.folders.run_state, current)
    except OSError as error:
        print(f"The state of the services cannot be written: {error}", file=sys.stderr, flush=True)


def _seconds_until_next(services: list[Service]) -> float:
    due = [service.seconds_until_due for service in services]
    return min([TICK_SECONDS, *(seconds for seconds in due if seconds is not None)])


def _bound_logs(services: list[Service]) -> None:
    for service in services:
        with contextlib.suppress(OSError):  # a full disk must not end the services
            logs.bound_log(service.spec.log)


if __name__ == "__main__":
    main()
