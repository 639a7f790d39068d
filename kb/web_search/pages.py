"""Reads the pages that an engine found or a question names, side by side and within one time for all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import anyio
import anyio.to_thread
import structlog

from kb.columns import columns
from kb.errors import AddressHasPassword, Cancelled, FetchError, KbError, PageBroken, PageTooSlow, PageWithoutText
from kb.fetching import Fetcher, PageReader
from kb.fetching.addresses import show_address
from kb.models import ParsedDocument
from kb.web_search.passages import ReadPage, host_of
from kb.web_search.results import WebResult, plain_text

_LOOK_SECONDS = 0.05

log = structlog.get_logger()

OnRead = Callable[[ReadPage, int], None]  # the page, and how many are done


@dataclass(frozen=True, slots=True)
class PageLimits:
    """How long reading all pages may take. When half of them are read, the others have `grace_seconds` left."""

    total_seconds: float = 12.0
    grace_seconds: float = 3.0


@dataclass(frozen=True, slots=True)
class LoadedPage:
    """What became of a page, and its main text; None if it could not be read."""

    page: ReadPage
    document: ParsedDocument | None = None


class WebPages:
    """Loads pages with a `Fetcher` and reads them with a `PageReader`. Safe to share among threads."""

    def __init__(self, fetcher: Fetcher, reader: PageReader, limits: PageLimits) -> None:
        self._fetcher = fetcher
        self._reader = reader
        self._limits = limits

    def prepare(self) -> None:
        """Start the process that reads pages, in the background: it takes as long as a search."""
        threading.Thread(target=self._start_reader, name="page-reader-start", daemon=True).start()

    def _start_reader(self) -> None:
        with suppress(KbError):  # the first page says why
            self._reader.start()

    def read(
        self,
        results: Sequence[WebResult],
        on_read: OnRead,
        is_cancelled: Callable[[], bool],
        are_all_wanted: bool = False,
    ) -> list[LoadedPage]:
        """What became of each result's page, in the order of `results`. Not for coroutines: it blocks.

        If `are_all_wanted`, slow pages have the whole time, however many are read before them.
        A page that cannot be read has its reason, and fails nothing else. Errors: `Cancelled`.
        """
        limits = self._limits
        limits = replace(limits, grace_seconds=limits.total_seconds) if are_all_wanted else limits
        batch = _Batch(results, on_read, limits)
        try:
            anyio.run(self._read_all, batch, is_cancelled)
        finally:
            batch.is_over.set()
        if batch.was_cancelled:
            raise Cancelled
        return [
            batch.loaded.get(place) or unread(result, self._late(result, batch)) for place, result in enumerate(results)
        ]

    async def _read_all(self, batch: _Batch, is_cancelled: Callable[[], bool]) -> None:
        async with anyio.create_task_group() as group:
            for place, result in enumerate(batch.results):
                group.start_soon(self._read_one, batch, place, result)
            while not (batch.is_complete or batch.is_late()):
                if is_cancelled():
                    batch.was_cancelled = True
                    break
                await anyio.sleep(_LOOK_SECONDS)
            group.cancel_scope.cancel()

    async def _read_one(self, batch: _Batch, place: int, result: WebResult) -> None:
        try:
            fetched = await self._fetcher.load(result.address)
            # Reading goes on in its thread when the time is over; `is_over` ends it there.
            document = await anyio.to_thread.run_sync(
                self._reader.read, fetched, batch.is_over.is_set, abandon_on_cancel=True
            )
            if columns(document.text) < columns(result.snippet):
                # A page that is drawn by a script, or a notice in place of the page.
                raise PageWithoutText(address=show_address(fetched.address))
            title = plain_text(document.title, limit=255) or result.title
            page = ReadPage(fetched.address, title, fetched.fetched_at, result.published, result.snippet)
            loaded = LoadedPage(page, document)
        except KbError as error:
            loaded = unread(result, error)
        except Exception as error:  # a defect costs this page, not the answer
            log.exception("web_page.defect", address=show_address(result.address))
            loaded = unread(result, PageBroken(address=show_address(result.address), detail=type(error).__name__))
        batch.take(place, loaded)

    def _late(self, result: WebResult, batch: _Batch) -> FetchError:
        return PageTooSlow(host=host_of(result.address), seconds=f"{batch.seconds:.2g}")


def unread(result: WebResult, error: KbError) -> LoadedPage:
    """A page that could not be read."""
    page = ReadPage(
        show_address(result.address) if isinstance(error, AddressHasPassword) else result.address,
        result.title,
        published=result.published,
        snippet=result.snippet,
        error=error.code,
        error_values=error.values,
    )
    return LoadedPage(page)


@dataclass(slots=True)
class _Batch:
    """The pages of one question, and what became of them so far."""

    results: Sequence[WebResult]
    on_read: OnRead
    limits: PageLimits
    loaded: dict[int, LoadedPage] = field(default_factory=dict)
    is_over: threading.Event = field(default_factory=threading.Event)
    was_cancelled: bool = False
    seconds: float = 0.0  # that reading took
    _began: float = field(default_factory=time.monotonic)
    _half_read_at: float = 0.0

    @property
    def is_complete(self) -> bool:
        return len(self.loaded) == len(self.results)

    def take(self, place: int, loaded: LoadedPage) -> None:
        self.loaded[place] = loaded
        read = sum(each.page.is_read for each in self.loaded.values())
        if not self._half_read_at and 2 * read >= len(self.results):
            self._half_read_at = time.monotonic()
        self.on_read(loaded.page, len(self.loaded))

    def is_late(self) -> bool:
        now = time.monotonic()
        self.seconds = now - self._began
        has_waited = bool(self._half_read_at) and now - self._half_read_at > self.limits.grace_seconds
        return has_waited or self.seconds > self.limits.total_seconds
