"""What a model server sends → events, in all the forms that servers give them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from kb.completions.pieces import Usage
from kb.llm import ChatModel
from kb.providers import error_of_reply, not_json, words_of

WHOLE_REPLY_BYTES = 4_000_000  # the longest reply that is read if the server does not stream, and the longest event
MOST_TOKENS = 2**53  # a larger count is nonsense, which neither SQL nor JSON takes
DRAIN_SECONDS = 0.2
DONE = "[DONE]"
_REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_details", "thinking")
_FIELD = re.compile(r"(?:data|event|id|retry)?:")


@dataclass(frozen=True, slots=True)
class Event:
    text: str = ""
    reasoning: str = ""
    finish: str = ""  # why the answer ends; empty while it goes on
    usage: Usage | None = None


async def read_events(chunks: AsyncIterator[bytes], model: ChatModel) -> AsyncIterator[Event]:
    """The events of a stream; or the one of a server that answers with a whole JSON object.

    A stream is told by its lines, because some servers give it a wrong content type. Errors: `ModelError`;
    `JSONDecodeError` for an event that is cut off.
    """
    whole: list[str] = []
    size, is_stream = 0, False
    async for line in _lines(chunks):
        if not is_stream and not _FIELD.match(line):
            size += len(line)
            if size > WHOLE_REPLY_BYTES:
                break
            whole.append(line)
            continue
        is_stream = True
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == DONE:
            yield Event(finish=DONE)
            # What is left of the reply has to be read before the connection can serve another request.
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_SECONDS):
                    async for _ in chunks:
                        pass
            return
        if data:
            yield _read_event(json.loads(data), model)
    if not is_stream and "".join(whole).strip():
        try:
            reply = json.loads("\n".join(whole))
        except json.JSONDecodeError:
            raise not_json(model.name, model.host) from None
        event = _read_event(reply, model)
        if event == Event():
            raise not_json(model.name, model.host)
        yield replace(event, finish=event.finish or DONE)


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Lines that end in LF or CRLF, up to one that is longer than any real one.

    JSON may hold other line separators of Unicode, so `splitlines` does not do.
    """
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode("utf-8", "replace").rstrip("\r")
        if len(rest) > WHOLE_REPLY_BYTES:
            break
    if rest:
        yield rest.decode("utf-8", "replace").rstrip("\r")


def _read_event(data: object, model: ChatModel) -> Event:
    """A chunk, or a whole reply, of chat completions; or an event of OpenAI's Responses. Errors: `ModelError`."""
    if not isinstance(data, Mapping):
        raise not_json(model.name, model.host)
    # The second is vLLM's way to report an error, the third FastChat's.
    if data.get("error") or data.get("object") == "error" or data.get("error_code"):
        raise error_of_reply(0, data, model.name, model.host)
    if str(data.get("type", "")).startswith(("response.", "error")):
        return _read_responses_event(data, model)
    if data.get("choices") is None and words_of(data):  # MiniMax sends null beside its `base_resp`
        raise error_of_reply(0, data, model.name, model.host)
    choice = _first(data.get("choices"))
    # Some servers send the whole message so far beside each delta, also beside an empty one.
    parts = (choice.get(name) for name in ("delta", "message"))
    part = next((part for part in parts if isinstance(part, Mapping)), {})
    reasoning = next((text for name in _REASONING_FIELDS if (text := _plain(part.get(name), thinking=True))), "")
    content = part.get("content")
    return Event(
        text=_plain(content) or _plain(part.get("refusal")),
        reasoning=reasoning or (_plain(content, thinking=True) if isinstance(content, list) else ""),
        finish=_reason(choice.get("finish_reason")),
        usage=_usage(data.get("usage")) or _usage(choice.get("usage")),  # the second is Moonshot's place
    )


def _first(choices: object) -> Mapping[str, Any]:
    """The first choice; an empty one where there is none, as in events that only count tokens."""
    return _mapping(choices[0]) if isinstance(choices, list) and choices else {}


def _mapping(value: object) -> Mapping[str, Any]:
    """An object of JSON; an empty one for any other value."""
    return value if isinstance(value, Mapping) else {}


def _reason(value: object) -> str:
    """A reason to finish in one spelling: gateways to Google's models send MAX_TOKENS and `content_filter: SAFETY`."""
    reason = str(value or "").lower().partition(":")[0].strip()
    return "" if reason == "null" else reason


def _usage(value: object) -> Usage | None:
    """The count of tokens, under the names of chat completions or of Responses."""
    if not isinstance(value, Mapping):
        return None
    numbers = [
        value.get(old) if value.get(old) is not None else value.get(new)
        for old, new in (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens"))
    ]
    if not any(isinstance(number, int) for number in numbers):
        return None
    given, made = (number if isinstance(number, int) and number <= MOST_TOKENS else 0 for number in numbers)
    return Usage(given, made)


def _plain(value: object, thinking: bool = False) -> str:
    """The text of a string or of a list of typed parts: those that are `thinking`, or those that are not."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        return ""
    texts = []
    for part in value:
        if isinstance(part, Mapping):
            is_thinking = str(part.get("type", "")).startswith(("thinking", "reasoning"))
            inner = part.get("text") or part.get("thinking") or part.get("summary")
            if is_thinking is thinking:
                texts.append(inner if isinstance(inner, str) else _plain(inner))
    return "".join(texts)


def _read_responses_event(data: Mapping[str, Any], model: ChatModel) -> Event:
    kind, response = data["type"], _mapping(data.get("response"))
    match kind:
        case "error" | "response.failed":
            raise error_of_reply(0, response.get("error") or data, model.name, model.host)
        case "response.output_text.delta" | "response.refusal.delta":
            return Event(text=_plain(data.get("delta")))
        case "response.reasoning_text.delta" | "response.reasoning_summary_text.delta":
            return Event(reasoning=_plain(data.get("delta")))
        case "response.completed":
            return Event(finish="stop", usage=_usage(response.get("usage")))
        case "response.incomplete":
            reason = _mapping(response.get("incomplete_details")).get("reason")
            return Event(finish=str(reason or "length"), usage=_usage(response.get("usage")))
    return Event()
