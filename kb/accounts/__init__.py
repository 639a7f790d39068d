"""Accounts: who can sign in, and who is signed in. An installation without a login uses none of this.

`Registration` makes accounts, `SignIn` opens sessions and changes passwords, `Sessions` knows who is signed in,
`Administration` and `Groups` are for administrators. Tokens of sessions and links are random and kept as digests.
"""

from __future__ import annotations

from dataclasses import dataclass

from kb.accounts.administration import Administration, first_administrator
from kb.accounts.first_token import FIRST_TOKEN_FILE, FirstToken
from kb.accounts.groups import Groups
from kb.accounts.identities import Identities
from kb.accounts.passwords import LONGEST_PASSWORD, SHORTEST_PASSWORD, Passwords
from kb.accounts.registration import Invitation, Registration
from kb.accounts.sessions import Sessions
from kb.accounts.sign_in import SignIn
from kb.accounts.throttle import Throttle
from kb.config import Settings
from kb.database import Database
from kb.redis import QuickRedis

__all__ = [
    "FIRST_TOKEN_FILE",
    "LONGEST_PASSWORD",
    "SHORTEST_PASSWORD",
    "Accounts",
    "Administration",
    "FirstToken",
    "Groups",
    "Identities",
    "Invitation",
    "Passwords",
    "Registration",
    "Sessions",
    "SignIn",
    "Throttle",
    "build_accounts",
    "first_administrator",
]


@dataclass(frozen=True, slots=True)
class Accounts:
    sessions: Sessions
    sign_in: SignIn
    registration: Registration
    administration: Administration
    groups: Groups
    identities: Identities


def build_accounts(settings: Settings, database: Database, redis: QuickRedis) -> Accounts:
    passwords, throttle, sessions = Passwords(), Throttle(redis), Sessions(database)
    first_token = FirstToken(settings.home)
    registration = Registration(database, sessions, passwords, throttle, first_token, settings.registration)
    return Accounts(
        sessions,
        SignIn(database, sessions, passwords, throttle),
        registration,
        Administration(database),
        Groups(database),
        Identities(database, sessions, registration, throttle, settings.sign_in_providers),
    )
