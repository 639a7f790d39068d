"""What a request for an answer may hold. What would change the answer and is not supported is refused, not ignored."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from kb.messages import Message, message_of
from kb.models import Role
from kb.providers.connection import Sampling
from web.openai_api.problems import unsupported

MOST_MESSAGES = 2_000
_TAKEN = frozenset(
    ("model", "messages", "stream", "stream_options", "temperature", "top_p", "max_tokens", "max_completion_tokens")
)
# They change nothing of an answer.
_IGNORED = frozenset(
    (
        "user",
        "metadata",
        "store",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "parallel_tool_calls",
    )
)
# What many programs send without wanting anything by it.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "stop": ([], ""),
}


class ChatMessage(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: str = ""

    @model_validator(mode="before")
    @classmethod
    def _refuse_tools(cls, given: Any) -> Any:
        if isinstance(given, dict):
            if given.get("role") in ("tool", "function"):
                raise unsupported(f"role {given['role']}")
            if given.get("tool_calls") or given.get("function_call"):
                raise unsupported("tool_calls")
        return given

    @field_validator("content", mode="before")
    @classmethod
    def _join_texts(cls, content: Any) -> Any:
        if content is None:
            return ""
        if not isinstance(content, list):
            return content
        texts = []
        for part in content:
            kind = part.get("type") if isinstance(part, dict) else None
            if kind not in ("text", "refusal"):
                raise unsupported(f"content of type {kind}")
            texts.append(str(part.get(kind) or ""))
        return "\n".join(texts)


class StreamOptions(BaseModel):
    include_usage: bool = False


class ChatRequest(BaseModel):
    model: str = Field(min_length=1, max_length=1_000)
    messages: list[ChatMessage] = Field(min_length=1, max_length=MOST_MESSAGES)
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _check_parameters(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        wanted = {name: value for name, value in given.items() if value is not None}
        for name, value in wanted.items():
            if name in _TAKEN or name in _IGNORED or value in _NEUTRAL.get(name, ()):
                continue
            raise unsupported(name, "only 1" if name == "n" else "")
        return wanted

    @field_validator("messages")
    @classmethod
    def _require_question(cls, messages: list[ChatMessage]) -> list[ChatMessage]:
        if messages[-1].role != "user" or not messages[-1].content.strip():
            raise ValueError("the last one has to be a question with the role “user”")
        return messages

    @property
    def question(self) -> str:
        return self.messages[-1].content

    @property
    def history(self) -> list[Message]:
        said = [each for each in self.messages[:-1] if each.role in ("user", "assistant")]
        return [message_of(Role(each.role), each.content, ordinal) for ordinal, each in enumerate(said)]

    @property
    def instructions(self) -> str:
        """What the system messages say."""
        texts = (each.content.strip() for each in self.messages if each.role in ("system", "developer"))
        return "\n\n".join(filter(None, texts))

    @property
    def sampling(self) -> Sampling:
        top_p = None if self.top_p == 1 else self.top_p  # many programs send 1 always, and some models take no other
        return Sampling(self.temperature, self.max_completion_tokens or self.max_tokens, top_p)
