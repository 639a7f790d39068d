"""Sealing: Milvus collections that were written to are flushed, for many documents at once."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from threading import Lock

import structlog

from kb.errors import MilvusRefused, Unavailable
from kb.vectors import VectorStore

# About as many new chunks are searched by brute force while ingestion continues.
SEAL_CHUNKS = 500
# After sealing that failed; where the disk is full, each try costs Milvus Lite a restart.
SEAL_PAUSE_SECONDS = 60.0

log = structlog.get_logger()


class Sealing:
    """Until a collection is sealed, its new chunks are found as well, but by brute force on Milvus Lite.

    Doing it for each document would cost more than storing it. Safe to share among threads.
    """

    def __init__(self, vectors: VectorStore) -> None:
        self._vectors = vectors
        self._unsealed: Counter[str] = Counter()  # chunks by Milvus collection
        self._lock = Lock()
        self._not_before = 0.0  # by the monotonic clock

    def note(self, collection: str, chunks: int) -> None:
        with self._lock:
            self._unsealed[collection] += chunks
            self._unsealed += Counter()  # drops what is at zero

    def seal(self, *, is_idle: bool) -> None:
        """Flush what was written to, if there is a pause or enough was written."""
        if time.monotonic() < self._not_before:
            return
        with self._lock:
            due = {name: chunks for name, chunks in self._unsealed.items() if is_idle or chunks >= SEAL_CHUNKS}
        for collection, chunks in due.items():
            try:
                self._vectors.flush(collection)
            except Unavailable as error:
                log.warning("ingestion.not_sealed", collection=collection, reason=str(error))
                self._not_before = time.monotonic() + SEAL_PAUSE_SECONDS
                return  # all that is not sealed is tried again then
            self.note(collection, -chunks)
            with suppress(MilvusRefused):  # its knowledge base may have been deleted
                self._vectors.warm_up(collection)
