"""What is sent beside the messages, and what of it a server does not take."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kb.errors import ModelRefused
from kb.llm import ChatModel
from kb.prompts import ChatMessage
from kb.providers import error_of_reply, words_of

if TYPE_CHECKING:
    import openai

Options = dict[str, Any]

USAGE, LENGTH, NEW_LENGTH, TEMPERATURE = "stream_options", "max_tokens", "max_completion_tokens", "temperature"
TOP_P = "top_p"
_NAMES = {
    USAGE: re.compile(r"stream_options|include_usage"),
    LENGTH: re.compile(r"\bmax_tokens\b"),
    NEW_LENGTH: re.compile(r"max_completion_tokens"),
    TEMPERATURE: re.compile(r"\btemperature\b"),
    TOP_P: re.compile(r"\btop_p\b"),
}
# An option that is not taken at all, unlike a value out of range, which is for the user to correct.
_UNKNOWN = re.compile(
    r"unsupported|not? (?:longer )?support|unrecogni[sz]ed|unknown|unexpected|extra (?:inputs|fields)|not permitted"
    r"|not allowed|only the default|deprecated|不支持|未知",
    re.IGNORECASE,
)


class KnownOptions:
    """The options for each model, without those that its server refused before."""

    def __init__(self) -> None:
        self._refused: dict[tuple[str, str], frozenset[str]] = {}

    def of(self, model: ChatModel) -> Options:
        refused = self._refused.get(_key(model), frozenset())
        settings = model.settings
        length = NEW_LENGTH if LENGTH in refused else LENGTH
        wanted: Options = {
            USAGE: {"include_usage": True},
            TEMPERATURE: settings.temperature,
            TOP_P: settings.top_p,
            length: settings.max_tokens,
        }
        return {name: value for name, value in wanted.items() if value is not None and name not in refused}

    def without_refused(self, model: ChatModel, options: Options, error: openai.APIStatusError) -> Options | None:
        """What to ask again with after a refusal; None if the refusal is not about the options."""
        body = error.body or error.message
        if error.status_code not in (400, 422):
            return None
        if type(error_of_reply(error.status_code, body, model.name, model.host)) is not ModelRefused:
            return None  # about the key, the model or the length of the prompt
        words = f"{getattr(error, 'param', '') or ''} {words_of(body)}"
        named = [name for name in options if _NAMES[name].search(words)]
        if LENGTH in named and NEW_LENGTH in words:
            return _without(options, LENGTH) | {NEW_LENGTH: options[LENGTH]}
        if USAGE in named:
            return _without(options, USAGE)
        if named:
            return _without(options, *named) if _UNKNOWN.search(words) else None
        # Some servers refuse without a word of what they do not know.
        if USAGE in options and _key(model) not in self._refused:
            return _without(options, USAGE)
        return None

    def note_accepted(self, model: ChatModel, options: Options) -> None:
        """Remember what the server took, so that the next request does not begin with a refusal."""
        asked = self.of(model)
        self._refused[_key(model)] = self._refused.get(_key(model), frozenset()) | (asked.keys() - options.keys())


def with_system_prompt(messages: Sequence[ChatMessage], prompt: str) -> list[ChatMessage]:
    """The messages with a provider's own system prompt before ours: many servers take one system message only."""
    if not prompt:
        return list(messages)
    if messages and messages[0][0] == "system":
        return [("system", f"{prompt}\n\n{messages[0][1]}"), *messages[1:]]
    return [("system", prompt), *messages]


def _without(options: Options, *names: str) -> Options:
    return {name: value for name, value in options.items() if name not in names}


def _key(model: ChatModel) -> tuple[str, str]:
    return model.base_url, model.name
