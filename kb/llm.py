"""Chat models: which there are, and their answers as a stream of text."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from kb.config import Settings
from kb.errors import (
    N_,
    ModelError,
    ModelKeyRefused,
    ModelRefused,
    ModelStopped,
    ModelStreamBroken,
    ModelTimeout,
    ModelUnreachable,
)
from kb.prompts import ChatMessage
from kb.providers import OPENAI_BASE_URL, host_of, is_loopback, translate_openai_error

# Servers of local models that answer like OpenAI, at their default ports on this machine.
LOCAL_SERVERS = (("Ollama", "http://127.0.0.1:11434/v1"), ("vLLM / FastChat", "http://127.0.0.1:8000/v1"))
PROBE_SECONDS = 0.5
LIST_SECONDS = 3.0
FRESH_SECONDS = 20.0
RESOLVE_SECONDS = 10.0
_AT_LIMIT, _FILTERED, _GAVE_UP = N_("at its limit of length"), N_("by its content filter"), N_("as its server gave up")
# Reasons to finish that leave the answer without its end: OpenAI's, and those that others have added.
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
_NO_CHAT = re.compile(r"embed|rerank|\bbge-|whisper|tts-|dall-e", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ChatModel:
    """A model that can be asked. `id` tells it apart from all others; `server` is for showing."""

    name: str
    base_url: str
    server: str
    is_local: bool = False

    @property
    def id(self) -> str:
        return f"{host_of(self.base_url)}/{self.name}"

    @property
    def host(self) -> str:
        return host_of(self.base_url)


@dataclass(frozen=True, slots=True)
class KnownModels:
    """What the last look at the servers found. `seen_at` is None until the first look has ended."""

    models: tuple[ChatModel, ...] = ()
    error: ModelError | None = None
    seen_at: datetime | None = None


class ChatModels:
    """The models of the configured endpoint or, where none is set, of local servers that answer.

    A thread of its own looks at the servers, so that a silent one delays no page. `known` never blocks: it returns the
    last result and, if that is old, asks the thread for a new one.
    """

    def __init__(self, settings: Settings, probe: Callable[[str, str, float], list[str]] | None = None) -> None:
        self._settings = settings
        self._probe = probe or list_models
        self._base_url = settings.openai_base_url or OPENAI_BASE_URL
        self._host = host_of(self._base_url)
        self._known = KnownModels()
        self._looks = 0
        self._looked = threading.Condition()
        self._wake = threading.Event()
        self._closing = False
        if self.is_named:
            model = ChatModel(settings.llm_model, self._base_url, self._host)
            self._known = KnownModels((model,), seen_at=datetime.now(UTC))

    @property
    def is_configured(self) -> bool:
        return bool(self._settings.openai_base_url or self._settings.openai_api_key.get_secret_value())

    @property
    def is_named(self) -> bool:
        """Whether the settings name the one model, so that no server has to be asked for its list."""
        return self.is_configured and bool(self._settings.llm_model)

    def start(self) -> None:
        """Start the thread and its first look."""
        if not self.is_named:
            self._wake.set()
            threading.Thread(target=self._look_when_woken, name="chat-models", daemon=True).start()

    def close(self) -> None:
        """End the thread; a look under way ends by its own timeout."""
        self._closing = True
        self._wake.set()

    def known(self) -> KnownModels:
        """What the last look found; starts a new look if that is old."""
        known = self._known
        if known.seen_at and not self.is_named and (datetime.now(UTC) - known.seen_at).total_seconds() > FRESH_SECONDS:
            self._wake.set()
        return known

    def look_again(self) -> None:
        """Forget the last result and have the thread look at the servers now."""
        if not self.is_named:
            self._known = KnownModels()
            self._wake.set()

    def choose(self, wanted: str) -> ChatModel | None:
        """The model with the id `wanted`; else the configured one. A local model is only used if it was chosen.

        Decides from what is known. A chosen model whose server is silent is still the chosen one: asking it says what
        is wrong. Errors: `ModelError` when the configured endpoint does not list its models.
        """
        known = self.known()
        for model in known.models:
            if model.id == wanted:
                return model
        if known.models and self.is_configured:
            return known.models[0]
        if remembered := self._remembered(wanted):
            return remembered
        if known.error:
            raise known.error
        return None

    def resolve(self, wanted: str) -> ChatModel | None:
        """As `choose`, but waits for a look where nothing is known. For background threads. Errors: `ModelError`."""
        if self.is_configured and not self._known.models and not self._remembered(wanted):
            with self._looked:
                looks = self._looks
                self._wake.set()
                if not self._looked.wait_for(lambda: self._looks > looks, RESOLVE_SECONDS):
                    raise ModelTimeout(host=self._host, model="", seconds=f"{RESOLVE_SECONDS:g}")
        return self.choose(wanted)

    def refresh(self) -> None:
        """Look at the servers, and wait for their replies."""
        models, error = self._look()
        with self._looked:
            self._known = KnownModels(tuple(models), error, datetime.now(UTC))
            self._looks += 1
            self._looked.notify_all()

    def _look_when_woken(self) -> None:
        while self._wake.wait() and not self._closing:
            self._wake.clear()
            self.refresh()

    def _remembered(self, wanted: str) -> ChatModel | None:
        """The model that the id names, although no list holds it at the moment."""
        host, _, name = wanted.partition("/")
        if self.is_configured:
            return ChatModel(name, self._base_url, self._host) if host == self._host and name else None
        local = {host_of(base_url): (server, base_url) for server, base_url in LOCAL_SERVERS}
        return ChatModel(name, local[host][1], local[host][0], is_local=True) if host in local and name else None

    def _look(self) -> tuple[list[ChatModel], ModelError | None]:
        if self.is_configured:
            key = self._settings.openai_api_key.get_secret_value()
            try:
                names = self._probe(self._base_url, key, LIST_SECONDS)
            except ModelError as error:
                return [], error
            return [ChatModel(name, self._base_url, self._host) for name in names], None
        with ThreadPoolExecutor(len(LOCAL_SERVERS)) as pool:
            names_of = pool.map(lambda server: self._probe_local(server[1]), LOCAL_SERVERS)
            found = [
                ChatModel(name, base_url, server, is_local=True)
                for (server, base_url), names in zip(LOCAL_SERVERS, names_of, strict=True)
                for name in names
            ]
            return found, None

    def _probe_local(self, base_url: str) -> list[str]:
        try:
            return self._probe(base_url, "", PROBE_SECONDS)
        except ModelError:
            return []  # nobody said that there is a server


def list_models(base_url: str, key: str, timeout_seconds: float) -> list[str]:
    """The chat models a server offers. Errors: a `ModelError` that says why it does not tell."""
    host = host_of(base_url)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        reply = httpx.get(
            f"{base_url.rstrip('/')}/models",
            headers=headers,
            timeout=timeout_seconds,
            trust_env=not is_loopback(base_url),
        )
        names = [str(model["id"]) for model in reply.raise_for_status().json()["data"]]
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise ModelKeyRefused(host=host, model="") from error
        raise ModelRefused(host=host, model="", detail=f"HTTP {status}, {error.request.url.path}") from error
    except httpx.TimeoutException as error:
        raise ModelTimeout(host=host, model="", seconds=f"{timeout_seconds:g}") from error
    except httpx.HTTPError as error:
        raise ModelUnreachable(host=host, model="") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ModelRefused(host=host, model="", detail=N_("it does not answer like a model server")) from error
    # Such a list names no kinds; these, by the habit of their makers, cannot chat.
    return [name for name in names if not _NO_CHAT.search(name)]


def preload() -> None:
    """Import what a first answer needs: LangChain and the OpenAI client take a second or more, and 80 MB."""
    from langchain.chat_models import init_chat_model  # noqa: F401
    from langchain_openai import ChatOpenAI  # noqa: F401


async def stream_chat(settings: Settings, model: ChatModel, messages: Sequence[ChatMessage]) -> AsyncIterator[str]:
    """The model's answer, piece by piece. Errors: `ModelError`."""
    await asyncio.to_thread(preload)  # an import on the event loop would hold up all other answers
    from langchain.chat_models import init_chat_model

    key = settings.openai_api_key.get_secret_value() if not model.is_local else ""
    chat = init_chat_model(
        model.name,
        model_provider="openai",
        base_url=model.base_url,
        api_key=key or "none",  # local servers want none, but the client insists on one
        timeout=settings.llm_timeout_seconds,
        max_retries=0,
        stream_usage=False,
        # Some model names make the client speak OpenAI's newer protocol, which hardly any other server knows.
        use_responses_api=None if model.host == host_of("") else False,
    )
    began, reason = False, ""
    try:
        async for piece in chat.astream(list(messages)):
            reason = _reason_to_finish(piece.response_metadata) or reason
            if text := piece.text:
                began = began or not text.isspace()
                yield str(text)
    except Exception as error:
        raise translate_openai_error(
            error, model.name, model.host, timeout_seconds=settings.llm_timeout_seconds, streaming=began
        ) from error
    if not reason:
        # The server closed the connection in good order, but never said that the answer is complete.
        raise ModelStreamBroken(host=model.host, model=model.name)
    if reason in _EARLY_ENDS or not began:
        detail = _EARLY_ENDS.get(reason, N_("without any text"))
        raise ModelStopped(host=model.host, model=model.name, detail=detail)


def _reason_to_finish(metadata: Mapping[str, Any]) -> str:
    """Why the model ends its answer; empty as long as it does not say so."""
    if metadata.get("status") == "incomplete":  # in OpenAI's newer protocol
        return str((metadata.get("incomplete_details") or {}).get("reason") or "length")
    return str(metadata.get("finish_reason") or ("stop" if metadata.get("status") == "completed" else ""))
