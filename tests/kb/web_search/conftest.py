"""A server that imitates the search engines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.search_server import SearchServer


@pytest.fixture
def server() -> Iterator[SearchServer]:
    with SearchServer() as server:
        yield server
