"""History: search, filter, open, rename, pin, delete and undo."""

from __future__ import annotations

import pytest

from kb.access import Principal
from kb.models import Conversation, Mode, Scope
from tests.conftest import add_user
from tests.pages.conftest import Installation, Visit
from tests.pages.visitor import TALKS, Visitor


@pytest.fixture
def visitor(visit: Visit) -> Visitor:
    visitor = visit()
    visitor.go_to("history")
    return visitor


def talk(installation: Installation, question: str, answer: str = "", user: Principal | None = None) -> Conversation:
    message = installation.answered(question, answer, user=user)
    return installation.services.conversations.get(user or installation.user, message.conversation_id)


def titles(visitor: Visitor) -> list[str]:
    return [title for group in visitor.talks().values() for title in group]


def test_latest_conversations_come_first(installation: Installation, visitor: Visitor) -> None:
    for question in ("First *question*", "第二个问题"):
        talk(installation, question)
    visitor.run()
    assert visitor.talks() == {"Today": ["第二个问题", "First *question*"]}


def test_search_finds_words_in_titles_and_messages(installation: Installation, visitor: Visitor) -> None:
    talk(installation, "What is tea?", "Leaves in 100 % hot water.")
    talk(installation, "What is soup?")
    visitor.run()
    assert visitor.component(TALKS)["words"]["all_md"] == "Download all as Markdown"
    for words in ("TEA", "leaves in", "100 %"):
        visitor.choose("history_search", words)
        assert titles(visitor) == ["What is tea?"]
        assert "1 conversation found" in visitor.text()
        assert visitor.component(TALKS)["words"]["all_md"] == "Download what was found as Markdown"
    visitor.choose("history_search", "%_")
    assert titles(visitor) == []
    assert visitor.component(TALKS)["empty"] == "No conversation contains these words."
    visitor.click("history_show_all")
    assert len(titles(visitor)) == 2


def test_filters_narrow_the_list_and_what_is_downloaded(installation: Installation, visitor: Visitor) -> None:
    base = installation.knowledge_base("Kitchen")
    talk(installation, "Chat")
    installation.services.conversations.create(installation.user, "Base", Mode.KNOWLEDGE, Scope.of(base.id))
    visitor.run()
    assert visitor.app.selectbox(key="history_mode").value == ""  # None would have a button to clear it
    visitor.choose("history_mode", Mode.LLM)
    assert titles(visitor) == ["Chat"]
    assert visitor.component(TALKS)["all"] == {"search": "", "mode": "llm", "knowledge_base": ""}
    visitor.choose("history_knowledge_base", base.id)
    assert titles(visitor) == []
    assert visitor.component(TALKS)["empty"] == "No conversation matches."
    visitor.choose("history_mode", "")
    assert titles(visitor) == ["Base"]
    assert visitor.component(TALKS)["all"] == {"search": "", "mode": "", "knowledge_base": str(base.id)}


def test_rename_conversation(installation: Installation, visitor: Visitor) -> None:
    conversation = talk(installation, "Old title")
    visitor.run()
    visitor.on_talk("rename", conversation.id, title="新的标题")
    assert titles(visitor) == ["新的标题"]
    assert visitor.talks(in_sidebar=True) == {"Today": ["新的标题"]}
    visitor.on_talk("rename", conversation.id, title=" ")
    assert "A name must have 1 to 200 characters." in visitor.errors
    assert titles(visitor) == ["新的标题"]


def test_pinned_conversations_stand_first(installation: Installation, visitor: Visitor) -> None:
    old = talk(installation, "Old")
    talk(installation, "New")
    visitor.run()
    visitor.on_talk("pin", old.id)
    assert visitor.talks() == {"Pinned": ["Old"], "Today": ["New"]}
    visitor.on_talk("unpin", old.id)
    assert visitor.talks() == {"Today": ["New", "Old"]}


def test_page_says_how_long_conversations_are_kept(installation: Installation, visitor: Visitor, visit: Visit) -> None:
    assert not visitor.has("retention")
    installation.set_up(CONVERSATION_DAYS="30")
    visitor = visit()
    visitor.go_to("history")
    expected = "Conversations without a new question for 30 days are deleted, except pinned ones."
    assert visitor.text("retention") == expected


def test_delete_can_be_undone(installation: Installation, visitor: Visitor) -> None:
    conversation, _kept = talk(installation, "Old"), talk(installation, "Kept")
    visitor.run()
    visitor.on_talk("delete", conversation.id)
    assert titles(visitor) == ["Kept"]
    assert visitor.component(TALKS)["undo"]["text"] == "“Old” was deleted."
    visitor.on_talk("restore", conversation.id)
    assert titles(visitor) == ["Kept", "Old"]
    assert visitor.component(TALKS)["undo"] is None
    assert not visitor.errors


def test_deleting_the_last_one_can_be_undone(installation: Installation, visitor: Visitor) -> None:
    conversation = talk(installation, "Only")
    visitor.run()
    visitor.on_talk("delete", conversation.id)
    assert "You have not asked anything yet." in visitor.text()
    visitor.on_talk("restore", conversation.id)
    assert titles(visitor) == ["Only"]


def test_deletion_that_is_final_cannot_be_undone(
    installation: Installation, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = talk(installation, "Old")
    visitor.run()
    visitor.on_talk("delete", conversation.id)
    monkeypatch.setattr("kb.conversations.catalogue.UNDO_SECONDS", 0)
    installation.services.conversations.purge()
    visitor.on_talk("restore", conversation.id)
    assert "This conversation no longer exists" in visitor.errors


def test_delete_the_open_conversation(installation: Installation, visit: Visit) -> None:
    conversation = talk(installation, "Open")
    visitor = visit(conversation=str(conversation.id))
    visitor.go_to("history")
    visitor.on_talk("delete", conversation.id)
    visitor.go_to("chat")
    assert not visitor.errors
    assert not visitor.app.chat_message
    visitor.on_talk("restore", conversation.id)
    assert len(visitor.app.chat_message) == 2


def test_opening_a_conversation_shows_it_in_the_chat(installation: Installation, visitor: Visitor) -> None:
    conversation = talk(installation, "What is tea?", "Leaves.")
    visitor.run()
    visitor.on_talk("open", conversation.id)
    assert "Leaves." in visitor.text()
    assert visitor.has("question")


def test_other_users_conversations_are_not_listed(installation: Installation, visitor: Visitor) -> None:
    talk(installation, "Their secret", user=add_user(installation.services.database, "stranger"))
    visitor.run()
    assert "You have not asked anything yet." in visitor.text()
    talk(installation, "Mine")
    visitor.run()
    visitor.choose("history_search", "secret")
    assert titles(visitor) == []


def test_long_history_has_pages(installation: Installation, visitor: Visitor) -> None:
    for index in range(33):
        talk(installation, f"Question {index}")
    visitor.run()
    assert len(titles(visitor)) == 30
    visitor.choose("history_page", 2)
    assert titles(visitor) == ["Question 2", "Question 1", "Question 0"]
    visitor.choose("history_search", "Question 32")
    assert titles(visitor) == ["Question 32"]
    visitor.choose("history_search", "")
    visitor.choose("history_page", 2)
    visitor.choose("history_search", "Question")  # as many pages, but another list
    assert titles(visitor)[0] == "Question 32"


def test_unknown_time_zone_falls_back_to_utc(installation: Installation, visit: Visit) -> None:
    installation.services.conversations.create(installation.user, "Tea", Mode.LLM)
    visitor = visit()
    visitor.app.context = {"locale": "en-US", "timezone": "Etc/Unknown"}
    visitor.go_to("history")
    assert titles(visitor) == ["Tea"]
