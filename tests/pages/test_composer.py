"""The composer: what is sent while an answer is written, and what cannot be asked."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from streamlit.proto.RootContainer_pb2 import RootContainer
from streamlit.runtime.state.safe_session_state import SafeSessionState
from streamlit.testing.v1.element_tree import Error

from kb.answers import Answers
from kb.conversations import Conversations
from kb.messages import Message
from kb.models import Conversation, MessageState, Mode, Role
from tests.fakes.model_server import CHAT, ModelServer
from tests.pages.conftest import Installation, Visit
from tests.pages.visitor import Visitor


def messages(visitor: Visitor, installation: Installation, role: Role) -> list[Message]:
    conversation_id = UUID(str(visitor.app.query_params["conversation"]))
    found = installation.services.messages.shown(installation.user, conversation_id)
    return [message for message in found if message.role is role]


@pytest.fixture
def visitor(installation: Installation, visit: Visit) -> Visitor:
    visitor = visit()
    visitor.choose("mode", Mode.LLM)
    return visitor


def test_question_sent_meanwhile_is_asked_next(
    visitor: Visitor, installation: Installation, models: ModelServer
) -> None:
    with models.held(CHAT):
        visitor.start_asking("First?")
        visitor.start_asking("Second?")
        visitor.run()
        assert "Asked next: Second?" in visitor.text()
        visitor.start_asking("Third?")
        visitor.run()
        assert "Asked next: Second? Third?" in visitor.text()
    visitor.wait_until(lambda: len(messages(visitor, installation, Role.ASSISTANT)) == 2, "the second answer")
    visitor.wait_for_answer()
    questions = [message.content for message in messages(visitor, installation, Role.USER)]
    assert questions == ["First?", "Second?\n\nThird?"]


def test_question_that_waits_can_be_taken_back(visitor: Visitor, models: ModelServer) -> None:
    with models.held(CHAT):
        visitor.start_asking("First?")
        visitor.start_asking("Second?")
        visitor.run()
        visitor.click("drop_next")
        assert visitor.app.chat_input(key="question").proto.value == "Second?"
        assert not visitor.has("next_question")
    visitor.wait_for_answer()


def test_each_conversation_keeps_the_question_that_waits_there(
    visitor: Visitor, installation: Installation, models: ModelServer
) -> None:
    addresses = []
    with models.held(CHAT):
        for name in ("One", "Two"):
            visitor.start_asking(f"{name}?")
            visitor.start_asking(f"{name}, and then?")
            visitor.run()
            addresses.append(visitor.app.query_params["conversation"])
            visitor.click("new_conversation")
    for name, address in zip(("One", "Two"), addresses, strict=True):
        visitor.app.query_params["conversation"] = address
        visitor.run()
        visitor.wait_for_answer()
        visitor.wait_until(lambda: len(messages(visitor, installation, Role.ASSISTANT)) == 2, "the second answer")
        questions = [message.content for message in messages(visitor, installation, Role.USER)]
        assert questions == [f"{name}?", f"{name}, and then?"]


def test_question_that_is_too_long_goes_back_into_the_field(visitor: Visitor) -> None:
    visitor.start_asking("x" * 100_000)
    assert "A question has at most 20,000 characters; this one has 100,000." in visitor.errors
    assert visitor.app.chat_input(key="question").proto.value == "x" * 100_000
    bottom = visitor.app._tree.children[RootContainer.BOTTOM]
    assert [node.type for node in bottom if isinstance(node, Error)] == ["error"], "a long chat shows only its end"
    assert "conversation" not in visitor.app.query_params
    visitor.start_asking("   ")
    assert "conversation" not in visitor.app.query_params


def test_questions_that_wait_together_are_not_too_long(visitor: Visitor, models: ModelServer) -> None:
    """They are asked as one."""
    with models.held(CHAT):
        visitor.start_asking("First?")
        visitor.start_asking("y" * 15_000)
        visitor.start_asking("x" * 15_000)
        assert "A question has at most 20,000 characters; this one has 30,002." in visitor.errors
        assert visitor.app.chat_input(key="question").proto.value == "x" * 15_000
    visitor.wait_for_answer()


def test_question_beyond_the_limit_stays_in_the_field(installation: Installation, visit: Visit) -> None:
    installation.set_up(USER_ANSWERS_PER_MINUTE="1")
    visitor = visit()
    visitor.choose("mode", Mode.LLM)
    visitor.ask("First?")
    visitor.start_asking("Second?")
    assert "You have asked for as many answers as you may in a minute: 1." in visitor.errors
    assert "Try again in " in visitor.errors
    assert visitor.app.chat_input(key="question").proto.value == "Second?"
    assert [message.content for message in messages(visitor, installation, Role.USER)] == ["First?"]
    visitor.act(1, action="regenerate")
    assert "as many answers as you may in a minute" in visitor.errors
    assert len(messages(visitor, installation, Role.ASSISTANT)) == 1


def test_question_beyond_the_limit_begins_no_conversation(installation: Installation, visit: Visit) -> None:
    installation.set_up(USER_ANSWERS_PER_MINUTE="1")
    installation.services.request_limits.count_answer(installation.user)
    visitor = visit()
    visitor.choose("mode", Mode.LLM)
    visitor.start_asking("First?")
    assert visitor.app.chat_input(key="question").proto.value == "First?"
    assert installation.services.conversations.count(installation.user) == 0


def test_session_is_read_before_the_question_is_stored(
    visitor: Visitor, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reload ends the script where it reads the session: nobody would write the answer."""
    create, start = Conversations.create, Answers.start
    touched = SafeSessionState.__getitem__
    is_between = False

    def begin(*arguments: Any) -> Conversation:
        nonlocal is_between
        is_between = True
        return create(*arguments)

    def end(*arguments: Any, **values: Any) -> None:
        nonlocal is_between
        is_between = False
        start(*arguments, **values)

    def read(session: SafeSessionState, key: str) -> Any:
        assert not is_between
        return touched(session, key)

    monkeypatch.setattr(Conversations, "create", begin)
    monkeypatch.setattr(Answers, "start", end)
    monkeypatch.setattr(SafeSessionState, "__getitem__", read)
    visitor.start_asking("Why?")
    assert not is_between
    visitor.wait_for_answer()
    assert [message.state for message in messages(visitor, installation, Role.ASSISTANT)] == [MessageState.DONE]
