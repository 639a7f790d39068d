"""Ask a chat model: its answer as a stream of text, with its reasoning kept apart.

Servers that call themselves OpenAI-compatible differ in how they stream, end and fail, so this module reads the reply
itself: `_events` takes apart what arrives, `_read_event` understands one event, `Thoughts` finds reasoning in the text.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kb.config import Settings
from kb.errors import N_, ModelStopped, ModelStreamBroken, ModelTimeout
from kb.llm import ChatModel
from kb.prompts import ChatMessage
from kb.providers import CONNECT_SECONDS, NO_KEY, error_of_reply, not_json, translate_openai_error, words_of

if TYPE_CHECKING:
    import openai

WHOLE_REPLY_BYTES = 4_000_000  # the longest reply that is read if the server does not stream
DRAIN_SECONDS = 0.2
DONE = "[DONE]"
_AT_LIMIT, _FILTERED, _GAVE_UP = N_("length limit reached"), N_("content filter"), N_("the server gave up")
# Reasons to finish that leave an answer incomplete: OpenAI's, and those that other servers have added.
_EARLY_ENDS = {
    "length": _AT_LIMIT,
    "max_tokens": _AT_LIMIT,
    "max_output_tokens": _AT_LIMIT,
    "model_length": _AT_LIMIT,
    "model_context_window_exceeded": _AT_LIMIT,
    "content_filter": _FILTERED,
    "sensitive": _FILTERED,
    "insufficient_system_resource": _GAVE_UP,
    "network_error": _GAVE_UP,
    "error": _GAVE_UP,
    "abort": _GAVE_UP,
}
_REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_details", "thinking")
_RESPONSES_ONLY = "v1/responses"  # OpenAI names this path when a model does not take chat completions
_FIELD = re.compile(r"(?:data|event|id|retry)?:")
_OPENINGS = ("<think>", "<thinking>", "<thought>", "<reasoning>")
_CLOSINGS = tuple(tag.replace("<", "</") for tag in _OPENINGS)


@dataclass(frozen=True, slots=True)
class TextPiece:
    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """What the model thinks before, or while, it answers."""

    text: str


@dataclass(frozen=True, slots=True)
class TextWasReasoning:
    """All text so far was reasoning: its closing tag came without an opening one."""


Piece = TextPiece | Reasoning | TextWasReasoning


def preload() -> None:
    """Import what a first answer needs: the OpenAI client takes half a second or more."""
    import openai
    import openai.resources.chat.completions  # noqa: F401


class ChatClient:
    """Asks chat models, and keeps the connections to their servers. Belongs to one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clients: dict[tuple[str, str], openai.AsyncOpenAI] = {}

    async def stream(self, model: ChatModel, messages: Sequence[ChatMessage]) -> AsyncIterator[Piece]:
        """The model's answer, piece by piece. Errors: `ModelError`."""
        await asyncio.to_thread(preload)  # an import on the event loop would hold up all other answers
        thoughts, reason, has_text = Thoughts(), "", False
        try:
            async for event in self._ask(model, messages):
                if event.finish and not (event.finish == DONE and reason):
                    reason = event.finish
                pieces = [Reasoning(event.reasoning)] if event.reasoning else []
                for piece in [*pieces, *thoughts.split(event.text)]:
                    has_text = _has_text(piece, has_text)
                    yield piece
        except Exception as error:
            translated = translate_openai_error(
                error,
                model.name,
                model.host,
                timeout_seconds=self._settings.llm_timeout_seconds,
                streaming=has_text,
            )
            # Some servers keep the connection open after the end of the answer.
            if not (reason and isinstance(translated, ModelTimeout)):
                raise translated from error
        for piece in thoughts.end():
            has_text = _has_text(piece, has_text)
            yield piece
        if not reason:
            # The server closed the connection in good order, but never said that the answer is complete.
            raise ModelStreamBroken(host=model.host, model=model.name)
        if reason in _EARLY_ENDS or not has_text:
            detail = _EARLY_ENDS.get(reason, N_("no text"))
            raise ModelStopped(host=model.host, model=model.name, detail=detail)

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()
        self._clients.clear()

    async def _ask(self, model: ChatModel, messages: Sequence[ChatMessage]) -> AsyncIterator[_Event]:
        import openai

        client = self._client_for(model)
        sent: Any = [{"role": role, "content": text} for role, text in messages]
        try:
            async with client.chat.completions.with_streaming_response.create(
                model=model.name, messages=sent, stream=True
            ) as reply:
                async for event in _events(reply.iter_bytes(), model):
                    yield event
        except openai.APIStatusError as error:
            if _RESPONSES_ONLY not in error.message:
                raise
        else:
            return
        async with client.responses.with_streaming_response.create(
            model=model.name, input=sent, stream=True, store=False
        ) as reply:
            async for event in _events(reply.iter_bytes(), model):
                yield event

    def _client_for(self, model: ChatModel) -> openai.AsyncOpenAI:
        import openai

        # Local servers must not see the key of another one.
        key = "" if model.is_local else self._settings.openai_api_key.get_secret_value()
        if (model.base_url, key) not in self._clients:
            self._clients[model.base_url, key] = openai.AsyncOpenAI(
                base_url=model.base_url,
                api_key=key or NO_KEY,
                max_retries=0,
                timeout=openai.Timeout(self._settings.llm_timeout_seconds, connect=CONNECT_SECONDS),
            )
        return self._clients[model.base_url, key]


def _has_text(piece: Piece, before: bool) -> bool:
    if isinstance(piece, TextWasReasoning):
        return False
    return before or (isinstance(piece, TextPiece) and not piece.text.isspace())


# --- what arrives ---


@dataclass(frozen=True, slots=True)
class _Event:
    text: str = ""
    reasoning: str = ""
    finish: str = ""  # why the answer ends; empty while it goes on


async def _events(chunks: AsyncIterator[bytes], model: ChatModel) -> AsyncIterator[_Event]:
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
            yield _Event(finish=DONE)
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
        if event == _Event():
            raise not_json(model.name, model.host)
        yield _Event(event.text, event.reasoning, event.finish or DONE)


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Lines that end in LF or CRLF. JSON may hold other line separators of Unicode, so `splitlines` does not do."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode("utf-8", "replace").rstrip("\r")
    if rest:
        yield rest.decode("utf-8", "replace").rstrip("\r")


def _read_event(data: object, model: ChatModel) -> _Event:
    """A chunk, or a whole reply, of chat completions; or an event of OpenAI's Responses. Errors: `ModelError`."""
    if not isinstance(data, Mapping):
        raise not_json(model.name, model.host)
    # The second is vLLM's way to report an error, the third FastChat's.
    if data.get("error") or data.get("object") == "error" or data.get("error_code"):
        raise error_of_reply(0, data, model.name, model.host)
    if str(data.get("type", "")).startswith(("response.", "error")):
        return _read_responses_event(data, model)
    if "choices" not in data and words_of(data):
        raise error_of_reply(0, data, model.name, model.host)
    choices = data.get("choices") or [{}]
    choice = choices[0]
    part = choice.get("delta") or choice.get("message") or {}
    reasoning = next((text for name in _REASONING_FIELDS if (text := _plain(part.get(name), thinking=True))), "")
    content = part.get("content")
    return _Event(
        text=_plain(content) or _plain(part.get("refusal")),
        reasoning=reasoning or (_plain(content, thinking=True) if isinstance(content, list) else ""),
        finish=str(choice.get("finish_reason") or ""),
    )


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


def _read_responses_event(data: Mapping[str, Any], model: ChatModel) -> _Event:
    kind, response = data["type"], data.get("response") or {}
    match kind:
        case "error" | "response.failed":
            raise error_of_reply(0, response.get("error") or data, model.name, model.host)
        case "response.output_text.delta" | "response.refusal.delta":
            return _Event(text=_plain(data.get("delta")))
        case "response.reasoning_text.delta" | "response.reasoning_summary_text.delta":
            return _Event(reasoning=_plain(data.get("delta")))
        case "response.completed":
            return _Event(finish="stop")
        case "response.incomplete":
            return _Event(finish=str((response.get("incomplete_details") or {}).get("reason") or "length"))
    return _Event()


# --- reasoning inside the text ---


class Thoughts:
    """Separates `<think>…</think>` from the text around it, however the stream cuts it into pieces.

    A block counts at the start of the answer, and after another block. A closing tag without an opening one, which
    some chat templates cause, makes all text before it reasoning, unless it stands in code.
    """

    def __init__(self) -> None:
        self._held = ""  # may be the first part of a tag
        self._is_thinking = False
        self._may_open = True
        self._may_close = True
        self._is_fresh = True  # nothing but white space was given since the start or since the last tag
        self._line = ""  # the text since the last line break, to know code when it comes
        self._in_fence = False

    def split(self, text: str) -> list[Piece]:
        """What can be told apart by now."""
        pieces: list[Piece] = []
        self._held += text
        while self._held and self._step(pieces):
            pass
        return pieces

    def end(self) -> list[Piece]:
        """What was held back, now that nothing follows."""
        pieces: list[Piece] = []
        held, self._held = self._held, ""
        self._give(pieces, held)
        return pieces

    def _step(self, pieces: list[Piece]) -> bool:
        """Take something off what is held; False if more has to come first."""
        if self._is_thinking:
            return self._until_tag(pieces, _CLOSINGS)
        if self._may_open and self._is_fresh:
            stripped = self._held.lstrip()
            if tag := _starts_with(stripped, _OPENINGS):
                self._held = stripped.removeprefix(tag)
                self._is_thinking, self._may_close = True, False
                return True
            if not stripped or any(tag.startswith(stripped) for tag in _OPENINGS):
                return False
        self._may_open = False
        if self._may_close:
            return self._until_tag(pieces, _CLOSINGS)
        held, self._held = self._held, ""
        self._give(pieces, held)
        return True

    def _until_tag(self, pieces: list[Piece], tags: tuple[str, ...]) -> bool:
        """Give all up to the next tag, and take the tag in; hold what may be the first part of one."""
        found = min(((self._held.find(tag), tag) for tag in tags if tag in self._held), default=None)
        if found is None:
            kept = max((size for tag in tags for size in range(len(tag)) if self._held.endswith(tag[:size])), default=0)
            given, self._held = self._held[: len(self._held) - kept], self._held[len(self._held) - kept :]
            self._give(pieces, given)
            return False
        position, tag = found
        self._give(pieces, self._held[:position])
        self._held = self._held[position + len(tag) :]
        if not self._is_thinking and (self._in_fence or self._line.count("`") % 2):
            self._give(pieces, tag)
            return True
        if not self._is_thinking:
            pieces.append(TextWasReasoning())
        self._is_thinking, self._may_open, self._may_close, self._is_fresh = False, True, False, True
        return True

    def _give(self, pieces: list[Piece], text: str) -> None:
        if self._is_fresh:
            text = text.lstrip("\r\n")
        if not text:
            return
        self._is_fresh = self._is_fresh and text.isspace()
        if self._is_thinking:
            pieces.append(Reasoning(text))
            return
        for line in text.splitlines(keepends=True):
            self._line += line
            if line.endswith("\n"):
                self._in_fence ^= self._line.lstrip().startswith("```")
                self._line = ""
        pieces.append(TextPiece(text))


def _starts_with(text: str, tags: Sequence[str]) -> str:
    return next((tag for tag in tags if text.startswith(tag)), "")
