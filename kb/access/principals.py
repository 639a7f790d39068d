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
        order = list(Permission)
        return order.index(self) >= order.index(other)


class GranteeKind(StrEnum):
    """With whom a thing is shared."""

    USER = "user"
    GROUP = "group"
    EVERYBODY = "everybody"  # who has an account here


@dataclass(frozen=True, slots=True)
class Principal:
    """A user who acts, in a page or by a route."""

    user_id: UUID

    @property
    def binds(self) -> dict[str, Any]:
        """What a statement with a condition of `can` is executed with."""
        return {"of_user": self.user_id}
