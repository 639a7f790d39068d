"""Accounts: who can sign in, and who is signed in. An installation without a login uses none of this.

`Registration` makes accounts, `SignIn` opens sessions and changes passwords, `Sessions` knows who is signed in,
`Administration` is for administrators. Tokens of sessions and links are random and kept as digests.
"""

from __future__ import annotations

from kb.accounts.administration import Administration
from kb.accounts.first_token import FIRST_TOKEN_FILE, FirstToken
from kb.accounts.passwords import LONGEST_PASSWORD, SHORTEST_PASSWORD, Passwords
from kb.accounts.registration import Invitation, Registration
from kb.accounts.sessions import Sessions
from kb.accounts.sign_in import SignIn
from kb.accounts.throttle import Throttle

__all__ = [
    "FIRST_TOKEN_FILE",
    "LONGEST_PASSWORD",
    "SHORTEST_PASSWORD",
    "Administration",
    "FirstToken",
    "Invitation",
    "Passwords",
    "Registration",
    "Sessions",
    "SignIn",
    "Throttle",
]
