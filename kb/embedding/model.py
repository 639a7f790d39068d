"""What an embedding model is."""

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

    A model that is not there raises `EmbeddingUnavailable` or a `ModelError` at first use; a question within seconds,
    while documents wait for a built-in model that is on its way.
    """

    @property
    def name(self) -> str:
        """As in EMBEDDING_MODEL; a knowledge base stores it."""

    @property
    def dimension(self) -> int:
        """The vectors' length; finding it out may call the model once."""

    @property
    def scripts(self) -> frozenset[str] | None:
        """The scripts it knows, in the words of `kb.lexical.foreign_share`; `None`: any."""

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """(n, dimension), in the order of `texts`."""

    def embed_question(self, text: str) -> Vectors:
        """(dimension,)"""


def require_same(knowledge_base: KnowledgeBase, model: str, dimension: int | None = None) -> None:
    """Raise `EmbeddingMismatch` unless `model` (and the length of its vectors, if known) is the knowledge base's own.

    Behind another address, a model of the same name may be another one.
    """
    if model != knowledge_base.embedding_model:
        raise EmbeddingMismatch(stored=knowledge_base.embedding_model, configured=model)
    if dimension not in (None, knowledge_base.dimension):
        stored = f"{model} ({knowledge_base.dimension})"
        raise EmbeddingMismatch(stored=stored, configured=f"{model} ({dimension})")


def normalised(vectors: object) -> Vectors:
    """float32 rows of length 1; a zero row stays zero."""
    rows = np.asarray(vectors, dtype=np.float32)
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12), dtype=np.float32)


def encodable(text: str) -> str:
    """`text` without lone surrogates, which neither tokenizers nor JSON endpoints take."""
    return text if text.isascii() else text.encode("utf-8", "ignore").decode()
