"""LangChain and one provider's package, as far as they are asked: a chat model that streams what it is told to."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from types import ModuleType
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import UsageMetadata

ENDED: list[str] = []  # "closed" where a stream was left before its end


class Refusal(Exception):
    """As the packages of providers raise it."""

    def __init__(self, status_code: int, body: object) -> None:
        super().__init__(f"Error code: {status_code}")
        self.status_code, self.body = status_code, body


class FakeChat:
    """Its name says what it does: see `chunks_of`."""

    def __init__(self, model: str, **options: Any) -> None:
        self.model, self.options = model, options
        self.asked: list[tuple[str, str]] = []

    async def astream(self, messages: Sequence[tuple[str, str]]) -> AsyncIterator[AIMessageChunk]:
        self.asked = list(messages)
        try:
            for chunk in chunks_of(self.model):
                if isinstance(chunk, Exception):
                    raise chunk
                yield chunk
        except GeneratorExit:
            ENDED.append("closed")
            raise


def chunks_of(model: str) -> list[AIMessageChunk | Exception]:
    anthropic = {"model_provider": "anthropic"}
    counted: UsageMetadata = {"input_tokens": 12, "output_tokens": 0, "total_tokens": 12}
    match model:
        case "claude":
            return [
                AIMessageChunk(content="", usage_metadata=counted),
                AIMessageChunk(content=[{"type": "thinking", "thinking": "A leaf."}], response_metadata=anthropic),
                AIMessageChunk(content=[{"type": "text", "text": "Tea is "}], response_metadata=anthropic),
                AIMessageChunk(content=[{"type": "text", "text": "a drink."}], response_metadata=anthropic),
                AIMessageChunk(
                    content="",
                    response_metadata={"stop_reason": "end_turn"},
                    usage_metadata={"input_tokens": 0, "output_tokens": 5, "total_tokens": 5},
                ),
            ]
        case "cut-off":
            return [
                AIMessageChunk(content="Tea"),
                AIMessageChunk(content="", response_metadata={"stop_reason": "max_tokens"}),
            ]
        case "refused":
            return [Refusal(401, {"error": {"message": "invalid x-api-key"}})]
        case "lost":
            return [AIMessageChunk(content="Tea"), ConnectionError("reset")]
        case _:
            return [AIMessageChunk(content="Tea is a drink.")]


def install(monkeypatch: pytest.MonkeyPatch) -> list[FakeChat]:
    """Make both packages importable; returns the models that are built."""
    built: list[FakeChat] = []

    def init_chat_model(model: str, *, model_provider: str, **options: Any) -> FakeChat:
        built.append(FakeChat(model, model_provider=model_provider, **options))
        return built[-1]

    package, module = ModuleType("langchain"), ModuleType("langchain.chat_models")
    module.init_chat_model = init_chat_model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "langchain", package)
    monkeypatch.setitem(sys.modules, "langchain.chat_models", module)
    monkeypatch.setattr("kb.completions.langchain.missing_packages", lambda _provider: "")
    monkeypatch.setattr("kb.llm.missing_packages", lambda _provider: "")
    ENDED.clear()
    return built
