"""Results are cleaned: plain text, usable addresses, each page once."""

from __future__ import annotations

from datetime import date

import pytest

from kb.web_search.results import MOST_RESULTS, SNIPPET_CHARACTERS, Found, clean_results, page_key, plain_text


def addresses(*found: object) -> list[str]:
    return [result.address for result in clean_results((Found("A title", one, "") for one in found), 100)]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("How to <strong>ask</strong> &amp; learn", "How to ask & learn"),
        ("知<em>问</em>", "知问"),
        ("one<br/>two<p>three</p>", "one two three"),
        ("<script>alert(1)</script>left", "left"),
        ("a<!-- hidden -->b", "a b"),
        ('<img src=x onerror="alert(1)">left', "left"),
        ("List<String> when a < b && c > d", "List<String> when a < b && c > d"),
        ("use the &lt;b&gt; tag", "use the <b> tag"),
        ("bidi\u202egnp and\u200b zero\x00\x1b[31m", "bidignp and zero[31m"),
        ("two\r\nlines\tand\u00a0spaces", "two lines and spaces"),
        ("\ud800 half", "half"),
        (None, ""),
        (["a"], ""),
        (7, ""),
    ],
)
def test_text_is_plain(text: object, plain: str) -> None:
    assert plain_text(text, 100) == plain


def test_text_is_bounded() -> None:
    (result,) = clean_results([Found("题" * 10_000, "https://example.org", "<script>" * 1_000_000)], 5)
    assert len(result.title) == 255
    assert len(result.snippet) <= SNIPPET_CHARACTERS
    assert plain_text("word " * 100, 12) == "word word w…"


@pytest.mark.parametrize(
    "address",
    [
        "ftp://example.org/",
        "javascript:alert(1)",
        "data:text/html,hello",
        "file:///etc/passwd",
        "//example.org/",
        "/search?q=1",
        "example.org",
        "https://",
        "https:///path",
        "https://user:word@example.org/",
        "https://example.org:99999/",
        "https://[::1",
        "https://exa mple.org/",
        "https://example.org/\x00",
        "https://example.org/\nX-Header: 1",
        "https://example.org/" + "a" * 2000,
        "https://example.org/" + "问" * 500,
        "",
        None,
        7,
    ],
    ids=lambda address: str(address)[:30],
)
def test_addresses_that_are_none_of_the_web_are_dropped(address: object) -> None:
    assert addresses(address, "https://example.com/") == ["https://example.com/"]


def test_addresses_are_encoded_as_browsers_do() -> None:
    assert addresses("HTTPS://Example.ORG/知问?q=a%26b", " https://例子.中国/ ") == [
        "https://example.org/%E7%9F%A5%E9%97%AE?q=a%26b",
        "https://xn--fsqu00a.xn--fiqs8s/",
    ]


@pytest.mark.parametrize(
    "address",
    [
        "http://example.org/a",
        "https://www.example.org/a/",
        "https://example.org:443/a",
        "https://EXAMPLE.org/a#part",
        "https://example.org/a#:~:text=word",
        "https://example.org/a?utm_source=x&gclid=1",
    ],
)
def test_same_page_is_listed_once(address: str) -> None:
    assert addresses("https://example.org/a", address) == ["https://example.org/a"]


@pytest.mark.parametrize(
    "address",
    [
        "https://example.org/A",
        "https://example.org/a?page=2",
        "https://example.org:8443/a",
        "https://en.example.org/a",
        "https://example.org/a#!/inbox",
    ],
)
def test_different_pages_are_kept(address: str) -> None:
    assert page_key(address) != page_key("https://example.org/a")


def test_order_of_parameters_does_not_matter() -> None:
    assert page_key("https://example.org/?a=1&b=") == page_key("https://example.org/?b=&a=1")


def test_number_of_results_is_bounded() -> None:
    assert len(addresses(*(f"https://example.org/{number}" for number in range(100)))) == MOST_RESULTS
    assert clean_results([Found("A title", "https://example.org", "")], 0) == []


def test_title_is_the_host_where_there_is_none() -> None:
    (result,) = clean_results([Found(" <b></b> ", "https://example.org/a", None)], 5)
    assert (result.title, result.snippet) == ("example.org", "")


@pytest.mark.parametrize(
    ("given", "day"),
    [
        ("2026-03-01", date(2026, 3, 1)),
        ("2026-03-01T08:00:00Z", date(2026, 3, 1)),
        ("2026-03-01T23:30:00+08:00", date(2026, 3, 1)),
        ("Sun, 01 Mar 2026 08:00:00 GMT", date(2026, 3, 1)),
        ("2 days ago", None),
        ("", None),
        ("0000-00-00", None),
        (f"1 Jan {10**20} 00:00:00", None),
        (f"Sun, 01 Mar 2026 08:00:00 +{10**20}", None),
        (1772352000, None),
        (None, None),
    ],
)
def test_day_of_publication_is_read(given: object, day: date | None) -> None:
    (result,) = clean_results([Found("A title", "https://example.org", "", given)], 5)
    assert result.published == day
