"""Reads fetched pages in a child process, so that a hostile page costs only a few seconds."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from kb.errors import (
    N_,
    Cancelled,
    FileTooLarge,
    MemoryShort,
    NeedsMemory,
    PageBroken,
    ParserCrashed,
    ParserKilled,
    ParsingTimeout,
    UnexpectedFailure,
)
from kb.fetching.addresses import show_address
from kb.fetching.client import FetchedPage
from kb.models import ParsedDocument
from kb.parsing.builder import joined
from kb.parsing.process import Limits, ParserProcess

_LOOK_SECONDS = 0.1  # how often one that waits for its turn looks whether it was cancelled


class PageReader:
    """One child, started at the first page. Several threads may share a reader; their pages are read in turn.

    One that is cancelled while it waits for its turn gives it up, so that the child is not stopped for nothing.
    """

    def __init__(self, memory_mb: int = 1024, timeout_seconds: float = 10.0) -> None:
        self._process = ParserProcess(memory_mb, module="kb.fetching.child")
        self._limits = Limits(timeout_seconds, timeout_seconds)
        self._turn = Lock()

    def start(self) -> None:
        """Start the child now, which takes a second or two, instead of at the first page."""
        self._process.start()

    def read(self, page: FetchedPage, is_cancelled: Callable[[], bool] = lambda: False) -> ParsedDocument:
        """The title and the main text of a page, with headings and tables.

        Raises `PageWithoutText`, `PageBroken` for a page that cannot be read, and `Cancelled`.
        """
        shown = show_address(page.address)
        with self._take_turn(is_cancelled), tempfile.NamedTemporaryFile(prefix="zhiwen-page-") as file:
            file.write(page.data)
            file.flush()
            media_type = f"{page.media_type};{page.charset}"
            try:
                parts = self._process.parse(Path(file.name), shown, media_type, self._limits, None, is_cancelled)
                return joined(parts)
            except ParsingTimeout as error:
                raise PageBroken(address=shown, detail=N_("reading it took too long")) from error
            except (FileTooLarge, NeedsMemory, ParserKilled, MemoryShort) as error:
                raise PageBroken(address=shown, detail=N_("it needs too much memory")) from error
            except (ParserCrashed, UnexpectedFailure) as error:
                raise PageBroken(address=shown, detail=N_("the program that reads it crashed")) from error

    @contextmanager
    def _take_turn(self, is_cancelled: Callable[[], bool]) -> Iterator[None]:
        while not self._turn.acquire(timeout=_LOOK_SECONDS):
            if is_cancelled():
                raise Cancelled
        try:
            if is_cancelled():
                raise Cancelled
            yield
        finally:
            self._turn.release()

    def close(self) -> None:
        """End the child; a later `read` starts a new one."""
        self._process.close()
