"""A server to ask, and how: what of a provider its models need to know."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from uuid import UUID

from pydantic import SecretStr

from kb.errors import ModelError
from kb.providers.addresses import host_of
from kb.providers.guard import Guard
from kb.providers.sight import seems_to_see

NO_SECRET = SecretStr("")


class Purpose(StrEnum):
    """What a model is chosen for."""

    CHAT = "chat"
    REWRITING = "rewriting"  # of follow-up questions, before retrieval
    EMBEDDING = "embedding"  # of the documents of new knowledge bases
    RERANKING = "reranking"  # of what retrieval found


class Source(StrEnum):
    """Who named a server."""

    USER = "user"  # on the Models page
    ENV = "env"  # OPENAI_BASE_URL, OPENAI_API_KEY and LLM_MODEL
    LOCAL = "local"  # nobody: it was found on this machine


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """How a provider's models are asked. None: whatever the server does by itself."""

    temperature: float | None = None
    max_tokens: int | None = None  # of an answer
    context_window: int | None = None  # tokens of prompt and answer together
    system_prompt: str = ""
    sees_images: bool | None = None  # whether the models take images; None: as their names suggest
    top_p: float | None = None  # of a program's request: see `Sampling`


SERVERS_OWN = ModelSettings()


@dataclass(frozen=True, slots=True)
class ChatModel:
    """A model that can be asked. `id` is unique among all servers; `server` is the name that pages show."""

    name: str
    base_url: str
    server: str
    is_local: bool = False
    key: SecretStr = NO_SECRET
    settings: ModelSettings = SERVERS_OWN
    provider_id: UUID | None = None
    langchain: str = ""  # what `init_chat_model` calls its provider; empty: it is OpenAI-compatible
    guard: Guard | None = None  # where its requests may go; None: anywhere

    @property
    def sees_images(self) -> bool:
        """Whether it takes images, as somebody said, else as its name suggests."""
        told = self.settings.sees_images
        return seems_to_see(self.name) if told is None else told

    @property
    def id(self) -> str:
        return f"{self.provider_id or host_of(self.base_url)}/{self.name}"

    @property
    def host(self) -> str:
        """Where it is, to tell people; the provider's name where LangChain knows its address."""
        return self.server if self.langchain and not self.base_url else host_of(self.base_url)


@dataclass(frozen=True, slots=True)
class Sampling:
    """What one answer asks of its model beside the provider's settings. None: as these have it."""

    temperature: float | None = None
    max_tokens: int | None = None  # never more than the provider's settings allow
    top_p: float | None = None

    def on(self, model: ChatModel) -> ChatModel:
        settings = model.settings
        limits = [most for most in (self.max_tokens, settings.max_tokens) if most is not None]
        asked = replace(
            settings,
            temperature=settings.temperature if self.temperature is None else self.temperature,
            max_tokens=min(limits, default=None),
            top_p=self.top_p,
        )
        return replace(model, settings=asked)


AS_SET = Sampling()


@dataclass(frozen=True, slots=True)
class Connection:
    """A server that a user's questions may go to. `names`, if any, are its models: it need not list them."""

    source: Source
    server: str  # the name that pages show
    base_url: str
    key: SecretStr = field(default=NO_SECRET, repr=False)
    names: tuple[str, ...] = ()
    settings: ModelSettings = SERVERS_OWN
    provider_id: UUID | None = None
    error: ModelError | None = None  # why it cannot be asked at all
    langchain: str = ""  # as for `ChatModel`
    guard: Guard | None = None  # as for `ChatModel`

    @property
    def id(self) -> str:
        """What the ids of its models begin with."""
        return str(self.provider_id or host_of(self.base_url))

    @property
    def host(self) -> str:
        return self.server if self.langchain and not self.base_url else host_of(self.base_url)

    @property
    def is_local(self) -> bool:
        """Whether it was found, and not named: its models are used only once chosen."""
        return self.source is Source.LOCAL

    def model(self, name: str) -> ChatModel:
        return ChatModel(
            name,
            self.base_url,
            self.server,
            self.is_local,
            self.key,
            self.settings,
            self.provider_id,
            self.langchain,
            self.guard,
        )
