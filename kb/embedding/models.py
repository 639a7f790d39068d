"""The embedding models of one process: the one for new knowledge bases beside those of existing ones."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from uuid import UUID

from pydantic import SecretStr

from kb.config import Settings
from kb.embedding.builtin import BuiltinModel
from kb.embedding.e5 import E5
from kb.embedding.fetching import ModelStatus, Report
from kb.embedding.minilm import MINILM
from kb.embedding.model import EmbeddingModel
from kb.errors import N_, EmbeddingProviderGone, SetupError, UnknownEmbeddingModel
from kb.providers.connection import Connection
from kb.providers.guard import Guard

# In the order in which they are offered.
BUILTIN_MODELS = {model.name: model for model in (E5, MINILM)}
# EMBEDDING_MODEL may also give the full name of a model that knowledge bases store under a shorter one.
_STORED_NAMES = {f"builtin:{model.published.title}": model.name for model in BUILTIN_MODELS.values()}

# Before the id of a provider's model, in the names that knowledge bases store.
OF_PROVIDER = "provider:"

Connect = Callable[[UUID], Connection | None]


def full_name(name: str) -> str:
    """A model's name for people to read: what knowledge bases store, or for built-in models the full one."""
    if name.startswith(OF_PROVIDER):
        return name.partition("/")[2]
    builtin = BUILTIN_MODELS.get(name)
    return f"builtin:{builtin.published.title}" if builtin else name


def provider_of(name: str) -> UUID | None:
    """The provider that serves the model of this name, if it is one from the Models page."""
    try:
        return UUID(name.removeprefix(OF_PROVIDER).partition("/")[0]) if name.startswith(OF_PROVIDER) else None
    except ValueError:
        return None


class EmbeddingModels:
    """Serves each model by the name that knowledge bases store. Safe to share among threads."""

    def __init__(self, settings: Settings, threads: int, connect: Connect = lambda provider_id: None) -> None:
        """`threads` is for each model; `connect` finds a provider. `SetupError` if EMBEDDING_MODEL cannot be served."""
        self._settings = settings
        self._threads = threads
        self._connect = connect
        self._lock = Lock()
        self._built: dict[str, EmbeddingModel] = {}
        self._of_providers: dict[str, tuple[Connection, EmbeddingModel]] = {}
        try:
            self._default = self.get(settings.embedding_model).name
        except UnknownEmbeddingModel as error:
            raise SetupError(
                N_("Unknown EMBEDDING_MODEL “{model}”."),
                N_("Use {builtin}, openai:<name>, or fastembed:<name or local folder>."),
                model=settings.embedding_model,
                builtin=", ".join(BUILTIN_MODELS),
            ) from error

    @property
    def default(self) -> EmbeddingModel:
        """The model for new knowledge bases, as EMBEDDING_MODEL says."""
        return self.get(self._default)

    def offered(self) -> tuple[str, ...]:
        """The names that a person may choose for a new knowledge base, the default first."""
        return tuple(dict.fromkeys([self._default, *BUILTIN_MODELS]))

    def get(self, name: str) -> EmbeddingModel:
        """The one instance of this model. It loads, and connects to, nothing before its first use.

        A provider's model is built anew when its address, its key or its guard has changed. Raises
        `UnknownEmbeddingModel`, `SetupError` if a setting is missing, `EmbeddingProviderGone`, `ModelKeyLost` or
        `DatabaseUnavailable`.
        """
        if provider_id := provider_of(name):
            return self._of_provider(provider_id, name)
        name = _STORED_NAMES.get(name, name)
        with self._lock:
            if name not in self._built:
                self._built[name] = build_embedding_model(name, self._settings, self._threads)
            return self._built[name]

    def _of_provider(self, provider_id: UUID, name: str) -> EmbeddingModel:
        from kb.embedding.openai import OpenAIModel

        model = full_name(name)
        connection = self._connect(provider_id)
        if connection is None:
            raise EmbeddingProviderGone(model=model)
        if connection.error:
            raise connection.error
        with self._lock:
            held = self._of_providers.get(name)
            if held and _endpoint(held[0]) == _endpoint(connection):
                return held[1]
            built = OpenAIModel(
                model,
                connection.key,
                connection.base_url,
                self._settings.llm_timeout_seconds,
                self._settings.embedding_timeout_seconds,
                stored_name=name,
                guard=connection.guard,
            )
            self._of_providers[name] = connection, built
            return built

    def close(self) -> None:
        """Close the connections of remote models, which can be used afterwards."""
        from kb.embedding.openai import OpenAIModel

        with self._lock:
            built = [*self._built.values(), *(model for _, model in self._of_providers.values())]
        for model in built:
            if isinstance(model, OpenAIModel):
                model.close()

    def status(self, name: str) -> ModelStatus | None:
        """How far a built-in model is, in whichever process fetches it; None for other models."""
        builtin = BUILTIN_MODELS.get(name)
        return builtin.files(self._settings).status() if builtin else None

    def prepare(self, name: str) -> None:
        """Have a built-in model fetched in the background unless it is there. Errors: those of `get`."""
        model = self.get(name)
        if isinstance(model, BuiltinModel):
            model.fetch_in_background()

    def fetch(self, name: str, report: Report = lambda status: None) -> None:
        """Fetch a built-in model unless it is there; raises `ModelNotFetched`. Other models are not fetched."""
        if builtin := BUILTIN_MODELS.get(name):
            builtin.files(self._settings).fetch(report)


def _endpoint(connection: Connection) -> tuple[str, SecretStr, Guard | None]:
    return connection.base_url, connection.key, connection.guard


def build_embedding_model(name: str, settings: Settings, threads: int) -> EmbeddingModel:
    """Build the model of this name."""
    if builtin := BUILTIN_MODELS.get(name):
        return BuiltinModel(builtin, settings, threads)
    kind, _, of_kind = name.partition(":")
    if kind == "openai" and of_kind:
        return _openai_model(settings, of_kind)
    if kind == "fastembed" and of_kind:
        from kb.embedding.fastembed import FastEmbedModel

        return FastEmbedModel(of_kind, settings.models / "fastembed", threads)
    raise UnknownEmbeddingModel(model=name)


def _openai_model(settings: Settings, name: str) -> EmbeddingModel:
    from kb.embedding.openai import OpenAIModel

    base_url, key = settings.endpoint(settings.embedding_base_url, settings.embedding_api_key)
    if not base_url and not key.get_secret_value():
        raise SetupError(
            N_("The embedding model is openai:{model}, but no API key and no base URL are set."),
            N_("Set EMBEDDING_API_KEY (or OPENAI_API_KEY), or EMBEDDING_BASE_URL for a server of your own."),
            model=name,
        )
    return OpenAIModel(name, key, base_url, settings.llm_timeout_seconds, settings.embedding_timeout_seconds)
