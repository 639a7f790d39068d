"""The file through which the supervisor tells every web process on the folder what runs, where, and since when."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class ServiceState:
    """One embedded service as the System page shows it. `detail` is why it last ended, until it is stable again."""

    name: str
    pid: int | None
    running: bool
    restarts: int
    since: datetime | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Holder:
    """The supervisor that holds the folder, and the web process that it serves."""

    pid: int
    web_pid: int
    since: datetime


@dataclass(frozen=True, slots=True)
class RunState:
    """All that `services.json` holds. Ports and the password outlive the holder, so that clients can reconnect.

    `identities` tells, for each process, which one is meant by its id (see `processes.identity`).
    """

    holder: Holder | None = None
    milvus_uri: str = ""
    redis_url: str = ""
    redis_password: str = ""
    database_digest: str = ""
    ports: dict[str, int] = field(default_factory=dict)
    services: tuple[ServiceState, ...] = ()
    identities: dict[int, str] = field(default_factory=dict)

    def without_processes(self) -> RunState:
        """What is worth keeping once nothing runs any more."""
        return replace(self, holder=None, services=(), identities={})


def write_run_state(path: Path, state: RunState) -> None:
    """Replace the file in one step. Only the owner may read it: it holds the password of Redis."""
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(asdict(state), file, default=datetime.isoformat, indent=1)
    temporary.replace(path)


def read_run_state(path: Path) -> RunState:
    """Read the file; where there is none, or not one of ours, the answer is an empty state."""
    try:
        return _from_json(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        return RunState()


def _from_json(data: dict[str, Any]) -> RunState:
    holder, services, identities = data.pop("holder"), data.pop("services"), data.pop("identities")
    return RunState(
        holder=Holder(**{**holder, "since": datetime.fromisoformat(holder["since"])}) if holder else None,
        services=tuple(ServiceState(**{**service, "since": _moment(service["since"])}) for service in services),
        identities={int(pid): known for pid, known in identities.items()},
        **data,
    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
