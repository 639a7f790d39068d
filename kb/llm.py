"""Chat models: which ones there are to choose from."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
import structlog

from kb.config import Settings
from kb.errors import N_, ModelError, ModelRefused, ModelTimeout, ModelUnreachable
from kb.providers import OPENAI_BASE_URL, error_of_reply, host_of

log = structlog.get_logger()

# Servers of local models that answer like OpenAI, at their default ports on this machine.
LOCAL_SERVERS = (("Ollama", "http://127.0.0.1:11434/v1"), ("vLLM / FastChat", "http://127.0.0.1:8000/v1"))
PROBE_SECONDS = 0.5
LIST_SECONDS = 3.0
FRESH_SECONDS = 20.0
RESOLVE_SECONDS = 10.0
_NO_CHAT = re.compile(r"embed|rerank|\bbge-|whisper|tts-|dall-e", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ChatModel:
    """A model that can be asked. `id` is unique among all servers; `server` is the name that pages show."""

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
        try:
            models, error = self._look()
        except Exception as defect:
            # The thread must survive it: without a result, pages would wait for one for ever.
            log.exception("chat_models.defect")
            models, error = [], ModelRefused(host=self._host, model="", detail=type(defect).__name__)
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
    """The chat models a server offers. Errors: `ModelError`."""
    host = host_of(base_url)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        reply = httpx.get(f"{base_url.rstrip('/')}/models", headers=headers, timeout=timeout_seconds)
        names = [str(model["id"]) for model in reply.raise_for_status().json()["data"]]
    except httpx.HTTPStatusError as error:
        raise error_of_reply(
            error.response.status_code, error.response.text, "", host, path=error.request.url.path, key=key
        ) from error
    except httpx.TimeoutException as error:
        raise ModelTimeout(host=host, model="", seconds=f"{timeout_seconds:g}") from error
    except httpx.HTTPError as error:
        raise ModelUnreachable(host=host, model="") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ModelRefused(host=host, model="", detail=N_("this is not an OpenAI-compatible server")) from error
    # Such a list names no kinds; these, by the habit of their makers, cannot chat.
    return [name for name in names if not _NO_CHAT.search(name)]
