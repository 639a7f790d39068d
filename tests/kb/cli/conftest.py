"""The command line in this process."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import structlog

from kb.audit import acting_from
from kb.cli import main
from kb.config import Settings
from tests.fakes.queue import RecordingQueue


@pytest.fixture(autouse=True)
def unchanged_process() -> Iterator[None]:
    """A command sets up logs and permissions for its process, which here goes on."""
    logs, umask = structlog.get_config(), os.umask(0)
    os.umask(umask)
    yield
    structlog.configure(**logs)
    os.umask(umask)
    acting_from("")


class ClosableQueue(RecordingQueue):
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ended]


@pytest.fixture
def zhiwen(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command: `zhiwen("doctor", "--json")`."""

    def run(*arguments: str) -> Ended:
        capsys.readouterr()
        code = main(arguments, lambda _settings: ClosableQueue())
        return Ended(code, *capsys.readouterr())

    return run


@pytest.fixture
def configured(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of `core`, in the environment, where a command finds them."""
    for name in ("zhiwen_home", "redis_url", "milvus_uri", "embedding_model"):
        monkeypatch.setenv(name.upper(), str(getattr(settings, name)))
    return settings
