"""How many chunks are embedded and stored at a time."""

from __future__ import annotations

BATCH_SECONDS = 1.0  # so that a cancel is noticed soon, and progress can be seen
FIRST_BATCH_CHUNKS = 8
MAX_BATCH_CHUNKS = 64


class Pace:
    """Batches that take about a second, by embedding model: the speed of models differs by a factor of a hundred.

    Safe to share among threads; what they do at the same time slows all of them down, so each learns from all.
    """

    def __init__(self) -> None:
        self._chunks: dict[str, int] = {}

    def batch_of(self, model: str) -> int:
        return self._chunks.get(model, FIRST_BATCH_CHUNKS)

    def note(self, model: str, chunks: int, seconds: float) -> None:
        """Learn from a batch. The next one is at most twice as large: this one may have been embedded before."""
        fitting = round(chunks * BATCH_SECONDS / max(seconds, 0.001))
        self._chunks[model] = max(1, min(fitting, 2 * self.batch_of(model), MAX_BATCH_CHUNKS))
