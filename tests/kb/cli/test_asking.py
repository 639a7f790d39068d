"""`zhiwen search` and `zhiwen ask`: what is found, and what is answered from it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from kb.database.tables import knowledge_bases
from kb.errors import MilvusUnavailable
from kb.formats import to_json
from kb.models import NotSearched, Retrieval, RetrievalProfile, Unread, Unsearchable
from kb.passages import gaps_of
from kb.services import WorkerParts
from tests.conftest import Core
from tests.fakes.model_server import ModelServer
from tests.kb.cli.conftest import Run

pytestmark = pytest.mark.usefixtures("configured")


@pytest.fixture
def lighthouse(core: Core, worker: WorkerParts) -> Core:
    base = core.knowledge_base("Coast")
    for name, text in (
        ("tower.md", "# Tower\n\nThe lighthouse is white."),
        ("bay.md", "The lighthouse stands in a bay."),
    ):
        worker.ingestion.ingest(core.upload(base, name, text).latest.id)
    core.knowledge_base("Empty")
    return core


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    with ModelServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("LLM_MODEL", "fake")
        yield server


def test_search_shows_passages_with_scores_and_keeps_to_top_k(lighthouse: Core, zhiwen: Run) -> None:
    ended = zhiwen("search", "lighthouse white", "-k", "Coast")
    assert ended.code == 0
    assert ended.out.startswith("1. tower.md, Tower\n   relevance ")
    assert "cosine" in ended.out
    assert "bm25" in ended.out
    assert "The lighthouse is white." in ended.out
    found = zhiwen("search", "lighthouse", "-k", "coast", "--top-k", "1", "--json").json
    (passage,) = found["passages"]
    assert (passage["rank"], found["documents_searched"]) == (1, 2)
    assert set(passage["scores"]) == {"relevance", "cosine", "bm25", "fused", "rerank"}
    assert passage["document"] in ("tower.md", "bay.md")


def test_nothing_relevant_is_not_nothing_ready(lighthouse: Core, zhiwen: Run) -> None:
    assert "No document is ready" in zhiwen("search", "lighthouse", "-k", "Empty").out
    strict = to_json(RetrievalProfile(threshold=1.0))
    with lighthouse.services.database.write() as connection:
        connection.execute(sa.update(knowledge_bases).values(profile=strict))
    ended = zhiwen("search", "zebra", "-k", "Coast")
    assert (ended.code, ended.out) == (0, "Nothing relevant was found.\n")
    assert zhiwen("ask", "zebra?", "-k", "Coast").out == "Nothing relevant was found.\n"


@pytest.mark.parametrize("top_k", ["0", "101", "many"])
def test_top_k_has_bounds(zhiwen: Run, top_k: str) -> None:
    with pytest.raises(SystemExit) as end:
        zhiwen("search", "x", "-k", "Coast", "--top-k", top_k)
    assert end.value.code == 2


@pytest.mark.parametrize("command", [("search", "-k", "Lights"), ("ask",), ("ask", "-k", "Lights")])
def test_question_that_is_too_long_is_refused_at_once(zhiwen: Run, command: tuple[str, ...]) -> None:
    name, *options = command
    ended = zhiwen(name, "why " * 5_001, *options)
    assert ended.code == 1
    assert "20,004" in ended.err


def test_unknown_knowledge_base_names_the_known_ones(core: Core, zhiwen: Run) -> None:
    core.knowledge_base("Coast")
    core.knowledge_base("Empty")
    ended = zhiwen("search", "x", "-k", "Coats")
    assert ended.code == 1
    assert "“Coast”, “Empty”" in ended.err


def test_search_that_fails_is_no_empty_result(lighthouse: Core, zhiwen: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise MilvusUnavailable(detail="away")

    monkeypatch.setattr("kb.vectors.VectorStore.search_dense", fail)
    monkeypatch.setattr("kb.vectors.VectorStore.search_lexical", fail)
    ended = zhiwen("search", "lighthouse", "-k", "Coast", "--json")
    assert (ended.code, ended.json["error"]["code"]) == (1, "milvus_unavailable")


def test_gaps_are_told() -> None:
    found = Retrieval(
        unread=(Unread("late.md", "queued"),),
        unsearchable=Unsearchable(1, ("a.md",)),
        not_searched=(NotSearched("B", "milvus_unavailable", {"detail": "x"}),),
    )
    unread, first, second = gaps_of(found)
    assert "“late.md”" in unread
    assert "not ready yet" in unread
    assert "a.md" in first
    assert second.startswith("“B” was not searched: ")


def test_ask_answers_with_sources(lighthouse: Core, model: ModelServer, zhiwen: Run) -> None:
    ended = zhiwen("ask", "What colour is the lighthouse?", "-k", "Coast")
    assert ended.code == 0
    answer, _, sources = ended.out.partition("\n\nSources:\n")
    assert answer.startswith("According to the passages")
    assert sources.startswith("[1] ")
    assert len(sources.splitlines()) == 1  # the passages that it cites
    assert lighthouse.services.conversations.count(lighthouse.user) == 0
    found = zhiwen("ask", "What colour is the lighthouse?", "-k", "Coast", "--json").json
    assert found["model"] == "fake"
    assert {source["rank"]: source["cited"] for source in found["sources"]} == {1: True, 2: False}


def test_ask_without_a_knowledge_base_asks_the_model_alone(core: Core, model: ModelServer, zhiwen: Run) -> None:
    ended = zhiwen("ask", "What colour is the lighthouse?")
    assert ended.code == 0
    assert "Sources" not in ended.out


def test_ask_without_a_model(lighthouse: Core, zhiwen: Run) -> None:
    """From documents it shows the best passages; alone it says what is missing."""
    assert "The lighthouse is white." in zhiwen("ask", "Is the lighthouse white?", "-k", "Coast").out
    ended = zhiwen("ask", "Is the lighthouse white?", "--json")
    assert (ended.code, ended.json["error"]["code"]) == (1, "no_chat_model")


def test_refused_key_fails(lighthouse: Core, model: ModelServer, zhiwen: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "wrong")
    ended = zhiwen("ask", "What colour is the lighthouse?", "-k", "Coast")
    assert ended.code == 1
    assert "wrong" not in ended.err.replace("wrong or", "")
