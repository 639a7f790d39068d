"""Cookies of the login, and the tokens that forms carry against requests from elsewhere."""

from __future__ import annotations

import hmac
import secrets

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from kb.accounts.sessions import LONGEST
from pages.ui.session_cookie import cookie_name, form_token, home_path
from web.origins import public_address


def session_of(connection: HTTPConnection) -> str:
    """The token of the login session; empty if the browser sends none."""
    return connection.cookies.get(cookie_name(), "")


def set_session(response: Response, request: Request, token: str) -> None:
    _set(response, request, cookie_name(), token, int(LONGEST.total_seconds()))


def end_session(response: Response, request: Request) -> None:
    _set(response, request, cookie_name(), "", 0)


def form_cookie(request: Request) -> str:
    """What binds a form to the browser while nobody has signed in; empty before the first form."""
    return request.cookies.get(_form_cookie_name(), "")


def set_form_cookie(response: Response, request: Request, value: str) -> None:
    _set(response, request, _form_cookie_name(), value, None)


def new_form_cookie() -> str:
    return secrets.token_urlsafe(32)


def is_own_form(secret: str, token: str) -> bool:
    return bool(secret) and hmac.compare_digest(form_token(secret).encode(), token.encode(errors="replace"))


def flow_cookie(request: Request, state: str) -> str:
    """What a sign-in with a provider has left in the browser that began it."""
    return request.cookies.get(_flow_cookie_name(state), "")


def set_flow_cookie(response: Response, request: Request, state: str, value: str, seconds: int) -> None:
    """`seconds` 0 removes it. Each sign-in has its own, so that two tabs do not disturb each other."""
    _set(response, request, _flow_cookie_name(state), value, seconds)


def _flow_cookie_name(state: str) -> str:
    return f"{cookie_name().replace('session', 'flow')}_{form_token(state)[:16]}"


def _form_cookie_name() -> str:
    return cookie_name().replace("session", "form")


def _set(response: Response, request: Request, name: str, value: str, max_age: int | None) -> None:
    # A proxy may have taken the TLS off; the origin, which was checked, is as the browser knows it.
    origin = request.headers.get("origin") or public_address(request)
    path = home_path().rstrip("/") or "/"  # the browser may ask for the chat without the slash
    is_secure = request.url.scheme == "https" or origin.startswith("https://")
    response.set_cookie(name, value, max_age=max_age, path=path, secure=is_secure, httponly=True, samesite="lax")
