"""A web server, and a fetcher that may load its pages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kb.fetching import Fetcher
from tests.fakes.web_pages import WebPages


@pytest.fixture
def web() -> Iterator[WebPages]:
    with WebPages() as server:
        yield server


@pytest.fixture
def fetcher(web: WebPages) -> Fetcher:
    return Fetcher(web.authority)
