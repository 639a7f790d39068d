"""Asks chat models over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

from kb.completions.characters import Characters
from kb.completions.images import with_images
from kb.completions.langchain import LangChainModels
from kb.completions.options import LENGTH, NEW_LENGTH, TEMPERATURE, TOP_P, KnownOptions, with_system_prompt
from kb.completions.pieces import Piece, Reasoning, TextPiece, TextWasReasoning, Usage
from kb.completions.reading import DONE, Event, read_events
from kb.completions.thoughts import Thoughts
from kb.config import Settings
from kb.errors import AT_LIMIT, FILTERED, N_, AnswerEndless, ModelStopped, ModelStreamBroken, ModelTimeout
from kb.llm import ChatModel
from kb.metrics import note_tokens
from kb.prompts import ChatMessage
from kb.providers import CONNECT_SECONDS, NO_KEY, translate_openai_error
from kb.providers.guard import Guard, async_client_options, own_credentials
from kb.providers.spans import OPENAI, model_span

if TYPE_CHECKING:
    import openai

_GAVE_UP = N_("the server gave up")
# Reasons to finish that leave an answer incomplete: OpenAI's, and those that other servers have added.
_EARLY_ENDS = {
    "length": AT_LIMIT,
    "max_tokens": AT_LIMIT,
    "max_output_tokens": AT_LIMIT,
    "model_length": AT_LIMIT,
    "model_context_window_exceeded": AT_LIMIT,
    "content_filter": FILTERED,
    "sensitive": FILTERED,
    "refusal": FILTERED,
    **dict.fromkeys(("safety", "recitation", "blocklist", "prohibited_content", "spii"), FILTERED),  # Google's
    "insufficient_system_resource": _GAVE_UP,
    "network_error": _GAVE_UP,
    "error": _GAVE_UP,
    "abort": _GAVE_UP,
}
# Of text and thoughts together. A model that repeats itself for ever would fill the memory.
MOST_CHARACTERS = 2_000_000
_RESPONSES_ONLY = "v1/responses"  # OpenAI names this path when a model does not take chat completions


def preload() -> None:
    """Import what a first answer needs: the OpenAI client takes half a second or more."""
    import openai
    import openai.resources.chat.completions  # noqa: F401


class ChatClient:
    """Asks chat models, and keeps the connections to their servers. Belongs to one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clients: dict[tuple[str, str, Guard | None], openai.AsyncOpenAI] = {}
        self._options = KnownOptions()
        self._langchain = LangChainModels()

    async def stream(
        self, model: ChatModel, messages: Sequence[ChatMessage], images: Sequence[str] = ()
    ) -> AsyncGenerator[Piece, None]:
        """The model's answer, piece by piece, under the settings of its provider. Errors: `ModelError`.

        It ends after `MOST_CHARACTERS`.

        `images`: addresses (`data:`) of images that belong to the last message of the user.
        """
        host = "" if model.langchain else model.host
        with model_span("chat", model.name, host, model.langchain or OPENAI, is_current=False) as span:
            began, has_begun = time.monotonic(), False
            async with aclosing(self._stream(model, messages, images)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Usage):
                        span.note({"gen_ai.usage.input_tokens": piece.input_tokens})
                        span.note({"gen_ai.usage.output_tokens": piece.output_tokens})
                    elif not has_begun:
                        has_begun = True
                        span.note({"gen_ai.response.time_to_first_chunk": time.monotonic() - began})
                    yield piece

    async def _stream(
        self, model: ChatModel, messages: Sequence[ChatMessage], images: Sequence[str]
    ) -> AsyncGenerator[Piece, None]:
        await asyncio.to_thread(preload)  # an import on the event loop would hold up all other answers
        thoughts, reason, has_text, size = Thoughts(), "", False, 0
        spoken, thought = Characters(), Characters()
        usage: Usage | None = None
        try:
            async with aclosing(self._events(model, messages, images)) as events:
                async for event in events:
                    if event.finish and not (event.finish == DONE and reason):
                        reason = event.finish
                    usage = event.usage or usage  # some servers count in every event: the last one is right
                    reasoning = thought.join(event.reasoning)
                    pieces = [Reasoning(reasoning)] if reasoning else []
                    for piece in [*pieces, *thoughts.split(spoken.join(event.text))]:
                        has_text = _has_text(piece, has_text)
                        yield piece
                    size += len(event.text) + len(event.reasoning)
                    if size > MOST_CHARACTERS:
                        raise AnswerEndless(host=model.host, model=model.name)
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
        if usage:
            note_tokens(model.name, usage.input_tokens, usage.output_tokens)
            yield usage
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

    async def _events(
        self, model: ChatModel, messages: Sequence[ChatMessage], images: Sequence[str]
    ) -> AsyncGenerator[Event, None]:
        """The model's events. Errors: also `ModelTimeout` once none has said anything for `llm_timeout_seconds`.

        The HTTP client's own time-out is too patient: servers send comments and empty events to keep a connection.
        """
        seconds = self._settings.llm_timeout_seconds
        prompted = with_system_prompt(messages, model.settings.system_prompt)
        if model.langchain:
            async for event in self._langchain.ask(model, prompted, images, seconds):
                yield event
            return
        left = seconds
        async with aclosing(self._ask(model, prompted, images)) as events:
            while True:
                began = time.monotonic()
                try:
                    async with asyncio.timeout(left):
                        said = await anext(events, None)
                except TimeoutError:
                    raise ModelTimeout(host=model.host, model=model.name, seconds=f"{seconds:g}") from None
                if said is None:
                    return
                left = seconds if said != Event() else left - (time.monotonic() - began)
                yield said

    async def _ask(
        self, model: ChatModel, messages: Sequence[ChatMessage], images: Sequence[str]
    ) -> AsyncGenerator[Event, None]:
        import openai

        client = self._client_for(model)
        sent: Any = with_images(messages, images)
        options = self._options.of(model)
        while True:
            try:
                async with client.chat.completions.with_streaming_response.create(
                    model=model.name, messages=sent, stream=True, **options
                ) as reply:
                    self._options.note_accepted(model, options)
                    async for event in read_events(reply.iter_bytes(), model):
                        yield event
            except openai.APIStatusError as error:
                if _RESPONSES_ONLY in error.message:
                    break
                fewer = self._options.without_refused(model, options, error)
                if fewer is None:
                    raise
                options = fewer
            else:
                return
        length = options.get(LENGTH, options.get(NEW_LENGTH, openai.omit))
        async with client.responses.with_streaming_response.create(
            model=model.name,
            input=cast("Any", with_images(messages, images, is_for_responses=True)),
            stream=True,
            store=False,
            temperature=options.get(TEMPERATURE, openai.omit),
            top_p=options.get(TOP_P, openai.omit),
            max_output_tokens=length,
        ) as reply:
            async for event in read_events(reply.iter_bytes(), model):
                yield event

    def _client_for(self, model: ChatModel) -> openai.AsyncOpenAI:
        import openai

        key = model.key.get_secret_value() or NO_KEY
        held = model.base_url, key, model.guard
        if held not in self._clients:
            self._clients[held] = openai.AsyncOpenAI(
                base_url=model.base_url,
                api_key=key,
                default_headers=own_credentials(model.guard, key),
                max_retries=0,
                timeout=openai.Timeout(self._settings.llm_timeout_seconds, connect=CONNECT_SECONDS),
                http_client=openai.DefaultAsyncHttpxClient(**async_client_options(model.guard))
                if model.guard
                else None,
            )
        return self._clients[held]


def _has_text(piece: Piece, before: bool) -> bool:
    if isinstance(piece, TextWasReasoning):
        return False
    return before or (isinstance(piece, TextPiece) and not piece.text.isspace())
