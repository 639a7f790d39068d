"""Checks of an answer by a model, on request."""

from __future__ import annotations

from functools import partial
from uuid import UUID, uuid4

import pytest

from kb.access import Principal
from kb.errors import CheckUnreadable, ModelKeyRefused, NoChatModel, NotFound
from kb.messages import Message, SupportPart, Unsupported
from kb.models import MessageState, Mode, Scope
from tests.fakes.model_scripts import said as streamed
from tests.kb.answers.chat import Chat
from tests.messages import said
from tests.real_services import wait_until


def answered(chat: Chat, fruit: UUID, text: str = "A pear is green [1]. It weighs 340 g [1].") -> Message:
    """A complete answer of a model that was given passages."""
    begun = chat.ask("What colour is a pear?", Mode.KNOWLEDGE, fruit)
    found = chat.core.services.retriever.retrieve(chat.core.user, Scope.of(fruit), "pear")
    parts = said(text, "fake", retrieval=found)
    chat.core.services.messages.finish(chat.core.user, begun.id, MessageState.DONE, parts)
    return begun


def check(chat: Chat, message: Message, model: str) -> SupportPart:
    chat.answers.check_support(chat.core.user, message.id, model)
    support = partial(chat.core.services.messages.support, chat.core.user, message.id)
    wait_until(lambda: not support().asked_at, what="the check's end")
    return support()


def test_model_checks_an_answer_and_the_message_keeps_the_result(
    chat: Chat, fruit: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = answered(chat, fruit)
    monkeypatch.setitem(chat.server.streams, "judge", streamed("1: yes\n", "2: no - 340 g"))
    found = check(chat, message, "judge")
    assert found == SupportPart((Unsupported("It weighs 340 g [1].", ("340 g",)),), "judge")
    system, asked = (told["content"] for told in chat.server.requests[-1].body["messages"])
    assert "A pear is green." in system
    assert asked.splitlines()[1:] == ["1: A pear is green [1].", "2: It weighs 340 g [1]."]
    (listed,) = chat.core.services.messages.shown(chat.core.user, message.conversation_id)[1:]
    assert (listed.support, listed.content) == (found, chat.message(message.id).content)
    monkeypatch.setitem(chat.server.streams, "mild", streamed("1: yes"))
    assert check(chat, message, "mild") == SupportPart((), "mild", unjudged=1)


@pytest.mark.parametrize(
    ("model", "code"),
    [("wrong", ModelKeyRefused.code), ("fake", CheckUnreadable.code), ("", NoChatModel.code)],
)
def test_failed_check_keeps_what_was_found_before(chat: Chat, fruit: UUID, model: str, code: str) -> None:
    message = answered(chat, fruit)
    before = SupportPart((Unsupported("It weighs 340 g [1].", ("340 g",)),))
    chat.core.services.messages.note_support(chat.core.user, message.id, before)
    failed = check(chat, message, model)
    assert (failed.unsupported, failed.checked_by, failed.code) == (before.unsupported, "", code)


def test_check_is_begun_once(chat: Chat, fruit: UUID) -> None:
    message, messages = answered(chat, fruit), chat.core.services.messages
    assert messages.begin_check(chat.core.user, message.id, 1_000.0, 900.0)
    assert not messages.begin_check(chat.core.user, message.id, 1_010.0, 910.0)
    assert messages.begin_check(chat.core.user, message.id, 2_000.0, 1_900.0)  # the process of the first one died
    assert messages.begin_check(chat.core.user, message.id, 500.0, 400.0)  # so it did, and the clock was set back
    with pytest.raises(NotFound):
        messages.begin_check(Principal(uuid4()), message.id, 3_000.0, 2_900.0)
