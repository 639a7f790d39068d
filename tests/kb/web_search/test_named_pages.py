"""Pages that the question names are read in place of a search."""

from __future__ import annotations

import pytest

from kb.errors import (
    AddressHasPassword,
    AddressInvalid,
    FetchError,
    HostNotPublic,
    PageRefused,
    PageTooSlow,
    PageWrongType,
    PortBlocked,
    TooManyAddresses,
)
from kb.messages import SourcesPart
from kb.models import Beginning
from kb.web_search.pages import PageLimits
from kb.web_search.passages import WebProgress, WebRetrieval, WebStage
from kb.web_search.retriever import DENSE_STEP, MOST_OF_ONE_PAGE
from tests.e2e.sample_files import pdf_file
from tests.fakes.web_pages import WebPages
from tests.kb.web_search.web import FILLER, NOW, REFUNDS, USER, WARRANTY, Web, page, steps

PDF = {"Content_Type": "application/pdf"}
LONG = page("Long", "".join(f"<h2>Part {n}</h2><p>Item {n} of the catalogue. {FILLER}</p>" for n in range(60)))


@pytest.fixture
def refunds(web: Web) -> str:
    return web.pages.serve("/refunds", REFUNDS.encode())


def texts(found: WebRetrieval) -> str:
    return "\n".join(each.passage.context for each in found.passages)


def test_named_page_is_read_and_no_engine_asked(web: Web, refunds: str) -> None:
    found = web.retrieve(f"How many days do refunds take, says {refunds}?")
    best = found.passages[0]
    assert (best.title, best.address, best.fetched_at, best.is_snippet) == ("Refund policy", refunds, NOW, False)
    assert "Refunds take thirty days." in best.passage.context
    assert found.question == f"How many days do refunds take, says {refunds}?"
    assert (found.engine, found.engine_label, found.searched_at, found.are_pages_named) == ("", "", NOW, True)
    assert "http" not in found.trace.terms
    assert steps(found)[:2] == ["read_pages", "chunks"]
    assert DENSE_STEP in steps(found)
    assert web.engine.asked == []


def test_irrelevant_passages_are_kept(web: Web, refunds: str) -> None:
    assert web.retrieve(f"量子色动力学 {refunds}").passages


def test_passages_may_all_come_from_one_page(web: Web) -> None:
    found = web.retrieve(f"Which item of the catalogue is in part 57, {web.pages.serve('/long', LONG.encode())}?")
    assert len(found.passages) > MOST_OF_ONE_PAGE
    assert "Item 57 " in texts(found)


@pytest.mark.parametrize("question", ["Summarise {}", "{} 讲了什么？", "{}"])
def test_whole_page_is_read_from_its_beginning(question: str, web: Web) -> None:
    found = web.retrieve(question.format(web.pages.serve("/long", LONG.encode())))
    (beginning,) = found.beginnings
    assert beginning == Beginning("Long", len(found.passages), found.pages[0].chunks)
    assert 1 < beginning.chunks < beginning.total
    assert [each.passage.chunk.ordinal for each in found.passages] == list(range(beginning.chunks))
    assert [each.rank for each in found.passages] == list(range(1, beginning.chunks + 1))
    assert steps(found) == ["read_pages", "chunks", "beginnings"]
    assert found.as_retrieval().beginnings == found.beginnings


def test_all_named_pages_have_their_share(web: Web, refunds: str) -> None:
    long, warranty = web.pages.serve("/long", LONG.encode()), web.pages.serve("/warranty", WARRANTY.encode())
    whole = web.retrieve(f"Compare {long}, {refunds} and {warranty}")
    assert [each.name for each in whole.beginnings] == ["Long", "Refund policy", "Warranty"]
    ranked = web.retrieve(f"Catalogue items in {long} {refunds} {warranty}")
    assert {each.address for each in ranked.passages} == {long, refunds, warranty}


def test_page_that_cannot_be_read_is_listed_beside_those_that_can(web: Web, refunds: str) -> None:
    image = web.pages.url("/image")
    found = web.retrieve(f"Compare {image} and {refunds}")
    assert {each.address for each in found.passages} == {refunds}
    assert [(each.title, each.error) for each in found.unread] == [(image, "page_wrong_type")]


def test_pdf_is_read_with_its_pages(web: Web) -> None:
    pages = ["Refunds take thirty days.", "The warranty of the pump lasts two years."]
    pdf = web.pages.serve("/terms", pdf_file(pages, hours=12), **PDF)
    found = web.retrieve(f"How long is the warranty of the pump in {pdf}?")
    assert [each.passage.chunk.page for each in found.passages] == [2, 1]
    assert found.passages[0].place == f"{pdf}#page=2"
    assert pages[1] in found.passages[0].passage.context
    assert SourcesPart.of_web(found).passages[0].page == 2


def test_pdf_without_its_type_is_read(web: Web) -> None:
    text = "Refunds take thirty days."
    pdf = web.pages.serve("/download", pdf_file([text]), Content_Type="application/octet-stream")
    assert text in web.retrieve(f"How long do refunds take in {pdf}?").passages[0].passage.context


def test_pdf_that_cannot_be_read_is_told(web: Web, refunds: str) -> None:
    broken = web.pages.serve("/broken", b"%PDF-1.4 and no more", **PDF)
    page_only = web.pages.serve("/page-only", REFUNDS.encode(), **PDF)
    empty = web.pages.serve("/empty-pdf", pdf_file([""]), **PDF)
    found = web.retrieve(f"Compare {broken} {page_only} {empty} {refunds}")
    assert [each.error for each in found.unread] == ["page_broken", "page_broken", "page_without_text"]
    assert {each.address for each in found.passages} == {refunds}


def test_slow_page_has_the_whole_time(web: Web, refunds: str) -> None:
    found = web.retrieve(f"{refunds} {web.pages.url('/silent')}", PageLimits(1.0, 0.0))
    assert [each.error_values["seconds"] for each in found.unread] == ["1"]
    with pytest.raises(PageTooSlow):
        web.retrieve(web.pages.url("/silent"), PageLimits(0.3, 60))


@pytest.mark.parametrize(("path", "error"), [("/nowhere", PageRefused), ("/image", PageWrongType)])
def test_error_of_the_first_page_is_raised_where_none_can_be_read(path: str, error: type[FetchError], web: Web) -> None:
    with pytest.raises(error) as raised:
        web.retrieve(f"Summarise {web.pages.url(path)} and {web.pages.url('/empty')}")
    assert web.pages.url(path) in str(raised.value)
    assert raised.value.remedy


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("http://127.0.0.2:8000/page", HostNotPublic),
        ("http://169.254.169.254/latest/", HostNotPublic),
        ("http://[::1]/", HostNotPublic),
        ("http://localhost/", HostNotPublic),
        ("http://me:secret@127.0.0.1/page", AddressHasPassword),
        ("http://127.0.0.1:6379/", HostNotPublic),
        ("http://127.0.0.1:25/", PortBlocked),
        ("https://exa mple.org:99999/", AddressInvalid),
    ],
)
def test_refused_address_is_refused_with_its_own_message(address: str, error: type[FetchError], web: Web) -> None:
    with pytest.raises(error) as raised:
        web.retrieve(f"Summarise {address.replace(' ', '')}")
    assert "secret" not in str(raised.value)
    assert web.pages.requests == []


def test_redirect_to_a_private_host_is_refused(web: Web) -> None:
    with WebPages(host="127.0.0.2") as internal:
        target = internal.url("/page").replace("127.0.0.1", "127.0.0.2")
        with pytest.raises(HostNotPublic):
            web.retrieve(web.pages.redirect("/away", target))
        assert internal.requests == []


def test_password_of_an_address_is_not_kept_in_the_page(web: Web, refunds: str) -> None:
    found = web.retrieve(f"{refunds} http://me:secret@example.org/x?token=1")
    assert [(each.title, each.address) for each in found.unread] == [("http://example.org/x",) * 2]


def test_too_many_pages_are_not_read(web: Web) -> None:
    with pytest.raises(TooManyAddresses, match="21"):
        web.retrieve(" ".join(web.pages.url(f"/{n}") for n in range(21)))
    assert web.pages.requests == []


def test_progress_tells_no_search(web: Web, refunds: str) -> None:
    told: list[WebProgress] = []
    web.retriever().retrieve(USER, f"Summarise {refunds}", on_progress=told.append)
    assert told == [
        WebProgress(WebStage.READING, 0, 1),
        WebProgress(WebStage.READING, 1, 1, "127.0.0.1"),
        WebProgress(WebStage.RANKING, 1, 1),
    ]
