"""Providers that LangChain reaches: the packages that they need, and which of these are missing."""

from __future__ import annotations

from importlib import invalidate_caches
from importlib.util import find_spec

# By the name that `init_chat_model` has for the provider: those without an OpenAI-compatible endpoint of their own. Add
# others here and to the presets.
PACKAGES = {
    "anthropic": "langchain-anthropic",
    "google_genai": "langchain-google-genai",
    "google_vertexai": "langchain-google-vertexai",
    "mistralai": "langchain-mistralai",
    "bedrock_converse": "langchain-aws",
}


def missing_packages(provider: str) -> str:
    """The command that installs what this provider needs; empty if all of it is there."""
    invalidate_caches()
    wanted = ["langchain", PACKAGES[provider]]
    missing = [name for name in wanted if find_spec(name.replace("-", "_")) is None]
    return f"pip install {' '.join(missing)}" if missing else ""
