"""Random tokens, which a browser, a link or a program holds, and their digests, which are all that is kept here."""

from __future__ import annotations

import hashlib
import secrets

TOKEN_BYTES = 32


def new_token() -> str:
    return secrets.token_urlsafe(TOKEN_BYTES)


def digest(token: str) -> str:
    """A token is random and long, so that a plain digest cannot be guessed back."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
