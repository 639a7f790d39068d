"""Chat models: which ones there are for a user, and which one answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from time import monotonic
from typing import Protocol
from uuid import UUID

import structlog

from kb.access import Principal
from kb.config import Settings
from kb.errors import DatabaseUnavailable, ModelError, ModelPackageMissing, ModelRefused, ModelTimeout
from kb.providers.addresses import OPENAI_BASE_URL, host_of
from kb.providers.connection import ChatModel, Connection, ModelSettings, Purpose, Source
from kb.providers.guard import Guard
from kb.providers.listing import can_chat, can_embed, can_rerank, list_models
from kb.providers.packages import missing_packages

__all__ = ["ChatModel", "ChatModels", "KnownModels", "Server"]

log = structlog.get_logger()

# Servers of local models that answer like OpenAI, at their default ports on this machine.
LOCAL_SERVERS = (("Ollama", "http://127.0.0.1:11434/v1"), ("vLLM / FastChat", "http://127.0.0.1:8000/v1"))
PROBE_SECONDS = 0.5
LIST_SECONDS = 3.0
FRESH_SECONDS = 20.0
RESOLVE_SECONDS = 10.0


Endpoint = tuple[str, str, Guard | None]  # see `_endpoint`
Probe = Callable[[str, str, float, Guard | None], list[str]]  # as `list_models`


class Stored(Protocol):
    """What SQL knows; see `kb.providers.store.Providers`."""

    changes: int

    def connections(self, principal: Principal) -> Sequence[Connection]: ...
    def chosen_model(self, principal: Principal, purpose: Purpose) -> str: ...


@dataclass(frozen=True, slots=True)
class Look:
    """What a server said last: the names of its models, or why it did not list them."""

    names: tuple[str, ...] = ()
    error: ModelError | None = None
    seen_at: datetime | None = None  # None until the first look has ended


@dataclass(frozen=True, slots=True)
class Server:
    """A server with what is known of it."""

    connection: Connection
    look: Look

    @property
    def all_names(self) -> tuple[str, ...]:
        """The names of its models: those that were named for it, else those that it lists."""
        return () if self.connection.error else self.connection.names or self.look.names

    @property
    def names(self) -> tuple[str, ...]:
        """Of those that can chat. What `.env` names as a language model is one, whatever it is called."""
        is_named = self.connection.source is Source.ENV and self.connection.names
        return self.all_names if is_named else tuple(filter(can_chat, self.all_names))

    @property
    def embedding_names(self) -> tuple[str, ...]:
        """Of those that can embed texts."""
        return () if self.connection.langchain else tuple(filter(can_embed, self.all_names))

    @property
    def reranking_names(self) -> tuple[str, ...]:
        """Of those that can say how well passages answer a question."""
        return () if self.connection.langchain else tuple(filter(can_rerank, self.all_names))

    @property
    def models(self) -> tuple[ChatModel, ...]:
        return tuple(map(self.connection.model, self.names))

    @property
    def error(self) -> ModelError | None:
        """Why there is no model of it. That nobody answers at an address that nobody named is no error."""
        if self.connection.is_local or self.connection.names:
            return self.connection.error
        return self.connection.error or self.look.error

    @property
    def is_known(self) -> bool:
        """Whether its models, or why it has none, are known."""
        return bool(self.all_names or self.connection.error or self.look.seen_at)


@dataclass(frozen=True, slots=True)
class KnownModels:
    """A user's servers, in the order in which their models are used: `.env`, then the user's own, then local ones."""

    servers: tuple[Server, ...] = ()

    @property
    def models(self) -> tuple[ChatModel, ...]:
        return tuple(model for server in self.servers for model in server.models)

    @property
    def error(self) -> ModelError | None:
        """Why there is no model at all, if a server that somebody named is to blame."""
        if self.models:
            return None
        return next((server.error for server in self.servers if server.error), None)

    @property
    def is_searching(self) -> bool:
        """Whether there is no model yet, and a server still to be looked at."""
        return not self.models and not all(server.is_known for server in self.servers)

    @property
    def seen_at(self) -> datetime | None:
        """When a server was last asked for its list; None if none had to be."""
        return max((server.look.seen_at for server in self.servers if server.look.seen_at), default=None)

    @property
    def must_choose(self) -> bool:
        """Whether a model is only used once it is chosen, because nobody connected one."""
        return all(server.connection.is_local for server in self.servers)

    @property
    def lists_models(self) -> bool:
        """Whether any server has to be asked for its list, so that it can be asked again."""
        return any(not server.connection.names for server in self.servers)

    def find(self, wanted: str) -> ChatModel | None:
        """The model with the id `wanted`, which may be on no list while its server is silent.

        Errors: `ModelKeyLost` if it cannot be asked.
        """
        server_id, _, name = wanted.partition("/")
        for server in self.servers:
            if server.connection.id == server_id and name:
                if server.connection.error:
                    raise server.connection.error
                if name in server.names or not server.all_names:
                    return server.connection.model(name)
        return None

    def named(self, wanted: str) -> ChatModel | None:
        """The model with this id or, of the first server that has it, with this name. Errors: those of `find`."""
        same = (model for model in self.models if model.name == wanted)
        return next(same, None) or self.find(wanted)

    def choose(self, wanted: str) -> ChatModel | None:
        """The model `wanted`, else the first one that somebody connected; None if there is none.

        Errors: `ModelError` when those servers do not list their models, which is not the same as no model.
        """
        if found := self.find(wanted):
            return found
        connected = (model for model in self.models if not model.is_local)
        if first := next(connected, None):
            return first
        if error := next((server.error for server in self.servers if server.error), None):
            raise error
        return None


class ChatModels:
    """The models of the endpoint in `.env`, of a user's providers, and of local servers that answer.

    Threads look at the servers, so that a silent one delays no page and no other server. `known` never waits for one:
    it returns the last results and starts new looks where those are old.
    """

    def __init__(self, settings: Settings, stored: Stored, probe: Probe | None = None) -> None:
        self._stored = stored
        self._probe = probe or list_models
        self._own = _connection_from_env(settings)
        self._connections: dict[UUID, tuple[int, float, tuple[Connection, ...]]] = {}
        self._looks: dict[Endpoint, Look] = {}
        self._looking: set[Endpoint] = set()
        self._looked = threading.Condition()
        self._closing = False

    def start(self) -> None:
        """Begin the first look at the servers that all users share."""
        self._look_where_old(self._shared())

    def close(self) -> None:
        """Begin no new look; one under way ends by its own timeout."""
        self._closing = True

    def known(self, principal: Principal) -> KnownModels:
        """What the last looks found; begins new ones where those are old. Errors: `DatabaseUnavailable`."""
        connections = self._connections_of(principal)
        self._look_where_old(connection for connection in connections if not connection.names)
        return self._known(connections)

    def check(self, principal: Principal) -> KnownModels:
        """As `known`, but it also looks at servers whose models are named: to show whether they respond."""
        connections = self._connections_of(principal)
        self._look_where_old(connections)
        return self._known(connections)

    def look_again(self, principal: Principal) -> None:
        """Forget the last results and look at the servers now."""
        connections = self._connections_of(principal, anew=True)
        with self._looked:
            for connection in connections:
                self._looks.pop(_endpoint(connection), None)
        self._look_where_old(connections)

    def choose(self, principal: Principal, wanted: str) -> ChatModel | None:
        """Which model answers, as far as is known; for pages. See `KnownModels.choose`."""
        return self.known(principal).choose(wanted)

    def resolve(self, principal: Principal, wanted: str) -> ChatModel | None:
        """Which model answers this user, who wants the one with the id `wanted` (empty: any). For background threads.

        As `choose`, but reads the providers anew, and waits for looks where it depends on them. Errors: `ModelError`,
        `DatabaseUnavailable`.
        """
        connections = self._connections_of(principal, anew=True)
        if found := self._known(connections).find(wanted):
            return found
        connected = [connection for connection in connections if not connection.is_local]
        self._look_where_old(connection for connection in connected if not connection.names)
        with self._looked:
            if not self._looked.wait_for(lambda: self._is_decided(connected), RESOLVE_SECONDS):
                silent = next(server for server in self._known(connected).servers if not server.is_known)
                raise ModelTimeout(host=silent.connection.host, model="", seconds=f"{RESOLVE_SECONDS:g}")
        return self._known(connections).choose(wanted)

    def resolve_rewriting(self, principal: Principal, answering: ChatModel) -> ChatModel:
        """Which model rewrites this user's follow-up questions: the one chosen for it, else the one that answers."""
        wanted = self._stored.chosen_model(principal, Purpose.REWRITING)
        if not wanted or wanted == answering.id:
            return answering
        try:
            return self._known(self._connections_of(principal)).find(wanted) or answering
        except ModelError:
            return answering  # its key is lost: the answer need not wait for that

    def settled(self, principal: Principal) -> KnownModels:
        """As `known`, once each server was looked at; waits for a silent one only until its look is given up."""
        self.known(principal)
        connections = self._connections_of(principal)
        with self._looked:
            self._looked.wait_for(
                lambda: all(server.is_known for server in self._known(connections).servers), LIST_SECONDS
            )
            return self._known(connections)

    def named(self, principal: Principal, wanted: str) -> ChatModel | None:
        """As `KnownModels.named`; waits as `settled` for servers that were not looked at yet."""
        return self.known(principal).named(wanted) or self.settled(principal).named(wanted)

    def connection(self, principal: Principal, server_id: str) -> Connection | None:
        """A user's server by its id."""
        found = (connection for connection in self._connections_of(principal) if connection.id == server_id)
        return next(found, None)

    def _is_decided(self, connected: Sequence[Connection]) -> bool:
        """Whether no look still to come can change which model is the first."""
        for server in self._known(connected).servers:
            if server.names:
                return True
            if not server.is_known:
                return False
        return True

    def _connections_of(self, principal: Principal, anew: bool = False) -> tuple[Connection, ...]:
        changes, now = self._stored.changes, monotonic()
        held = self._connections.get(principal.user_id)
        if held and held[0] == changes and now - held[1] < FRESH_SECONDS and not anew:
            return held[2]
        try:
            own = tuple(self._stored.connections(principal))
        except DatabaseUnavailable:
            if held is None:
                raise
            return held[2]
        hosts = {connection.host for connection in own}
        first = (self._own,) if self._own else ()
        local = () if self._own else tuple(each for each in _local_connections() if each.host not in hosts)
        connections = (*first, *own, *local)
        self._connections[principal.user_id] = changes, now, connections
        return connections

    def _shared(self) -> tuple[Connection, ...]:
        if self._own:
            return () if self._own.names else (self._own,)
        return _local_connections()

    def _known(self, connections: Sequence[Connection]) -> KnownModels:
        return KnownModels(tuple(Server(each, self._looks.get(_endpoint(each), Look())) for each in connections))

    def _look_where_old(self, connections: Iterator[Connection] | Sequence[Connection]) -> None:
        oldest = datetime.now(UTC).timestamp() - FRESH_SECONDS
        with self._looked:
            for connection in connections:
                endpoint = _endpoint(connection)
                seen_at = self._looks.get(endpoint, Look()).seen_at
                is_fresh = seen_at is not None and seen_at.timestamp() >= oldest
                if is_fresh or endpoint in self._looking or self._closing or connection.error:
                    continue
                self._looking.add(endpoint)
                threading.Thread(target=self._look, args=(connection,), name="chat-models", daemon=True).start()

    def _look(self, connection: Connection) -> None:
        try:
            look = Look(tuple(self._names(connection)))
        except ModelError as error:
            look = Look(error=error)
        except Exception as defect:
            # Without a result, pages would wait for one for ever.
            log.exception("chat_models.defect")
            look = Look(error=ModelRefused(host=connection.host, model="", detail=type(defect).__name__))
        with self._looked:
            self._looks[_endpoint(connection)] = replace(look, seen_at=datetime.now(UTC))
            self._looking.discard(_endpoint(connection))
            self._looked.notify_all()

    def _names(self, connection: Connection) -> list[str]:
        if not connection.langchain:
            seconds = PROBE_SECONDS if connection.is_local else LIST_SECONDS
            return self._probe(connection.base_url, connection.key.get_secret_value(), seconds, connection.guard)
        if command := missing_packages(connection.langchain):
            raise ModelPackageMissing(host=connection.host, model="", command=command)
        return []


def _connection_from_env(settings: Settings) -> Connection | None:
    if not (settings.openai_base_url or settings.openai_api_key.get_secret_value()):
        return None
    base_url = settings.openai_base_url or OPENAI_BASE_URL
    names = (settings.llm_model,) if settings.llm_model else ()
    asked = ModelSettings(sees_images={"yes": True, "no": False}.get(settings.llm_sees_images))
    return Connection(Source.ENV, host_of(base_url), base_url, settings.openai_api_key, names, asked)


def _local_connections() -> tuple[Connection, ...]:
    return tuple(Connection(Source.LOCAL, server, base_url) for server, base_url in LOCAL_SERVERS)


def _endpoint(connection: Connection) -> Endpoint:
    """What tells a server from others that are looked at: members do not see what administrators' looks found."""
    return f"{connection.langchain} {connection.base_url}", connection.key.get_secret_value(), connection.guard
