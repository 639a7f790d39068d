"""Keeps requests to the providers of members on the public internet.

Whoever names a base URL makes this server send requests and reads the replies. An administrator may name any address.
A member may name those that may be fetched as pages: public ones, and those of ALLOWED_FETCH_HOSTS. As there, a name is
resolved once, all that it resolves to is checked, and that is what we connect to. What such a server replies is of a
bounded size, also once it is unpacked: nothing is asked for that has to be.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.to_thread
import httpx2

from kb.errors import (
    N_,
    FetchError,
    HostNotPublic,
    ModelAddressUnchecked,
    ModelHostNotPublic,
    ModelRefused,
    ModelUsesServersIdentity,
)
from kb.fetching.addresses import Address, AllowedHosts, check_public, read_address
from kb.fetching.client import resolve
from kb.providers.addresses import PRESETS, host_of

if TYPE_CHECKING:
    import ssl

Resolver = Callable[[str, int], Sequence[str]]

# What a request needs. OpenAI's client adds the organization, the project and whatever else this server's environment
# names, which is for the server of `.env`.
_HEADERS = frozenset(
    b"accept authorization connection content-length content-type host transfer-encoding user-agent".split()
)
_CONNECTIONS = 4  # to how many of a name's addresses we try to connect
_LOCALHOST = "127.0.0.1"
REPLY_BYTES = 32 << 20  # of the vectors of a batch, or of a long answer in small events
_NO_HOSTS = AllowedHosts()
_KEYLESS = {preset.langchain: preset.name for preset in PRESETS.values() if preset.langchain and not preset.needs_key}


@dataclass(frozen=True, slots=True)
class Guard:
    """Which addresses a member's providers may have."""

    allowed: AllowedHosts = _NO_HOSTS
    resolver: Resolver = field(default=resolve, compare=False, repr=False)

    @classmethod
    def of(cls, allowed_hosts: str) -> Guard:
        """With the hosts of ALLOWED_FETCH_HOSTS."""
        return cls(AllowedHosts.of(allowed_hosts))

    def check_entered(self, base_url: str, langchain: str = "") -> None:
        """Refuse what is known to be refused without asking a name server, so that a form can tell it at once.

        Errors: `FetchError` about its form or port, `ModelHostNotPublic`, and those of `check_langchain`.
        """
        if langchain:
            self.check_langchain(base_url, langchain)
        if not base_url:
            return
        address = read_address(base_url)
        self._check(address, _literal_addresses(address))

    def check_langchain(self, base_url: str, langchain: str) -> None:
        """A provider's package connects by itself, and without a key as whoever runs this server.

        Errors: `ModelAddressUnchecked` unless the host is listed; `ModelUsesServersIdentity`.
        """
        if langchain in _KEYLESS:
            raise ModelUsesServersIdentity(host=_KEYLESS[langchain])
        if base_url and (address := read_address(base_url)) not in self.allowed:
            raise ModelAddressUnchecked(host=address.host, entry=_entry(address))

    def pinned(self, request: httpx2.Request) -> list[httpx2.Request]:
        """The request to each of the checked addresses of its host: one at least. Errors: `ModelError`.

        The Host header and the name that the certificate is checked for stay those of the URL.
        """
        address = _read(request)
        try:
            resolved = self.resolver(address.host, address.port)
        except (OSError, UnicodeError) as error:
            raise httpx2.ConnectError(str(error), request=request) from error
        self._check(address, resolved)
        if not resolved:
            raise httpx2.ConnectError("no address", request=request)
        headers = [(name, value) for name, value in request.headers.raw if name.lower() in _HEADERS]
        headers.append((b"Accept-Encoding", b"identity"))
        return [
            httpx2.Request(
                request.method,
                request.url.copy_with(host=ip),
                headers=headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": address.host},
            )
            for ip in resolved[:_CONNECTIONS]
        ]

    def _check(self, address: Address, resolved: Sequence[str]) -> None:
        try:
            check_public(address, resolved, self.allowed)
        except HostNotPublic as error:
            raise ModelHostNotPublic(**error.values) from error


def client_options(guard: Guard | None) -> dict[str, Any]:
    """What to build an `httpx2.Client` with, for one base URL. None: any address, and httpx2's own defaults."""
    return {"transport": _Pinned(guard), "trust_env": False, "follow_redirects": False} if guard else {}


def own_credentials(guard: Guard | None, key: str) -> dict[str, str]:
    """Headers for OpenAI's clients, which take those of OPENAI_CUSTOM_HEADERS before the key that they are given."""
    return {"Authorization": f"Bearer {key}"} if guard else {}


def async_client_options(guard: Guard | None) -> dict[str, Any]:
    """As `client_options`, for an `httpx2.AsyncClient`."""
    return {"transport": _AsyncPinned(guard), "trust_env": False, "follow_redirects": False} if guard else {}


class _Pinned(httpx2.BaseTransport):
    """Without proxies, which resolve names themselves. For the host of one base URL.

    With a second one, a connection that is kept could serve the other name without a check of its certificate.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._transport = httpx2.HTTPTransport(verify=_tls(), trust_env=False)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        reply = self._send(request)
        stream = _Bounded(cast(httpx2.SyncByteStream, reply.stream), request.url.host)
        try:
            return _checked(reply, stream)
        except ModelRefused:
            stream.close()
            raise

    def _send(self, request: httpx2.Request) -> httpx2.Response:
        *others, last = self._guard.pinned(request)
        for other in others:
            try:
                return self._transport.handle_request(other)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                continue
        return self._transport.handle_request(last)

    def close(self) -> None:
        self._transport.close()


class _AsyncPinned(httpx2.AsyncBaseTransport):
    """As `_Pinned`; it resolves names in a thread, for as long as a connection may take."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._transport = httpx2.AsyncHTTPTransport(verify=_tls(), trust_env=False)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        reply = await self._send(request)
        stream = _AsyncBounded(cast(httpx2.AsyncByteStream, reply.stream), request.url.host)
        try:
            return _checked(reply, stream)
        except ModelRefused:
            await stream.aclose()
            raise

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        *others, last = await self._pinned(request)
        for other in others:
            try:
                return await self._transport.handle_async_request(other)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                continue
        return await self._transport.handle_async_request(last)

    async def _pinned(self, request: httpx2.Request) -> list[httpx2.Request]:
        with anyio.move_on_after(request.extensions.get("timeout", {}).get("connect")):
            return await anyio.to_thread.run_sync(self._guard.pinned, request, abandon_on_cancel=True)
        raise httpx2.ConnectTimeout("the name server is silent", request=request)

    async def aclose(self) -> None:
        await self._transport.aclose()


class _Bounded(httpx2.SyncByteStream):
    """Of a reply, so much as may come. Errors: `ModelRefused`."""

    def __init__(self, stream: httpx2.SyncByteStream, host: str) -> None:
        self._stream, self.host = stream, host

    def __iter__(self) -> Iterator[bytes]:
        left = REPLY_BYTES
        for block in self._stream:
            left -= len(block)
            if left < 0:
                raise _too_long(self.host)
            yield block

    def close(self) -> None:
        self._stream.close()


class _AsyncBounded(httpx2.AsyncByteStream):
    """As `_Bounded`."""

    def __init__(self, stream: httpx2.AsyncByteStream, host: str) -> None:
        self._stream, self.host = stream, host

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = REPLY_BYTES
        async for block in self._stream:
            left -= len(block)
            if left < 0:
                raise _too_long(self.host)
            yield block

    async def aclose(self) -> None:
        await self._stream.aclose()


def _checked(reply: httpx2.Response, stream: _Bounded | _AsyncBounded) -> httpx2.Response:
    """The reply with this stream. Errors: `ModelRefused`."""
    if reply.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        detail = N_("its reply is compressed, which was not asked for")
        raise ModelRefused(host=stream.host, model="", detail=detail)
    return httpx2.Response(reply.status_code, headers=reply.headers, stream=stream, extensions=reply.extensions)


def _too_long(host: str) -> ModelRefused:
    return ModelRefused(host=host, model="", detail=N_("its reply is too long"))


def _read(request: httpx2.Request) -> Address:
    try:
        return read_address(str(request.url))
    except FetchError as error:
        host = host_of(str(request.url))
        raise ModelRefused(host=host, model="", detail=N_("this address or port cannot be used")) from error


def _literal_addresses(address: Address) -> list[str]:
    """What the host stands for if it is a number in any spelling, or this machine; else nothing."""
    if address.host == "localhost" or address.host.endswith(".localhost"):
        return [_LOCALHOST]
    try:
        found = socket.getaddrinfo(address.host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return []
    return [str(entry[4][0]) for entry in found]


def _entry(address: Address) -> str:
    """What to add to ALLOWED_FETCH_HOSTS."""
    return address.host if address.port in (80, 443) else address.authority


@cache
def _tls() -> ssl.SSLContext:
    """With the authorities of SSL_CERT_FILE, where the owner set it."""
    return httpx2.create_ssl_context()
