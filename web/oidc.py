"""The routes by which people sign in with an account elsewhere: to the provider, and back from it."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from functools import partial
from http import HTTPStatus

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from kb.accounts import Accounts, Identities
from kb.errors import (
    N_,
    IdTokenRefused,
    KbError,
    NotFound,
    PageClosed,
    SignedOut,
    SignInCodeExpired,
    SignInDeclined,
    SignInOver,
    WrongAudience,
    WrongIssuer,
)
from kb.models import Account
from kb.oidc.client import Flow, OidcClient
from pages.ui.i18n import translate
from pages.ui.session_cookie import home_path
from web.base_path import BASE_PATH
from web.cookies import flow_cookie, session_of, set_flow_cookie, set_session
from web.form_pages import form_page, own_path
from web.origins import public_address
from web.signed_in import at_login
from web.statuses import status_of

FLOW_SECONDS = 600  # for somebody to sign in at the provider
LONGEST_VALUE = 2500  # of a cookie; browsers take 4,096 bytes with all that belongs to it
# What counts as an attempt at somebody else's account. Who is known at the provider, but not here, guesses nothing: a
# whole office may come from one address.
GUESSES = (SignInOver, SignInCodeExpired, IdTokenRefused, WrongAudience, WrongIssuer)
SIGN_IN = N_("Sign in")
WITH = N_("Sign in with {name}")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Begun:
    """What a browser keeps while somebody signs in. Nobody else gains by changing it."""

    secret: str
    at: int
    to: str
    invitation: str = ""
    connects: str = ""  # the session's `connection_token`: the identity is for who is signed in

    def to_cookie(self) -> str:
        return urlsafe_b64encode(json.dumps(asdict(self)).encode()).decode()

    @classmethod
    def from_cookie(cls, value: str) -> Begun:
        """Errors: `SignInOver`."""
        try:
            kept = json.loads(urlsafe_b64decode(value))
            begun = cls(**kept)
            texts = (begun.secret, begun.to, begun.invitation, begun.connects)
            if not all(isinstance(text, str) for text in texts):
                raise TypeError
            age = time.time() - begun.at
        except (ValueError, TypeError, OverflowError, RecursionError):
            raise SignInOver from None
        if not 0 <= age + 5 <= FLOW_SECONDS + 5:
            raise SignInOver
        return begun


def connection_token(session: str) -> str:
    """What the account's page carries in its links: other sites cannot begin to connect an account of theirs."""
    return hashlib.sha256(f"connect {session}".encode(errors="replace")).hexdigest()


def provider_buttons(identities: Identities, code: str, query: str) -> list[tuple[str, str]]:
    """For `form_page`: the paths and the texts by which people sign in with a provider."""
    return [
        (f"login/{key}{f'?{query}' if query else ''}", translate(WITH, code).format(name=client.provider.name))
        for key, client in identities.clients.items()
    ]


class OidcLogin:
    def __init__(self, accounts: Callable[[], Accounts], has_login: Callable[[], bool]) -> None:
        self._accounts = accounts
        self._has_login = has_login

    def routes(self) -> list[Route]:
        path = f"{BASE_PATH}login/{{provider}}"
        return [
            Route(path, partial(self._guarded, self.begin), methods=["GET"]),
            Route(f"{path}/callback", partial(self._guarded, self.come_back), methods=["GET"]),
        ]

    async def _guarded(self, endpoint: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
        if not self._has_login():
            return RedirectResponse(home_path(), HTTPStatus.SEE_OTHER)
        try:
            return await endpoint(request)
        except KbError as error:
            return form_page(request, SIGN_IN, [], status_of(error), error, links=[("login", SIGN_IN)])

    async def begin(self, request: Request) -> Response:
        client, query, session = self._client(request), request.query_params, session_of(request)
        connects = query.get("connect", "")
        if connects and not hmac.compare_digest(connects.encode(errors="replace"), connection_token(session).encode()):
            raise PageClosed
        flow = Flow(client.provider.key)
        wanted, invitation = own_path(query.get("next", "")), query.get("invitation", "")[:200]
        begun = Begun(flow.secret, int(time.time()), wanted, invitation, connects)
        if len(begun.to_cookie()) > LONGEST_VALUE:
            begun = Begun(flow.secret, begun.at, home_path(), invitation, connects)
        address = await client.authorization_url(flow, _redirect_uri(request, client))
        response = RedirectResponse(address, HTTPStatus.SEE_OTHER, {"Cache-Control": "no-store"})
        set_flow_cookie(response, request, flow.state, begun.to_cookie(), FLOW_SECONDS)
        return response

    async def come_back(self, request: Request) -> Response:
        client, state = self._client(request), request.query_params.get("state", "")
        throttle, address = self._accounts().identities.throttle, request.client.host if request.client else ""
        try:
            await at_login(partial(throttle.check, "", address))
            response = await self._completed(request, client, state)
        except KbError as error:
            log.warning("oidc.failed", provider=client.provider.key, reason=error.code, address=address)
            if isinstance(error, GUESSES):
                await at_login(partial(throttle.count_failure, "", address))
            response = form_page(request, SIGN_IN, [], status_of(error), error, links=[("login", SIGN_IN)])
        if flow_cookie(request, state):
            set_flow_cookie(response, request, state, "", 0)  # it has served once
        return response

    async def _completed(self, request: Request, client: OidcClient, state: str) -> Response:
        query, identities = request.query_params, self._accounts().identities
        begun = Begun.from_cookie(flow_cookie(request, state))
        flow = Flow(client.provider.key, begun.secret)
        if not hmac.compare_digest(flow.state.encode(), state.encode(errors="replace")):
            raise SignInOver
        client.check_issuer(query.get("iss"))
        code = query.get("code", "")
        if "error" in query or not code:
            raise SignInDeclined(name=client.provider.name)
        connecting = await self._connecting(request, begun)
        identity = await client.identity(flow, code, _redirect_uri(request, client))
        if connecting:
            await at_login(partial(identities.connect, connecting.principal, identity))
            return _redirect(f"{home_path()}account?connected=1")
        token = await at_login(partial(identities.sign_in, identity, begun.invitation, session_of(request)))
        response = _redirect(own_path(begun.to))
        set_session(response, request, token)
        return response

    async def _connecting(self, request: Request, begun: Begun) -> Account | None:
        """Who connects an identity; None if somebody signs in. Errors: `SignedOut` if they are somebody else by now."""
        if not begun.connects:
            return None
        session = session_of(request)
        account = await at_login(partial(self._accounts().sessions.find, session))
        if account is None or not hmac.compare_digest(begun.connects, connection_token(session)):
            raise SignedOut
        return account

    def _client(self, request: Request) -> OidcClient:
        """Errors: `NotFound`."""
        client = self._accounts().identities.clients.get(request.path_params["provider"])
        if client is None:
            raise NotFound(what=N_("page"))
        return client


def _redirect_uri(request: Request, client: OidcClient) -> str:
    """As it is registered at the provider."""
    return f"{public_address(request)}{home_path()}login/{client.provider.key}/callback"


def _redirect(to: str) -> Response:
    return RedirectResponse(to, HTTPStatus.SEE_OTHER, {"Cache-Control": "no-store"})
