"""OpenAI-compatible servers, for chat and for embedding: where they are, what they are asked with, what they reply."""

from kb.providers.addresses import CONNECT_SECONDS, CUSTOM, NO_KEY, OPENAI_BASE_URL, PRESETS, Preset, host_of
from kb.providers.replies import error_of_reply, not_json, shorten, translate_openai_error, words_of

__all__ = [
    "CONNECT_SECONDS",
    "CUSTOM",
    "NO_KEY",
    "OPENAI_BASE_URL",
    "PRESETS",
    "Preset",
    "error_of_reply",
    "host_of",
    "not_json",
    "shorten",
    "translate_openai_error",
    "words_of",
]
