"""The only way to load an address that a user or a page named: public hosts, pinned and bounded.

`Fetcher.fetch` loads it, `main_text` reads what it says.
"""

from kb.fetching.client import FetchedPage, Fetcher
from kb.fetching.limits import FetchLimits
from kb.fetching.main_text import main_text

__all__ = ["FetchLimits", "FetchedPage", "Fetcher", "main_text"]
