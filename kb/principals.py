"""Who acts, and what there is to be allowed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID


class Permission(StrEnum):
    """What one may do with a thing. Each includes those before it."""

    VIEW = "view"  # read it, and ask it
    EDIT = "edit"  # change what it holds and how it is searched
    OWN = "own"  # share it, and delete it

    def includes(self, other: Permission) -> bool:
        return self.rank >= other.rank

    @property
    def rank(self) -> int:
        return list(Permission).index(self)


class GranteeKind(StrEnum):
    """With whom a thing is shared."""

    USER = "user"
    GROUP = "group"
    EVERYBODY = "everybody"  # who has an account here


class KeyScope(StrEnum):
    """What a program may do with a key, as far as its user may."""

    READ = "read"  # list, read and search knowledge bases and documents
    ASK = "ask"  # put questions to models; read the conversations
    # create knowledge bases; add, change and delete documents; rename and delete conversations; set up webhooks
    WRITE = "write"
    ADMIN = "admin"  # delete and share knowledge bases

    @property
    def permission(self) -> Permission:
        """What it allows at most with a knowledge base."""
        return {KeyScope.WRITE: Permission.EDIT, KeyScope.ADMIN: Permission.OWN}.get(self, Permission.VIEW)


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """The key that a program acts with. `is_limited`: to chosen knowledge bases, see `kb.access.keys`."""

    id: UUID
    scopes: frozenset[KeyScope]
    is_limited: bool = False


@dataclass(frozen=True, slots=True)
class Principal:
    """A user who acts, in a page or by a route; or a program, with a key of theirs."""

    user_id: UUID
    key: KeyLimits | None = None

    @property
    def binds(self) -> dict[str, Any]:
        """What a statement with a condition of `can` is executed with."""
        return {"of_user": self.user_id, "of_key": self.limiting_key_id, "of_rank": self.most.rank}

    @property
    def limiting_key_id(self) -> UUID | None:
        """Of a key that reaches some knowledge bases only."""
        return self.key.id if self.key and self.key.is_limited else None

    @property
    def most(self) -> Permission:
        """What they may do at most with a knowledge base."""
        if self.key is None:
            return Permission.OWN
        return max((scope.permission for scope in self.key.scopes), key=lambda each: each.rank, default=Permission.VIEW)

    def has(self, scope: KeyScope) -> bool:
        """Whether they may do this at all. Who signed in has every scope."""
        return self.key is None or scope in self.key.scopes
