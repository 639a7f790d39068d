"""The port of web search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kb.web_search.results import WebResult

CHECK_QUERY = "Wikipedia"  # every engine finds it in every language


class SearchEngine(Protocol):
    """A way to search the web.

    `id` is a `WebSearchEngine`. `label` is its name for pages, in English and marked for translation where it is no
    proper name. `setting` is the setting that it cannot do without, empty if there is none, and `is_configured` says
    whether that is set.
    """

    @property
    def id(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def setting(self) -> str: ...
    @property
    def is_configured(self) -> bool: ...

    def search(self, query: str, count: int, language: str) -> Sequence[WebResult]:
        """At least one result and at most `count`, the best first, within WEB_SEARCH_TIMEOUT_SECONDS.

        `language` is that of the question, as a code of the pages such as zh_CN; empty: another one. Errors:
        `WebSearchError`, which is `NoWebResults` when the engine answered and found nothing.
        """
        ...

    def check(self) -> WebResult:
        """Search once, which may cost as much as any other search, and return what was found. Errors: as `search`."""
        ...
