"""Servers that imitate the search engines and the web, and a page reader for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kb.fetching import PageReader
from tests.conftest import MakeSettings
from tests.fakes.embedding import HashedWords
from tests.fakes.search_server import SearchServer
from tests.fakes.web_pages import WebPages
from tests.kb.web_search.web import Web


@pytest.fixture
def server() -> Iterator[SearchServer]:
    with SearchServer() as server:
        yield server


@pytest.fixture(scope="module")
def reader() -> Iterator[PageReader]:
    reader = PageReader()
    yield reader
    reader.close()


@pytest.fixture
def web(server: SearchServer, reader: PageReader, make_settings: MakeSettings, embedding: HashedWords) -> Iterator[Web]:
    with WebPages() as pages:
        yield Web(server, pages, reader, make_settings, embedding)
