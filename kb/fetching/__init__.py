"""The only way to load an address that a user or a page named: public hosts, pinned and bounded.

`Fetcher` loads it, `PageReader` reads what it says.
"""

from kb.fetching.client import FetchedPage, Fetcher
from kb.fetching.limits import FetchLimits
from kb.fetching.reader import PageReader

__all__ = ["FetchLimits", "FetchedPage", "Fetcher", "PageReader"]
