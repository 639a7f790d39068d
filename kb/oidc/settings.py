"""Which OpenID providers there are: OIDC_PROVIDERS names them, and each has variables of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import SecretStr

from kb.errors import N_, SetupError

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class OidcProvider:
    key: str  # as OIDC_PROVIDERS and addresses name it
    name: str  # as people know it
    issuer: str
    client_id: str
    client_secret: SecretStr  # empty: a public client, which PKCE alone protects


def read_providers(names: str, environment: Mapping[str, str | None]) -> tuple[OidcProvider, ...]:
    """Those of OIDC_PROVIDERS. Errors: `SetupError` that names the variable."""
    keys = dict.fromkeys(filter(None, re.split(r"[\s,]+", names.lower())))
    return tuple(_read(key, {name: (value or "").strip() for name, value in environment.items()}) for key in keys)


def _read(key: str, environment: Mapping[str, str]) -> OidcProvider:
    if not re.fullmatch(r"[a-z][a-z0-9]{0,30}", key):
        raise _invalid("OIDC_PROVIDERS", N_("use letters and digits for each name, with spaces between"))
    prefix = f"OIDC_{key.upper()}_"
    issuer, client_id = environment.get(f"{prefix}ISSUER", ""), environment.get(f"{prefix}CLIENT_ID", "")
    if not is_safe_address(issuer) or "?" in issuer or "#" in issuer:
        raise _invalid(f"{prefix}ISSUER", N_("write it as https://sso.example; http is for this machine only"))
    if not client_id:
        raise _invalid(f"{prefix}CLIENT_ID", N_("it is empty"))
    secret = SecretStr(environment.get(f"{prefix}CLIENT_SECRET", ""))
    return OidcProvider(key, environment.get(f"{prefix}NAME", "") or key, issuer, client_id, secret)


def is_safe_address(address: str) -> bool:
    """Whether nobody in between can read and change what is sent there."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        address.encode()
    except ValueError:  # also for halves of characters
        return False
    if "@" in parts.netloc or not host:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK)


def _invalid(setting: str, detail: str) -> SetupError:
    return SetupError(
        N_("{setting} is not valid: {detail}."),
        N_("Correct it in the environment or in .env, then restart."),
        setting=setting,
        detail=detail,
    )
