"""A small embedding model: a hashed bag of words. It gives the same vectors in every process and loads nothing."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence

import numpy as np

from kb.config import Settings
from kb.embedding.model import DENSE_WEIGHT, EmbeddingModel, Vectors, normalised
from kb.embedding.models import build_embedding_model

DIMENSION = 32
_WORD = re.compile(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+")


class HashedWords:
    """Texts with common words have close vectors. `before_batch`, if set, runs before each batch of documents."""

    name = "test"
    dimension = DIMENSION
    scripts: frozenset[str] | None = frozenset({"latin"})
    dense_weight = DENSE_WEIGHT
    is_remote = False

    def __init__(self) -> None:
        self.before_batch: Callable[[Sequence[str]], object] | None = None
        self.batches: list[list[str]] = []

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        if self.before_batch:
            self.before_batch(texts)
        self.batches.append(list(texts))
        return normalised([embed_words(text) for text in texts])

    def embed_question(self, text: str) -> Vectors:
        return normalised(embed_words(text))


def embed_words(text: str) -> Vectors:
    vector = np.zeros(DIMENSION, dtype=np.float32)
    for word in _WORD.findall(text.lower()) or [text]:
        digest = hashlib.blake2b(word.encode("utf-8", "ignore"), digest_size=2).digest()
        vector[digest[0] % DIMENSION] += 1.0 if digest[1] & 1 else -1.0
    return vector


def with_test_model(model: HashedWords) -> Callable[[str, Settings, int], EmbeddingModel]:
    """A `build_embedding_model` that knows `model`, too."""
    return lambda name, settings, threads: (
        model if name == model.name else build_embedding_model(name, settings, threads)
    )
