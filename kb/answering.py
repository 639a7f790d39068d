"""A question with its history → events: the passages, pieces of text and of reasoning. Failures are raised."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from kb import prompts
from kb.completions import ChatClient, Piece, TextPiece
from kb.errors import NoChatModel, NotFound
from kb.extracts import extract_answer, extract_web_answer
from kb.library.access import KNOWLEDGE_BASE
from kb.llm import ChatModel
from kb.messages import Message
from kb.models import NOWHERE, Mode, Retrieval, RetrievalProfile, Scope
from kb.web_search.following import IsCancelled, OnProgress, follow
from kb.web_search.passages import WebProgress, WebRetrieval


@dataclass(frozen=True, slots=True)
class Question:
    """What to answer, how, and for whom."""

    user_id: UUID
    text: str
    mode: Mode
    # The model to ask; None if there is none. May wait for a list of models. Raises `ModelError`.
    find_model: Callable[[], ChatModel | None]
    scope: Scope = NOWHERE
    profile: RetrievalProfile | None = None  # None: the knowledge base's own
    history: Sequence[Message] = ()
    begun: Begun | None = None
    engine: str = ""  # the id of the search engine for `Mode.WEB`; empty: the default


@dataclass(frozen=True, slots=True)
class Begun:
    """An answer that ended early and is to be written on: what it says by now, and what it was given from."""

    text: str
    reasoning: str = ""
    retrieval: Retrieval | None = None
    web: WebRetrieval | None = None


@dataclass(frozen=True, slots=True)
class PassagesFound:
    retrieval: Retrieval


@dataclass(frozen=True, slots=True)
class WebSearched:
    """How far the search of the web is."""

    progress: WebProgress


@dataclass(frozen=True, slots=True)
class WebResultsFound:
    retrieval: WebRetrieval


@dataclass(frozen=True, slots=True)
class ModelChosen:
    model: ChatModel


Event = PassagesFound | WebSearched | WebResultsFound | ModelChosen | Piece
Retrieve = Callable[[UUID, Scope, str, RetrievalProfile | None], Retrieval]
SearchWeb = Callable[[UUID, str, str, OnProgress, IsCancelled], WebRetrieval]  # user, question, engine: `WebRetriever`


async def answer(
    chat: ChatClient, retrieve: Retrieve, search_web: SearchWeb, question: Question
) -> AsyncIterator[Event]:
    """Answer in the question's mode. Errors: those of retrieval, of the search engine and the model; `NoChatModel`.

    No text at all after `PassagesFound` or `WebResultsFound` means: nothing relevant was found, or the mode is to show
    passages only.
    """
    if question.mode is Mode.LLM:
        model = await asyncio.to_thread(question.find_model)
        if model is None:
            raise NoChatModel
        messages = prompts.chat_messages(question.text, question.history)
    elif question.mode is Mode.WEB:
        found = WebRetrieval()
        async for event in _searched(search_web, question):
            if isinstance(event, WebResultsFound):
                found = event.retrieval
            yield event
        if not found.passages:
            return
        model = await asyncio.to_thread(question.find_model)
        if model is None:
            yield TextPiece(extract_web_answer(found, prompts.is_chinese(question.text)))
            return
        messages = prompts.web_messages(question.text, question.history, found)
    else:
        retrieval = await _retrieved(retrieve, question)
        yield PassagesFound(retrieval)
        if question.mode is Mode.TEST or not (retrieval.passages or retrieval.files):
            return
        model = await asyncio.to_thread(question.find_model)
        if model is None:
            yield TextPiece(extract_answer(retrieval, prompts.is_chinese(question.text)))
            return
        messages = prompts.knowledge_messages(question.text, question.history, retrieval)
    if question.begun:
        messages += prompts.to_go_on(question.text, question.begun.text)
    yield ModelChosen(model)
    async for piece in chat.stream(model, messages):
        yield piece


async def _searched(search_web: SearchWeb, question: Question) -> AsyncIterator[WebSearched | WebResultsFound]:
    """What the answer is given from on the web, as `_retrieved`, and how the search goes on until then."""
    if question.begun and question.begun.web:
        yield WebResultsFound(question.begun.web)
        return
    async with aclosing(follow(partial(search_web, question.user_id, question.text, question.engine))) as search:
        async for each in search:
            yield WebResultsFound(each) if isinstance(each, WebRetrieval) else WebSearched(each)


async def _retrieved(retrieve: Retrieve, question: Question) -> Retrieval:
    """What the answer is given from. One that is written on keeps what it had, because it cites it."""
    if question.begun and question.begun.retrieval:
        return question.begun.retrieval
    if not question.scope.knowledge_base_ids:
        raise NotFound(what=KNOWLEDGE_BASE)
    return await asyncio.to_thread(retrieve, question.user_id, question.scope, question.text, question.profile)
