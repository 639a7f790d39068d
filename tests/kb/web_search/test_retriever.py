"""From a question to passages of web pages, with a search engine, a web server and a page reader that are real."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date

import pytest

from kb.errors import (
    Cancelled,
    EmbeddingUnavailable,
    NoWebResults,
    SearxngJsonOff,
    SearxngUnreachable,
    WebSearchBlocked,
    WebSearchNotConfigured,
)
from kb.formats import from_json, to_json
from kb.retrieval.search import UNKNOWN_LANGUAGE
from kb.retrieval.selection import WEIGHTS
from kb.tracing.setup import stop_tracing
from kb.web_search import retriever as module
from kb.web_search.pages import PageLimits
from kb.web_search.passages import WebProgress, WebRetrieval, WebStage
from kb.web_search.retriever import DENSE_STEP, MOST_EMBEDDED, MOST_OF_ONE_PAGE, NO_MODEL, language_code
from tests.fakes.collector import collecting
from tests.fakes.search_server import CAPTCHA_PAGE, LOGIN_PAGE, Answer
from tests.fakes.web_pages import WebPages as WebServer
from tests.kb.web_search.web import FILLER, NOW, REFUNDS, USER, WARRANTY, Web, page, steps
from tests.real_services import free_port

# --- passages --------------------------------------------------------------------------------------------------


def test_passages_come_with_page_moment_scores_and_trace(web: Web) -> None:
    dated = web.row("/refunds", REFUNDS, "Refunds in sh…", "About refunds.", publishedDate="2025-12-24T00:00:00")
    web.finds(dated, web.row("/warranty", WARRANTY))
    found = web.retrieve("How many days do refunds take?")
    best = found.passages[0]
    assert (best.title, best.host, best.address) == ("Refund policy", "127.0.0.1", web.pages.url("/refunds"))
    assert "Refunds take thirty days." in best.passage.context
    assert (best.rank, best.fetched_at, best.published, best.is_snippet) == (1, NOW, date(2025, 12, 24), False)
    assert best.passage.dense is not None
    assert best.passage.lexical is not None
    assert best.passage.relevance > 0.3
    assert best.passage.chunk.terms == ""
    assert [(page.address, page.is_read, page.chunks) for page in found.pages] == [
        (web.pages.url("/refunds"), True, 1),
        (web.pages.url("/warranty"), True, 1),
    ]
    assert (found.engine, found.engine_label, found.searched_at) == ("searxng", "SearXNG", NOW)
    assert found.trace.documents == 2  # results of the engine
    assert steps(found) == [
        *("search", "read_pages", "chunks", "analyze", "lexical", "embed", DENSE_STEP),
        *("gate", "fuse", "threshold", "distinct", "spread", "top_k", "budget"),
    ]
    assert {"day", "refund"} <= set(found.trace.terms)


def test_search_and_its_steps_are_traced_without_addresses(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    web.finds(web.row("/refunds", REFUNDS))
    with collecting(monkeypatch) as collector:
        web.retrieve("How many days do refunds take?")
        stop_tracing()
        assert collector.named("search the web").attributes["zhiwen.retrieval.passages"] == 1
        assert collector.chain(collector.named("read_pages")) == ["search the web"]
        assert b"refunds" not in collector.raw


def test_result_is_kept_as_json(web: Web) -> None:
    web.finds(web.row("/refunds", REFUNDS), web.row("/image"))
    found = web.retrieve("How many days do refunds take?")
    kept = json.loads(json.dumps(to_json(found)))
    assert from_json(WebRetrieval, kept) == found
    assert from_json(WebRetrieval, {"passages": [], "pages": [{}], "of a later release": 1}).pages[0].is_read


def test_page_is_cited_by_the_address_after_redirects(web: Web) -> None:
    web.row("/refunds", REFUNDS)
    web.pages.redirect("/short", "/refunds")
    web.pages.redirect("/other", "/refunds")
    web.finds(web.row("/short"), web.row("/other"))
    found = web.retrieve("How many days do refunds take?")
    assert [page.address for page in found.pages] == [web.pages.url("/refunds")]
    assert [passage.address for passage in found.passages] == [web.pages.url("/refunds")]


def test_one_page_does_not_take_all_places(web: Web) -> None:
    long = "".join(f"<h2>Part {n}</h2><p>Refunds of kind {n} take thirty days. {FILLER}</p>" for n in range(20))
    web.finds(web.row("/long", page("Long", long)), web.row("/refunds", REFUNDS))
    found = web.retrieve("Do refunds take thirty days?")
    hosts = [passage.address for passage in found.passages]
    assert hosts.count(web.pages.url("/long")) == MOST_OF_ONE_PAGE
    assert web.pages.url("/refunds") in hosts


def test_of_many_chunks_only_the_promising_ones_are_embedded(web: Web) -> None:
    rows = [
        web.row(f"/{n}", page("Long", "".join(f"<h2>{n}.{part}</h2><p>{FILLER}</p>" for part in range(60))))
        for n in range(3)
    ]
    web.finds(*rows, web.row("/refunds", REFUNDS))
    found = web.retrieve("Do refunds take thirty days?")
    chunks = sum(page.chunks for page in found.pages)
    embedded = [text for batch in web.embedding.batches for text in batch if "museum" in text or "Refunds" in text]
    assert len(embedded) == MOST_EMBEDDED < chunks
    assert found.passages[0].title == "Refund policy"
    for n in range(3):  # a page in another language says at its beginning what it is about
        assert any(f"{n}.0" in text for text in embedded)


def test_end_of_a_huge_page_is_left_out_and_that_is_told(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_CHARACTERS", 2_000)
    parts = [f"<h2>Part {n}</h2><p>{FILLER}</p>" for n in range(20)]
    parts.append("<h2>Refunds</h2><p>Refunds take thirty days.</p>")
    web.finds(web.row("/huge", page("Huge", "".join(parts))))
    found = web.retrieve("museum")
    assert found.pages[0].is_cut
    assert 1 <= found.pages[0].chunks <= 4
    assert not any("Refunds" in passage.passage.context for passage in found.passages)


def test_question_that_no_page_answers_has_no_passages(web: Web) -> None:
    web.finds(web.row("/warranty", WARRANTY), web.row("/refunds", REFUNDS))
    found = web.retrieve("量子色动力学")
    assert (found.passages, len(found.pages)) == ((), 2)


# --- pages that cannot be read ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/nowhere", "page_refused"),
        ("/image", "page_wrong_type"),
        ("/empty", "page_without_text"),
        ("/50mb", "page_too_large"),
        ("/endless", "page_too_large"),
        ("/bomb", "page_too_large"),
        ("/cut-off", "page_broken"),
        ("/loop", "redirect_loop"),
    ],
)
def test_snippet_stands_in_for_a_page_with_its_reason(path: str, code: str, web: Web) -> None:
    snippet = "Refunds take thirty days, says the shop."
    web.finds(web.row(path, title="The shop", snippet=snippet), web.row("/warranty", WARRANTY))
    found = web.retrieve("How many days do refunds take?")
    assert [(page.title, page.error, page.fetched_at) for page in found.unread] == [("The shop", code, None)]
    assert type(found.unread[0].reason).code == code
    best = found.passages[0]
    assert (best.title, best.passage.context, best.is_snippet, best.fetched_at) == ("The shop", snippet, True, NOW)
    assert not any(passage.is_snippet for passage in found.passages[1:])


def test_address_of_the_internal_network_is_not_loaded(web: Web) -> None:
    with WebServer(host="127.0.0.2") as internal:
        addresses = [internal.url("/page").replace("127.0.0.1", "127.0.0.2"), "http://169.254.169.254/latest/"]
        web.finds(*({"url": address, "title": "Secret", "content": "secret"} for address in addresses))
        found = web.retrieve("secret")
        assert internal.requests == []
    assert [page.error for page in found.unread] == ["host_not_public"] * 2


def test_notice_in_place_of_a_page_counts_as_no_text(web: Web) -> None:
    notice = page("The shop", "<p>Please enable JavaScript.</p>")
    snippet = "Refunds take thirty days from the day on which the goods arrive at our warehouse in Leeds."
    web.finds(web.row("/app", notice, "The shop", snippet))
    found = web.retrieve("How many days do refunds take?")
    assert [page.error for page in found.unread] == ["page_without_text"]
    assert found.passages[0].passage.context == snippet


def test_slow_page_is_not_waited_for_when_others_are_read(web: Web) -> None:
    web.finds(web.row("/refunds", REFUNDS), web.row("/silent", snippet="Silent refunds."))
    found = web.retrieve("How many days do refunds take?", PageLimits(60, 0.1))
    assert [(page.error, page.error_values["host"]) for page in found.unread] == [("page_too_slow", "127.0.0.1")]
    assert found.passages[0].title == "Refund policy"


def test_all_pages_together_have_one_limit(web: Web) -> None:
    web.finds(*(web.row(f"{path}?{n}", snippet="Refunds") for n in range(3) for path in ("/drip", "/silent")))
    found = web.retrieve("refunds", PageLimits(0.3, 60))
    assert {page.error for page in found.unread} == {"page_too_slow"}
    assert len(found.unread) == 6
    assert found.passages[0].is_snippet


def test_pages_without_text_and_snippet_have_no_passages(web: Web) -> None:
    web.finds(web.row("/image"), web.row("/nowhere"))
    found = web.retrieve("refunds")
    assert (found.passages, len(found.unread)) == ((), 2)


# --- without the dense route -----------------------------------------------------------------------------------


def test_without_its_embedding_model_the_lexical_route_goes_on(web: Web) -> None:
    def fail(_texts: Sequence[str]) -> None:
        raise EmbeddingUnavailable(model="test", detail="away")

    web.embedding.before_batch = fail
    web.finds(web.row("/refunds", REFUNDS), web.row("/warranty", WARRANTY))
    found = web.retrieve("How many days do refunds take?")
    assert [step.note for step in found.trace.steps if step.name == DENSE_STEP] == [NO_MODEL]
    assert (found.passages[0].title, found.passages[0].passage.dense) == ("Refund policy", None)


def test_language_that_the_model_does_not_know_is_searched_lexically(web: Web) -> None:
    web.finds(web.row("/zh", page("退款", "<p>退款将在三十天内退回原支付账户，如有疑问请联系客服中心。</p>")))
    found = web.retrieve("退款需要多少天？")
    assert [step.note for step in found.trace.steps if step.name == DENSE_STEP] == [UNKNOWN_LANGUAGE]
    assert found.passages[0].title == "退款"


def test_gate_is_told(web: Web) -> None:
    web.finds(web.row("/refunds", REFUNDS))
    found = web.retrieve("refunds")
    assert next(step.note for step in found.trace.steps if step.name == "gate") == WEIGHTS


# --- the engine ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(200, LOGIN_PAGE), SearxngJsonOff),
        (Answer(200, CAPTCHA_PAGE), WebSearchBlocked),
        (Answer(200, {"results": []}), NoWebResults),
        (Answer(429, "slow down"), WebSearchBlocked),
    ],
)
def test_error_of_the_engine_is_raised(answer: Answer, error: type[Exception], web: Web) -> None:
    web.engine.next_reply = answer
    with pytest.raises(error):
        web.retrieve("refunds")


def test_no_network_and_no_key_are_told(web: Web) -> None:
    with pytest.raises(SearxngUnreachable):
        web.retrieve("refunds", searxng_url=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(WebSearchNotConfigured):
        web.retriever().retrieve(USER, "refunds", "tavily")


def test_engine_gets_the_question_its_language_and_number(web: Web) -> None:
    web.finds(*(web.row(f"/{n}", WARRANTY) for n in range(5)))
    assert len(web.retrieve("保修期有多长？", web_search_pages=2).pages) == 2
    assert web.engine.asked[0].parameters["language"] == "zh-CN"
    web.retrieve("garantie pompe")
    assert web.engine.asked[1].parameters == {"q": "garantie pompe", "format": "json", "language": "all"}


@pytest.mark.parametrize(
    ("question", "language"),
    [
        ("退款需要多少天？", "zh_CN"),
        ("退款需要多少天？这个", "zh_CN"),
        ("退款需要幾天？", "zh_TW"),
        ("How long is it?", "en"),
        ("Wie lange dauert es?", ""),
        ("返金はいつですか", ""),
        ("👍", ""),
    ],
)
def test_language_of_a_question(question: str, language: str) -> None:
    assert language_code(question) == language


# --- progress and stop -----------------------------------------------------------------------------------------


def test_progress_is_told(web: Web) -> None:
    told: list[WebProgress] = []
    web.finds(web.row("/refunds", REFUNDS), web.row("/image"))
    web.retriever().retrieve(USER, "refunds", on_progress=told.append)
    assert told == [
        WebProgress(WebStage.SEARCHING, name="SearXNG"),
        WebProgress(WebStage.READING, 0, 2),
        WebProgress(WebStage.READING, 1, 2, "127.0.0.1"),
        WebProgress(WebStage.READING, 2, 2, "127.0.0.1"),
        WebProgress(WebStage.RANKING, 2, 2),
    ]


@pytest.mark.parametrize("stage", WebStage)
def test_stop_is_heard_at_every_stage(stage: WebStage, web: Web) -> None:
    told: list[WebStage] = []
    web.finds(web.row("/refunds", REFUNDS), web.row("/silent") if stage is WebStage.READING else web.row("/image"))
    with pytest.raises(Cancelled):
        web.retriever().retrieve(
            USER, "refunds", on_progress=lambda each: told.append(each.stage), is_cancelled=lambda: stage in told
        )
    assert told[-1] is stage


def test_reader_goes_on_after_a_stop(web: Web) -> None:
    web.finds(web.row("/refunds", REFUNDS))
    retriever = web.retriever()
    told: list[WebProgress] = []
    with pytest.raises(Cancelled):
        retriever.retrieve(USER, "refunds", on_progress=told.append, is_cancelled=lambda: len(told) > 1)
    assert retriever.retrieve(USER, "refunds").passages[0].title == "Refund policy"


def test_passages_of_pages_are_reranked(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    class Even:
        model = "even"

        def scores(self, question: str, texts: Sequence[str]) -> list[float]:
            return [0.7] * len(texts)

    web.finds(web.row("/refunds", REFUNDS), web.row("/warranty", WARRANTY))
    retriever = web.retriever()
    monkeypatch.setattr(retriever, "_find_reranker", lambda _user_id: Even())
    found = retriever.retrieve(USER, "How many days do refunds take?")
    assert found.passages[0].passage.rerank == 0.7
    assert steps(found).index("fuse") < steps(found).index("rerank") < steps(found).index("threshold")
