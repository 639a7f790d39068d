"""Suggested questions: that they fit the documents, and that what they ask for is found."""

from __future__ import annotations

import pytest

from kb.errors import NotFound
from kb.models import Beginning, KnowledgeBase, Scope
from kb.services import WorkerParts
from kb.suggestions import LIST_FILES, MOST_SUGGESTIONS, Suggestion, suggest
from pages.ui.i18n import LANGUAGES, translate
from tests.conftest import Core
from tests.statements import counted_statements

NAMES = ["What do I need?.md", "list of all files.txt", "a/b & c (final).md"]


def ingest(core: Core, worker: WorkerParts, base: KnowledgeBase, *names: str) -> None:
    for name in names:
        assert worker.ingestion.ingest(core.upload(base, name, "Refunds take 14 days.").latest.id) == "ready"


def names_of(suggestions: list[Suggestion]) -> list[str]:
    return [suggestion.name for suggestion in suggestions]


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_suggestion_finds_what_it_asks_for(core: Core, worker: WorkerParts, code: str) -> None:
    base = core.knowledge_base()
    ingest(core, worker, base, *NAMES, "考勤制度.md")
    found = suggest(core.services.documents, core.user, base.id)
    assert len(found) == MOST_SUGGESTIONS
    for suggestion in found:
        question = translate(suggestion.template, code).format(name=suggestion.name)
        retrieval = core.services.retriever.retrieve(core.user, Scope((base.id,)), question)
        if suggestion.name:
            assert retrieval.beginnings == (Beginning(suggestion.name, 1, 1),)
        else:
            assert retrieval.files is not None
            assert set(retrieval.files.names) == {*NAMES, "考勤制度.md"}


def test_newest_documents_come_first(core: Core, worker: WorkerParts) -> None:
    base = core.knowledge_base()
    ingest(core, worker, base, "a.md", "b.md", "c.md", "d.md")
    assert names_of(suggest(core.services.documents, core.user, base.id)) == ["d.md", "c.md", "b.md", ""]


def test_names_that_cannot_be_quoted_or_are_alike_are_passed_over(core: Core, worker: WorkerParts) -> None:
    base = core.knowledge_base()
    ingest(core, worker, base, "a.md", "a.md", "说明《甲》.md", "he said “no”.md", "long " * 20 + ".md")
    found = suggest(core.services.documents, core.user, base.id)
    assert names_of(found) == ["a.md", ""]


def test_only_ready_documents_are_suggested(core: Core, worker: WorkerParts) -> None:
    base = core.knowledge_base()
    core.upload(base, "waiting.md", "Soon.")
    assert worker.ingestion.ingest(core.upload(base, "broken.pdf", "not a PDF").latest.id) == "failed"
    assert suggest(core.services.documents, core.user, base.id) == []
    ingest(core, worker, base, "long " * 20 + ".md")
    assert suggest(core.services.documents, core.user, base.id) == [Suggestion(LIST_FILES)]


def test_another_users_knowledge_base_is_not_found(core: Core) -> None:
    base = core.knowledge_base()
    with pytest.raises(NotFound):
        suggest(core.services.documents, core.stranger, base.id)


def test_more_documents_take_no_more_statements(core: Core, worker: WorkerParts) -> None:
    base = core.knowledge_base()
    counts = []
    for names in (["a.md"], ["b.md", "c.md", "d.md", "e.md"]):
        ingest(core, worker, base, *names)
        with counted_statements(core.services.database) as statements:
            suggest(core.services.documents, core.user, base.id)
        counts.append(len(statements))
    assert counts[0] == counts[1] <= 4
