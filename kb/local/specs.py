"""The commands of the embedded services."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kb.local.plan import Plan
from kb.local.ports import HOST
from kb.local.run_state import RunState


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """How to run one service. `env` is added to the supervisor's; `port` is None for one that does not listen."""

    name: str
    command: tuple[str, ...]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    port: int | None = None
    grace_seconds: float = 1.0  # between SIGTERM and SIGKILL


def build_specs(plan: Plan, state: RunState) -> list[ServiceSpec]:
    """The services of `plan` at the addresses of `state`, in the order of their start."""
    makers = {"milvus": _milvus, "redis": _redis, "worker": _worker}
    return [makers[name](plan, state) for name in plan.service_names]


def _milvus(plan: Plan, state: RunState) -> ServiceSpec:
    port = state.ports["milvus"]
    data = ("--data-dir", str(plan.folders.milvus))
    address = ("--host", HOST, "--port", str(port))  # unless told otherwise it listens on every interface
    return ServiceSpec(
        name="milvus",
        command=(sys.executable, "-m", "kb.local.milvus_server", "server", *data, *address),
        log=plan.folders.log("milvus"),
        env={"PYTHONUNBUFFERED": "1"},
        port=port,
    )


def _redis(plan: Plan, state: RunState) -> ServiceSpec:
    return ServiceSpec(
        name="redis",
        command=(plan.redis_server, str(plan.folders.redis_config)),
        log=plan.folders.log("redis"),
        port=state.ports["redis"],
    )


def _worker(plan: Plan, state: RunState) -> ServiceSpec:
    env = {"ZHIWEN_HOME": plan.home, "MILVUS_URI": state.milvus_uri, "REDIS_URL": state.redis_url}
    if plan.database_url:
        env["DATABASE_URL"] = plan.database_url
    return ServiceSpec(
        name="worker",
        command=plan.worker_command,
        log=plan.folders.log("worker"),
        env={**env, "PYTHONUNBUFFERED": "1"},
        grace_seconds=3.0,
    )
