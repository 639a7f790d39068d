"""Who holds the home folder, what runs, and at which addresses: the file in which the supervisor records it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

START = timedelta(seconds=90)  # a service that has given no sign of life by then is stuck


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


def write_run_state(path: Path, state: RunState) -> None:
    """Replace the file atomically. Only the owner may read it: it contains the Redis password."""
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(asdict(state), file, default=datetime.isoformat, indent=1)
    temporary.replace(path)


def read_run_state(path: Path) -> RunState:
    """Read the file, also one of another version; an empty state if it is missing or damaged."""
    try:
        return _from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return RunState()


def _from_json(data: dict[str, Any]) -> RunState:
    services = [{**service, "since": _moment(service["since"])} for service in data.get("services", ())]
    holder = data.get("holder")
    return RunState(
        **{
            **_known(RunState, data),
            "holder": Holder(**_known(Holder, holder)) if holder else None,
            "services": tuple(ServiceState(**_known(ServiceState, service)) for service in services),
            "started": {int(pid): float(moment) for pid, moment in data.get("started", {}).items()},
        }
    )


def _known(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """The values that `kind` has fields for."""
    return {field.name: values[field.name] for field in fields(kind) if field.name in values}


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
