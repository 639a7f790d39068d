"""Which addresses may be fetched: http and https, and hosts on the public internet or listed by the owner."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

import httpx

from kb.errors import AddressHasPassword, AddressInvalid, HostNotPublic, PortBlocked
from kb.names import clean_label

_PORTS = {"http": 80, "https": 443}
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_](?:[a-z0-9_-]{0,62}))*")
# The ports of other protocols, which a request could be made to speak. https://fetch.spec.whatwg.org/#port-blocking
# fmt: off
_BLOCKED_PORTS = frozenset((
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
    110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531,
    532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060,
    5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
))
# fmt: on
_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
# Within 2000::/3, but not for hosts on the internet: Teredo and others of the IETF, examples, 6to4, examples.
_SPECIAL = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
_RELAYS = ip_network("192.88.99.0/24")  # of 6to4
_SHOWN_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class Address:
    """A checked address. `host` is lower case ASCII without a final dot, IPv6 without brackets."""

    url: httpx.URL
    host: str
    port: int

    @property
    def authority(self) -> str:
        """host:port as in a Host header, without the scheme's own port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.url.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """The hosts of ALLOWED_FETCH_HOSTS, with the port of each; None: the ports of http and https."""

    ports: frozenset[tuple[str, int | None]] = frozenset()

    @classmethod
    def of(cls, text: str) -> AllowedHosts:
        """Read the setting; raises `ValueError` for an entry that is no host, nor host:port."""
        return cls(frozenset(_entry(word) for word in text.replace(",", " ").split()))

    def __contains__(self, address: Address) -> bool:
        port = None if address.port in _PORTS.values() else address.port
        return not {(address.host, port), (address.host, address.port)}.isdisjoint(self.ports)


def _entry(word: str) -> tuple[str, int | None]:
    if "/" in word or "@" in word:
        raise ValueError(word)
    try:
        is_bare_ipv6 = isinstance(ip_address(word), IPv6Address)
    except ValueError:
        is_bare_ipv6 = False
    try:
        url = httpx.URL(f"http://[{word}]" if is_bare_ipv6 else f"http://{word}")
    except httpx.InvalidURL as error:
        raise ValueError(word) from error
    return _host_of(url), url.port


def read_address(text: str) -> Address:
    """Check the form of an address; raises `AddressInvalid`, `AddressHasPassword` or `PortBlocked`.

    The host may be anything here, private ones included: `check_public` decides on what it resolves to.
    """
    shown = show_address(text)
    try:
        url = httpx.URL(text.strip())
        host = _host_of(url) if url.scheme in _PORTS else ""
    except (httpx.InvalidURL, ValueError) as error:
        raise AddressInvalid(address=shown) from error
    port = _PORTS.get(url.scheme, 0) if url.port is None else url.port
    if not host or port > 65535:
        raise AddressInvalid(address=shown)
    if url.userinfo:
        raise AddressHasPassword(address=shown)
    if port in _BLOCKED_PORTS:
        raise PortBlocked(host=host, port=port)
    return Address(url, host, port)


def _host_of(url: httpx.URL) -> str:
    """The host in one spelling; raises `ValueError` for one that cannot be a host."""
    host = url.raw_host.decode("ascii").removesuffix(".")  # names in other scripts as IDNA
    if ":" in host:
        address = IPv6Address(host)
        if address.scope_id:  # an interface of this machine
            raise ValueError(host)
        return str(address)
    if not _HOST_NAME.fullmatch(host):
        raise ValueError(host)
    return host


def check_public(address: Address, resolved: Iterable[str], allowed: AllowedHosts) -> None:
    """Raise `HostNotPublic` unless the host is listed, or all that its name resolves to is on the internet."""
    if address in allowed:
        return
    if not all(map(is_public, resolved)):
        has_own_port = address.port not in _PORTS.values()
        host = f"[{address.host}]" if ":" in address.host and has_own_port else address.host
        raise HostNotPublic(host=address.host, entry=f"{host}:{address.port}" if has_own_port else host)


def is_public(text: str) -> bool:
    """Whether an IP address, in its canonical form, is one of a host on the internet."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv4Address):
        return _is_public_v4(address)
    if address.ipv4_mapped is not None:
        return _is_public_v4(address.ipv4_mapped)
    if address in _NAT64:  # how networks without IPv4 reach hosts that have nothing else
        return _is_public_v4(IPv4Address(int(address) & 0xFFFFFFFF))
    return (
        address in _UNICAST
        and address.is_global
        and not address.scope_id
        and not any(address in network for network in _SPECIAL)
    )


def _is_public_v4(address: IPv4Address) -> bool:
    return address.is_global and not (address.is_multicast or address.is_reserved or address in _RELAYS)


def show_address(text: str) -> str:
    """The address for a message: one short line, without a user, a password, a query or a fragment."""
    scheme, found, rest = text.strip().partition("://")
    if not found:
        scheme, rest = "", text.strip()
    authority, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    shown = clean_label(f"{scheme}{found}{authority.rpartition('@')[2]}{slash}{path}")
    return shown if len(shown) <= _SHOWN_CHARACTERS else shown[: _SHOWN_CHARACTERS - 1] + "…"
