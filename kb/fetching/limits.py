"""How much a fetch may take."""

from __future__ import annotations

from dataclasses import dataclass

from kb.parsing.media_types import PDF

# What `PageReader` reads.
PAGE_TYPES = frozenset(("text/html", "application/xhtml+xml", "text/plain", PDF))


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """`total_seconds` covers everything, redirects and names included; `silent_seconds` each wait for the server.

    `size` counts what the server sends, and also what that is when it is unpacked.
    """

    total_seconds: float = 20.0
    silent_seconds: float = 8.0
    connect_seconds: float = 5.0
    size: int = 5_000_000  # bytes
    redirects: int = 5
    media_types: frozenset[str] = PAGE_TYPES
