"""A conversation with an OpenID provider: the authorization code flow with PKCE, and the check of its ID token.

Every request is bounded in time and size, and goes nowhere but to the configured issuer and the endpoints that this one
names. What is wrong is logged without tokens, codes or secrets.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import structlog

from kb.errors import (
    IdTokenRefused,
    ProviderUnavailable,
    SignInCodeExpired,
    WrongAudience,
    WrongIssuer,
)
from kb.names import clean_label, clean_text
from kb.oidc.settings import OidcProvider, is_safe_address

if TYPE_CHECKING:
    from authlib.integrations.httpx_client import AsyncOAuth2Client
    from joserfc.jwk import Key

KEPT_SECONDS = 3600.0  # what a provider says about itself
KEYS_AGAIN_SECONDS = 60.0  # for an ID token with a key that is not known, its keys are read again at most so often
LEEWAY_SECONDS = 60  # by which clocks differ
SCOPE = "openid profile email"
# What anybody can check with public keys: none is no signature, and HS256 would take the client's secret as the key.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Flow:
    """One sign-in that has begun. All that belongs to it is made of a secret that only this browser has."""

    provider_key: str
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    @property
    def state(self) -> str:
        return self._derived("state")

    @property
    def nonce(self) -> str:
        return self._derived("nonce")

    @property
    def code_verifier(self) -> str:
        return self._derived("verifier")

    def _derived(self, purpose: str) -> str:
        derived = hashlib.sha256(f"{purpose} {self.provider_key} {self.secret}".encode(errors="replace")).digest()
        return urlsafe_b64encode(derived).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody as a provider knows them: `issuer` and `subject` never change; `name` is a proposal."""

    provider: OidcProvider
    issuer: str
    subject: str
    name: str


@dataclass(frozen=True, slots=True)
class _Metadata:
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    auth_method: str


class OidcClient:
    """Of one provider. Errors of its calls: `ProviderUnavailable`, `WrongIssuer`."""

    def __init__(self, provider: OidcProvider, clock: Callable[[], float] = time.monotonic) -> None:
        self.provider = provider
        self._clock = clock
        self._reading = anyio.Lock()
        self._metadata: tuple[float, _Metadata] | None = None
        self._keys: tuple[float, list[Key]] | None = None

    async def authorization_url(self, flow: Flow, redirect_uri: str) -> str:
        """Where the browser signs in."""
        async with self._session() as http:
            metadata = await self._read_metadata(http)
            address, _state = http.create_authorization_url(
                metadata.authorization_endpoint,
                state=flow.state,
                code_verifier=flow.code_verifier,
                nonce=flow.nonce,
                redirect_uri=redirect_uri,
                scope=SCOPE,
            )
        return str(address)

    async def identity(self, flow: Flow, code: str, redirect_uri: str) -> Identity:
        """Who has signed in. Errors: also `SignInCodeExpired`, `IdTokenRefused`, `WrongAudience`."""
        async with self._session() as http:
            metadata = await self._read_metadata(http)
            http.token_endpoint_auth_method = metadata.auth_method
            id_token = await self._exchange(http, metadata, flow, code, redirect_uri)
            return await self._verified(http, metadata, id_token, flow)

    def check_issuer(self, named: str | None) -> None:
        """Of the provider's answer by the browser (RFC 9207), where it names one. Errors: `WrongIssuer`."""
        if named is not None and named.rstrip("/") != self.provider.issuer.rstrip("/"):
            raise self._refused(WrongIssuer, "the answer names another issuer")

    # --- its endpoints ---

    def _session(self) -> AbstractAsyncContextManager[AsyncOAuth2Client]:
        from kb.oidc.session import bounded_session  # 0.2 s, for the first who signs in so

        return bounded_session(self.provider)

    async def _read_metadata(self, http: AsyncOAuth2Client) -> _Metadata:
        async with self._reading:  # one connection, however many click while the provider is slow
            if self._metadata is None or self._clock() - self._metadata[0] >= KEPT_SECONDS:
                self._metadata = self._clock(), await self._told_metadata(http)
            return self._metadata[1]

    async def _told_metadata(self, http: AsyncOAuth2Client) -> _Metadata:
        told = await self._get(http, f"{self.provider.issuer.rstrip('/')}/.well-known/openid-configuration")
        issuer = told.get("issuer")
        if not isinstance(issuer, str) or issuer.rstrip("/") != self.provider.issuer.rstrip("/"):
            raise self._refused(WrongIssuer, "its configuration names another issuer")
        to_authorize, to_token, to_keys = (
            str(told.get(name, "")) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")
        )
        if not all(map(is_safe_address, (to_authorize, to_token, to_keys))):
            raise self._unavailable("its configuration lacks an endpoint, or names one without TLS")
        return _Metadata(issuer, to_authorize, to_token, to_keys, _auth_method(self.provider, told))

    async def _exchange(
        self, http: AsyncOAuth2Client, metadata: _Metadata, flow: Flow, code: str, redirect_uri: str
    ) -> str:
        from authlib.integrations.httpx_client import OAuthError

        try:
            tokens = await http.fetch_token(
                metadata.token_endpoint,
                grant_type="authorization_code",
                code=code,
                redirect_uri=redirect_uri,
                code_verifier=flow.code_verifier,
            )
        except OAuthError as error:
            if error.error == "invalid_grant":
                raise self._refused(SignInCodeExpired, "the code was used or has expired") from None
            raise self._unavailable("its token endpoint refuses this client", error=str(error.error)[:60]) from None
        id_token = tokens.get("id_token")
        if not isinstance(id_token, str):
            raise self._refused(IdTokenRefused, "there is no ID token")
        return id_token

    async def _get(self, http: AsyncOAuth2Client, address: str) -> dict[str, Any]:
        reply = await http.request("GET", address, withhold_token=True)
        if reply.status_code != 200:
            raise self._unavailable("an endpoint does not answer as it should", status=reply.status_code)
        told = json.loads(reply.content)
        if not isinstance(told, dict):
            raise self._unavailable("an endpoint does not answer as it should")
        return told

    # --- the ID token ---

    async def _verified(self, http: AsyncOAuth2Client, metadata: _Metadata, id_token: str, flow: Flow) -> Identity:
        from authlib.oidc.core import CodeIDToken
        from joserfc import jwt
        from joserfc.errors import InvalidKeyIdError, JoseError
        from joserfc.jwk import KeySet

        async def decoded(again: bool) -> jwt.Token:
            keys = await self._read_keys(http, metadata, again)
            return jwt.decode(id_token, KeySet(keys), ALGORITHMS)

        try:
            try:
                token = await decoded(again=False)
            except InvalidKeyIdError:  # it may have a new key since
                token = await decoded(again=True)
            claims = CodeIDToken(
                token.claims, token.header, params={"nonce": flow.nonce, "client_id": self.provider.client_id}
            )
            if claims.get("iss") != metadata.issuer:
                raise self._refused(WrongIssuer, "its ID token is of another issuer")
            audience = claims.get("aud")
            if self.provider.client_id not in (audience if isinstance(audience, list) else [audience]):
                raise self._refused(WrongAudience, "its ID token is for another client")
            claims.validate(leeway=LEEWAY_SECONDS)
        except (JoseError, ValueError, TypeError, LookupError) as error:  # the library expects well-formed headers
            raise self._refused(IdTokenRefused, type(error).__name__) from None
        subject = claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= 255 or clean_text(subject) != subject:
            raise self._refused(IdTokenRefused, "it names nobody")
        return Identity(self.provider, metadata.issuer, subject, _name(claims))

    async def _read_keys(self, http: AsyncOAuth2Client, metadata: _Metadata, again: bool) -> list[Key]:
        """The keys for signatures; `again`: unless they were read just now."""
        kept_seconds = KEYS_AGAIN_SECONDS if again else KEPT_SECONDS
        if self._keys is None or self._clock() - self._keys[0] >= kept_seconds:
            told = (await self._get(http, metadata.jwks_uri)).get("keys")
            found = map(_to_key, told if isinstance(told, list) else [])
            self._keys = self._clock(), [key for key in found if key]
        return self._keys[1]

    # --- what went wrong ---

    def _refused(self, error: type[WrongIssuer | WrongAudience | IdTokenRefused | SignInCodeExpired], why: str) -> Any:
        log.warning("oidc.refused", provider=self.provider.key, reason=why)
        return error(name=self.provider.name)

    def _unavailable(self, why: str, **about: object) -> ProviderUnavailable:
        log.warning("oidc.unavailable", provider=self.provider.key, reason=why, **about)
        return ProviderUnavailable(name=self.provider.name)


def _auth_method(provider: OidcProvider, told: dict[str, Any]) -> str:
    """How the client names itself: by the header, unless the provider takes it from the body only."""
    if not provider.client_secret.get_secret_value():
        return "none"
    offered = told.get("token_endpoint_auth_methods_supported")
    known = offered if isinstance(offered, list) else []
    takes_body_only = "client_secret_post" in known and "client_secret_basic" not in known
    return "client_secret_post" if takes_body_only else "client_secret_basic"


def _to_key(told: object) -> Key | None:
    """None for one that is not for signatures, or not understood: the others count all the same (RFC 7517, 5)."""
    from joserfc.errors import JoseError
    from joserfc.jwk import JWKRegistry

    if not isinstance(told, dict) or told.get("use", "sig") != "sig":
        return None
    try:
        return JWKRegistry.import_key(told) if told.get("kty") in ("RSA", "EC", "OKP") else None
    except (JoseError, ValueError, TypeError, LookupError):
        return None


def _name(claims: dict[str, Any]) -> str:
    """What to call them, if nobody is called so yet; may be empty."""
    for claim in ("name", "preferred_username", "nickname", "email"):
        told = claims.get(claim)
        if isinstance(told, str) and (name := clean_label(told.split("@")[0] if "@" in told else told)):
            return name
    return ""
