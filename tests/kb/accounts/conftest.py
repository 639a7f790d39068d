"""The parts of `kb.accounts` over SQLite and PostgreSQL, with a quick hash and a Redis that is not there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
import redis

from kb.accounts import Administration, FirstToken, Passwords, Registration, Sessions, SignIn, Throttle
from kb.database import Database
from kb.models import Account
from kb.redis import QuickRedis
from tests.conftest import Clock

ADDRESS = "192.0.2.7"
PASSWORD = "correct horse battery"


@dataclass
class People:
    """An installation's accounts."""

    database: Database
    clock: Clock
    sessions: Sessions
    sign_in: SignIn
    registration: Registration
    administration: Administration
    first_token: FirstToken

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


@pytest.fixture
def passwords() -> Passwords:
    """With a hash that costs next to nothing."""
    from pwdlib import PasswordHash
    from pwdlib.hashers.argon2 import Argon2Hasher

    passwords = Passwords()
    passwords.__dict__["_hasher"] = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))
    return passwords


@pytest.fixture
def no_redis() -> Iterator[QuickRedis]:
    with redis.Redis(port=1, socket_connect_timeout=0.1) as client:
        yield QuickRedis(client)


@pytest.fixture
def people(database: Database, clock: Clock, tmp_path: Path, passwords: Passwords, no_redis: QuickRedis) -> People:
    """Runs the test on SQLite and on PostgreSQL; accounts by invitation."""
    throttle, first_token = Throttle(no_redis), FirstToken(tmp_path)
    sessions = Sessions(database, clock)
    registration = Registration(*(database, sessions, passwords, throttle, first_token), mode="invitation", clock=clock)
    sign_in = SignIn(database, sessions, passwords, throttle)
    administration = Administration(database, clock)
    return People(database, clock, sessions, sign_in, registration, administration, first_token)
