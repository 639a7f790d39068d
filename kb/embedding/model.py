"""The protocol of embedding models, and a cache of recently embedded texts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from threading import Lock
from typing import Protocol

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from kb.errors import EmbeddingMismatch
from kb.models import Chunk, KnowledgeBase

Vectors = NDArray[np.float32]


DENSE_WEIGHT = 0.3  # of models that we have not measured


class EmbeddingModel(Protocol):
    """Texts → L2-normalised float32 vectors. Safe to share among threads.

    A missing model raises `EmbeddingUnavailable` or a `ModelError` at first use. Questions fail within seconds;
    documents wait for a built-in model that is being downloaded.
    """

    @property
    def name(self) -> str:
        """As in EMBEDDING_MODEL; knowledge bases store it."""

    @property
    def dimension(self) -> int:
        """The length of the vectors; the first access may call the model."""

    @property
    def scripts(self) -> frozenset[str] | None:
        """The scripts that it knows, named as in `kb.lexical.foreign_share`; None means all."""

    @property
    def dense_weight(self) -> float:
        """The share of the dense route in the fused score that ranks best, as measured on question sets."""

    @property
    def is_remote(self) -> bool:
        """Whether each call is a request to another server, which may cost money."""

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """(n, dimension), in the order of `texts`."""

    def embed_question(self, text: str) -> Vectors:
        """(dimension,)"""


def require_same(knowledge_base: KnowledgeBase, model: str, dimension: int) -> None:
    """Raise `EmbeddingMismatch` unless the knowledge base was built with vectors of this model and dimension.

    The length matters, because another server may offer a different model under the same name.
    """
    stored = (knowledge_base.embedding_model, knowledge_base.dimension)
    if stored != (model, dimension):
        raise EmbeddingMismatch(
            stored=f"{knowledge_base.embedding_model} ({knowledge_base.dimension})", configured=f"{model} ({dimension})"
        )


def embedded_text(chunk: Chunk) -> str:
    """What the model sees of a chunk: its heading path belongs to its meaning."""
    return f"{chunk.heading}\n{chunk.text}" if chunk.heading else chunk.text


def normalised(vectors: object) -> Vectors:
    """The rows as float32 of length 1; a zero row stays zero."""
    rows = np.asarray(vectors, dtype=np.float32)
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12), dtype=np.float32)


def encodable(text: str) -> str:
    """`text` without lone surrogates, which tokenizers and JSON endpoints reject."""
    return text if text.isascii() else text.encode("utf-8", "ignore").decode()


CAPACITY_BYTES = 16 << 20  # about 10,000 vectors of a built-in model


class EmbeddingCache:
    """Embeds the chunks of documents, except those that the same model has embedded recently.

    If a file is uploaded to another knowledge base, or again after a correction, only its new parts are embedded.
    Safe to share among threads; if two have the same text at the same time, both embed it.
    """

    def __init__(self, capacity_bytes: int = CAPACITY_BYTES) -> None:
        self._vectors: LRUCache[bytes, Vectors] = LRUCache(capacity_bytes, getsizeof=lambda vector: vector.nbytes)
        self._lock = Lock()

    def embed_documents(self, model: EmbeddingModel, texts: Sequence[str]) -> Vectors:
        """(n, dimension), in the order of `texts`. Errors: the model's."""
        keys = [_key(model.name, text) for text in texts]
        with self._lock:
            known = {key: self._vectors[key] for key in keys if key in self._vectors}
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if new:
            vectors = model.embed_documents(list(new.values()))
            added = {
                key: vector.copy() for key, vector in zip(new, vectors, strict=True)
            }  # a view would keep the whole batch
            with self._lock:
                self._vectors.update(added)
            known |= added
        return np.stack([known[key] for key in keys])


def _key(model: str, text: str) -> bytes:
    return hashlib.sha256(f"{model}\0{text}".encode(errors="surrogatepass")).digest()
