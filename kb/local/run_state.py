"""Who holds the home folder, what runs, and at which addresses: the file in which the supervisor records it."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

START = timedelta(seconds=90)  # a service that has given no sign of life by then is stuck
_PASSWORD = re.compile(r"[\w-]*", re.ASCII)  # as we make them: it stands in Redis's configuration as it is


@dataclass(frozen=True, slots=True)
class ServiceState:
    """One embedded service as the System page shows it. `detail` says why it last ended, until it is stable again."""

    name: str
    pid: int | None
    running: bool
    restarts: int
    since: datetime | None
    detail: str = ""

    @property
    def had_time_to_start(self) -> bool:
        return self.since is not None and datetime.now(UTC) - self.since > START


@dataclass(frozen=True, slots=True)
class Holder:
    """The supervisor that holds the folder, and its web process: pid, start time (Unix) and URL."""

    pid: int
    web_pid: int
    web_started: float = 0.0
    url: str = ""
    token: str = ""  # of the supervisor's plan


@dataclass(frozen=True, slots=True)
class RunState:
    """The content of `services.json`. The addresses and the password outlive the processes, so that clients can
    reconnect. `sockets` is the folder of the sockets.

    `started` holds the start time of each service's process by pid: a later process may get the same pid.
    """

    holder: Holder | None = None
    milvus_uri: str = ""
    redis_url: str = ""
    redis_password: str = ""
    sockets: str = ""
    services: tuple[ServiceState, ...] = ()
    started: dict[int, float] = field(default_factory=dict)

    def without_processes(self) -> RunState:
        """What to keep once nothing runs any more."""
        return replace(self, holder=None, services=(), started={})


def new_file(path: Path) -> Path:
    """Where the file is written before it takes its place."""
    return path.with_suffix(".new")


def write_run_state(path: Path, state: RunState) -> None:
    """Replace the file atomically. Only the owner may read it: it contains the Redis password."""
    temporary = new_file(path)
    temporary.unlink(missing_ok=True)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(asdict(state), file, default=datetime.isoformat, indent=1)
    temporary.replace(path)


def read_run_state(path: Path) -> RunState:
    """Read the file, also one of another version; an empty state if it is missing or damaged."""
    try:
        return _from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return RunState()


def _from_json(data: dict[str, Any]) -> RunState:
    """Errors: `ValueError`, `TypeError`, `KeyError` and others, if a value is of another type than what is written."""
    holder = data.get("holder")
    password = _text(data.get("redis_password", ""))
    if not _PASSWORD.fullmatch(password):
        raise ValueError("the password is none of ours")
    return RunState(
        holder=_holder(holder) if holder else None,
        milvus_uri=_text(data.get("milvus_uri", "")),
        redis_url=_text(data.get("redis_url", "")),
        redis_password=password,
        sockets=_text(data.get("sockets", "")),
        services=tuple(_service(service) for service in data.get("services", ())),
        started={_pid(int(pid)): float(moment) for pid, moment in data.get("started", {}).items()},
    )


def _holder(data: dict[str, Any]) -> Holder:
    return Holder(
        pid=_pid(data["pid"]),
        web_pid=_pid(data["web_pid"]),
        web_started=float(data.get("web_started", 0)),
        url=_text(data.get("url", "")),
        token=_text(data.get("token", "")),
    )


def _service(data: dict[str, Any]) -> ServiceState:
    pid, since = data["pid"], data["since"]
    moment = None if since is None else datetime.fromisoformat(since)
    if moment and moment.tzinfo is None:
        raise ValueError("a moment without its time zone")
    return ServiceState(
        name=_text(data["name"]),
        pid=None if pid is None else _pid(pid),
        running=bool(data["running"]),
        restarts=int(data["restarts"]),
        since=moment,
        detail=_text(data.get("detail", "")),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _pid(value: object) -> int:
    if not isinstance(value, int) or not 0 < value < 2**31:
        raise ValueError("no number of a process")
    return value
