"""The embedding models, the language model servers and the search engine: each is asked once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from time import monotonic
from uuid import uuid4

from kb.access import Principal
from kb.cli.connecting import acting_user
from kb.cli.doctor.finding import Finding, Mark, failed, of_error, ok, warning
from kb.config import Settings
from kb.database import Database
from kb.embedding import EmbeddingModels, ModelState, full_name
from kb.environment import available_cpus, bypass_proxies
from kb.errors import KbError, WebSearchNotConfigured
from kb.ingestion import dimensions_in_use
from kb.llm import ChatModels
from kb.providers.connection import Connection, Purpose
from kb.providers.guard import Guard
from kb.providers.keys import KeySafe
from kb.providers.store import Providers
from kb.providers.trials import Trials
from kb.users import Users
from kb.web_search import WebSearch


class _NothingStored:
    """Providers while there is no database to ask."""

    changes = 0

    def connections(self, principal: Principal) -> Sequence[Connection]:
        return ()

    def chosen_model(self, principal: Principal, purpose: Purpose) -> str:
        return ""


def check_models(settings: Settings, database: Database | None) -> Iterator[Finding]:
    """`database`: with its tables; without one, the models of the settings are checked."""
    bypass_proxies(settings)
    yield from _check_embedding(settings, database)
    yield from _check_language_models(settings, database)
    engine = WebSearch(settings).default
    if not engine.is_configured:
        error = WebSearchNotConfigured(engine=engine.label, setting=engine.setting)
        yield of_error("web search", error, Mark.WARNING)


def _providers(settings: Settings, database: Database) -> Providers:
    return Providers(database, KeySafe(settings), Guard.of(settings.allowed_fetch_hosts))


def _check_embedding(settings: Settings, database: Database | None) -> Iterator[Finding]:
    """The model for new knowledge bases, and those of existing ones."""
    try:
        used = dimensions_in_use(database) if database else {}
        connect = _providers(settings, database).connection if database else lambda _id: None
        embeddings = EmbeddingModels(settings, available_cpus(), connect)
    except KbError as error:
        yield of_error("embedding", error)
        return
    with closing(embeddings):
        for name in dict.fromkeys([embeddings.default.name, *used]):
            yield _check_embedding_model(embeddings, name, used.get(name, set()))


def _check_embedding_model(embeddings: EmbeddingModels, name: str, stored: set[int]) -> Finding:
    """`stored`: the dimensions of what knowledge bases hold of it."""
    status, label = embeddings.status(name), full_name(name)
    if status and status.state in (ModelState.ABSENT, ModelState.FETCHING):
        state = "is being fetched" if status.state is ModelState.FETCHING else "is not fetched yet"
        return warning("embedding", f"{label} {state}.", "A start fetches it; to do so now: python -m kb.embedding")
    if status and status.failure:
        return of_error("embedding", status.failure)
    began = monotonic()
    try:
        dimension = len(embeddings.get(name).embed_question("test"))
    except KbError as error:
        return of_error("embedding", error)
    if stored - {dimension}:
        detail = f"{label} gives vectors of {dimension} numbers; knowledge bases hold {sorted(stored)}."
        return failed("embedding", detail, "The server gives another model under this name; set the former one.")
    return ok("embedding", f"{label}, {dimension} dimensions, {monotonic() - began:.1f} s to load and embed")


def _check_language_models(settings: Settings, database: Database | None) -> Iterator[Finding]:
    """Each server that somebody connected is asked for one word, as the Test button of the Models page does."""
    try:
        if database:
            models = ChatModels(settings, _providers(settings, database))
            principal = acting_user(Users(database))
        else:
            models, principal = ChatModels(settings, _NothingStored()), Principal(uuid4())
        connections = [each.connection for each in models.known(principal).servers if not each.connection.is_local]
    except KbError as error:
        yield of_error("language model", error)
        return
    models.close()
    if not connections:
        detail = "None is connected, so answers show the best passages. To connect one, see the Models page."
        yield ok("language model", detail)
    trials = Trials(settings)
    for connection in connections:
        trial = trials.run(connection)
        if trial.error:
            yield of_error("language model", trial.error)
        else:
            yield ok("language model", f"{trial.model} at {connection.host} answers after {trial.seconds:.1f} s")
