"""Passwords: their only rule is their length, and they are kept as Argon2 hashes."""

from __future__ import annotations

import secrets
from functools import cached_property
from typing import TYPE_CHECKING

from kb.errors import PasswordTooLong, PasswordTooShort
from kb.normalizing import normalize

if TYPE_CHECKING:
    from pwdlib import PasswordHash

SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 1000


class Passwords:
    """Each hash takes 64 MB and some hundredths of a second; callers bound how many run at once."""

    @cached_property
    def _hasher(self) -> PasswordHash:
        from pwdlib import PasswordHash  # only processes with a login need it

        return PasswordHash.recommended()

    @cached_property
    def _nobodys(self) -> str:
        return self.hash(secrets.token_urlsafe())

    def check(self, password: str) -> None:
        """Errors: `PasswordTooShort`, `PasswordTooLong`."""
        length = len(_normal(password))
        if length < SHORTEST_PASSWORD:
            raise PasswordTooShort(limit=SHORTEST_PASSWORD)
        if max(length, len(password)) > LONGEST_PASSWORD:
            raise PasswordTooLong(limit=LONGEST_PASSWORD)

    def hash(self, password: str) -> str:
        return str(self._hasher.hash(_bytes(password)))

    def verify(self, password: str, hashed: str) -> tuple[bool, str]:
        """Whether it is the password, and a new hash if the old one is weaker than today's.

        Where there is no hash to compare with, it takes as long.
        """
        nobodys = self._nobodys  # by then also made where there is a hash
        if len(password) > LONGEST_PASSWORD:
            password, hashed = "", ""
        is_right, renewed = self._hasher.verify_and_update(_bytes(password), hashed or nobodys)
        return bool(is_right and hashed), renewed or ""


def _normal(password: str) -> str:
    """Keyboards and input methods write the same sign in several ways."""
    return normalize("NFKC", password[: LONGEST_PASSWORD + 1])


def _bytes(password: str) -> bytes:
    return _normal(password).encode("utf-8", "surrogatepass")
