"""A question with its history → events: the passages, pieces of text. Failures are raised."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from kb import prompts
from kb.config import Settings
from kb.errors import ModelError, NoChatModel, NotFound
from kb.extracts import extract_answer
from kb.lexical import script_share
from kb.llm import ChatModel, stream_chat
from kb.models import Message, Mode, Retrieval


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be answered, how, and for whom; in place of a model, why none can be asked."""

    user_id: UUID
    text: str
    mode: Mode
    knowledge_base_id: UUID | None
    history: Sequence[Message]
    model: ChatModel | ModelError | None

    @property
    def model_name(self) -> str:
        return self.model.name if isinstance(self.model, ChatModel) else ""


@dataclass(frozen=True, slots=True)
class PassagesFound:
    retrieval: Retrieval


@dataclass(frozen=True, slots=True)
class TextPiece:
    text: str


Event = PassagesFound | TextPiece
Retrieve = Callable[[UUID, UUID, str], Retrieval]


async def answer(settings: Settings, retrieve: Retrieve, question: Question) -> AsyncIterator[Event]:
    """Answer in the question's mode. Errors: those of retrieval and of the model; `NoChatModel`.

    No text at all after `PassagesFound` means: nothing relevant was found, or the mode is to show passages only.
    """
    if question.mode is Mode.LLM:
        async for piece in _chat(settings, question):
            yield piece
        return
    if question.knowledge_base_id is None:
        raise NotFound(what="knowledge base")
    retrieval = await asyncio.to_thread(retrieve, question.user_id, question.knowledge_base_id, question.text)
    yield PassagesFound(retrieval)
    if question.mode is Mode.TEST or not retrieval.passages:
        return
    if question.model is None:
        yield TextPiece(extract_answer(retrieval))
        return
    messages = prompts.knowledge_messages(
        question.text, question.history, retrieval.passages, is_chinese(question.text)
    )
    async for text in stream_chat(settings, _required(question.model), messages):
        yield TextPiece(text)


async def _chat(settings: Settings, question: Question) -> AsyncIterator[Event]:
    model = _required(question.model)
    messages = prompts.chat_messages(question.text, question.history, is_chinese(question.text))
    async for text in stream_chat(settings, model, messages):
        yield TextPiece(text)


def _required(model: ChatModel | ModelError | None) -> ChatModel:
    if isinstance(model, ChatModel):
        return model
    raise model or NoChatModel


def is_chinese(text: str) -> bool:
    """By its script. Japanese has Chinese characters, too, but not without kana."""
    return script_share(text, "han") >= 0.2 and not script_share(text, "kana")
