"""Tickets: they let a plain HTTP request act for the page that sent it.

A page hands its browser a ticket, which a route accepts for the user, the action and the thing that it was issued for
(a knowledge base, or all conversations of the user), in any process of the installation. Where there is a login, routes
ask who has signed in besides: a ticket alone opens nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from enum import StrEnum
from uuid import UUID

from kb.errors import PageClosed, SetupError
from kb.principals import Principal
from kb.providers.keys import KeySafe

CONVERSATIONS = UUID(int=0)  # the target of a ticket for all conversations of its user
DAY_SECONDS = 86_400
VALID_DAYS = 7  # at least: all of a day end together, so that a page that is drawn again has the same


class Action(StrEnum):
    UPLOAD = "upload"
    DOWNLOAD = "download"
    EXPORT = "export"


class Tickets:
    """Signed with the installation's secret, so that none has to be kept. Safe to share among threads."""

    def __init__(self, safe: KeySafe, clock: Callable[[], float] = time.time) -> None:
        self._safe = safe
        self._clock = clock
        self._own_key = secrets.token_bytes(32)

    def issue(self, action: Action, principal: Principal, target_id: UUID, origin: str = "") -> str:
        """`origin`: that of the page, if requests with the ticket state theirs."""
        last_day = int(self._clock()) // DAY_SECONDS + VALID_DAYS
        return f"{principal.user_id.hex}.{last_day}.{self._sign(action, principal, target_id, str(last_day), origin)}"

    def check(self, ticket: str, action: Action, target_id: UUID, origin: str = "") -> Principal:
        """The one for whom the ticket was issued. Errors: `PageClosed`, whatever is wrong with the ticket."""
        try:
            user, last_day, signature = ticket.split(".")
            principal = Principal(UUID(hex=user))
        except ValueError:
            raise PageClosed from None
        expected = self._sign(action, principal, target_id, last_day, origin)
        if not hmac.compare_digest(signature.encode(errors="replace"), expected.encode()):
            raise PageClosed
        if int(last_day) < int(self._clock()) // DAY_SECONDS:
            raise PageClosed
        return principal

    def _sign(self, action: Action, principal: Principal, target_id: UUID, last_day: str, origin: str) -> str:
        claim = "\n".join((action, principal.user_id.hex, target_id.hex, last_day, origin))
        return hmac.new(self._key(), claim.encode(errors="replace"), hashlib.sha256).hexdigest()

    def _key(self) -> bytes:
        try:
            return self._safe.derive("tickets")
        except SetupError:  # the Models page says so; pages go on with the process that drew them
            return self._own_key
