"""What a tool is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from kb.access import KeyScope, Principal, require_scope
from kb.services import Services

MOST_TOKENS = 8_000  # of the texts in one result: clients warn of more than 10,000, and cut at 25,000


class Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Result(BaseModel):
    """Fields that are None are left out."""


@dataclass(frozen=True, slots=True)
class Tool:
    """`description` is read by models, which choose by it; `arguments` and `result` give the schemas."""

    name: str
    title: str
    description: str
    arguments: type[Arguments]
    result: type[Result]
    run: Callable[[Services, Principal, Any], Result]
    scope: KeyScope = KeyScope.READ

    def call(self, services: Services, principal: Principal, given: Arguments) -> Result:
        """Errors: `OutOfScope`, and those of what it does."""
        require_scope(principal, self.scope)
        return self.run(services, principal, given)
