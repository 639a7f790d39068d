"""The vectors of recently embedded texts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from threading import Lock

import numpy as np
from cachetools import LRUCache

from kb.embedding.model import EmbeddingModel, Vectors

CAPACITY_BYTES = 16 << 20  # about 10,000 vectors of the built-in model


class EmbeddingCache:
    """Embeds the chunks of documents, except those that it has embedded recently.

    If a file is uploaded to another knowledge base, or again after a correction, only its new parts are embedded.
    Safe to share among threads; if two have the same text at the same time, both embed it.
    """

    def __init__(self, model: EmbeddingModel, capacity_bytes: int = CAPACITY_BYTES) -> None:
        self._model = model
        self._vectors: LRUCache[bytes, Vectors] = LRUCache(capacity_bytes, getsizeof=lambda vector: vector.nbytes)
        self._lock = Lock()

    @property
    def name(self) -> str:
        return self._model.name

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """(n, dimension), in the order of `texts`. Errors: the model's."""
        keys = [_key(text) for text in texts]
        with self._lock:
            known = {key: self._vectors[key] for key in keys if key in self._vectors}
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if new:
            vectors = self._model.embed_documents(list(new.values()))
            added = {
                key: vector.copy() for key, vector in zip(new, vectors, strict=True)
            }  # a view would keep the whole batch
            with self._lock:
                self._vectors.update(added)
            known |= added
        return np.stack([known[key] for key in keys])


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
