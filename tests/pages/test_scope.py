"""Where to search: several knowledge bases, and only some of their files."""

from __future__ import annotations

from typing import Any

import pytest

from kb.models import Choices, Document, KnowledgeBase, Mode, Scope
from pages.ui.scope import SEVERAL, SHOWN_FILES, find_files, scope_label
from tests.fakes.model_server import ModelServer
from tests.pages.conftest import TEA, Installation, Visit
from tests.pages.visitor import Visitor, address

QUESTION = "How long is black tea steeped?"
COCOA = "Black tea is never steeped in cocoa."


@pytest.fixture
def bases(installation: Installation) -> tuple[KnowledgeBase, KnowledgeBase]:
    kitchen = installation.filled("Kitchen", {"tea.md": TEA, "cocoa.md": COCOA})
    return kitchen, installation.filled("Garden", {"beds.md": "Black tea leaves are steeped to feed the beds."})


def document(installation: Installation, base: KnowledgeBase, name: str) -> Document:
    return next(each for each in installation.documents(base) if each.name == name)


def choose(
    visitor: Visitor, *bases: KnowledgeBase, files: tuple[Document, ...] = (), key: str = "knowledge_base"
) -> None:
    """By the dialog, in one run: AppTest closes it with the next one. The files are of what was chosen before."""
    visitor.click(f"{key}_more")
    chosen: Any = visitor.app.get_by_key("scope_bases")
    chosen.set_value([base.id for base in bases])
    for file in files:
        visitor.find(f"scope_file-{file.id}").check()
    visitor.click("scope_apply")


def choose_both_and_a_file(
    installation: Installation, visit: Visit, bases: tuple[KnowledgeBase, KnowledgeBase]
) -> Visitor:
    kitchen, garden = bases
    visitor = visit()
    choose(visitor, garden, kitchen, files=(document(installation, garden, "beds.md"),))
    return visitor


def last_scope(installation: Installation) -> Scope:
    return installation.services.conversations.search(installation.user)[0].scope


def test_question_goes_to_several_knowledge_bases(
    installation: Installation, visit: Visit, bases: tuple[KnowledgeBase, KnowledgeBase], models: ModelServer
) -> None:
    kitchen, garden = bases
    visitor = visit()
    choose(visitor, kitchen, garden)
    assert visitor.find("knowledge_base").value == SEVERAL
    assert "Knowledge-base Q&A · Kitchen + 1" in visitor.text()
    assert "Now: Knowledge-base Q&A · Kitchen, Garden" in visitor.text()
    visitor.ask(QUESTION)
    assert last_scope(installation) == Scope((kitchen.id, garden.id))
    told = str(models.chats[-1].body["messages"])
    assert "boiling water" in told
    assert "feed the beds" in told


def test_question_goes_to_some_files_until_they_are_cleared(
    installation: Installation, visit: Visit, bases: tuple[KnowledgeBase, KnowledgeBase], models: ModelServer
) -> None:
    kitchen, _garden = bases
    cocoa = document(installation, kitchen, "cocoa.md")
    visitor = visit()
    visitor.choose("knowledge_base", kitchen.id)
    choose(visitor, kitchen, files=(cocoa,))
    assert visitor.app.button(key="knowledge_base_more").label == "Only 1 file"
    assert "Now: Knowledge-base Q&A · Kitchen · 1 file" in visitor.text()
    visitor.ask(QUESTION)
    assert last_scope(installation) == Scope((kitchen.id,), (cocoa.id,))
    assert "boiling water" not in str(models.chats[-1].body["messages"])
    visitor.run()
    visitor.click("knowledge_base_all_files")
    visitor.ask("How long is black tea steeped in water?")
    assert last_scope(installation) == Scope.of(kitchen.id)


def test_choice_survives_reload_new_tab_and_pages(
    installation: Installation, visit: Visit, bases: tuple[KnowledgeBase, KnowledgeBase]
) -> None:
    visitor = choose_both_and_a_file(installation, visit, bases)
    chosen = "Knowledge-base Q&A · Garden + 1 · 1 file"
    for tab in (visit(**address(visitor)), visit()):
        assert chosen in tab.text()
    visitor.go_to("testing")
    assert visitor.app.button(key="tested_knowledge_base_more").label == "Only 1 file"
    visitor.go_to("knowledge_bases")  # shows one of them, which chooses nothing else
    visitor.run()
    visitor.go_to("chat")
    assert chosen in visitor.text()


def test_choice_survives_reload_where_another_knowledge_base_of_it_is_shown(
    installation: Installation, visit: Visit, bases: tuple[KnowledgeBase, KnowledgeBase]
) -> None:
    kitchen, _garden = bases
    visitor = choose_both_and_a_file(installation, visit, bases)
    visitor.go_to("knowledge_bases")
    visitor.choose("shown_knowledge_base", kitchen.id)
    reloaded = visit(**address(visitor))
    assert "no longer exist" not in reloaded.text()
    assert "Knowledge-base Q&A · Kitchen + 1 · 1 file" in reloaded.text()
    reloaded.go_to("knowledge_bases")
    assert reloaded.find("shown_knowledge_base").value == kitchen.id


def test_deleted_knowledge_base_and_file_fall_out_with_a_message(
    installation: Installation, visit: Visit, bases: tuple[KnowledgeBase, KnowledgeBase]
) -> None:
    kitchen, garden = bases
    cocoa, tea = (document(installation, kitchen, name) for name in ("cocoa.md", "tea.md"))
    visitor = visit()
    visitor.choose("knowledge_base", kitchen.id)
    choose(visitor, kitchen, garden, files=(cocoa, tea))
    installation.services.documents.delete(installation.user, tea.id)
    visitor.run()
    assert "1 of the chosen files no longer exists." in visitor.text()
    assert "Knowledge-base Q&A · Kitchen + 1 · 1 file" in visitor.text()
    installation.services.knowledge_bases.delete(installation.user, garden.id)
    visitor.start_asking(QUESTION)  # meant for both
    assert "knowledge base no longer exists" in visitor.errors
    assert not installation.services.conversations.search(installation.user)
    visitor.run()
    assert "Knowledge-base Q&A · Kitchen · 1 file" in visitor.text()
    visitor.ask(QUESTION)
    assert last_scope(installation) == Scope((kitchen.id,), (cocoa.id,))


def test_files_are_found_among_many(installation: Installation, visit: Visit) -> None:
    base = installation.filled("Kitchen", {f"note {n:02}.md": TEA for n in range(SHOWN_FILES + 2)})
    last = document(installation, base, f"note {SHOWN_FILES + 1}.md")
    visitor = visit()
    visitor.click("knowledge_base_more")
    assert not visitor.has(f"scope_file-{last.id}")
    assert "There are more." in visitor.text()
    found, has_more = find_files([base.id], f"NOTE {SHOWN_FILES + 1}")
    assert ([each.id for each in found], has_more) == ([last.id], False)


def test_testing_page_searches_the_chosen_ones(
    installation: Installation, visit: Visit, bases: tuple[KnowledgeBase, KnowledgeBase]
) -> None:
    kitchen, garden = bases
    visitor = visit()
    visitor.go_to("testing")
    choose(visitor, kitchen, garden, key="tested_knowledge_base")
    visitor.type("test_question", QUESTION)
    visitor.click("run_test")
    shown = visitor.text("passages")
    assert "Kitchen · tea.md" in shown
    assert "Garden · beds.md" in shown


def test_testing_page_searches_wider(installation: Installation, visit: Visit) -> None:
    installation.filled()
    visitor = visit()
    visitor.go_to("testing")
    visitor.type("test_question", "Zeppelin?")
    visitor.click("run_test")
    assert visitor.has("nearest-1")
    visitor.click("search_wider")
    visitor.click("search_wider")
    assert visitor.has("passage-1")
    assert "Searched wider: without a threshold" in visitor.text("passages")


def test_choices_of_former_releases_are_read(bases: tuple[KnowledgeBase, KnowledgeBase]) -> None:
    kitchen, garden = bases
    former = {"version": 1, "mode": "test", "knowledge_base_id": str(kitchen.id), "search_engine": ""}
    assert Choices.from_json(former) == Choices(Mode.TEST, Scope.of(kitchen.id))
    both = Choices(Mode.TEST, Scope((garden.id, kitchen.id), (kitchen.id,)))
    assert Choices.from_json(both.to_json()) == both
    assert both.to_json()["knowledge_base_id"] == str(garden.id)
    assert scope_label(both.scope, bases) == "Garden + 1 · 1 file"
