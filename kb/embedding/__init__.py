"""Texts → vectors: the built-in models, an OpenAI-compatible endpoint, or FastEmbed models."""

from kb.embedding.fetching import ModelState, ModelStatus
from kb.embedding.model import EmbeddingCache, EmbeddingModel, Vectors, embedded_text, require_same
from kb.embedding.models import OF_PROVIDER, EmbeddingModels, full_name, provider_of

__all__ = [
    "OF_PROVIDER",
    "EmbeddingCache",
    "EmbeddingModel",
    "EmbeddingModels",
    "ModelState",
    "ModelStatus",
    "Vectors",
    "embedded_text",
    "full_name",
    "provider_of",
    "require_same",
]
