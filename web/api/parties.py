"""What the routes need of a request: the parts of `kb`, and who acts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers

from kb.access import KeyScope, Principal, require_scope
from kb.answers import Answers
from kb.errors import KeyRefused
from kb.services import Services


@dataclass(frozen=True, slots=True)
class Parties:
    """What a web process serves with."""

    services: Services
    answers: Answers


def _parties(request: Request) -> Parties:
    found: Parties = request.app.state.parties()
    return found


KEY_IS_VALID = "key_is_valid"  # in a request's state, once SQL was asked: see `web.api.rates`
Serving = Annotated[Parties, Depends(_parties)]


def token_of(headers: Headers) -> str:
    """The key that a program sent; empty: none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


_bearer = HTTPBearer(auto_error=False, scheme_name="API key", description="A key of the page “API”.")


def _principal(
    request: Request,
    parties: Serving,
    _credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],  # for the documentation
) -> Principal:
    return principal_of(request, parties)


def principal_of(request: Request, parties: Parties) -> Principal:
    """Who acts with the key of a request. Errors: `KeyRefused`."""
    token = token_of(request.headers)
    if not token:
        raise KeyRefused
    try:
        principal = parties.services.api_keys.authenticate(token)
    except KeyRefused:
        setattr(request.state, KEY_IS_VALID, False)
        raise
    setattr(request.state, KEY_IS_VALID, True)
    return principal


def _with(scope: KeyScope) -> Callable[[Principal], Principal]:
    def principal_with_scope(principal: Annotated[Principal, Depends(_principal)]) -> Principal:
        require_scope(principal, scope)
        return principal

    return principal_with_scope


# Who acts, with a key of at least this scope.
Reader = Annotated[Principal, Depends(_with(KeyScope.READ))]
Asker = Annotated[Principal, Depends(_with(KeyScope.ASK))]
Writer = Annotated[Principal, Depends(_with(KeyScope.WRITE))]
Administrator = Annotated[Principal, Depends(_with(KeyScope.ADMIN))]
