"""The providers that each user named, and which model each user wants for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.exc import IntegrityError

from kb.access import Permission, Principal, can
from kb.audit import Action, record
from kb.config import clean_key, is_web_address
from kb.database import Database
from kb.database.tables import knowledge_bases, model_choices, providers, users
from kb.embedding import OF_PROVIDER
from kb.environment import reach_directly
from kb.errors import N_, InvalidProvider, ModelKeyLost, NotFound, ProviderInUse, ProviderNameTaken
from kb.formats import Unreadable, from_json, to_json
from kb.models import UserRole
from kb.names import clean_label, clean_name, clean_text
from kb.providers.addresses import PRESETS, host_of
from kb.providers.connection import NO_SECRET, SERVERS_OWN, Connection, ModelSettings, Purpose, Source
from kb.providers.guard import Guard
from kb.providers.keys import KeySafe

PROVIDER = N_("provider")
MOST_NAMES = 100
NAME_CHARACTERS = 200
PROMPT_CHARACTERS = 20_000
HOTTEST = 2.0
GUARD = Guard()  # without any listed host
_WITH_ROLE = sa.select(providers, users.c.role).join(users, users.c.id == providers.c.owner_id)  # of its owner
_ENDPOINTS = ("/chat/completions", "/completions", "/models", "/embeddings", "/responses", "/rerank", "/reranks")


@dataclass(frozen=True, slots=True)
class Provider:
    """A server that a user named. Its key stays in `kb`."""

    id: UUID
    name: str
    preset: str
    base_url: str
    has_key: bool
    model_names: tuple[str, ...]  # empty: those that the server lists
    settings: ModelSettings
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ProviderDraft:
    """What is entered for a provider. `key` None keeps the stored one."""

    name: str
    preset: str
    base_url: str
    key: SecretStr | None = None
    model_names: tuple[str, ...] = ()
    settings: ModelSettings = SERVERS_OWN


class Providers:
    """Adds, changes and deletes providers; keeps choices of models."""

    def __init__(self, database: Database, safe: KeySafe, guard: Guard = GUARD) -> None:
        """`guard` says where the providers of users may be who are no administrators."""
        self._database = database
        self._safe = safe
        self._guard = guard
        self.changes = 0  # made by this process, so that it need not wait until what it knows is old

    def list(self, principal: Principal) -> list[Provider]:
        """All of a user's, the oldest first."""
        return [_to_provider(row) for row in self._rows(principal)]

    def connections(self, principal: Principal) -> Sequence[Connection]:
        """How to ask each of them, with its key."""
        return [self._to_connection(row) for row in self._rows(principal)]

    def connection(self, provider_id: UUID) -> Connection | None:
        """How to ask one of them, whose id a knowledge base holds."""
        with self._database.read() as connection:
            row = connection.execute(_WITH_ROLE.where(providers.c.id == provider_id)).one_or_none()
        return self._to_connection(row) if row else None

    def add(self, principal: Principal, draft: ProviderDraft) -> UUID:
        """Errors: `InvalidName`, `ProviderNameTaken`, `InvalidProvider`, `SetupError` about the key file, and those of
        `Guard.check_entered`.
        """
        values = self._checked(principal, draft) | {"encrypted_key": self._encrypted(draft.key or NO_SECRET)}
        provider_id = uuid4()
        try:
            with self._database.write() as connection:
                connection.execute(sa.insert(providers), values | {"id": provider_id, "owner_id": principal.user_id})
                _record(connection, principal, Action.PROVIDER_ADDED, provider_id, values)
        except IntegrityError as error:
            raise ProviderNameTaken(name=values["name"]) from error
        self.changes += 1
        return provider_id

    def change(self, principal: Principal, provider_id: UUID, draft: ProviderDraft) -> None:
        """Errors: as for `add`; `NotFound`."""
        values = self._checked(principal, draft)
        if draft.key is not None:
            values["encrypted_key"] = self._encrypted(draft.key)
        try:
            with self._database.write() as connection:
                own = _own(principal, provider_id)
                row = connection.execute(sa.select(providers).where(own).with_for_update()).one_or_none()
                if row is None:
                    raise NotFound(what=PROVIDER)
                if row.encrypted_key and draft.key is None and host_of(row.base_url) != host_of(values["base_url"]):
                    # A stored key goes to no other host than the one that it was entered for.
                    raise InvalidProvider(
                        field=N_("API key"), detail=N_("the server is another one now; enter the key for it")
                    )
                connection.execute(sa.update(providers).where(own).values(values))
                _record(connection, principal, Action.PROVIDER_CHANGED, provider_id, values)
        except IntegrityError as error:
            raise ProviderNameTaken(name=values["name"]) from error
        self.changes += 1

    def delete(self, principal: Principal, provider_id: UUID) -> None:
        """With its key, and the choices of its models. Errors: `NotFound`, `ProviderInUse`."""
        bases = knowledge_bases.c
        embedded = sa.select(bases.name).where(
            can(Permission.OWN, knowledge_bases, principal),
            bases.deleted_at.is_(None),
            bases.embedding_model.startswith(f"{OF_PROVIDER}{provider_id}/"),
        )
        with self._database.write() as connection:
            name = connection.scalar(sa.select(providers.c.name).where(_own(principal, provider_id)))
            if name is None:
                raise NotFound(what=PROVIDER)
            if names := connection.scalars(embedded.order_by(bases.name)).all():
                raise ProviderInUse(name=name, names=", ".join(names))
            connection.execute(sa.delete(providers).where(_own(principal, provider_id)))
            record(connection, principal, Action.PROVIDER_DELETED, provider_id, name)
            connection.execute(
                sa.delete(model_choices).where(
                    can(Permission.OWN, model_choices, principal), model_choices.c.model.startswith(f"{provider_id}/")
                )
            )
        self.changes += 1

    def choose_model(self, principal: Principal, purpose: Purpose, model_id: str) -> None:
        """Remember which model this user wants; empty: the one that is used without a choice. Errors: `NotFound`."""
        own = sa.and_(can(Permission.OWN, model_choices, principal), model_choices.c.purpose == purpose.value)
        change = sa.update(model_choices).where(own).values(model=model_id)
        row = {"owner_id": principal.user_id, "purpose": purpose.value, "model": model_id}
        with self._database.write() as connection:
            if connection.execute(change).rowcount:
                return
        try:
            with self._database.write() as connection:
                connection.execute(sa.insert(model_choices), row)
        except IntegrityError as error:
            with self._database.write() as connection:  # another tab was faster, or there is no such user
                if connection.execute(change).rowcount == 0:
                    raise NotFound(what="user") from error

    def chosen_model(self, principal: Principal, purpose: Purpose) -> str:
        """The id of the model that this user wants; may be empty."""
        statement = sa.select(model_choices.c.model).where(
            can(Permission.OWN, model_choices, principal), model_choices.c.purpose == purpose.value
        )
        with self._database.read() as connection:
            return connection.scalar(statement) or ""

    def _rows(self, principal: Principal) -> Sequence[sa.Row[Any]]:
        statement = _WITH_ROLE.where(can(Permission.OWN, providers, principal))
        with self._database.read() as connection:
            return connection.execute(statement.order_by(providers.c.created_at, providers.c.id)).all()

    def _to_connection(self, row: sa.Row[Any]) -> Connection:
        reach_directly(row.base_url)  # before anything connects to it
        key = self._safe.decrypt(row.encrypted_key)
        return Connection(
            source=Source.USER,
            server=row.name,
            base_url=row.base_url,
            key=key or NO_SECRET,
            names=tuple(row.model_names),
            settings=_settings(row),
            provider_id=row.id,
            error=ModelKeyLost(name=row.name) if key is None else None,
            langchain=_langchain(row.preset),
            guard=self._guard_for(row.role),
        )

    def _checked(self, principal: Principal, draft: ProviderDraft) -> dict[str, Any]:
        values = _checked(draft)
        with self._database.read() as connection:
            role = connection.scalar(sa.select(users.c.role).where(users.c.id == principal.user_id))
        if guard := self._guard_for(role or ""):
            guard.check_entered(values["base_url"], _langchain(draft.preset))
        return values

    def _guard_for(self, role: str) -> Guard | None:
        """Without a login, everybody is the local user, who is an administrator."""
        return None if role == UserRole.ADMINISTRATOR else self._guard

    def _encrypted(self, key: SecretStr) -> str:
        try:
            return self._safe.encrypt(clean_key(key))
        except ValueError as error:
            raise InvalidProvider(field=N_("API key"), detail=error) from error


def _checked(draft: ProviderDraft) -> dict[str, Any]:
    """The columns' values, the key apart. Errors: `InvalidName`, `InvalidProvider`."""
    names = list(_clean_names(draft.model_names))
    base_url = "" if _langchain(draft.preset) and not draft.base_url.strip() else clean_base_url(draft.base_url)
    if _langchain(draft.preset) and not names:
        raise InvalidProvider(field=N_("Models"), detail=N_("enter at least one name, as LangChain lists none"))
    return {
        "name": clean_name(draft.name),
        "preset": draft.preset if draft.preset in PRESETS else "",
        "base_url": base_url,
        "model_names": names,
        "settings": to_json(_clean_settings(draft.settings)),
    }


def clean_base_url(text: str) -> str:
    """The base URL, also from the address of one of its endpoints. Errors: `InvalidProvider`."""
    address = text.strip().rstrip("/")
    for endpoint in _ENDPOINTS:
        address = address.removesuffix(endpoint)
    if not address or not is_web_address(address) or any(character.isspace() for character in address):
        raise InvalidProvider(field=N_("Base URL"), detail=N_("write it as https://host/v1"))
    if "@" in address.partition("://")[2].partition("/")[0]:
        raise InvalidProvider(field=N_("Base URL"), detail=N_("leave out the user name and the password"))
    return address


def _langchain(preset: str) -> str:
    return PRESETS[preset].langchain if preset in PRESETS else ""


def _clean_names(names: tuple[str, ...]) -> dict[str, None]:
    cleaned = dict.fromkeys(filter(None, (clean_label(name) for name in names)))
    if len(cleaned) > MOST_NAMES or any(len(name) > NAME_CHARACTERS for name in cleaned):
        raise InvalidProvider(field=N_("Models"), detail=N_("enter at most 100 names, one in each line"))
    return cleaned


def _clean_settings(settings: ModelSettings) -> ModelSettings:
    temperature, prompt = settings.temperature, clean_text(settings.system_prompt).strip()
    if temperature is not None and not 0 <= temperature <= HOTTEST:
        raise InvalidProvider(field=N_("Temperature"), detail=N_("it lies between 0 and 2"))
    if len(prompt) > PROMPT_CHARACTERS:
        raise InvalidProvider(field=N_("System prompt"), detail=N_("it is longer than 20,000 characters"))
    for field, tokens in ((N_("Longest answer"), settings.max_tokens), (N_("Context window"), settings.context_window)):
        if tokens is not None and tokens < 1:
            raise InvalidProvider(field=field, detail=N_("enter a number of tokens, or nothing"))
    return replace(settings, system_prompt=prompt)


def _record(
    connection: sa.Connection, principal: Principal, action: Action, provider_id: UUID, values: dict[str, Any]
) -> None:
    record(connection, principal, action, provider_id, values["name"], server=host_of(values["base_url"]))


def _own(principal: Principal, provider_id: UUID) -> sa.ColumnElement[bool]:
    return sa.and_(providers.c.id == provider_id, can(Permission.OWN, providers, principal))


def _settings(row: sa.Row[Any]) -> ModelSettings:
    try:
        return from_json(ModelSettings, row.settings)
    except Unreadable:
        return SERVERS_OWN


def _to_provider(row: sa.Row[Any]) -> Provider:
    return Provider(
        id=row.id,
        name=row.name,
        preset=row.preset,
        base_url=row.base_url,
        has_key=bool(row.encrypted_key),
        model_names=tuple(row.model_names),
        settings=_settings(row),
        created_at=row.created_at,
    )
