"""The engines with an HTTP API, against a server that answers as they do."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from datetime import date

import pytest
from pydantic import SecretStr

from kb.errors import (
    KbError,
    NoWebResults,
    SearxngJsonOff,
    SearxngUnreachable,
    WebSearchBlocked,
    WebSearchError,
    WebSearchKeyRefused,
    WebSearchNotConfigured,
    WebSearchNotJson,
    WebSearchQuotaSpent,
    WebSearchTimeout,
    WebSearchUnreachable,
    WebSearchUnreadable,
)
from kb.web_search import SearchEngine, WebResult
from kb.web_search.api_engine import LARGEST_REPLY
from kb.web_search.keyed import BochaEngine, BraveEngine, TavilyEngine
from kb.web_search.searxng import SearxngEngine
from tests.fakes.search_server import CAPTCHA_PAGE, KEY, LOGIN_PAGE, Answer, SearchServer

PATIENCE = 60.0  # never waited for
MakeEngine = Callable[[str, str, float], SearchEngine]
KEYED: dict[str, MakeEngine] = {
    "tavily": lambda url, key, seconds: TavilyEngine(SecretStr(key), seconds, url),
    "brave": lambda url, key, seconds: BraveEngine(SecretStr(key), seconds, url),
    "bocha": lambda url, key, seconds: BochaEngine(SecretStr(key), seconds, url),
}
ENGINES: dict[str, MakeEngine] = {
    **KEYED,
    "searxng": lambda url, _key, seconds: SearxngEngine(f"{url}/searxng" if url else "", seconds),
}


@pytest.fixture(params=ENGINES)
def make_engine(request: pytest.FixtureRequest) -> MakeEngine:
    return ENGINES[request.param]


@pytest.fixture(params=KEYED)
def make_keyed(request: pytest.FixtureRequest) -> MakeEngine:
    return KEYED[request.param]


@pytest.fixture
def engine(make_engine: MakeEngine, server: SearchServer) -> SearchEngine:
    return make_engine(server.url, KEY, PATIENCE)


def failure(engine: SearchEngine, query: str = "知问") -> KbError:
    with pytest.raises(WebSearchError) as caught:
        engine.search(query, 5, "zh_CN")
    return caught.value


# --- what is found ----------------------------------------------------------------------------------------------


def test_results_have_title_address_snippet_and_date(engine: SearchEngine) -> None:
    first, second = engine.search("知问", 5, "zh_CN")
    assert first.title == "知问 guide"
    assert first.address.partition("?")[0] == "https://example.org/guide"
    assert first.snippet.startswith("How to ask")
    assert first.published == date(2026, 3, 1)
    assert (second.address, second.published) == ("https://example.com/", None)


def test_no_more_results_than_asked_for(engine: SearchEngine) -> None:
    assert len(engine.search("知问", 1, "en")) == 1


def test_check_finds_something(engine: SearchEngine, server: SearchServer) -> None:
    assert isinstance(engine.check(), WebResult)
    assert len(server.asked) == 1


def test_long_query_is_cut_to_what_engines_accept(engine: SearchEngine, server: SearchServer) -> None:
    engine.search("问" * 100_000, 5, "zh_CN")
    engine.search("word\n\x00 " * 1000, 5, "en")
    sent = [asked.parameters.get("q") or asked.parameters["query"] for asked in server.asked]
    assert sent == ["问" * 400, " ".join(["word"] * 50)]


def test_searxng_is_asked_for_json_in_the_language(server: SearchServer) -> None:
    SearxngEngine(f"{server.url}/searxng/search/", PATIENCE).search("知问", 5, "zh_CN")
    (asked,) = server.asked
    assert (asked.path, asked.parameters) == ("/searxng/search", {"q": "知问", "format": "json", "language": "zh-CN"})
    # What its limiter wants to see of a client.
    assert "text/html" in asked.headers["accept"]
    assert asked.headers["accept-language"]


def test_brave_gets_only_languages_that_it_knows(server: SearchServer) -> None:
    engine = BraveEngine(SecretStr(KEY), PATIENCE, server.url)
    for language in ("zh_CN", "zh_TW", "en", "ja"):
        engine.search("知问", 100, language)
    assert [asked.parameters.get("search_lang") for asked in server.asked] == ["zh-hans", "zh-hant", "en", None]
    assert server.asked[0].parameters["count"] == "20"


def test_bocha_gives_its_summary_or_else_its_snippet(server: SearchServer) -> None:
    results = BochaEngine(SecretStr(KEY), PATIENCE, server.url).search("知问", 5, "zh_CN")
    assert [result.snippet for result in results] == ["How to ask.", "More."]


def test_question_of_nothing_visible_is_not_sent(engine: SearchEngine, server: SearchServer) -> None:
    assert type(failure(engine, " \u200b\n")) is NoWebResults
    assert server.asked == []


# --- nothing is found -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("searxng", {"results": [], "unresponsive_engines": []}),
        ("tavily", {"results": []}),
        ("brave", {"type": "search", "query": {"original": "知问"}}),
        ("brave", {"web": {"results": []}}),
        ("bocha", {"code": 200, "data": {"webPages": None}}),
        ("bocha", {"code": 200, "data": {"webPages": {"value": []}}}),
        ("tavily", {"results": [{"title": "No address"}, "no result", {"url": "javascript:alert(1)"}]}),
    ],
    ids=str,
)
def test_no_result_is_said(name: str, body: object, server: SearchServer) -> None:
    server.next_reply = Answer(200, body)
    assert type(failure(ENGINES[name](server.url, KEY, PATIENCE))) is NoWebResults


def test_searxng_whose_engines_are_blocked_is_not_one_that_found_nothing(server: SearchServer) -> None:
    silent = [["google", "Suspended: CAPTCHA"], ["duckduckgo", "timeout"]]
    server.next_reply = Answer(200, {"results": [], "unresponsive_engines": silent})
    error = failure(SearxngEngine(server.url, PATIENCE))
    assert isinstance(error, WebSearchBlocked)
    assert "google: Suspended: CAPTCHA; duckduckgo: timeout" in str(error)


# --- refusals ---------------------------------------------------------------------------------------------------


def test_engine_without_its_setting_says_which(make_engine: MakeEngine) -> None:
    engine = make_engine("", "", PATIENCE)
    assert not engine.is_configured
    error = failure(engine)
    assert isinstance(error, WebSearchNotConfigured)
    assert f"Set {engine.setting} in .env" in str(error)


def test_refused_key_names_the_setting_and_is_not_shown(make_keyed: MakeEngine, server: SearchServer) -> None:
    engine = make_keyed(server.url, "sk-wrong-key-1234", PATIENCE)
    error = failure(engine)
    assert isinstance(error, WebSearchKeyRefused)
    assert f"Check {engine.setting} in .env" in str(error)
    assert "sk-wrong-key-1234" not in "".join(traceback.format_exception(error))


def test_key_that_a_server_repeats_is_not_shown(make_keyed: MakeEngine, server: SearchServer) -> None:
    server.next_reply = Answer(401, {"detail": f"The key {KEY} is unknown."})
    error = failure(make_keyed(server.url, KEY, PATIENCE))
    assert "The key … is unknown." in str(error)


@pytest.mark.parametrize(
    "body", [{"detail": "Too many requests"}, "Too Many Requests", "<html>429</html>", ""], ids=str
)
def test_rate_limit_is_said(body: object, engine: SearchEngine, server: SearchServer) -> None:
    server.next_reply = Answer(429, body)
    error = failure(engine)
    assert type(error) is WebSearchBlocked
    assert "HTTP 429: Too" in str(error)


@pytest.mark.parametrize(
    ("name", "status", "body"),
    [
        ("tavily", 432, {"detail": {"error": "This request exceeds your plan's set usage limit."}}),
        ("tavily", 433, {"detail": {"error": "This request exceeds the pay-as-you-go limit."}}),
        ("brave", 402, {"type": "ErrorResponse", "error": {"code": "USAGE_LIMIT_EXCEEDED", "detail": "Limit."}}),
        ("brave", 429, {"type": "ErrorResponse", "error": {"code": "QUOTA_LIMITED", "detail": "Monthly limit."}}),
        ("bocha", 403, {"code": "403", "message": "You do not have enough money"}),
        ("bocha", 200, {"code": "403", "msg": "账户余额不足", "data": None}),
        ("bocha", 403, r'{"code": "403", "message": "\u4f59\u989d\u4e0d\u8db3"}'),
    ],
    ids=str,
)
def test_spent_quota_is_not_a_wrong_key(name: str, status: int, body: object, server: SearchServer) -> None:
    server.next_reply = Answer(status, body)
    assert type(failure(ENGINES[name](server.url, KEY, PATIENCE))) is WebSearchQuotaSpent


def test_forbidden_json_means_the_key(make_keyed: MakeEngine, server: SearchServer) -> None:
    server.next_reply = Answer(403, {"error": "This resource is not in your subscription."})
    assert type(failure(make_keyed(server.url, KEY, PATIENCE))) is WebSearchKeyRefused


def test_server_error_is_told_in_its_own_words(engine: SearchEngine, server: SearchServer) -> None:
    server.next_reply = Answer(500, {"error": "The index is on fire."})
    error = failure(engine)
    assert type(error) is WebSearchError
    assert "HTTP 500: The index is on fire." in str(error)


@pytest.mark.parametrize("status", [200, 403, 503])
def test_captcha_page_means_blocked(status: int, engine: SearchEngine, server: SearchServer) -> None:
    server.next_reply = Answer(status, CAPTCHA_PAGE)
    assert type(failure(engine)) is WebSearchBlocked


# --- answers that are none --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 403, 502])
def test_page_where_json_was_due_is_said(status: int, make_keyed: MakeEngine, server: SearchServer) -> None:
    server.next_reply = Answer(status, LOGIN_PAGE)
    assert type(failure(make_keyed(server.url, KEY, PATIENCE))) is WebSearchNotJson


@pytest.mark.parametrize("reply", [Answer(403, "<html>403 Forbidden</html>"), Answer(403, ""), Answer(200, LOGIN_PAGE)])
def test_searxng_without_json_says_how_to_switch_it_on(reply: Answer, server: SearchServer) -> None:
    server.next_reply = reply
    error = failure(SearxngEngine(server.url, PATIENCE))
    assert isinstance(error, SearxngJsonOff)
    assert "settings.yml" in str(error)


def test_address_that_is_no_searxng_is_said(server: SearchServer) -> None:
    error = failure(SearxngEngine(f"{server.url}/elsewhere", PATIENCE))
    assert type(error) is SearxngUnreachable
    assert "HTTP 404" in str(error)


def test_redirect_is_not_followed(engine: SearchEngine, server: SearchServer) -> None:
    server.next_reply = Answer(301, "", {"Location": f"{server.url}/other"})
    failure(engine)
    assert len(server.asked) == 1


def test_searxng_says_where_it_was_redirected_to(server: SearchServer) -> None:
    server.next_reply = Answer(301, "<html></html>", {"Location": "https://search.example/search"})
    error = failure(SearxngEngine(server.url, PATIENCE))
    assert type(error) is SearxngUnreachable
    assert "https://search.example/search" in str(error)


@pytest.mark.parametrize(
    "body",
    ["", "{", "null", "[]", '"text"', '{"web": 1}', '{"results": {}, "web": {}, "data": []}', "[" * 100_000],
    ids=["empty", "cut off", "null", "list", "text", "number", "other types", "deep"],
)
def test_malformed_answer_is_said(body: str, engine: SearchEngine, server: SearchServer) -> None:
    server.next_reply = Answer(200, body)
    assert type(failure(engine)) is WebSearchUnreadable


def test_endless_answer_is_cut(engine: SearchEngine, server: SearchServer) -> None:
    server.next_reply = Answer(200, " " * (LARGEST_REPLY + 100_000))
    error = failure(engine)
    assert type(error) is WebSearchUnreadable
    assert "too long" in str(error)


def test_damaged_compression_is_said(engine: SearchEngine, server: SearchServer) -> None:
    server.next_reply = Answer(200, "no gzip", {"Content-Encoding": "gzip"})
    assert type(failure(engine)) is WebSearchUnreadable


# --- time and network -------------------------------------------------------------------------------------------


def test_silent_engine_times_out(make_engine: MakeEngine, server: SearchServer) -> None:
    server.silence = True
    error = failure(make_engine(server.url, KEY, 0.2))
    assert type(error) is WebSearchTimeout
    assert "0.2 s" in str(error)


def test_engine_that_trickles_times_out(make_engine: MakeEngine, server: SearchServer) -> None:
    server.trickle = True
    assert type(failure(make_engine(server.url, KEY, 0.2))) is WebSearchTimeout


def test_engine_that_is_down_is_unreachable(make_engine: MakeEngine) -> None:
    with SearchServer() as server:
        url = server.url
    error = failure(make_engine(url, KEY, PATIENCE))
    assert isinstance(error, WebSearchUnreachable)
    assert url.removeprefix("http://") in str(error)


def test_password_in_the_address_of_searxng_is_used_and_not_shown(server: SearchServer) -> None:
    url = server.url.replace("http://", "http://user:secret@")
    SearxngEngine(f"{url}/searxng", PATIENCE).search("知问", 5, "en")
    assert server.asked[0].headers["authorization"].startswith("Basic ")
    server.next_reply = Answer(401, "")
    error = failure(SearxngEngine(url, PATIENCE))
    assert type(error) is WebSearchKeyRefused
    assert "secret" not in str(error)
