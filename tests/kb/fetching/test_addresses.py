"""Which addresses are fetched, and which are refused before anything is sent."""

from __future__ import annotations

import pytest

from kb.errors import AddressHasPassword, AddressInvalid, FetchError, HostNotFound, HostNotPublic, PortBlocked
from kb.fetching import Fetcher
from kb.fetching.addresses import AllowedHosts, check_public, is_public, read_address, show_address
from tests.fakes.web_pages import WebPages

PRIVATE = {
    "loopback": "127.0.0.1",
    "loopback network": "127.8.9.10",
    "unspecified": "0.0.0.0",
    "this network": "0.1.2.3",
    "private 10": "10.0.0.1",
    "private 172": "172.16.0.1",
    "private 192": "192.168.0.1",
    "carrier-grade NAT": "100.64.0.1",
    "metadata of clouds": "169.254.169.254",
    "multicast": "224.0.0.1",
    "broadcast": "255.255.255.255",
    "reserved": "240.0.0.1",
    "examples": "192.0.2.1",
    "benchmarks": "198.18.0.1",
    "6to4 relay": "192.88.99.1",
    "IPv6 loopback": "::1",
    "IPv6 unspecified": "::",
    "mapped loopback": "::ffff:127.0.0.1",
    "mapped private": "::ffff:10.0.0.1",
    "compatible loopback": "::127.0.0.1",
    "6to4 loopback": "2002:7f00:1::",
    "6to4 public": "2002:808:808::1",
    "NAT64 loopback": "64:ff9b::127.0.0.1",
    "NAT64 metadata": "64:ff9b::169.254.169.254",
    "NAT64 of a network": "64:ff9b:1::8.8.8.8",
    "Teredo": "2001:0:53aa:64c::1",
    "link-local": "fe80::1",
    "link-local with interface": "fe80::1%eth0",
    "site-local": "fec0::1",
    "unique local": "fd00:ec2::254",
    "IPv6 multicast": "ff02::1",
    "IPv6 examples": "2001:db8::1",
    "newer IPv6 examples": "3fff::1",
    "discard": "100::1",
    "not an address": "localhost",
}


@pytest.mark.parametrize("address", PRIVATE.values(), ids=PRIVATE)
def test_address_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "::ffff:8.8.8.8", "2606:4700::1111", "64:ff9b::8.8.8.8"])
def test_address_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "LOCALHOST", "localhost.", "127.0.0.1.", "0.0.0.0", "127.1", "0"),
        *("2130706433", "0x7f000001", "0x7f.0.0.1", "017700000001", "127。0。0。1"),
        *("[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::]", "[64:ff9b::7f00:1]"),
        *("[2002:7f00:1::]", "[fe80::1]", "[fd00::1]"),
    ],
)
def test_host_of_this_machine_is_refused_in_every_spelling(host: str, web: WebPages) -> None:
    """With the system's own resolver, which reads numbers in all their forms."""
    with pytest.raises((HostNotPublic, HostNotFound)):
        Fetcher().fetch(f"http://{host}:{web.port}/page")
    assert web.requests == []


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "127.1", "[::ffff:127.0.0.1]"])
def test_other_spelling_of_a_listed_host_is_not_listed(host: str, fetcher: Fetcher, web: WebPages) -> None:
    with pytest.raises(HostNotPublic):
        fetcher.fetch(f"http://{host}:{web.port}/page")
    assert web.requests == []


@pytest.mark.parametrize("resolved", [["10.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["fd00::1"], ["fe80::1%2"]])
def test_name_that_resolves_to_a_private_address_is_refused(resolved: list[str]) -> None:
    fetcher = Fetcher(resolver=lambda _host, _port: resolved)
    with pytest.raises(HostNotPublic) as caught:
        fetcher.fetch("https://rebound.example:8443/")
    assert caught.value.values == {"host": "rebound.example", "entry": "rebound.example:8443"}


@pytest.mark.parametrize(
    "address",
    [
        *(
            "",
            "   ",
            "example.com",
            "file:///etc/passwd",
            "ftp://example.com/",
            "gopher://example.com/",
            "data:text/html,x",
        ),
        *(
            "javascript:alert(1)",
            "//example.com/",
            "http://",
            "http:///etc",
            "http:example.com",
            "https://exa mple.com",
        ),
        *("http://[::1", "http://[fe80::1%25eth0]/", "http://[v1.x]/", "http://exam\tple.com", "http://%31.example"),
        *("http://０x7f.0.0.1/", "http://１２７.0.0.1/", "http://①②⑦.0.0.1/", "http://0177.0.0.1/", "http://a..b/"),
        *("http://example.com:99999/", "http://example.com:x/", "http://" + "a" * 64 + ".example/", "x" * 100_000),
        *("http://256.256.256.256/", "http://ex\nample.com/", "http://exam*ple.com"),
    ],
)
def test_text_that_is_no_web_address_is_refused(address: str) -> None:
    with pytest.raises(AddressInvalid) as caught:
        Fetcher().fetch(address)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "address",
    ["http://user:secret@example.com/", "http://secret@example.com/", "http://example.org\\@secret@127.0.0.1/"],
)
def test_address_with_a_password_is_refused_and_the_password_not_shown(address: str) -> None:
    with pytest.raises(AddressHasPassword) as caught:
        Fetcher().fetch(address)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("port", [0, 22, 25, 6667])
def test_port_of_another_protocol_is_blocked_on_every_host(port: int) -> None:
    with pytest.raises(PortBlocked):
        Fetcher(f"127.0.0.1:{port}").fetch(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    ("address", "host", "authority"),
    [
        ("HTTP://Example.COM./a", "example.com", "example.com"),
        ("https://example.com:443/", "example.com", "example.com"),
        ("https://example.com:80/", "example.com", "example.com:80"),
        ("http://中国.cn:8080/路", "xn--fiqs8s.cn", "xn--fiqs8s.cn:8080"),
        (" http://[2606:4700:0::1111]/ ", "2606:4700::1111", "[2606:4700::1111]"),
    ],
)
def test_host_has_one_spelling(address: str, host: str, authority: str) -> None:
    read = read_address(address)
    assert (read.host, read.authority) == (host, authority)


@pytest.mark.parametrize(
    ("setting", "address", "is_allowed"),
    [
        ("wiki.intranet", "http://wiki.intranet/", True),
        ("wiki.intranet", "https://WIKI.intranet./", True),
        ("wiki.intranet", "http://wiki.intranet:6379/", False),
        ("wiki.intranet:8080", "http://wiki.intranet:8080/", True),
        ("wiki.intranet:8080", "http://wiki.intranet/", False),
        ("wiki.intranet", "http://other.wiki.intranet/", False),
        ("wiki.intranet", "http://wiki.intranet.example/", False),
        ("10.0.0.5, [fd00::5]:8080 fd00::6", "http://10.0.0.5/", True),
        ("10.0.0.5, [fd00::5]:8080 fd00::6", "http://[fd00::5]:8080/", True),
        ("10.0.0.5, [fd00::5]:8080 fd00::6", "http://[fd00:0::6]/", True),
    ],
)
def test_only_listed_host_and_port_is_allowed(setting: str, address: str, is_allowed: bool) -> None:
    read, allowed = read_address(address), AllowedHosts.of(setting)
    assert (read in allowed) == is_allowed
    if is_allowed:
        check_public(read, ["10.0.0.1"], allowed)
    else:
        with pytest.raises(HostNotPublic):
            check_public(read, ["10.0.0.1"], allowed)


@pytest.mark.parametrize(
    "address", ["http://wiki.intranet:8080/", "http://10.0.0.5/", "http://[fd00::5]:81/", "http://[fd00::5]/"]
)
def test_entry_that_the_error_names_allows_the_host(address: str) -> None:
    read = read_address(address)
    with pytest.raises(HostNotPublic) as caught:
        check_public(read, ["10.0.0.5"], AllowedHosts())
    assert read in AllowedHosts.of(caught.value.values["entry"])


@pytest.mark.parametrize("text", ["http://a:b@h/p?token=1#x", "https://h/p", "h/‮p\n", "http://h/" + "x" * 500])
def test_shown_address_is_short_and_without_secrets(text: str) -> None:
    shown = show_address(text)
    assert len(shown) <= 120
    assert not {"@", "token", "#", "\n", "‮"} & {part for part in ("@", "token", "#", "\n", "‮") if part in shown}


def test_errors_of_fetching_are_one_family() -> None:
    for kind in (AddressInvalid, AddressHasPassword, PortBlocked, HostNotFound, HostNotPublic):
        assert issubclass(kind, FetchError)
