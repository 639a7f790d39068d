"""Users and what they chose."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from kb.models.conversations import Mode
from kb.models.retrieval import NOWHERE, Scope
from kb.models.stored import known
from kb.principals import Principal


@dataclass(frozen=True, slots=True)
class Choices:
    """What a user chose last. Kept as JSON: unknown fields are ignored, missing or unreadable ones have defaults."""

    mode: Mode = Mode.KNOWLEDGE
    scope: Scope = NOWHERE
    search_engine: str = ""  # its id; empty: the default

    def to_json(self) -> dict[str, object]:
        first = self.scope.first_id
        return {
            "version": 1,
            "mode": self.mode.value,
            "knowledge_base_id": str(first) if first else None,  # for releases that knew one only
            "knowledge_base_ids": [str(each) for each in self.scope.knowledge_base_ids],
            "document_ids": [str(each) for each in self.scope.document_ids],
            "search_engine": self.search_engine,
        }

    @classmethod
    def from_json(cls, stored: object) -> Choices:
        values = stored if isinstance(stored, dict) else {}
        base_ids = values.get("knowledge_base_ids", [values.get("knowledge_base_id")])
        return cls.from_texts(values.get("mode"), base_ids, values.get("document_ids"), values.get("search_engine"))

    @classmethod
    def from_texts(
        cls, mode: object, knowledge_base_ids: object, document_ids: object = (), search_engine: object = ""
    ) -> Choices:
        """From stored or typed texts, whatever they are."""
        base_ids = _ids(knowledge_base_ids)
        scope = Scope(base_ids, _ids(document_ids) if base_ids else ())
        engine = search_engine if isinstance(search_engine, str) else ""
        return cls(known(mode, Mode.KNOWLEDGE), scope, engine)


def _ids(texts: object) -> tuple[UUID, ...]:
    """Those of the texts that are ids, each once."""
    found: dict[UUID, None] = {}
    for text in texts if isinstance(texts, list | tuple) else ():
        with suppress(ValueError):
            found[UUID(str(text))] = None
    return tuple(found)


class UserRole(StrEnum):
    """What a user may do beside using Zhiwen."""

    MEMBER = "member"
    ADMINISTRATOR = "administrator"  # invites, approves and suspends users


@dataclass(frozen=True, slots=True)
class Account:
    """A user who can sign in; without a login, the local user."""

    id: UUID
    name: str
    role: UserRole
    created_at: datetime
    signed_in_at: datetime | None = None
    suspended_at: datetime | None = None
    awaits_approval: bool = False

    @property
    def principal(self) -> Principal:
        return Principal(self.id)

    @property
    def is_administrator(self) -> bool:
        return self.role is UserRole.ADMINISTRATOR

    @property
    def is_active(self) -> bool:
        return self.suspended_at is None and not self.awaits_approval


@dataclass(frozen=True, slots=True)
class User:
    id: UUID
    name: str
    chat_model: str = ""
    last_choices: Choices = Choices()

    @property
    def principal(self) -> Principal:
        """Who acts when this user does."""
        return Principal(self.id)
