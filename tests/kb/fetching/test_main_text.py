"""The title and the main text of pages in several encodings and shapes."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from kb.errors import Cancelled, PageBroken, PageWithoutText
from kb.fetching import FetchedPage, Fetcher, PageReader
from kb.fetching.main_text import main_text
from kb.models import ParsedDocument
from tests.e2e.sample_files import pdf_file
from tests.fakes.web_pages import WebPages

REFUNDS = "退款将在三十天内退回原支付账户，如有疑问请联系客服中心，我们会尽快为您处理。"
ARTICLE = f"""<html><head><title>退款规定 | 商店</title></head><body>
<nav><ul><li><a href="/">首页</a></li><li><a href="/shop">商品目录</a></li></ul></nav>
<article><h1>退款规定</h1><p>{REFUNDS}</p><h2>期限</h2><p>{REFUNDS * 2}</p>
<table><tr><th>年份</th><th>天数</th></tr><tr><td>2024</td><td>30</td></tr></table><p>{REFUNDS}</p></article>
<aside><a href="/ad">限时优惠，立即购买</a></aside><footer>版权所有</footer></body></html>"""


def _page(text: str, media_type: str = "text/html", charset: str = "") -> FetchedPage:
    return FetchedPage("http://shop.example/a", text.encode(), media_type, charset, datetime.now(UTC))


def _read(text: str, encoding: str = "utf-8", charset: str = "", media_type: str = "text/html") -> ParsedDocument:
    return main_text(text.encode(encoding), media_type, charset)


@pytest.fixture(scope="module")
def reader() -> Iterator[PageReader]:
    reader = PageReader()
    yield reader
    reader.close()


def test_main_text_has_headings_and_tables_and_no_menu() -> None:
    document = _read(ARTICLE)
    assert document.title == "退款规定"
    assert [heading.title for heading in document.headings] == ["退款规定", "期限"]
    assert document.text.count(REFUNDS) == 4
    assert document.tables
    assert "2024" in document.text
    assert not re.search("首页|商品目录|限时优惠|版权所有", document.text)


@pytest.mark.parametrize(
    ("encoding", "charset", "declared"),
    [
        ("utf-8", "", ""),
        ("gb18030", "", ""),
        ("gb18030", "gb2312", ""),
        ("gb18030", "", "gbk"),
        ("gb18030", "gbk", "utf-8"),  # a server that re-encodes leaves the page's own declaration behind
        ("utf-8", "iso-8859-1x", ""),  # no such encoding
        ("gb18030", "utf-8", ""),  # a wrong one
        ("utf-16", "", ""),
    ],
)
def test_encoding_is_the_servers_the_pages_or_detected(encoding: str, charset: str, declared: str) -> None:
    text = ARTICLE
    if declared:
        text = text.replace("<head>", f'<head><meta charset="{declared}">')
    document = _read(text, encoding, charset)
    assert document.title.startswith("退款")
    assert "\ufffd" not in document.text


_TRADITIONAL = dict(
    zip("规将内账户问请联系们会尽为处权购买时优惠录页商", "規將內賬戶問請聯系們會盡為處權購買時優惠錄頁商", strict=True)
)


def test_page_that_trafilatura_finds_empty_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    import trafilatura

    monkeypatch.setattr(trafilatura, "extract", lambda *_values, **_named: None)
    document = _read("<title>Kontakt</title><h1>Kontakt</h1><p>Telefon 555</p>")
    assert (document.title, document.text) == ("Kontakt", "Kontakt\n\nTelefon 555")


def test_short_page_keeps_its_text() -> None:
    assert "Telefon 555" in _read("<title>Kontakt</title><div>Telefon 555</div>").text


def test_page_that_leaves_out_its_body_is_read() -> None:
    text = "Refunds take thirty days from the day on which the goods arrive. " * 3
    page = f"<title>Refunds</title><nav>Menu</nav><article><p>{text}</p></article><footer>Imprint</footer>"
    document = main_text(page.encode(), "text/html")
    assert (document.title, document.text) == ("Refunds", text.strip())


def test_plain_text_is_kept_verbatim() -> None:
    document = _read("Refunds <b>\n\n  thirty days\n", media_type="text/plain")
    assert document.text == "Refunds <b>\n\n  thirty days"


@pytest.mark.parametrize("text", ["", "   ", "<html></html>", "<script>document.write('x')</script>", "<!-- x -->"])
def test_page_without_text_is_told(text: str, reader: PageReader) -> None:
    with pytest.raises(PageWithoutText, match=r"shop\.example"):
        reader.read(_page(text))


def test_deeply_nested_page_is_read() -> None:
    nested = "<div>" * 20_000 + "Refunds take thirty days." + "</div>" * 20_000
    assert REFUNDS in _read(f"{nested}<p>{REFUNDS}</p>").text


def test_page_of_a_server_is_fetched_and_read(reader: PageReader, fetcher: Fetcher, web: WebPages) -> None:
    url = web.serve("/zh", ARTICLE.encode("gb18030"), content_type="text/html; charset=gbk")
    assert reader.read(fetcher.fetch(url)).title == "退款规定"
    with pytest.raises(PageWithoutText):
        reader.read(fetcher.fetch(web.url("/empty")))


def test_nothing_that_a_page_refers_to_is_loaded(reader: PageReader, fetcher: Fetcher, web: WebPages) -> None:
    trap = web.url("/trap")
    body = f"""<html><head><link rel=stylesheet href="{trap}"><script src="{trap}"></script><base href="{trap}/">
    <meta http-equiv=refresh content="0;url={trap}"></head><body><iframe src="{trap}"></iframe><img src="{trap}">
    <p onclick="load()">{REFUNDS}</p><script>load("{trap}")</script></body></html>"""
    document = reader.read(fetcher.fetch(web.serve("/hostile", body.encode())))
    assert document.text == REFUNDS
    assert [path for path, _ in web.requests] == ["/hostile"]


def test_no_more_of_a_pdf_is_read_than_is_searched(reader: PageReader, fetcher: Fetcher, web: WebPages) -> None:
    pages = [f"Page {number}" for number in range(1, 601)]
    found = reader.read(fetcher.fetch(web.serve("/long", pdf_file(pages, hours=12), Content_Type="application/pdf")))
    assert "Page 1\n" in found.text
    assert "Page 600" not in found.text
    assert 200_000 < len(found.text) < 250_000


def test_page_that_takes_too_long_is_given_up() -> None:
    reader = PageReader(timeout_seconds=0.01)
    try:
        with pytest.raises(PageBroken, match="too long"):
            reader.read(_page("<div>" * 1_000_000))
    finally:
        reader.close()


def test_reading_can_be_cancelled(reader: PageReader) -> None:
    looks = iter([False])
    with pytest.raises(Cancelled):
        reader.read(_page("<div>" * 1_000_000), is_cancelled=lambda: next(looks, True))
    assert reader.read(_page(ARTICLE)).title == "退款规定"


def test_page_that_waits_for_its_turn_can_be_cancelled() -> None:
    """While the reader is busy with another page, for as long as that takes."""
    reader, is_reading, may_end = PageReader(), threading.Event(), threading.Event()

    def wait() -> bool:
        is_reading.set()
        may_end.wait(60)
        return False

    with ThreadPoolExecutor() as pool:
        first = pool.submit(reader.read, _page(ARTICLE), wait)
        is_reading.wait(60)
        looks = iter([False])
        with pytest.raises(Cancelled):
            reader.read(_page(ARTICLE), lambda: next(looks, True))
        may_end.set()
        assert first.result(60).title == "退款规定"
    reader.close()


def test_charset_of_the_server_reaches_the_reader(reader: PageReader) -> None:
    page = FetchedPage("http://shop.example/", "<p>Größe</p>".encode("cp850"), "text/html", "cp850", datetime.now(UTC))
    assert reader.read(page).text == "Größe"
