"""Search without a key: the engines of ddgs themselves, reading pages of a local server."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from ddgs.engines.bing import Bing
from ddgs.engines.duckduckgo import Duckduckgo
from ddgs.exceptions import DDGSException

from kb.config import WebSearchEngine
from kb.errors import (
    KbError,
    NoWebResults,
    WebSearchBlocked,
    WebSearchError,
    WebSearchTimeout,
    WebSearchUnreachable,
    WebSearchUnreadable,
)
from kb.web_search import WebSearch
from kb.web_search.metasearch import BACKENDS, Metasearch
from kb.web_search.scraping import Scraper, find_scraper
from tests.conftest import MakeSettings
from tests.fakes.search_server import SearchServer

PATIENCE = 60.0  # never waited for


def moved(scraper: type[Any], address: str) -> Scraper:
    """The engine with another address, and otherwise as it is."""
    return type(scraper.__name__, (scraper,), {"search_url": address})


def single(server: SearchServer, path: str, scraper: type[Any] = Bing, seconds: float = PATIENCE) -> Metasearch:
    return Metasearch("bing", seconds, lambda _name: moved(scraper, server.url + path))


def in_turn(server: SearchServer, paths: dict[str, str], seconds: float = PATIENCE) -> Metasearch:
    """Each backend is read as Bing is, from its path here."""
    return Metasearch("", seconds, lambda name: moved(Bing, server.url + paths[name]))


def failure(engine: Metasearch, language: str = "en") -> KbError:
    with pytest.raises(WebSearchError) as caught:
        engine.search("知问", 5, language)
    return caught.value


def test_bing_is_read(server: SearchServer) -> None:
    first, second = single(server, "/bing").search("知问", 5, "zh_CN")
    assert (first.title, first.address, first.snippet) == ("知问 guide", "https://example.org/guide", "How to ask.")
    assert (second.title, second.address) == ("List<String>", "https://example.com/?q=a%26b&c=d")
    assert [asked.parameters["q"] for asked in server.asked] == ["知问"]


def test_duckduckgo_is_read(server: SearchServer) -> None:
    (result,) = single(server, "/duckduckgo", Duckduckgo).search("知问", 5, "zh_CN")
    assert (result.title, result.snippet) == ("A duck", "Found by a duck.")
    assert server.asked[0].parameters["l"] == "cn-zh"


def test_question_of_nothing_visible_is_not_sent(server: SearchServer) -> None:
    with pytest.raises(NoWebResults):
        single(server, "/bing").search(" \u200b\n", 5, "en")
    assert server.asked == []


def test_page_without_results_is_no_result(server: SearchServer) -> None:
    assert type(failure(single(server, "/nothing"))) is NoWebResults


@pytest.mark.parametrize("path", ["/limited", "/anomaly", "/captcha"])
def test_blocked_engine_is_not_one_that_found_nothing(path: str, server: SearchServer) -> None:
    error = failure(single(server, path))
    assert type(error) is WebSearchBlocked
    assert "Bing" in str(error)


def test_error_of_the_engine_is_said(server: SearchServer) -> None:
    error = failure(single(server, "/broken"))
    assert type(error) is WebSearchError
    assert "HTTP 500" in str(error)


def test_engine_that_is_down_is_unreachable() -> None:
    with SearchServer() as server:
        engine = single(server, "/bing")
    assert type(failure(engine)) is WebSearchUnreachable


def test_silent_engine_times_out(server: SearchServer) -> None:
    server.silence = True
    assert type(failure(single(server, "/bing", seconds=0.3))) is WebSearchTimeout


def test_engine_that_trickles_times_out(server: SearchServer) -> None:
    server.trickle = True
    assert type(failure(single(server, "/bing", seconds=0.3))) is WebSearchTimeout


def test_page_that_the_engine_cannot_read_is_said(server: SearchServer) -> None:
    class Changed(Bing):
        def extract_results(self, html_text: str) -> list[Any]:
            return [html_text.split("</nav>")[1]]

    assert type(failure(single(server, "/bing", Changed))) is WebSearchUnreadable


def test_other_error_of_the_library_is_said(server: SearchServer) -> None:
    class Failing(Bing):
        def build_payload(self, *_: Any, **__: Any) -> dict[str, Any]:
            raise DDGSException("no token")

    error = failure(single(server, "/bing", Failing))
    assert type(error) is WebSearchError
    assert "no token" in str(error)


# --- several in turn --------------------------------------------------------------------------------------------


def test_first_engine_with_results_is_enough(server: SearchServer) -> None:
    paths = {"duckduckgo": "/limited", "brave": "/bing", "startpage": "/nothing"}
    assert len(in_turn(server, paths).search("知问", 5, "en")) == 2
    assert [asked.path for asked in server.asked] == ["/limited", "/bing"]


def test_bing_comes_first_for_chinese(server: SearchServer) -> None:
    paths = {"bing": "/bing", "duckduckgo": "/nothing", "brave": "/nothing"}
    in_turn(server, paths).search("知问", 5, "zh_CN")
    assert [asked.path for asked in server.asked] == ["/bing"]


def test_block_is_said_rather_than_that_nothing_was_found(server: SearchServer) -> None:
    error = failure(in_turn(server, {"duckduckgo": "/nothing", "brave": "/captcha", "startpage": "/nothing"}))
    assert type(error) is WebSearchBlocked
    assert "Brave" in str(error)


def test_all_that_found_nothing_are_named(server: SearchServer) -> None:
    error = failure(in_turn(server, dict.fromkeys(("duckduckgo", "brave", "startpage"), "/nothing")))
    assert type(error) is NoWebResults
    assert "DuckDuckGo, Brave, Startpage found nothing" in str(error)


def test_engine_that_hangs_leaves_time_to_the_next(server: SearchServer) -> None:
    server.silence = True
    names: list[str] = []

    def find(name: str) -> Scraper:
        names.append(name)
        return moved(Bing, f"{server.url}/bing")

    assert type(failure(Metasearch("", 0.9, find))) is WebSearchTimeout
    assert names == ["duckduckgo", "brave", "startpage"]


# --- the list of engines ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BACKENDS)
def test_library_has_every_backend(name: str) -> None:
    scraper = find_scraper(name)
    assert (scraper.name, scraper.category) == (name, "text")


def test_every_setting_of_the_engine_is_listed(make_settings: MakeSettings) -> None:
    ids = [engine.id for engine in WebSearch(make_settings()).engines]
    assert sorted(ids) == sorted(get_args(WebSearchEngine))


def test_page_can_tell_which_engines_are_ready(make_settings: MakeSettings) -> None:
    search = WebSearch(make_settings(tavily_api_key="tvly-key", web_search_engine="tavily"))
    unready = {engine.id: engine.setting for engine in search.engines if not engine.is_configured}
    assert unready == {"searxng": "SEARXNG_URL", "brave": "BRAVE_API_KEY", "bocha": "BOCHA_API_KEY"}
    assert search.default.label == "Tavily"
    assert len({engine.label for engine in search.engines}) == len(search.engines)


def test_unknown_choice_gives_the_default_engine(make_settings: MakeSettings) -> None:
    search = WebSearch(make_settings())
    assert search.engine("ddgs:bing").label == "Bing"
    assert search.engine("ddgs:altavista") is search.engine("") is search.default
