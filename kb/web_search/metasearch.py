"""Search engines that need no key: the pages they show to people, as the library ddgs reads them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from kb.deadlines import within
from kb.errors import N_, NoWebResults, WebSearchError, WebSearchTimeout
from kb.web_search.engine import CHECK_QUERY
from kb.web_search.results import WebResult, clean_query, clean_results

if TYPE_CHECKING:
    from kb.web_search.scraping import Scraper

AUTOMATIC = "ddgs"  # the id of the engine that asks several in turn
BACKENDS = {
    "bing": "Bing",
    "duckduckgo": "DuckDuckGo",
    "brave": "Brave",
    "startpage": "Startpage",
    "mojeek": "Mojeek",
    "yahoo": "Yahoo",
    "wikipedia": "Wikipedia",
}
# Whom to ask where none is chosen: independent indexes, until one has results. In China only Bing is reachable.
_IN_TURN = ("duckduckgo", "brave", "startpage")
_IN_TURN_CHINESE = ("bing", "duckduckgo", "brave")


class Metasearch:
    """Asks one backend, or several in turn (`backend` is empty) until one has results.

    Not through `DDGS.text`: it answers “No results found” whether a backend found nothing or blocked us, and asks all
    of them where the chosen one (Bing, at present) is switched off there.
    """

    setting = ""
    is_configured = True

    def __init__(
        self, backend: str, timeout_seconds: float, find_scraper: Callable[[str], Scraper] | None = None
    ) -> None:
        self.id = f"{AUTOMATIC}:{backend}" if backend else AUTOMATIC
        self.label = BACKENDS[backend] if backend else N_("Automatic (no key needed)")
        self._backend = backend
        self._timeout_seconds = timeout_seconds
        self._find_scraper = find_scraper

    def search(self, query: str, count: int, language: str) -> Sequence[WebResult]:
        if not (cleaned := clean_query(query)):
            raise NoWebResults(engine=self.label)
        names = [self._backend] if self._backend else _in_turn(language)
        deadline = time.monotonic() + self._timeout_seconds
        failures: list[WebSearchError] = []
        for position, name in enumerate(names):
            # One that hangs leaves an equal share to each of those behind it; one that fails at once leaves it all.
            share = (deadline - time.monotonic()) / (len(names) - position)
            try:
                return self._ask(name, cleaned, count, language, share)
            except WebSearchError as error:
                failures.append(error)
        # That one was blocked is what the user can do something about, even if another one found nothing.
        for failure in failures:
            if not isinstance(failure, NoWebResults):
                raise failure
        raise NoWebResults(engine=", ".join(BACKENDS[name] for name in names))

    def check(self) -> WebResult:
        return self.search(CHECK_QUERY, 1, "en")[0]

    def _ask(self, name: str, query: str, count: int, language: str, seconds: float) -> Sequence[WebResult]:
        """Errors: `WebSearchError`."""
        from kb.web_search.scraping import find_scraper, scrape

        scraper = (self._find_scraper or find_scraper)(name)
        label = BACKENDS[name]
        try:
            found = within(seconds, lambda: scrape(scraper, label, query, language, seconds))
        except TimeoutError as error:
            raise WebSearchTimeout(engine=label, seconds=f"{seconds:.3g}") from error
        results = clean_results(found, count)
        if not results:
            raise NoWebResults(engine=label)
        return results


def _in_turn(language: str) -> Sequence[str]:
    return _IN_TURN_CHINESE if language.startswith("zh") else _IN_TURN
