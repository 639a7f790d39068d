"""Conversations. Their messages are in `kb.messages`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from kb.models.retrieval import Scope


class Mode(StrEnum):
    """What a question in the chat is answered with."""

    LLM = "llm"
    KNOWLEDGE = "knowledge"
    WEB = "web"
    TEST = "test"

    @property
    def uses_files(self) -> bool:
        """Whether a question uses the files of its conversation."""
        return self in (Mode.LLM, Mode.KNOWLEDGE)

    @property
    def uses_documents(self) -> bool:
        """Whether its questions are looked up in knowledge bases."""
        return self in (Mode.KNOWLEDGE, Mode.TEST)


class Role(StrEnum):
    USER = "user"
    ASSISTANT = "assistant"
    NOTICE = "notice"  # a line of the page's own, such as "now answering from …"; never sent to a model


class MessageState(StrEnum):
    STREAMING = "streaming"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation, with the mode and the scope of its next question. `shown_id` ends the branch that is shown."""

    id: UUID
    owner_id: UUID
    title: str
    mode: Mode
    scope: Scope
    created_at: datetime
    updated_at: datetime
    shown_id: UUID | None = None
    pinned_at: datetime | None = None
    is_named: bool = False  # the user or a model gave the title; else it is made of the first question
