"""Texts → vectors: the built-in models, an OpenAI-compatible endpoint, or FastEmbed models."""

from kb.embedding.fetching import ModelState, ModelStatus
from kb.embedding.model import EmbeddingCache, EmbeddingModel, Vectors, require_same
from kb.embedding.models import EmbeddingModels, full_name

__all__ = [
    "EmbeddingCache",
    "EmbeddingModel",
    "EmbeddingModels",
    "ModelState",
    "ModelStatus",
    "Vectors",
    "full_name",
    "require_same",
]
