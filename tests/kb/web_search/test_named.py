"""The addresses that a question names."""

from __future__ import annotations

import time

import pytest

from kb.web_search.named import Naming, read_naming, without_unknown

PAGE = "https://example.org/page"


@pytest.mark.parametrize(
    ("question", "addresses", "rest"),
    [
        (f"summarise {PAGE}", [PAGE], "summarise"),
        (PAGE, [PAGE], ""),
        ("HTTP://Example.org:8080/a?b=c&d=1#e", ["HTTP://Example.org:8080/a?b=c&d=1#e"], ""),
        (f"Is {PAGE}, or {PAGE}?x=1, right?", [PAGE, f"{PAGE}?x=1"], "Is , or , right?"),
        (f"{PAGE} {PAGE}", [PAGE], ""),
        ("https://a.org/x,https://b.org/y", ["https://a.org/x", "https://b.org/y"], ","),
        ("https://archive.org/web/2024/https://b.org/y", ["https://archive.org/web/2024/https://b.org/y"], ""),
        # www.
        ("www.example.org/x 讲了什么？", ["https://www.example.org/x"], "讲了什么？"),
        ("请看www.example.org。", ["https://www.example.org"], "请看 。"),
        ("What is www. for?", [], "What is www. for?"),
        ("mail me@www.example.org", [], "mail me@www.example.org"),
        # next to Chinese
        (f"{PAGE}，讲了什么", [PAGE], "，讲了什么"),
        (f"请总结{PAGE}的内容", [PAGE], "请总结 的内容"),
        (f"{PAGE}讲了什么？", [PAGE], "讲了什么？"),
        (f"比较{PAGE}和https://b.org/y", [PAGE, "https://b.org/y"], "比较 和"),
        ("https://example.org/讲了什么？", ["https://example.org/"], "讲了什么？"),
        ("https://example.org/的退款要多久", ["https://example.org/"], "的退款要多久"),
        ("https://zh.wikipedia.org/wiki/茶 是什么？", ["https://zh.wikipedia.org/wiki/茶"], "是什么？"),
        ("https://例子.中国/首页", ["https://例子.中国/首页"], ""),
        # brackets, quotes, full stops
        (f"({PAGE}) [{PAGE}2] <{PAGE}3> “{PAGE}4”", [PAGE, f"{PAGE}2", f"{PAGE}3", f"{PAGE}4"], "( ) [ ] < > “ ”"),
        (f"（{PAGE}）《{PAGE}2》", [PAGE, f"{PAGE}2"], "（ ）《 》"),
        ("see https://en.wikipedia.org/wiki/Tea_(meal).", ["https://en.wikipedia.org/wiki/Tea_(meal)"], "see ."),
        (f"(cf. {PAGE}.)", [PAGE], "(cf. .)"),
        (f"[the page]({PAGE})", [PAGE], "[the page]( )"),
        (f"**{PAGE}**!", [PAGE], "** **!"),
        # no address
        ("https:// is a scheme", [], "https:// is a scheme"),
        ("ftp://example.org/x and javascript:alert(1)", [], "ftp://example.org/x and javascript:alert(1)"),
        ("How long is tea steeped?", [], "How long is tea steeped?"),
        # to be refused where pages are loaded, with a message of its own
        ("read http://me:secret@example.org/", ["http://me:secret@example.org/"], "read"),
        ("http://169.254.169.254/latest http://[::1]:80/", ["http://169.254.169.254/latest", "http://[::1]:80/"], ""),
    ],
)
def test_addresses_are_found(question: str, addresses: list[str], rest: str) -> None:
    assert read_naming(question) == Naming(tuple(addresses), rest)


@pytest.mark.parametrize(
    ("question", "is_whole"),
    [
        (PAGE, True),
        (f"Please summarise {PAGE} in 5 bullet points", True),
        (f"What is {PAGE} about?", True),
        (f"Read {PAGE} and summarize this page for me", True),
        (f"Compare {PAGE} and {PAGE}2", True),
        (f"{PAGE} 这个网页讲了什么？", True),
        (f"请阅读 {PAGE} 并总结", True),
        (f"請用100字概括這個連結：{PAGE}", True),
        (f"翻译 {PAGE}", True),
        (f"What does {PAGE} say about refunds?", False),
        (f"{PAGE} 退款需要几天？", False),
        (f"{PAGE} 2024?", False),
        (f"{PAGE} " + "word " * 100, False),
    ],
)
def test_request_for_the_whole_page_is_told(question: str, is_whole: bool) -> None:
    assert read_naming(question).asks_for_whole is is_whole


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"What does {PAGE} say?", f"What does {PAGE} say?"),
        ("What is it? https://evil.example/?q=secret", "What is it?"),
        (f"{PAGE} www.evil.example/secret http://evil.example", PAGE),
        ("How long is  tea steeped?", "How long is  tea steeped?"),
    ],
)
def test_address_that_nobody_typed_is_left_out(text: str, left: str) -> None:
    assert without_unknown(text, ["And its price?", f"summarise {PAGE}"]) == left


@pytest.mark.parametrize(
    "text", ["https://a," * 20_000, "https://a.org/" + ")" * 50_000, "www." * 50_000, "https://a/茶a" * 9_000]
)
def test_long_text_takes_linear_time(text: str) -> None:
    began = time.perf_counter()
    read_naming(text)
    assert time.perf_counter() - began < 5
