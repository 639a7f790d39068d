"""Mode, knowledge base and model: kept by F5 and by a new tab; a tab's own choice wins."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from kb.models import Choices, Mode, Scope
from tests.pages.conftest import Installation, Visit
from tests.pages.visitor import Visitor, address


def shown(visitor: Visitor) -> tuple[object, object]:
    return visitor.find("mode").value, visitor.find("knowledge_base").value


def test_new_tab_begins_with_the_last_choices(installation: Installation, visit: Visit) -> None:
    kitchen, _garden = installation.filled("Kitchen"), installation.filled("Garden")
    visitor = visit()
    visitor.choose("mode", Mode.TEST)
    visitor.choose("knowledge_base", kitchen.id)
    assert shown(visit()) == (Mode.TEST, kitchen.id)


def test_reload_keeps_the_tabs_own_choices(installation: Installation, visit: Visit) -> None:
    kitchen, garden = installation.filled("Kitchen"), installation.filled("Garden")
    visitor, other = visit(), visit()
    visitor.choose("knowledge_base", kitchen.id)
    other.choose("mode", Mode.TEST)
    other.choose("knowledge_base", garden.id)
    visitor.run()
    assert shown(visitor) == (Mode.KNOWLEDGE, kitchen.id)
    assert shown(visit(**address(visitor))) == (Mode.KNOWLEDGE, kitchen.id)
    assert shown(visit(**address(other))) == (Mode.TEST, garden.id)


def test_reload_keeps_what_was_shown_without_a_choice(installation: Installation, visit: Visit) -> None:
    """A knowledge base that becomes the newest meanwhile must not get the next question."""
    kitchen = installation.filled("Kitchen")
    visitor = visit()
    installation.filled("Garden")
    again = visit(**address(visitor))
    assert shown(again) == (Mode.KNOWLEDGE, kitchen.id)
    again.ask("How hot is green tea?")
    assert installation.services.conversations.search(installation.user)[0].scope == Scope.of(kitchen.id)


def test_choices_hold_on_other_pages(installation: Installation, visit: Visit) -> None:
    kitchen, _garden = installation.filled("Kitchen"), installation.filled("Garden")
    visitor = visit()
    visitor.choose("knowledge_base", kitchen.id)
    visitor.go_to("testing")
    assert visitor.find("tested_knowledge_base").value == kitchen.id
    assert address(visitor)["knowledge_base"] == str(kitchen.id)
    visitor.go_to("chat")
    assert shown(visitor) == (Mode.KNOWLEDGE, kitchen.id)


def test_link_to_a_knowledge_base_is_a_choice(installation: Installation, visit: Visit) -> None:
    kitchen, _garden = installation.filled("Kitchen"), installation.filled("Garden")
    visitor = visit()
    visitor.app.query_params["knowledge_base"] = str(kitchen.id)
    visitor.run()
    assert shown(visitor) == (Mode.KNOWLEDGE, kitchen.id)


def test_conversations_address_goes_before_the_last_choices(installation: Installation, visit: Visit) -> None:
    kitchen = installation.filled("Kitchen")
    talk = installation.services.conversations.create(installation.user, "Tea", Mode.KNOWLEDGE, Scope.of(kitchen.id))
    garden = installation.filled("Garden")
    installation.services.users.remember_choices(installation.user, Choices(Mode.TEST, Scope.of(garden.id)))
    assert shown(visit(conversation=str(talk.id))) == (Mode.KNOWLEDGE, kitchen.id)


def test_new_tab_forgets_a_knowledge_base_that_is_gone(installation: Installation, visit: Visit) -> None:
    garden = installation.filled("Garden")
    installation.services.users.remember_choices(installation.user, Choices(Mode.KNOWLEDGE, Scope.of(uuid4())))
    visitor = visit()
    assert shown(visitor) == (Mode.KNOWLEDGE, garden.id)
    assert not visitor.errors


def test_tabs_keep_their_own_models(installation: Installation, visit: Visit) -> None:
    installation.set_up(LLM_MODEL="")
    first, second = visit(), visit()
    options = first.find("chat_model").options
    first_model, second_model = (f"{label.split(' · ')[1]}/{label.split(' · ')[0]}" for label in options[1:3])
    first.choose("chat_model", first_model)
    second.choose("chat_model", second_model)
    first.run()
    assert first.find("chat_model").value == first_model
    assert visit(**address(first)).find("chat_model").value == first_model
    assert visit().find("chat_model").value == second_model


def test_label_that_is_no_longer_offered_is_ignored(installation: Installation, visit: Visit) -> None:
    """The browser sends labels: those of another language or of a former name, if it was asked before it redrew."""
    installation.set_up(LLM_MODEL="")
    kitchen, _garden = installation.filled("Kitchen"), installation.filled("Garden")
    visitor = visit()
    visitor.choose("knowledge_base", kitchen.id)
    visitor.send_label("mode", "大模型对话")
    assert shown(visitor) == (Mode.KNOWLEDGE, kitchen.id)
    visitor.send_label("knowledge_base", "Pantry")
    assert shown(visitor) == (Mode.KNOWLEDGE, kitchen.id)
    visitor.send_label("chat_model", "无：直接显示最相关的段落")
    assert "model" not in address(visitor)
    visitor.go_to("testing")
    visitor.send_label("tested_knowledge_base", "Pantry")
    assert visitor.find("tested_knowledge_base").value == kitchen.id
    assert not visitor.errors


@pytest.mark.parametrize("conversation", ["abc", "6bfd1d80-79e3-4c35-9436-b46271c25611"])
def test_unknown_conversation_gets_an_error_and_a_next_step(conversation: str, visit: Visit) -> None:
    visitor = visit(conversation=conversation)
    assert "This conversation no longer exists" in visitor.errors
    assert "See all conversations" in visitor.text()
    assert "conversation" not in address(visitor)


def test_address_with_nonsense_is_ignored(installation: Installation, visit: Visit) -> None:
    garden = installation.filled("Garden")
    visitor = visit(mode="dance", knowledge_base="abc")
    assert shown(visitor) == (Mode.KNOWLEDGE, garden.id)


# --- F5 before the answer to the send has arrived --------------------------------------------------------------


def test_reload_right_after_sending_finds_the_question(visit: Visit) -> None:
    visitor = visit()
    visitor.choose("mode", Mode.LLM)
    before = address(visitor)
    visitor.ask("What is tea?")
    again = visit(**before)
    again.wait_for_answer()
    assert "You asked: What is tea?" in again.text()
    assert address(again)["conversation"] == address(visitor)["conversation"] == before["new"]
    again.run()
    assert "new" not in address(again)


def test_address_kept_from_an_empty_chat_begins_anew(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = visit()
    visitor.choose("mode", Mode.LLM)
    before = address(visitor)
    other = visit(**before)  # the tab was duplicated
    visitor.ask("What is tea?")
    other.ask("What is coffee?")
    assert address(other)["conversation"] != address(visitor)["conversation"]
    monkeypatch.setattr("pages.ui.state.JUST_BEGUN", timedelta(0))
    late = visit(**before)
    assert "conversation" not in address(late)
    assert not late.app.chat_message
    assert not late.errors
