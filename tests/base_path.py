"""The app below a path of its host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from streamlit import config

OPTION = "server.baseUrlPath"


@contextmanager
def below(path: str) -> Iterator[None]:
    """Routes that are made in here are below `path`, as are the addresses of pages."""
    before = config.get_option(OPTION)
    config.set_option(OPTION, path)
    try:
        yield
    finally:
        config.set_option(OPTION, before)
