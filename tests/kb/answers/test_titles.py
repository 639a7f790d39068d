"""Titles that a model gives after the first answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from kb.errors import ModelUnreachable
from kb.messages import Message
from kb.models import MessageState
from tests.conftest import Core
from tests.fakes.model_scripts import said
from tests.fakes.model_server import ModelServer
from tests.kb.answers.chat import Chat, build_answers, follow
from tests.real_services import wait_until


@pytest.fixture
def naming(core: Core, model_server: ModelServer) -> Iterator[Chat]:
    """The model names conversations."""
    answers = build_answers(core.services, model_server, has_titles=True)
    yield Chat(core, answers, model_server)
    answers.close()


def title(chat: Chat, message: Message) -> str:
    return chat.core.services.conversations.get(chat.core.user, message.conversation_id).title


def wait_for_titles(chat: Chat) -> None:
    wait_until(lambda: not chat.answers._running, what="the runs' end")
    wait_until(lambda: not chat.answers._beside, what="the titles")


def test_first_answer_brings_a_title(naming: Chat) -> None:
    message = naming.finished(naming.start("Why?", "fake"))
    wait_until(lambda: title(naming, message) != "Why?", what="the title")
    assert title(naming, message) == "You asked: Answer: You asked: Why?"  # the model repeats the request's last line
    asked = len(naming.server.requests)
    second = naming.core.services.messages.ask(naming.core.user, message.conversation_id, "And now?")
    naming.answers.start(naming.core.user, second.id, "fake")
    follow(naming.answers, naming.core.user, naming.run(second.id))
    wait_for_titles(naming)
    assert len(naming.server.requests) == asked + 1


def test_title_after_thoughts_without_an_opening_tag(naming: Chat) -> None:
    naming.server.streams["long-thoughts"] = said("It asks about pears. " * 50, "</think>\n\n", "Pears")
    message = naming.finished(naming.start("Why?", "long-thoughts"))
    wait_until(lambda: title(naming, message) == "Pears", what="the title")


def test_title_that_the_model_does_not_give_is_logged_only(naming: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    async def refuse(*_arguments: object) -> str:
        tries.append(1)
        raise ModelUnreachable(host="h", model="m")

    monkeypatch.setattr("kb.answers.service.write_title", refuse)
    with capture_logs() as logs:
        message = naming.finished(naming.start("Why?", "fake"))
        wait_until(lambda: any(entry["event"] == "title.failed" for entry in logs), what="the log")
    assert tries == [1]
    assert (title(naming, message), message.state) == ("Why?", MessageState.DONE)


def test_failed_answer_brings_no_title(naming: Chat) -> None:
    asked = len(naming.server.requests)
    message = naming.finished(naming.start("Why?", "error-500"))
    follow(naming.answers, naming.core.user, naming.run(message.id))
    wait_for_titles(naming)
    assert len(naming.server.requests) == asked + 1
    assert title(naming, message) == "Why?"
