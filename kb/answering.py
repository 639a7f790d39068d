"""A question with its history → events: the passages, pieces of text and of reasoning. Failures are raised."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from kb import prompts
from kb.completions import ChatClient, Piece, TextPiece
from kb.errors import NoChatModel, NotFound
from kb.extracts import extract_answer
from kb.library.access import KNOWLEDGE_BASE
from kb.llm import ChatModel
from kb.models import Message, Mode, Retrieval, Scope


@dataclass(frozen=True, slots=True)
class Question:
    """What to answer, how, and for whom."""

    user_id: UUID
    text: str
    mode: Mode
    knowledge_base_id: UUID | None
    history: Sequence[Message]
    # The model to ask; None if there is none. May wait for a list of models. Raises `ModelError`.
    find_model: Callable[[], ChatModel | None]


@dataclass(frozen=True, slots=True)
class PassagesFound:
    retrieval: Retrieval


@dataclass(frozen=True, slots=True)
class ModelChosen:
    model: ChatModel


Event = PassagesFound | ModelChosen | Piece
Retrieve = Callable[[UUID, Scope, str], Retrieval]


async def answer(chat: ChatClient, retrieve: Retrieve, question: Question) -> AsyncIterator[Event]:
    """Answer in the question's mode. Errors: those of retrieval and of the model; `NoChatModel`.

    No text at all after `PassagesFound` means: nothing relevant was found, or the mode is to show passages only.
    """
    if question.mode is Mode.LLM:
        model = await asyncio.to_thread(question.find_model)
        if model is None:
            raise NoChatModel
        messages = prompts.chat_messages(question.text, question.history)
    else:
        if question.knowledge_base_id is None:
            raise NotFound(what=KNOWLEDGE_BASE)
        scope = Scope((question.knowledge_base_id,))
        retrieval = await asyncio.to_thread(retrieve, question.user_id, scope, question.text)
        yield PassagesFound(retrieval)
        if question.mode is Mode.TEST or not (retrieval.passages or retrieval.files):
            return
        model = await asyncio.to_thread(question.find_model)
        if model is None:
            yield TextPiece(extract_answer(retrieval, prompts.is_chinese(question.text)))
            return
        messages = prompts.knowledge_messages(question.text, question.history, retrieval)
    yield ModelChosen(model)
    async for piece in chat.stream(model, messages):
        yield piece
