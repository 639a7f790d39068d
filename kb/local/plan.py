"""What the web process asks its supervisor to run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Plan:
    """The folder, the services without a configured URL, and how to start them.

    An empty `redis_server` or a false `milvus` means that its URL is configured and used as given. The plan goes
    through the supervisor's standard input, never its command line: URLs may hold passwords.
    """

    home: str
    web_pid: int
    milvus: bool
    redis_server: str
    worker_command: tuple[str, ...]
    milvus_uri: str = ""
    redis_url: str = ""
    database_url: str = ""

    @property
    def service_names(self) -> tuple[str, ...]:
        """In the order of their start. No worker from elsewhere could reach an embedded Milvus or Redis."""
        wanted = {"milvus": self.milvus, "redis": bool(self.redis_server)}
        services = tuple(name for name, is_wanted in wanted.items() if is_wanted)
        return (*services, "worker") if services else ()

    @property
    def database_digest(self) -> str:
        """Tells databases apart, and holds no password; empty for the one in the folder."""
        return hashlib.sha256(self.database_url.encode()).hexdigest() if self.database_url else ""

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
    """Where things are below the home folder."""

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

    def create(self) -> None:
        """Make them all. `run` is the owner's alone, since it holds the password of Redis."""
        for folder in (self.home, self.redis, self.milvus, self.home / "logs"):
            folder.mkdir(parents=True, exist_ok=True)
        self.run.mkdir(mode=0o700, exist_ok=True)
