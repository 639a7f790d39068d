"""Loads one address: each hop is checked, resolved once and reached at the address that was checked."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from functools import cached_property, partial
from http.client import responses as REASONS

import anyio
import anyio.to_thread
import httpx

from kb.errors import (
    N_,
    HostNotFound,
    HostUnreachable,
    PageBroken,
    PageRefused,
    PageSilent,
    PageTooSlow,
    PageWrongType,
    RedirectLoop,
)
from kb.fetching.addresses import Address, AllowedHosts, check_public, read_address, show_address
from kb.fetching.body import ENCODINGS, Body
from kb.fetching.limits import FetchLimits
from kb.parsing.media_types import PDF

Resolver = Callable[[str, int], Sequence[str]]

_HEADERS = {
    "User-Agent": "Mozilla/5.0 (compatible; Zhiwen)",
    "Connection": "close",
}
_FOR_PAGES = {
    "Accept": "text/html, application/xhtml+xml, text/plain;q=0.8, application/pdf;q=0.8, */*;q=0.1",
    "Accept-Language": "*",
    "Accept-Encoding": ", ".join(ENCODINGS),
}
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_GOOD = frozenset((200, 203))  # 203: a proxy changed it
_PDF_BEGINNING = b"%PDF-"
_CONNECTIONS = 4  # to how many of a name's addresses we try to connect


@dataclass(frozen=True, slots=True)
class FetchedPage:
    """What an address delivered. `address` is the one after redirects; `charset` what the server said, or empty."""

    address: str
    data: bytes
    media_type: str
    charset: str
    fetched_at: datetime  # UTC


def resolve(host: str, port: int) -> Sequence[str]:
    """The IP addresses of a host, the preferred ones first; raises `OSError`."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _now() -> datetime:
    return datetime.now(UTC)


class Fetcher:
    """Loads pages without cookies, logins or proxies. Safe to use from several threads."""

    def __init__(
        self,
        allowed_hosts: str = "",
        limits: FetchLimits | None = None,
        resolver: Resolver = resolve,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._allowed = AllowedHosts.of(allowed_hosts)
        self._limits = limits or FetchLimits()
        self._resolve = resolver
        self._now = now

    def fetch(self, address: str) -> FetchedPage:
        """Load an address, redirects included. Raises only `FetchError`s. Not for coroutines: it blocks."""
        return anyio.run(self.load, address)

    async def load(self, address: str) -> FetchedPage:
        """As `fetch`, for coroutines. Cancelling it closes the connection."""
        first = read_address(address)
        seconds = self._limits.total_seconds
        with anyio.move_on_after(seconds):
            return await self._follow(first)
        raise PageTooSlow(host=first.host, seconds=f"{seconds:g}")

    def post(self, address: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Send `body`; the HTTP status of the reply, whose body is not read. Redirects are not followed.

        Raises only `FetchError`s. Not for coroutines: it blocks.
        """
        return anyio.run(self._post, read_address(address), body, headers)

    async def _post(self, address: Address, body: bytes, headers: Mapping[str, str]) -> int:
        seconds = self._limits.total_seconds
        with anyio.move_on_after(seconds):
            async with self._connected(address) as (transport, resolved):
                request = partial(self._request, address, method="POST", body=body, more=headers)
                response = await self._connect(transport, request, resolved)
                await response.aclose()
                return response.status_code
        raise PageTooSlow(host=address.host, seconds=f"{seconds:g}")

    async def _follow(self, address: Address) -> FetchedPage:
        first = address
        for _ in range(self._limits.redirects + 1):
            answer = await self._ask(address)
            if isinstance(answer, FetchedPage):
                return answer
            address = answer
        raise RedirectLoop(address=show_address(str(first.url)), count=self._limits.redirects + 1)

    async def _ask(self, address: Address) -> FetchedPage | Address:
        """The page, or the address that it redirects to."""
        async with self._connected(address) as (transport, resolved):
            response = await self._connect(transport, partial(self._request, address), resolved)
            return await self._read(response, address)

    @asynccontextmanager
    async def _connected(self, address: Address) -> AsyncIterator[tuple[httpx.AsyncHTTPTransport, Sequence[str]]]:
        """What to send requests with, and where to: what the name stands for was checked. Translates errors."""
        resolved = await self._resolved(address)
        check_public(address, resolved, self._allowed)
        limits = self._limits
        # One for each hop: a connection that is kept would serve another name without checking its certificate.
        async with httpx.AsyncHTTPTransport(verify=self._tls, trust_env=False) as transport:
            try:
                yield transport, resolved
            except httpx.ConnectTimeout as error:
                raise HostUnreachable(host=address.host, detail=N_("no answer")) from error
            except httpx.TimeoutException as error:
                raise PageSilent(host=address.host, seconds=f"{limits.silent_seconds:g}") from error
            except httpx.ConnectError as error:
                raise HostUnreachable(host=address.host, detail=_why(error)) from error
            except httpx.TransportError as error:
                raise PageBroken(address=_shown(address), detail=N_("the connection was lost")) from error

    async def _resolved(self, address: Address) -> Sequence[str]:
        try:
            # A name server may be silent for longer than we wait.
            resolved = await anyio.to_thread.run_sync(self._resolve, address.host, address.port, abandon_on_cancel=True)
        except (OSError, UnicodeError) as error:
            raise HostNotFound(host=address.host) from error
        if not resolved:
            raise HostNotFound(host=address.host)
        return resolved

    async def _connect(
        self, transport: httpx.AsyncHTTPTransport, request: Callable[[str], httpx.Request], resolved: Sequence[str]
    ) -> httpx.Response:
        """Send the request to the first of the resolved addresses that accepts a connection."""
        *others, last = resolved[:_CONNECTIONS]
        for ip in others:
            try:
                return await transport.handle_async_request(request(ip))
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await transport.handle_async_request(request(last))

    def _request(
        self, address: Address, ip: str, method: str = "GET", body: bytes = b"", more: Mapping[str, str] = _FOR_PAGES
    ) -> httpx.Request:
        """Ask `ip`, and nothing else. Host header and TLS name stay those of the address.

        The request does not pass through an `httpx.Client`, which would add cookies, `.netrc` and proxies.
        """
        limits = self._limits
        timeout = httpx.Timeout(limits.silent_seconds, connect=limits.connect_seconds)
        return httpx.Request(
            method,
            address.url.copy_with(host=ip, fragment=None),
            headers={"Host": address.authority, **_HEADERS, **more},
            content=body or None,
            extensions={"timeout": timeout.as_dict(), "sni_hostname": address.host},
        )

    async def _read(self, response: httpx.Response, address: Address) -> FetchedPage | Address:
        location = response.headers.get("location", "")
        if response.status_code in _REDIRECTS and location:
            try:
                target = str(address.url.join(location))
            except httpx.InvalidURL:
                target = location
            return read_address(target)
        if response.status_code not in _GOOD:
            reason = REASONS.get(response.status_code, "")
            detail = f"HTTP {response.status_code} {reason}".strip()
            raise PageRefused(host=address.host, address=_shown(address), detail=detail)
        media_type, charset = _content_type(response.headers.get("content-type", ""))
        body = Body(response, _shown(address), self._limits.size)
        # Many servers send PDFs without their type, or with a wrong one.
        beginning = _PDF_BEGINNING if PDF in self._limits.media_types else None
        if media_type not in self._limits.media_types and not (beginning and await body.begins_with(beginning)):
            raise PageWrongType(address=_shown(address), detail=media_type or N_("its type is unknown"))
        data = await body.read()
        if beginning and data.startswith(beginning):
            media_type = PDF
        return FetchedPage(str(address.url), data, media_type, charset, self._now())

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """With the authorities of SSL_CERT_FILE, where the owner set it."""
        return httpx.create_ssl_context()


def _content_type(header: str) -> tuple[str, str]:
    """The media type and the charset, both in lower case; empty where the header does not name them."""
    message = Message()
    message["Content-Type"] = header
    media_type = header.partition(";")[0].strip().lower()
    return media_type, str(message.get_content_charset() or "")


def _shown(address: Address) -> str:
    return show_address(str(address.url))


def _why(error: BaseException) -> str:
    """Why there is no connection, in words of ours or of the TLS library."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
        if isinstance(cause, ssl.SSLError):
            return N_("no secure connection")
        if isinstance(cause, ConnectionRefusedError):
            return N_("it refuses the connection")
        cause = cause.__cause__ or cause.__context__
    return N_("no connection")
