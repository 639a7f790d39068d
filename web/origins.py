"""Who may talk to the app: requests to one of its own addresses, from one of its own pages or from no page at all.

Without a login, any page that the browser has open could read everything: one on another port of this machine, or
one whose name was bound to this machine's address. Streamlit compares names without ports, on its websocket only, and
asks the internet for this machine's address when an origin is foreign.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import ip_address
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose
from streamlit import config

from kb.config import load_settings
from kb.errors import N_, KbError
from pages.ui import resources
from pages.ui.i18n import accepted_language, translate
from web.base_path import page_path

log = structlog.get_logger()

DEFAULT_PORTS = {"http": 80, "https": 443}
CLOSED = ("_stcore/metrics",)  # open to everybody otherwise, and nobody here reads it
# Programs ask there with a key, and nothing that a browser holds opens anything. Desktop chat apps are pages inside,
# and state origins such as file:// or app://. Pages of the web get no further: nothing lets them send a key (CORS).
FROM_ANYWHERE = "v1/"
NOT_ALLOWED = N_("{address} is not an address of this app. If it should be, add it to PUBLIC_URLS in .env and restart.")
NOT_FROM_THERE = N_("Pages from other addresses cannot use this app.")


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host in lower case, and port. `scheme` is empty for a Host header, which has none."""

    scheme: str
    host: str
    port: int | None

    @classmethod
    def of(cls, text: str) -> Origin:
        """Of `https://host:8443`. A path is ignored. Errors: `ValueError`."""
        parts = urlsplit(text.strip())
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname or "@" in parts.netloc:
            raise ValueError(text)
        return cls(parts.scheme, normal_host(parts.hostname), parts.port or DEFAULT_PORTS[parts.scheme])

    @classmethod
    def of_host(cls, text: str) -> Origin:
        """Of a Host header: `host` or `host:8501`. Errors: `ValueError`."""
        parts = urlsplit(f"//{text}")
        if not parts.hostname or parts.netloc != text or "@" in text or text.endswith(":"):
            raise ValueError(text)
        return cls("", normal_host(parts.hostname), parts.port)

    def is_addressed_by(self, host: Origin) -> bool:
        """Whether a Host header names this address."""
        return (self.host, self.port) == (host.host, host.port or DEFAULT_PORTS[self.scheme])


def normal_host(name: str) -> str:
    """One spelling for each host: lower case, IPv6 shortened, other scripts in Punycode. Errors: `ValueError`."""
    name = name.lower().strip("[]").removesuffix(".")
    if ":" in name:
        return ip_address(name).compressed
    return name if name.isascii() else name.encode("idna").decode()


@dataclass(frozen=True, slots=True)
class OwnAddresses:
    """Where the app answers: full addresses, and patterns of hosts (`*`, `*.example.com`) at one scheme and port."""

    exact: frozenset[Origin]
    patterns: tuple[str, ...]
    scheme: str
    port: int

    @classmethod
    def build(cls, hosts: Iterable[str], public_urls: Iterable[str], scheme: str, port: int) -> OwnAddresses:
        """`hosts` are served here, at `scheme` and `port`; `public_urls` are those of proxies."""
        hosts = list(hosts)
        patterns = tuple(host.lower() for host in hosts if host.startswith("*"))
        own = {Origin(scheme, normal_host(host), port) for host in hosts if not host.startswith("*")}
        return cls(frozenset(own | {Origin.of(url) for url in public_urls}), patterns, scheme, port)

    def allow_host(self, host: Origin) -> bool:
        return any(own.is_addressed_by(host) for own in self.exact) or self._is_in_pattern(
            replace(host, scheme=self.scheme)
        )

    def allow_origin(self, origin: Origin, host: Origin) -> bool:
        """Whether a page of `origin` may use what `host` addresses. A pattern's hosts may only use themselves."""
        return origin in self.exact or (self._is_in_pattern(origin) and origin.is_addressed_by(host))

    def _is_in_pattern(self, origin: Origin) -> bool:
        is_here = origin.scheme == self.scheme and (origin.port or DEFAULT_PORTS[self.scheme]) == self.port
        return is_here and any(pattern == "*" or origin.host.endswith(pattern[1:]) for pattern in self.patterns)


def own_addresses() -> OwnAddresses:
    """As Streamlit's options and PUBLIC_URLS say."""
    hosts = [host.strip() for host in config.get_option("server.allowedHosts")] or ["*"]
    scheme = "https" if config.get_option("server.sslCertFile") else "http"
    return OwnAddresses.build(filter(_is_host, hosts), _public_urls(), scheme, int(config.get_option("server.port")))


def _is_host(name: str) -> bool:
    try:
        return bool(normal_host(name))
    except ValueError:
        log.error("web.invalid_host", option="server.allowedHosts", host=name)
        return False


def allow_public_hosts() -> None:
    """Let Streamlit's own check, which looks at names only, accept the hosts of PUBLIC_URLS and IPv6 ones, too."""
    hosts = config.get_option("server.allowedHosts")
    if hosts:
        names = [host.strip("[]") for host in hosts]  # it never finds an address in brackets
        public = [Origin.of(url).host for url in _public_urls()]
        config.set_option("server.allowedHosts", [*names, *public], "PUBLIC_URLS")


def public_port() -> int | None:
    """The port of the first address in PUBLIC_URLS."""
    return next((Origin.of(url).port for url in _public_urls()), None)


def _public_urls() -> list[str]:
    web = resources.started()
    try:
        settings = web.settings if web else load_settings()  # which reads .env, for milliseconds
        return settings.public_urls.split()
    except KbError:  # the pages say what is wrong with the settings
        return []


def public_address(request: Request) -> str:
    """Where the browser has reached this app: what the Host header names of PUBLIC_URLS, else as it is served."""
    try:
        host = Origin.of_host(request.headers.get("host", ""))
        for url in _public_urls():
            if Origin.of(url).is_addressed_by(host):
                return "{0.scheme}://{0.netloc}".format(urlsplit(url))
    except ValueError:
        pass
    return f"{request.url.scheme}://{request.headers.get('host', '')}"


class OwnPagesOnly:
    """ASGI middleware that refuses other hosts and origins on every route and websocket, before anything reads them."""

    def __init__(self, app: ASGIApp, own: OwnAddresses | None = None) -> None:
        self._app = app
        self._own = own or own_addresses()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(headers, is_by_key=page_path(scope).startswith(FROM_ANYWHERE))
        if refusal is None and page_path(scope) in CLOSED:
            await Response(status_code=404)(scope, receive, send)
        elif refusal is None:
            await self._app(_with_public_host(scope) if scope["type"] == "websocket" else scope, receive, send)
        else:
            asked = {name: headers.get(name, "")[:200] for name in ("host", "origin")}
            log.warning("web.refused", path=scope["path"][:200], setting="PUBLIC_URLS", **asked)
            if scope["type"] == "websocket":
                await WebSocketClose(code=1008)(scope, receive, send)
                return
            text = translate(refusal, accepted_language(headers.get("accept-language", "")))
            text = text.format(address=asked["host"] or "?")
            await PlainTextResponse(text + "\n", 403, {"Connection": "close"})(scope, receive, send)

    def _refusal(self, headers: Headers, is_by_key: bool) -> str | None:
        """Why a request is refused. `is_by_key`: wherever it comes from, it has to have a key."""
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        try:
            (host,) = map(Origin.of_host, hosts)
        except ValueError:  # none, several, or not a host
            return NOT_ALLOWED
        if not self._own.allow_host(host):
            return NOT_ALLOWED
        if is_by_key:
            return None
        try:
            is_own = all(self._own.allow_origin(Origin.of(origin), host) for origin in origins)
        except ValueError:  # "null" of a sandboxed page or a file
            is_own = False
        # For images and scripts, browsers state no origin, but most say where the page is from. Links may be followed.
        is_embedded = headers.get("sec-fetch-mode", "navigate") != "navigate"
        is_foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site") and is_embedded and not origins
        return None if is_own and len(origins) < 2 and not is_foreign else NOT_FROM_THERE


def _with_public_host(scope: Scope) -> Scope:
    """With the Host that the browser used: Streamlit compares it with the origin, and a proxy may have replaced it."""
    headers = MutableHeaders(raw=list(scope["headers"]))
    origin = headers.get("origin")
    if origin is None:
        return scope
    headers["host"] = urlsplit(origin).netloc
    return {**scope, "headers": headers.raw}
