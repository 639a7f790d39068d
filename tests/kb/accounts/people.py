"""The parts of `kb.accounts`, with a hash that costs next to nothing and a Redis that is not there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import redis
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from redis.backoff import NoBackoff
from redis.retry import Retry

from kb.accounts import (
    Accounts,
    Administration,
    FirstToken,
    Groups,
    Identities,
    Passwords,
    Registration,
    Sessions,
    SignIn,
    Throttle,
)
from kb.database import Database
from kb.models import Account
from kb.oidc.settings import OidcProvider
from kb.redis import QuickRedis
from tests.conftest import Clock

ADDRESS = "192.0.2.7"
PASSWORD = "correct horse battery"


def quick_passwords() -> Passwords:
    passwords = Passwords()
    passwords.__dict__["_hasher"] = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))
    return passwords


def make_accounts(
    database: Database, home: Path, clock: Callable[[], datetime], providers: tuple[OidcProvider, ...] = ()
) -> Accounts:
    """Accounts by invitation."""
    passwords, sessions = quick_passwords(), Sessions(database, clock)
    throttle = Throttle(QuickRedis(redis.Redis(port=1, retry=Retry(NoBackoff(), 0))))  # by itself, it tries for seconds
    parts = database, sessions, passwords, throttle, FirstToken(home)
    registration = Registration(*parts, mode="invitation", clock=clock)
    return Accounts(
        sessions,
        SignIn(database, sessions, passwords, throttle),
        registration,
        Administration(database, clock),
        Groups(database),
        Identities(database, sessions, registration, throttle, providers, clock),
    )


@dataclass
class People:
    """An installation's accounts."""

    database: Database
    clock: Clock
    sessions: Sessions
    sign_in: SignIn
    registration: Registration
    administration: Administration

    def first(self, name: str = "Ada") -> Account:
        """The first administrator."""
        token = self.registration.first_token()
        return self.account(self.registration.create_first(token, name, PASSWORD, ADDRESS))

    def invited(self, by: Account, name: str = "Ben") -> Account:
        token = self.registration.invite(by.principal)
        return self.account(self.registration.accept(token, name, PASSWORD, ADDRESS))

    def account(self, token: str) -> Account:
        found = self.sessions.find(token)
        assert found
        return found

    def enter(self, name: str, password: str = PASSWORD, address: str = ADDRESS) -> str:
        return self.sign_in.sign_in(name, password, address)

    def set_mode(self, mode: Literal["closed", "invitation", "open"]) -> None:
        self.registration.mode = mode
