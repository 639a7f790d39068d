"""The sidebar's list of conversations, on every page."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from kb.database.tables import conversations as table
from kb.database.tables import now
from kb.models import Conversation, Mode
from pages.ui import feedback, talks
from tests.pages.conftest import Installation, Visit
from tests.pages.visitor import TALKS, Visitor

PAGES = ("chat", "knowledge_bases", "testing", "history", "system")
NAMED = "You asked: Answer: You asked: Why?"  # the title that the model of the tests gives to “Why?”


def talk(installation: Installation, question: str, days_ago: int = 0) -> Conversation:
    conversation_id = installation.answered(question, f"About {question}").conversation_id
    if days_ago:
        age = {"updated_at": now() - timedelta(days=days_ago)}
        with installation.services.database.write() as connection:
            connection.execute(sa.update(table).where(table.c.id == conversation_id).values(age))
    return installation.services.conversations.get(installation.user, conversation_id)


def data(visitor: Visitor) -> dict[str, Any]:
    return visitor.component(TALKS, in_sidebar=True)


def open_titles(visitor: Visitor) -> list[str]:
    return [talk["title"] for group in data(visitor)["groups"] for talk in group["talks"] if talk["isOpen"]]


def test_list_is_grouped_by_age(installation: Installation, visit: Visit) -> None:
    for title, days in {"Now": 0, "Before": 1, "This week": 5, "Long ago": 40}.items():
        talk(installation, title, days)
    pinned = talk(installation, "Kept", 90)
    installation.services.conversations.pin(installation.user, pinned.id)
    assert visit().talks(in_sidebar=True) == {
        "Pinned": ["Kept"],
        "Today": ["Now"],
        "Yesterday": ["Before"],
        "Last 7 days": ["This week"],
        "Older": ["Long ago"],
    }
    assert list(visit("zh-CN").talks(in_sidebar=True)) == ["已置顶", "今天", "昨天", "最近 7 天", "更早"]


@pytest.mark.parametrize("page", PAGES)
def test_conversation_is_opened_from_every_page(page: str, installation: Installation, visit: Visit) -> None:
    conversation = talk(installation, "Tea")
    talk(installation, "Coffee")
    visitor = visit()
    visitor.go_to(page)
    visitor.on_talk("open", conversation.id, in_sidebar=True)
    assert "About Tea" in visitor.text()
    assert open_titles(visitor) == ["Tea"]


@pytest.mark.parametrize("page", PAGES)
def test_new_conversation_begins_on_every_page(page: str, installation: Installation, visit: Visit) -> None:
    conversation = talk(installation, "Tea")
    visitor = visit(conversation=str(conversation.id))
    visitor.go_to(page)
    visitor.click("new_conversation")
    assert visitor.has("question")
    assert not visitor.app.chat_message
    assert open_titles(visitor) == []


def test_list_is_searched_and_continued(installation: Installation, visit: Visit) -> None:
    for number in range(33):
        talk(installation, f"Question {number}")
    visitor = visit()
    assert data(visitor)["hasMore"]
    assert len(visitor.talks(in_sidebar=True)["Today"]) == 30
    visitor.on_talk("more", in_sidebar=True)
    assert len(visitor.talks(in_sidebar=True)["Today"]) == 33
    assert not data(visitor)["hasMore"]
    visitor.on_talk("search", in_sidebar=True, text="about QUESTION 32")
    assert visitor.talks(in_sidebar=True) == {"Today": ["Question 32"]}
    visitor.on_talk("search", in_sidebar=True, text="nothing of it")
    assert data(visitor)["empty"] == "No conversation contains these words."
    assert data(visitor)["canSearch"]


def test_deleting_the_open_conversation_is_undone(installation: Installation, visit: Visit) -> None:
    conversation = talk(installation, "Tea")
    visitor = visit(conversation=str(conversation.id))
    visitor.on_talk("delete", conversation.id, in_sidebar=True)
    assert not visitor.app.chat_message
    assert "conversation" not in visitor.app.query_params
    assert data(visitor)["undo"]["text"] == "“Tea” was deleted."
    visitor.on_talk("restore", conversation.id, in_sidebar=True)
    assert "About Tea" in visitor.text()
    assert not visitor.errors


def test_offer_to_undo_ends(installation: Installation, visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = talk(installation, "First"), talk(installation, "Second")
    visitor = visit()
    for conversation in (first, second):
        visitor.on_talk("delete", conversation.id, in_sidebar=True)
    visitor.on_talk("restore", second.id, in_sidebar=True)
    assert data(visitor)["undo"]["text"] == "“First” was deleted."
    monkeypatch.setattr("pages.ui.talks.time", SimpleNamespace(monotonic=lambda: 1e12))
    visitor.run()
    assert data(visitor)["undo"] is None


def test_conversation_that_another_tab_deleted_is_told(installation: Installation, visit: Visit) -> None:
    conversation = talk(installation, "Tea")
    visitor = visit()
    installation.services.conversations.delete(installation.user, conversation.id)
    for action in ("open", "pin", "delete"):
        visitor.on_talk(action, conversation.id, in_sidebar=True)
        assert "This conversation no longer exists" in visitor.errors
    visitor.on_talk("pin", "no id", in_sidebar=True)
    assert "This conversation no longer exists" in visitor.errors


def test_model_names_the_conversation(installation: Installation, visit: Visit) -> None:
    installation.set_up(CONVERSATION_TITLES="true")
    visitor = visit()
    visitor.choose("mode", Mode.LLM)
    visitor.ask("Why?")
    visitor.wait_until(lambda: visitor.talks(in_sidebar=True) == {"Today": [NAMED]}, "the title")


def test_list_is_not_read_again_while_its_conversation_is_being_named(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    polled: dict[str | None, float | None] = {}

    def note(run_every: float | None = None, key: str | None = None) -> Any:
        polled[key] = run_every
        return feedback.live_fragment(run_every, key)

    monkeypatch.setattr(talks, "live_fragment", note)
    monkeypatch.setattr(talks, "_is_being_named", lambda: True)
    visit()
    assert polled == {feedback.TALKS: None, None: talks.LOOK_SECONDS}
