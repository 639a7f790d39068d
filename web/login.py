"""The routes of the login: /login, /logout, /signup, /account, and /session, which open pages ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from types import MappingProxyType
from typing import TypeVar
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from kb.accounts import SHORTEST_PASSWORD, Accounts, Identities, Registration
from kb.counters import network_of
from kb.errors import N_, KbError, PageClosed, PasswordsDiffer, RegistrationClosed, SignedOut, TooManyAttempts
from kb.fair_threads import FairThreads
from kb.models import Account
from pages.ui.i18n import translate
from pages.ui.session_cookie import form_token, home_path
from web.base_path import BASE_PATH
from web.cookies import (
    end_session,
    form_cookie,
    is_own_form,
    new_form_cookie,
    session_of,
    set_form_cookie,
    set_session,
)
from web.form_pages import Field, Form, form_page, language_of, own_path, read_form
from web.oidc import connection_token, provider_buttons
from web.signed_in import at_login
from web.statuses import status_of

Result = TypeVar("Result")

HASHES_AT_ONCE, HASHES_OF_NETWORK = 2, 1  # each takes a processor and 64 MB
# Further ones are refused, so that a flood neither fills the memory nor holds up others for long. An office may share
# one address.
MOST_WAITING, MOST_OF_NETWORK = 300, 30

NAME, PASSWORD, NEW_PASSWORD = N_("User name"), N_("Password"), N_("New password")
SIGN_IN, SIGN_UP, ACCOUNT = N_("Sign in"), N_("Create an account"), N_("Your account")
FIRST_NOTE = N_(
    "Nobody has an account yet. The first one is for the administrator, and takes over what is here already."
)
TOKEN_NOTE = N_("The token is in Zhiwen's log, and in the file first-account-token in ZHIWEN_HOME.")
WAITS = N_("Your account waits for the approval of an administrator. After that you can sign in.")
CLOSED_NOTE = N_("You need an invitation. Ask an administrator for one.")
CONNECT, DISCONNECT = N_("Connect with {name}"), N_("Disconnect from {name}")
CONNECTED = N_("The accounts are connected. From now on you can sign in with either.")
CHANGED = N_("The password was changed. You are signed out everywhere else.")


class Login:
    """The endpoints over `accounts`, which may raise a `KbError` while the process cannot serve yet."""

    def __init__(self, accounts: Callable[[], Accounts], has_login: Callable[[], bool]) -> None:
        self._accounts = accounts
        self._has_login = has_login
        self._hashing = FairThreads(HASHES_AT_ONCE, HASHES_OF_NETWORK)
        self._waiting: Counter[str] = Counter()  # by network, those at work included

    def routes(self) -> list[Route]:
        endpoints = {
            "login": (self.show_login, self.login),
            "signup": (self.show_signup, self.sign_up),
            "logout": (None, self.logout),
            "account": (self.show_account, self.change_password),
            "disconnect": (None, self.disconnect),
            "session": (self.tell_session, None),
        }
        return [
            Route(f"{BASE_PATH}{name}", partial(self._guarded, endpoint), methods=[method])
            for name, both in endpoints.items()
            for method, endpoint in zip(("GET", "POST"), both, strict=True)
            if endpoint
        ]

    async def _guarded(self, endpoint: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
        if not self._has_login():
            return RedirectResponse(home_path(), HTTPStatus.SEE_OTHER)
        try:
            return await endpoint(request)
        except KbError as error:
            return form_page(request, SIGN_IN, [], status_of(error), error, links=[("login", SIGN_IN)])

    # --- signing in and out ---

    async def show_login(self, request: Request) -> Response:
        if await self._signed_in(request):
            return RedirectResponse(own_path(request.query_params.get("next", "")), HTTPStatus.SEE_OTHER)
        if await at_login(lambda: self._registration.needs_first()):
            return RedirectResponse(f"{home_path()}signup", HTTPStatus.SEE_OTHER)
        return await self._login_page(request)

    async def login(self, request: Request) -> Response:
        name = ""
        try:
            form = await self._own_form(request, form_cookie(request))
            name, password = form.get("name", ""), form.get("password", "")
            token = await self._hashed(
                request,
                lambda: self._accounts().sign_in.sign_in(name, password, _address(request), session_of(request)),
            )
        except KbError as error:
            return await self._login_page(request, error, name)
        return _signed_in(request, token, own_path(request.query_params.get("next", "")))

    async def _login_page(self, request: Request, error: KbError | None = None, name: str = "") -> Response:
        can_register = await at_login(lambda: self._registration.mode) == "open"
        fields = [Field("name", NAME, "text", "username", name), Field("password", PASSWORD)]
        links = [("signup", SIGN_UP)] if can_register else []
        form = Form(_with_next("login", request), SIGN_IN, fields)
        query = _with_next("", request).lstrip("?")
        return _anonymous_page(request, SIGN_IN, form, error, links=links, buttons=self._buttons(request, query))

    def _buttons(self, request: Request, query: str) -> list[tuple[str, str]]:
        return provider_buttons(self._accounts().identities, language_of(request), query)

    async def logout(self, request: Request) -> Response:
        token = session_of(request)
        account = await self._signed_in(request)
        form = await self._own_form(request, token)
        if account and form.get("everywhere"):
            await at_login(lambda: self._accounts().sessions.end_all(account.principal))
        else:
            await at_login(lambda: self._accounts().sessions.end(token))
        response = RedirectResponse(f"{home_path()}login", HTTPStatus.SEE_OTHER)
        end_session(response, request)
        return response

    async def tell_session(self, request: Request) -> Response:
        """Who is signed in. Asking is no use of the session, which would never end while a page is open."""
        token, headers = session_of(request), {"Cache-Control": "no-store"}
        account = await at_login(lambda: self._accounts().sessions.find(token, is_use=False))
        if account is None:
            return Response(status_code=HTTPStatus.UNAUTHORIZED, headers=headers)
        return JSONResponse({"user": str(account.id)}, headers=headers)

    # --- making an account ---

    async def show_signup(self, request: Request) -> Response:
        return await self._signup_page(request)

    async def sign_up(self, request: Request) -> Response:
        address, token = _address(request), request.query_params.get("invitation", "")
        form: dict[str, str] = {}
        try:
            form = await self._own_form(request, form_cookie(request))
            name, password = form.get("name", ""), form.get("password", "")
            if password != form.get("again"):
                raise PasswordsDiffer
            if "token" in form:
                make = partial(self._registration.create_first, form["token"], name, password, address)
            elif token:
                make = partial(self._registration.accept, token, name, password, address)
            else:
                await self._hashed(request, lambda: self._registration.register(name, password, address))
                note = translate(WAITS, language_of(request))
                return form_page(request, SIGN_UP, [], notes=[note], links=[("login", SIGN_IN)])
            session = await self._hashed(request, make)
        except KbError as error:
            return await self._signup_page(request, error, form)
        return _signed_in(request, session, home_path())

    @property
    def _registration(self) -> Registration:
        return self._accounts().registration

    async def _signup_page(
        self, request: Request, error: KbError | None = None, sent: Mapping[str, str] = MappingProxyType({})
    ) -> Response:
        """After an error, the fields hold what was `sent`, except for passwords."""
        code, token = language_of(request), request.query_params.get("invitation", "")
        needs_first = await at_login(lambda: self._registration.needs_first())
        link = await at_login(lambda: self._registration.invitation(token)) if token else None
        mode = await at_login(lambda: self._registration.mode)
        fields = [Field("name", NAME, "text", "username", sent.get("name", ""))]
        new = [Field("password", PASSWORD, autocomplete="new-password", hint=_length_hint(code))]
        new.append(Field("again", N_("Repeat the password"), autocomplete="new-password"))
        if needs_first:
            fields.insert(0, Field("token", N_("Token"), "text", "off", sent.get("token", "")))
            notes = [translate(note, code) for note in (FIRST_NOTE, TOKEN_NOTE)]
            return _anonymous_page(request, SIGN_UP, Form("signup", SIGN_UP, fields + new), error, notes)
        if link and link.for_name:
            note = translate(N_("A new password for {name}"), code).format(name=link.for_name)
            form = Form(f"signup?invitation={quote(token)}", N_("Set the password"), new)
            return _anonymous_page(request, NEW_PASSWORD, form, error, [note])
        if link and mode != "closed":
            query = f"invitation={quote(token)}"
            form = Form(f"signup?{query}", SIGN_UP, fields + new)
            return _anonymous_page(request, SIGN_UP, form, error, buttons=self._buttons(request, query))
        if not token and mode == "open":
            form, buttons = Form("signup", SIGN_UP, fields + new), self._buttons(request, "")
            return _anonymous_page(request, SIGN_UP, form, error, links=_TO_LOGIN, buttons=buttons)
        if token:
            error = error or RegistrationClosed()
        notes = [] if error else [translate(CLOSED_NOTE, code)]
        status = status_of(error) if error else HTTPStatus.OK
        return form_page(request, SIGN_UP, [], status, error, notes, _TO_LOGIN)

    # --- the account ---

    async def show_account(self, request: Request) -> Response:
        return await self._account_page(request)

    async def change_password(self, request: Request) -> Response:
        account = await self._signed_in(request)
        if account is None:
            raise SignedOut
        try:
            form = await self._own_form(request, session_of(request))
            if form.get("password") != form.get("again"):
                raise PasswordsDiffer
            present, new = form.get("present", ""), form.get("password", "")
            token = await self._hashed(
                request,
                lambda: self._accounts().sign_in.change_password(account.principal, present, new, _address(request)),
            )
        except KbError as error:
            return await self._account_page(request, error)
        response = RedirectResponse(f"{home_path()}account?changed=1", HTTPStatus.SEE_OTHER)
        set_session(response, request, token)
        return response

    async def _account_page(self, request: Request, error: KbError | None = None) -> Response:
        account, code = await self._signed_in(request), language_of(request)
        if account is None:
            raise SignedOut
        hidden = {"form": form_token(session_of(request))}
        notes = [translate(N_("Signed in as {name}"), code).format(name=account.name)]
        if "changed" in request.query_params:
            notes.append(translate(CHANGED, code))
        if "connected" in request.query_params:
            notes.append(translate(CONNECTED, code))
        identities = self._accounts().identities
        connected = await at_login(lambda: identities.connected(account.principal))
        has_password = await at_login(lambda: identities.has_password(account.id))
        fields = [
            Field("present", N_("Current password")),
            Field("password", NEW_PASSWORD, autocomplete="new-password", hint=_length_hint(code)),
            Field("again", N_("Repeat the password"), autocomplete="new-password"),
        ]
        change = N_("Change the password")
        forms = [
            *([Form("account", change, fields, hidden, title=change)] if has_password else []),
            *_disconnecting(identities, connected, hidden, code),
            Form("logout", N_("Sign out"), (), hidden, N_("Sign out"), is_quiet=True),
            Form("logout", N_("Sign out everywhere"), (), hidden | {"everywhere": "1"}, is_quiet=True),
        ]
        token = connection_token(session_of(request))
        buttons = [
            (f"login/{key}?connect={token}", translate(CONNECT, code).format(name=client.provider.name))
            for key, client in identities.clients.items()
            if key not in connected
        ]
        status = status_of(error) if error else HTTPStatus.OK
        links, title = [("", N_("Go to the chat"))], N_("Connect an account")
        return form_page(request, ACCOUNT, forms, status, error, notes, links, buttons, title)

    async def disconnect(self, request: Request) -> Response:
        account = await self._signed_in(request)
        if account is None:
            raise SignedOut
        try:
            form = await self._own_form(request, session_of(request))
            identities = self._accounts().identities
            await at_login(lambda: identities.disconnect(account.principal, form.get("provider", "")))
        except KbError as error:
            return await self._account_page(request, error)
        return RedirectResponse(f"{home_path()}account", HTTPStatus.SEE_OTHER)

    # --- what they share ---

    async def _signed_in(self, request: Request) -> Account | None:
        token = session_of(request)
        return await at_login(lambda: self._accounts().sessions.find(token)) if token else None

    async def _own_form(self, request: Request, secret: str) -> dict[str, str]:
        """Errors: `PageClosed` for a form that did not come from a page of ours in this browser."""
        form = await read_form(request)
        if form is None or not is_own_form(secret, form.get("form", "")):
            raise PageClosed
        return form

    async def _hashed(self, request: Request, work: Callable[[], Result]) -> Result:
        """Errors: those of `work`; `TooManyAttempts` while too many wait."""
        network = network_of(_address(request))
        if self._waiting[network] >= MOST_OF_NETWORK or self._waiting.total() >= MOST_WAITING:
            raise TooManyAttempts(minutes=1)
        self._waiting[network] += 1
        try:
            return await self._hashing.run(network, work)
        finally:
            self._waiting -= Counter([network])


_TO_LOGIN = [("login", SIGN_IN)]


def _disconnecting(identities: Identities, connected: Collection[str], hidden: dict[str, str], code: str) -> list[Form]:
    return [
        Form(
            "disconnect",
            translate(DISCONNECT, code).format(name=client.provider.name),
            hidden=hidden | {"provider": key},
            title=N_("Connected accounts") if place == 0 else "",
            is_quiet=True,
        )
        for place, (key, client) in enumerate(
            (key, client) for key, client in identities.clients.items() if key in connected
        )
    ]


def _anonymous_page(
    request: Request,
    title: str,
    form: Form,
    error: KbError | None = None,
    notes: list[str] | None = None,
    links: list[tuple[str, str]] | None = None,
    buttons: Sequence[tuple[str, str]] = (),
) -> Response:
    """With the cookie that its form needs."""
    secret = form_cookie(request) or new_form_cookie()
    form.hidden["form"] = form_token(secret)
    status = status_of(error) if error else HTTPStatus.OK
    page = form_page(request, title, [form], status, error, notes or [], links or [], buttons)
    set_form_cookie(page, request, secret)
    return page


def _signed_in(request: Request, token: str, to: str) -> Response:
    response = RedirectResponse(to, HTTPStatus.SEE_OTHER, {"Cache-Control": "no-store"})
    set_session(response, request, token)
    return response


def _with_next(path: str, request: Request) -> str:
    wanted = request.query_params.get("next", "")
    return f"{path}?next={quote(own_path(wanted), safe='')}" if wanted else path


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _length_hint(code: str) -> str:
    return translate(N_("At least {limit} characters"), code).format(limit=SHORTEST_PASSWORD)
