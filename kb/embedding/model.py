"""The protocol of embedding models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kb.errors import EmbeddingMismatch
from kb.models import KnowledgeBase

Vectors = NDArray[np.float32]


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

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """(n, dimension), in the order of `texts`."""

    def embed_question(self, text: str) -> Vectors:
        """(dimension,)"""


def require_same(knowledge_base: KnowledgeBase, model: str, dimension: int | None = None) -> None:
    """Raise `EmbeddingMismatch` unless the knowledge base was built with `model`, and this dimension if known.

    The length matters, because another server may offer a different model under the same name.
    """
    if model != knowledge_base.embedding_model:
        raise EmbeddingMismatch(stored=knowledge_base.embedding_model, configured=model)
    if dimension not in (None, knowledge_base.dimension):
        stored = f"{model} ({knowledge_base.dimension})"
        raise EmbeddingMismatch(stored=stored, configured=f"{model} ({dimension})")


def normalised(vectors: object) -> Vectors:
    """The rows as float32 of length 1; a zero row stays zero."""
    rows = np.asarray(vectors, dtype=np.float32)
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12), dtype=np.float32)


def encodable(text: str) -> str:
    """`text` without lone surrogates, which tokenizers and JSON endpoints reject."""
    return text if text.isascii() else text.encode("utf-8", "ignore").decode()
