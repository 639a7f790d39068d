"""Texts → vectors: a built-in model, an OpenAI-compatible endpoint, or a FastEmbed model."""

from __future__ import annotations

from kb.config import Settings
from kb.embedding.builtin import BUILTIN_MODELS, BuiltinModel, ensure_model, model_status
from kb.embedding.fetching import ModelState, ModelStatus
from kb.embedding.model import EmbeddingCache, EmbeddingModel, Vectors, require_same
from kb.errors import N_, SetupError

__all__ = [
    "EmbeddingCache",
    "EmbeddingModel",
    "ModelState",
    "ModelStatus",
    "Vectors",
    "build_embedding_model",
    "ensure_model",
    "model_status",
    "require_same",
]


def build_embedding_model(settings: Settings, threads: int) -> EmbeddingModel:
    """The model that `settings.embedding_model` names. It loads, and connects to, nothing before its first use.

    Raises `SetupError` for an unknown name.
    """
    if builtin := BUILTIN_MODELS.get(settings.embedding_model):
        return BuiltinModel(builtin, settings, threads)
    kind, _, name = settings.embedding_model.partition(":")
    if kind == "openai" and name:
        return _openai_model(settings, name)
    if kind == "fastembed" and name:
        from kb.embedding.fastembed import FastEmbedModel

        return FastEmbedModel(name, settings.models / "fastembed", threads)
    raise SetupError(
        N_("Unknown EMBEDDING_MODEL “{model}”."),
        N_("Use builtin, openai:<name>, or fastembed:<name or local folder>."),
        model=settings.embedding_model,
    )


def _openai_model(settings: Settings, name: str) -> EmbeddingModel:
    from kb.embedding.openai import OpenAIModel

    base_url = settings.embedding_base_url or settings.openai_base_url
    key = settings.embedding_api_key if settings.embedding_api_key.get_secret_value() else settings.openai_api_key
    if not base_url and not key.get_secret_value():
        raise SetupError(
            N_("EMBEDDING_MODEL is {model}, but no API key and no base URL are set."),
            N_("Set EMBEDDING_API_KEY (or OPENAI_API_KEY), or EMBEDDING_BASE_URL for a server of your own."),
            model=settings.embedding_model,
        )
    return OpenAIModel(name, key, base_url, settings.llm_timeout_seconds)
