"""What an embedding model is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

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


def normalised(vectors: object) -> Vectors:
    """float32 rows of length 1; a zero row stays zero."""
    rows = np.asarray(vectors, dtype=np.float32)
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12), dtype=np.float32)


def encodable(text: str) -> str:
    """`text` without lone surrogates, which neither tokenizers nor JSON endpoints take."""
    return text if text.isascii() else text.encode("utf-8", "ignore").decode()
