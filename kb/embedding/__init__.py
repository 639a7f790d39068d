"""Texts → vectors: the built-in model, an OpenAI-compatible endpoint, or a FastEmbed model."""

from __future__ import annotations

from kb.config import Settings
from kb.embedding.builtin import BuiltinModel, ensure_model
from kb.embedding.cache import EmbeddingCache
from kb.embedding.model import EmbeddingModel, Vectors
from kb.embedding.status import ModelState, ModelStatus, model_status
from kb.errors import SetupError

__all__ = [
    "EmbeddingCache",
    "EmbeddingModel",
    "ModelState",
    "ModelStatus",
    "Vectors",
    "build_embedding_model",
    "ensure_model",
    "model_status",
]


def build_embedding_model(settings: Settings, threads: int) -> EmbeddingModel:
    """The model that `settings.embedding_model` names; nothing is loaded or asked before its first use.

    Raises `SetupError` for a name that means nothing here.
    """
    kind, _, name = settings.embedding_model.partition(":")
    if settings.embedding_model == "builtin":
        return BuiltinModel(settings, threads)
    if kind == "openai" and name:
        return _openai_model(settings, name)
    if kind == "fastembed" and name:
        from kb.embedding.fastembed import FastEmbedModel

        return FastEmbedModel(name, settings.models / "fastembed", threads)
    raise SetupError(
        problem=f"EMBEDDING_MODEL is “{settings.embedding_model}”, which is no model.",
        solution="Use builtin, openai:<name>, or fastembed:<name or local folder>.",
    )


def _openai_model(settings: Settings, name: str) -> EmbeddingModel:
    from kb.embedding.openai import OpenAIModel

    base_url = settings.embedding_base_url or settings.openai_base_url
    key = settings.embedding_api_key if settings.embedding_api_key.get_secret_value() else settings.openai_api_key
    if not base_url and not key.get_secret_value():
        raise SetupError(
            problem=f"EMBEDDING_MODEL is {settings.embedding_model}, but no API key and no base URL are set.",
            solution="Set EMBEDDING_API_KEY (or OPENAI_API_KEY), or EMBEDDING_BASE_URL for a server of your own.",
        )
    return OpenAIModel(name, key, base_url, settings.llm_timeout_seconds)
