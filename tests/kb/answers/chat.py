"""A user who asks, the models that can be asked, and how a page follows the answer."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from pydantic import SecretStr

from kb.access import Principal
from kb.answers import Answers, FindModel, Update
from kb.errors import RedisUnavailable
from kb.llm import ChatModel
from kb.messages import Message
from kb.models import MessageState, Mode, Scope
from kb.services import Services
from tests.conftest import Core
from tests.fakes.model_server import ModelServer
from tests.real_services import wait_until


def build_answers(
    services: Services,
    server: ModelServer,
    key: str = "",
    find_model: FindModel | None = None,
    has_titles: bool = False,
    **settings: object,
) -> Answers:
    """The answers of one web process. The wanted id names a model of `server`; an empty one means no model."""
    return Answers(
        services.settings.model_copy(update=settings),
        services.quick_redis,
        services.conversations,
        services.messages,
        services.retriever.retrieve,
        services.web_retriever.retrieve,
        services.attachments,
        find_model
        or (lambda _user, wanted: ChatModel(wanted, server.base_url, "test", key=SecretStr(key)) if wanted else None),
        lambda _user, answering: answering,
        services.usage.note,
        has_titles,
    )


@dataclass
class Chat:
    """A user who asks, and the models that can be asked."""

    core: Core
    answers: Answers
    server: ModelServer

    def ask(self, question: str, mode: Mode = Mode.LLM, knowledge_base: UUID | None = None) -> Message:
        conversations = self.core.services.conversations
        conversation = conversations.create(self.core.user, question, mode, Scope.of(knowledge_base))
        return self.core.services.messages.ask(self.core.user, conversation.id, question)

    def start(self, question: str, model: str = "fake", mode: Mode = Mode.LLM, base: UUID | None = None) -> UUID:
        message = self.ask(question, mode, base)
        self.answers.start(self.core.user, message.id, model)
        return message.id

    def message(self, message_id: UUID) -> Message:
        return self.core.services.messages.get(self.core.user, message_id)

    def run(self, message_id: UUID) -> UUID:
        """The run that writes an answer, or wrote it."""
        run_id = self.message(message_id).run_id
        assert run_id
        return run_id

    def finished(self, message_id: UUID, seconds: float = 20) -> Message:
        wait_until(lambda: self.message(message_id).state is not MessageState.STREAMING, seconds, "the answer's end")
        return self.message(message_id)

    def arrived(self, message_id: UUID, text: str) -> None:
        def is_there() -> bool:
            with suppress(RedisUnavailable):  # a Redis that has just started may still be loading
                return text in self.answers.read(self.core.user, self.run(message_id)).text
            return False

        wait_until(is_there, 30, "the text's arrival")


def follow(answers: Answers, user: Principal, run_id: UUID) -> list[Update]:
    """Poll until the end, as a page does."""
    updates: list[Update] = []
    position, deadline = "0-0", time.monotonic() + 20
    while not (updates and updates[-1].ended):
        assert time.monotonic() < deadline
        updates.append(answers.read(user, run_id, position))
        position = updates[-1].position
        time.sleep(0.02)
    return updates
