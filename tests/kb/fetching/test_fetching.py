"""Pages of a real server: what arrives, and how broken, endless and hostile ones end."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from kb.errors import (
    AddressHasPassword,
    AddressInvalid,
    FetchError,
    HostNotFound,
    HostNotPublic,
    HostUnreachable,
    PageBroken,
    PageRefused,
    PageSilent,
    PageTooLarge,
    PageTooSlow,
    PageWrongType,
    RedirectLoop,
)
from kb.fetching import Fetcher, FetchLimits
from tests.fakes.proxy import DeadProxy
from tests.fakes.web_pages import PAGE, Answer, WebPages
from tests.real_services import free_port

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_page_arrives_with_its_address_type_and_moment(web: WebPages) -> None:
    page = Fetcher(web.authority, now=lambda: NOW).fetch(web.url("/page?q=%E8%B7%AF#part"))
    assert (page.data, page.media_type, page.charset, page.fetched_at) == (PAGE, "text/html", "utf-8", NOW)
    assert page.address == web.url("/page?q=%E8%B7%AF#part")
    assert web.requests[0][0] == "/page?q=%E8%B7%AF"


def test_moment_is_in_utc(fetcher: Fetcher, web: WebPages) -> None:
    before = datetime.now(UTC)
    assert before <= fetcher.fetch(web.url()).fetched_at <= datetime.now(UTC)


@pytest.mark.parametrize("path", ["/gzip", "/deflate", "/raw-deflate"])
def test_compressed_page_is_unpacked(path: str, fetcher: Fetcher, web: WebPages) -> None:
    assert fetcher.fetch(web.url(path)).data == PAGE


def test_redirects_are_followed_without_cookies(fetcher: Fetcher, web: WebPages) -> None:
    web.redirect("/second", "page")
    page = fetcher.fetch(web.redirect("/first", "/second"))
    assert page.address == web.url("/page")
    assert [path for path, _ in web.requests] == ["/first", "/second", "/page"]
    assert not [headers for _, headers in web.requests if {"Cookie", "Authorization", "Referer"} & set(headers)]


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("http://127.0.0.2:{port}/page", HostNotPublic),
        ("http://localhost:{port}/page", HostNotPublic),
        ("http://[::ffff:127.0.0.1]:{port}/page", HostNotPublic),
        ("//2130706433:{port}/page", HostNotPublic),
        ("http://127.0.0.1/page", HostNotPublic),  # another port than the listed one
        ("http://169.254.169.254/latest/meta-data/", HostNotPublic),
        ("http://user:secret@127.0.0.1:{port}/page", AddressHasPassword),
        ("file:///etc/passwd", AddressInvalid),
        ("ftp://127.0.0.1/page", AddressInvalid),
        ("data:text/html,x", AddressInvalid),
        ("http://[::1", AddressInvalid),
    ],
)
def test_every_redirect_is_checked(target: str, error: type[FetchError], fetcher: Fetcher, web: WebPages) -> None:
    first = web.redirect("/first", target.format(port=web.port))
    with pytest.raises(error):
        fetcher.fetch(first)
    assert [path for path, _ in web.requests] == ["/first"]


@pytest.mark.parametrize("path", ["/loop", "/longer"])
def test_redirect_loop_ends(path: str, web: WebPages) -> None:
    with pytest.raises(RedirectLoop):
        Fetcher(web.authority, FetchLimits(redirects=3)).fetch(web.url(path))
    assert len(web.requests) == 4


class TestPinning:
    """A name is resolved once for each hop, and the connection goes to what was checked."""

    def test_name_that_changes_its_address_is_reached_at_the_checked_one(
        self, web: WebPages, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []
        system = socket.getaddrinfo

        def rebind(host: Any, port: Any, *rest: Any, **named: Any) -> Any:
            """The server at first, and its neighbour at every further question."""
            if host == "site.example":
                asked.append(host)
                host = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
            return system(host, port, *rest, **named)

        monkeypatch.setattr(socket, "getaddrinfo", rebind)
        with WebPages(host="127.0.0.2", port=web.port) as neighbour:
            page = Fetcher(f"site.example:{web.port}").fetch(f"http://site.example:{web.port}/page")
            assert neighbour.requests == []
        assert page.address == f"http://site.example:{web.port}/page"
        assert asked == ["site.example"]
        assert web.requests[0][1]["Host"] == f"site.example:{web.port}"

    def test_name_that_turns_private_between_two_hops_is_refused(self, web: WebPages) -> None:
        answers = iter([["127.0.0.1"], ["127.0.0.1"]])
        fetcher = Fetcher(f"site.example:{web.port}", resolver=lambda _host, _port: next(answers))
        web.redirect("/first", f"http://other.example:{web.port}/page")
        with pytest.raises(HostNotPublic):
            fetcher.fetch(f"http://site.example:{web.port}/first")
        assert [path for path, _ in web.requests] == ["/first"]

    def test_next_address_of_a_name_is_tried_if_the_first_refuses(self, web: WebPages) -> None:
        fetcher = Fetcher(f"site.example:{web.port}", resolver=lambda _host, _port: ["127.0.0.3", "127.0.0.1"])
        assert fetcher.fetch(f"http://site.example:{web.port}/page").data == PAGE


@pytest.mark.parametrize("path", ["/announced", "/endless", "/50mb", "/bomb", "/empty-blocks"])
def test_page_without_end_or_over_the_limit_is_given_up(path: str, fetcher: Fetcher, web: WebPages) -> None:
    with pytest.raises(PageTooLarge) as caught:
        fetcher.fetch(web.url(path))
    assert caught.value.values["limit"] == "5"


@pytest.mark.parametrize("path", ["/drip", "/dripping-headers"])
def test_page_that_drips_is_given_up(path: str, web: WebPages) -> None:
    limits = FetchLimits(total_seconds=0.5, silent_seconds=20)
    with pytest.raises(PageTooSlow) as caught:
        Fetcher(web.authority, limits).fetch(web.url(path))
    assert not isinstance(caught.value, PageSilent)


def test_silent_server_is_given_up(web: WebPages) -> None:
    with pytest.raises(PageSilent):
        Fetcher(web.authority, FetchLimits(silent_seconds=0.2)).fetch(web.url("/silent"))


def test_silent_name_server_is_given_up() -> None:
    answered = threading.Event()

    def wait(_host: str, _port: int) -> Sequence[str]:
        answered.wait(60)
        return ["8.8.8.8"]

    try:
        with pytest.raises(PageTooSlow):
            Fetcher(limits=FetchLimits(total_seconds=0.2), resolver=wait).fetch("http://site.example/")
    finally:
        answered.set()


@pytest.mark.parametrize("path", ["/cut-off", "/corrupt", "/half-gzip", "/brotli"])
def test_damaged_page_is_told(path: str, fetcher: Fetcher, web: WebPages) -> None:
    with pytest.raises(PageBroken):
        fetcher.fetch(web.url(path))


@pytest.mark.parametrize(("path", "shown"), [("/image", "image/gif"), ("/untyped", "its type is unknown")])
def test_what_is_no_page_is_told(path: str, shown: str, fetcher: Fetcher, web: WebPages) -> None:
    with pytest.raises(PageWrongType, match=shown):
        fetcher.fetch(web.url(path))


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/octet-stream"}, {"Content-Type": "text/html"}])
def test_pdf_of_another_type_is_known_by_its_first_bytes(
    headers: dict[str, str], fetcher: Fetcher, web: WebPages
) -> None:
    web.pages["/file"] = lambda answer: answer.send(
        gzip.compress(b"%PDF-1.7 ..."), {**headers, "Content-Encoding": "gzip"}
    )
    page = fetcher.fetch(web.url("/file"))
    assert (page.data, page.media_type) == (b"%PDF-1.7 ...", "application/pdf")


@pytest.mark.parametrize("body", [PAGE, b"", b"%PD", b"\n%PDF-1.7"])
def test_file_of_no_type_that_is_no_pdf_is_refused(body: bytes, fetcher: Fetcher, web: WebPages) -> None:
    with pytest.raises(PageWrongType, match="application/octet-stream"):
        fetcher.fetch(web.serve("/file", body, Content_Type="application/octet-stream"))
    with pytest.raises(PageWrongType):
        fetcher.fetch(web.serve("/packed", body, Content_Type="application/octet-stream", Content_Encoding="br"))


def test_file_that_is_no_page_is_not_read_to_its_end(fetcher: Fetcher, web: WebPages) -> None:
    def film(answer: Answer) -> None:
        answer.start(200, {"Content-Type": "application/octet-stream", "Content-Length": "50000000"})
        answer.write(b"\x00\x00\x00\x18ftyp")
        answer.stopping.wait(60)

    web.pages["/film"] = film
    with pytest.raises(PageWrongType):
        fetcher.fetch(web.url("/film"))


def test_untyped_pdf_is_bounded(web: WebPages) -> None:
    pdf = web.serve("/file", b"%PDF-" + bytes(2_000), Content_Type="application/octet-stream")
    with pytest.raises(PageTooLarge):
        Fetcher(web.authority, FetchLimits(size=1_000)).fetch(pdf)
    only_text = FetchLimits(media_types=frozenset(("text/plain",)))
    with pytest.raises(PageWrongType):
        Fetcher(web.authority, only_text).fetch(pdf)


def test_redirect_to_an_address_in_chinese_is_followed(fetcher: Fetcher, web: WebPages) -> None:
    web.serve("/%E9%A1%B5", PAGE)
    raw_bytes = "/页".encode().decode("latin-1")  # as servers send it, without escapes
    assert fetcher.fetch(web.redirect("/first", raw_bytes)).address == web.url("/%E9%A1%B5")


def test_http_error_is_told(fetcher: Fetcher, web: WebPages) -> None:
    with pytest.raises(PageRefused, match="HTTP 404 Not Found"):
        fetcher.fetch(web.url("/nowhere"))


def test_refused_connection_is_told() -> None:
    port = free_port()
    with pytest.raises(HostUnreachable, match="refuses the connection"):
        Fetcher(f"127.0.0.1:{port}").fetch(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize("error", [socket.gaierror(-2, "Name or service not known"), UnicodeError()])
def test_unknown_host_is_told(error: Exception) -> None:
    def fail(_host: str, _port: int) -> Sequence[str]:
        raise error

    with pytest.raises(HostNotFound, match=r"nowhere\.example"):
        Fetcher(resolver=fail).fetch("http://nowhere.example/")


def test_server_that_does_not_speak_http_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def greet() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"+OK ready\r\n")
                connection.recv(4096)

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(PageBroken):
            Fetcher(f"127.0.0.1:{port}").fetch(f"http://127.0.0.1:{port}/")
        thread.join()


def test_proxy_of_the_environment_is_not_asked(
    fetcher: Fetcher, web: WebPages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would resolve the name itself, and might reach what we must not."""
    with DeadProxy() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("no_proxy", "")
        monkeypatch.setenv("NO_PROXY", "")
        assert fetcher.fetch(web.url()).data == PAGE
        assert proxy.asked == []
