"""Embedded services for the tests: real servers and a stub worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kb.errors import SetupError
from kb.local import LocalServices
from kb.local.redis_server import find_redis_server
from tests.kb.local.embedded_harness import Embedded
from tests.real_services import missing


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> str:
    try:
        return find_redis_server(tmp_path_factory.mktemp("redis"))
    except SetupError as error:
        missing(str(error))


@pytest.fixture
def embedded(tmp_path: Path, redis_server: str) -> Iterator[Embedded]:
    embedded = Embedded(tmp_path / "home")
    yield embedded
    embedded.end()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, redis_server: str) -> Iterator[tuple[Embedded, LocalServices]]:
    """Services that several tests read and none changes."""
    embedded = Embedded(tmp_path_factory.mktemp("running") / "home of two words")
    yield embedded, embedded.started()
    embedded.end()
