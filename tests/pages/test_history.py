"""History: search, open, rename, delete."""

from __future__ import annotations

from uuid import UUID

import pytest

from kb.models import Conversation, MessageState, Mode
from tests.conftest import add_user
from tests.messages import said
from tests.pages.conftest import Installation, Visit
from tests.pages.visitor import Visitor


@pytest.fixture
def visitor(visit: Visit) -> Visitor:
    visitor = visit()
    visitor.go_to("history")
    return visitor


def talk(installation: Installation, question: str, answer: str = "", user: UUID | None = None) -> Conversation:
    conversations, owner = installation.services.conversations, user or installation.user
    conversation = conversations.create(owner, question, Mode.LLM)
    message = conversations.ask(owner, conversation.id, question)
    conversations.finish(owner, message.id, MessageState.DONE, said(answer))
    return conversation


def test_latest_conversations_come_first(installation: Installation, visitor: Visitor) -> None:
    for question in ("First *question*", "第二个问题"):
        talk(installation, question)
    visitor.run()
    assert [link.replace("\\", "") for link in visitor.links] == ["**第二个问题**", "**First *question***"]


def test_search_finds_words_in_titles_and_messages(installation: Installation, visitor: Visitor) -> None:
    tea = talk(installation, "What is tea?", "Leaves in 100 % hot water.")
    talk(installation, "What is soup?")
    for words in ("TEA", "leaves in", "100 %"):
        visitor.choose("history_search", words)
        assert visitor.has(f"conversation-{tea.id}")
        assert len(visitor.links) == 1
    visitor.choose("history_search", "%_")
    assert "No conversation contains these words." in visitor.text()


def test_rename_conversation(installation: Installation, visitor: Visitor) -> None:
    conversation = talk(installation, "Old title")
    visitor.run()
    visitor.type(f"title-{conversation.id}", "新的标题")
    visitor.click(f"rename-{conversation.id}")
    assert visitor.links == ["**新的标题**"]
    visitor.type(f"title-{conversation.id}", " ")
    visitor.click(f"rename-{conversation.id}")
    assert "A name must have 1 to 200 characters." in visitor.errors
    assert visitor.links == ["**新的标题**"]


def test_delete_asks_for_confirmation(installation: Installation, visitor: Visitor) -> None:
    conversation, kept = talk(installation, "Old"), talk(installation, "Kept")
    visitor.run()
    visitor.click(f"delete_conversation-{conversation.id}")
    assert "Delete “Old” with all its messages? This cannot be undone." in visitor.text()
    assert visitor.has(f"conversation-{conversation.id}")
    visitor.click("confirm_delete")
    assert not visitor.has(f"conversation-{conversation.id}")
    assert visitor.has(f"conversation-{kept.id}")


def test_delete_the_open_conversation(installation: Installation, visit: Visit) -> None:
    conversation = talk(installation, "Open")
    visitor = visit(conversation=str(conversation.id))
    visitor.go_to("history")
    visitor.click(f"delete_conversation-{conversation.id}")
    visitor.click("confirm_delete")
    visitor.go_to("chat")
    assert not visitor.errors
    assert not visitor.app.chat_message


def test_other_users_conversations_are_not_listed(installation: Installation, visitor: Visitor) -> None:
    talk(installation, "Their secret", user=add_user(installation.services.database, "stranger"))
    visitor.run()
    assert "You have not asked anything yet." in visitor.text()
    visitor.choose("history_search", "secret")
    assert visitor.links == []


def test_long_history_has_pages(installation: Installation, visitor: Visitor) -> None:
    for index in range(33):
        talk(installation, f"Question {index}")
    visitor.run()
    assert len(visitor.links) == 30
    visitor.choose("history_page", 2)
    assert visitor.links == ["**Question 2**", "**Question 1**", "**Question 0**"]
    visitor.choose("history_search", "Question 32")
    assert visitor.links == ["**Question 32**"]
    visitor.choose("history_search", "")
    visitor.choose("history_page", 2)
    visitor.choose("history_search", "Question")  # as many pages, but another list
    assert visitor.links[0] == "**Question 32**"


def test_unknown_time_zone_falls_back_to_utc(installation: Installation, visit: Visit) -> None:
    installation.services.conversations.create(installation.user, "Tea", Mode.LLM)
    visitor = visit()
    visitor.app.context = {"locale": "en-US", "timezone": "Etc/Unknown"}
    visitor.go_to("history")
    assert "Tea" in visitor.links[0]
