"""What the web process asks its supervisor to run: the data folders, the services and their commands."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from kb.local.run_state import RunState, new_file
from kb.local.sockets import MILVUS, PROBE, REDIS

# The exit code by which a service asks for another process in its place, which is no failure.
REPLACE = 75


@dataclass(frozen=True, slots=True)
class Plan:
    """One web process's order to its supervisor. `token` is unique to that web process.

    An empty `redis_server`, or `milvus` being False, means that this service has a configured URL. The plan travels
    through the supervisor's standard input, never its command line: URLs may contain passwords.
    """

    token: str
    home: str
    web_pid: int
    web_started: float
    url: str
    cpus: int
    milvus: bool
    redis_server: str
    worker_command: tuple[str, ...]
    milvus_uri: str = ""
    redis_url: str = ""
    database_url: str = ""

    @property
    def service_names(self) -> tuple[str, ...]:
        """The services to run, in start order. A worker elsewhere could not reach an embedded Milvus or Redis."""
        wanted = {"milvus": self.milvus, "redis": bool(self.redis_server)}
        services = tuple(name for name, is_wanted in wanted.items() if is_wanted)
        return (*services, "worker") if services else ()

    @property
    def folders(self) -> Folders:
        return Folders(Path(self.home))

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def plan_from_json(text: str) -> Plan:
    """The inverse of `Plan.to_json`."""
    values = json.loads(text)
    return Plan(**{**values, "worker_command": tuple(values["worker_command"])})


@dataclass(frozen=True, slots=True)
class Folders:
    """The layout of the home folder."""

    home: Path

    @property
    def run(self) -> Path:
        return self.home / "run"

    @property
    def lock(self) -> Path:
        return self.run / "lock"

    @property
    def run_state(self) -> Path:
        return self.run / "services.json"

    @property
    def redis_config(self) -> Path:
        return self.run / "redis.conf"

    @property
    def redis(self) -> Path:
        return self.home / "redis"

    @property
    def milvus(self) -> Path:
        return self.home / "milvus"

    def log(self, name: str) -> Path:
        return self.home / "logs" / f"{name}.log"

    @property
    def own_files(self) -> tuple[Path, ...]:
        """The files that each start makes anew, or adds to, and the sockets beside them."""
        logs = [self.log(name) for name in ("supervisor", "milvus", "redis", "worker")]
        sockets = [self.run / name for name in (MILVUS, REDIS, PROBE)]
        return (self.lock, self.run_state, new_file(self.run_state), self.redis_config, *sockets, *logs)

    def create(self) -> None:
        """Create all folders but that of Redis (see `redis_data`). Only the owner can open `run`, with the password."""
        for folder in (self.home, self.milvus, self.home / "logs"):
            folder.mkdir(parents=True, exist_ok=True)
        self.run.mkdir(mode=0o700, exist_ok=True)


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """How to run one service. `env` extends the supervisor's environment;"""

    name: str
    command: tuple[str, ...]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    grace_seconds: float = 1.0  # between SIGTERM and SIGKILL


def build_specs(plan: Plan, state: RunState) -> list[ServiceSpec]:
    """The services of `plan` at the addresses in `state`, in start order."""
    makers = {"milvus": _milvus, "redis": _redis, "worker": _worker}
    return [makers[name](plan, state) for name in plan.service_names]


def _milvus(plan: Plan, state: RunState) -> ServiceSpec:
    return ServiceSpec(
        name="milvus",
        command=(sys.executable, "-m", "kb.local.milvus_server", str(plan.folders.milvus), state.milvus_uri),
        log=plan.folders.log("milvus"),
        # By itself its search library starts a thread for each CPU of the host, whatever a container's quota is.
        env={"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(plan.cpus)), "PYTHONUNBUFFERED": "1"},
    )


def _redis(plan: Plan, state: RunState) -> ServiceSpec:
    return ServiceSpec(
        name="redis",
        command=(plan.redis_server, str(plan.folders.redis_config)),
        log=plan.folders.log("redis"),
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
