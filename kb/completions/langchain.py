"""Models of other providers, through LangChain's `init_chat_model` where its packages are installed.

Their replies become the same events as those of OpenAI-compatible servers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from importlib import import_module
from typing import Any

from cachetools import LRUCache
from pydantic import ValidationError

from kb.completions.images import with_images
from kb.completions.pieces import Usage
from kb.completions.reading import DONE, Event
from kb.errors import (
    KbError,
    ModelPackageMissing,
    ModelRefused,
    ModelStreamBroken,
    ModelTimeout,
    ModelUnreachable,
)
from kb.llm import ChatModel
from kb.prompts import ChatMessage
from kb.providers import NO_KEY, PRESETS, error_of_reply, shorten
from kb.providers.packages import missing_packages

MOST_MODELS = 64  # that are kept: each combination of a model and its settings is one
_FINISH = ("finish_reason", "stop_reason", "stopReason", "done_reason")
# In Google's and Anthropic's words; others use OpenAI's.
_ENDS = {"end_turn": "stop", "stop_sequence": "stop", "safety": "content_filter", "refusal": "content_filter"}
_KEYED = {preset.langchain for preset in PRESETS.values() if preset.langchain and preset.needs_key}


class LangChainModels:
    """Builds the models, and keeps the latest with their connections."""

    def __init__(self) -> None:
        self._built: LRUCache[ChatModel, Any] = LRUCache(MOST_MODELS)

    async def ask(
        self, model: ChatModel, messages: Sequence[ChatMessage], images: Sequence[str], timeout_seconds: float
    ) -> AsyncIterator[Event]:
        """The events of the answer; `timeout_seconds` is for each. Errors: `ModelError`."""
        has_begun = False
        try:
            built = self._built.get(model)
            if built is None:
                built = self._built[model] = await asyncio.to_thread(_build, model)
            used = Usage(0, 0)
            finish = ""
            # It takes OpenAI's form of images, and gives each provider its own.
            sent: list[Any] = with_images(messages, images) if images else list(messages)
            async with aclosing(built.astream(sent)) as chunks:
                while True:
                    async with asyncio.timeout(timeout_seconds):
                        chunk = await anext(chunks, None)
                    if chunk is None:
                        break
                    has_begun = True
                    used = _counted(used, chunk)
                    finish = _finish(chunk) or finish
                    for event in _said(chunk):
                        yield event
            yield Event(finish=finish or DONE, usage=used if used != Usage(0, 0) else None)
        except Exception as error:
            raise _translated(error, model, timeout_seconds, has_begun) from error


def _build(model: ChatModel) -> Any:
    """Import the provider's package, which may take seconds, and build the model."""
    if model.guard:
        model.guard.check_langchain(model.base_url, model.langchain)
    if command := missing_packages(model.langchain):
        raise ModelPackageMissing(host=model.host, model=model.name, command=command)
    settings, key = model.settings, model.key.get_secret_value()
    if (model.base_url or model.guard) and model.langchain in _KEYED:
        key = key or NO_KEY  # else the package takes the key that it finds in the environment, for whoever asks
    options = {
        "api_key": key,
        "base_url": model.base_url,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "max_tokens": settings.max_tokens,
    }
    given = {name: value for name, value in options.items() if value not in ("", None)}
    chat_models = import_module("langchain.chat_models")
    return chat_models.init_chat_model(model.name, model_provider=model.langchain, **given)


def _said(chunk: Any) -> Iterator[Event]:
    for block in chunk.content_blocks:
        if block.get("type") == "text" and block.get("text"):
            yield Event(text=block["text"])
        elif block.get("type") == "reasoning" and block.get("reasoning"):
            yield Event(reasoning=block["reasoning"])
        elif block.get("type") == "non_standard":  # a provider that LangChain does not name in its chunks
            thought = block["value"].get("thinking")
            if isinstance(thought, str) and thought:
                yield Event(reasoning=thought)


def _counted(before: Usage, chunk: Any) -> Usage:
    """Each chunk counts what is new in it."""
    more = chunk.usage_metadata or {}
    return Usage(before.input_tokens + more.get("input_tokens", 0), before.output_tokens + more.get("output_tokens", 0))


def _finish(chunk: Any) -> str:
    metadata: Mapping[str, object] = chunk.response_metadata
    reason = next((str(metadata[name]) for name in _FINISH if metadata.get(name)), "").lower()
    return _ENDS.get(reason, reason)


def _translated(error: Exception, model: ChatModel, timeout_seconds: float, has_begun: bool) -> KbError:
    """Our error for one of the provider's package, by its status or by its name, since each has classes of its own."""
    if isinstance(error, KbError):
        return error
    key = model.key.get_secret_value()
    causes = [error, error.__cause__ or error.__context__]
    names = {kind.__name__ for cause in causes if cause for kind in type(cause).__mro__}
    for cause in causes:
        for owner, name in ((cause, "status_code"), (getattr(cause, "response", None), "status_code"), (cause, "code")):
            status = getattr(owner, name, None)
            if isinstance(status, int) and 400 <= status < 600:
                body = getattr(cause, "body", None) or str(cause)
                return error_of_reply(status, body, model.name, model.host, key=key)
    if any("Timeout" in name for name in names):
        return ModelTimeout(host=model.host, model=model.name, seconds=f"{timeout_seconds:g}")
    if any("Connect" in name or name in ("TransportError", "OSError") for name in names):
        return (ModelStreamBroken if has_begun else ModelUnreachable)(host=model.host, model=model.name)
    said = str(error)
    if isinstance(error, ValidationError):  # such as a missing key; its text shows what was given
        said = "; ".join(each["msg"] for each in error.errors(include_input=False))
    return ModelRefused(host=model.host, model=model.name, detail=shorten(f"{type(error).__name__}: {said}", key))
