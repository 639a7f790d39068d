"""A question with its history → events: the passages, pieces of text and of reasoning. Failures are raised."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID

from kb import prompts
from kb.access import Principal
from kb.asked_files import (
    AskedFiles,
    ConversationFiles,
    FilesAwaited,
    FilesLeftOut,
    show_pictures,
    wait_for_files,
)
from kb.completions import ChatClient, Piece, TextPiece, text_of
from kb.errors import ModelError, NoChatModel, NotFound
from kb.extracts import extract_answer, extract_web_answer
from kb.followups import Contextual, Standing, in_context, judge
from kb.instructions import add_instructions, replace_rules
from kb.languages import Language
from kb.library.rows import KNOWLEDGE_BASE
from kb.llm import ChatModel
from kb.messages import Attached, LeftOut, Message
from kb.models import NOWHERE, Mode, Retrieval, RetrievalProfile, Role, Scope
from kb.providers.connection import AS_SET, Sampling
from kb.retrieval.ranking import estimate_tokens
from kb.web_search.following import IsCancelled, OnProgress, follow
from kb.web_search.named import read_naming, without_unknown
from kb.web_search.passages import WebProgress, WebRetrieval


@dataclass(frozen=True, slots=True)
class Question:
    """What to answer, how, and for whom."""

    principal: Principal
    text: str
    mode: Mode
    # The model to ask; None if there is none. May wait for a list of models. Raises `ModelError`.
    find_model: Callable[[], ChatModel | None]
    scope: Scope = NOWHERE
    profile: RetrievalProfile | None = None  # None: the knowledge base's own
    history: Sequence[Message] = ()
    begun: Begun | None = None
    page_language: str = ""  # of the page that it was asked on, as zh_TW: for a question in either Chinese script
    conversation_id: UUID | None = None  # whose files are used, in the modes that use files
    attached: Sequence[Attached] = ()  # the files that came with the question
    widened: int = 0  # how often the search is made wider than the profile: see `RetrievalProfile.wider`
    engine: str = ""  # the id of the search engine for `Mode.WEB`; empty: the default
    # The model that rewrites follow-ups, given the one that answers. None: they are searched for as they are.
    find_rewriter: Callable[[ChatModel], ChatModel] | None = None
    instructions: str = ""  # for the answer, of the program that asks: see `kb.instructions`
    sampling: Sampling = AS_SET


@dataclass(frozen=True, slots=True)
class Begun:
    """An answer that ended early and is to be written on: what it says by now, and what it was given from."""

    text: str
    reasoning: str = ""
    retrieval: Retrieval | None = None
    web: WebRetrieval | None = None
    searched_for: str = ""
    thought_ms: float = 0.0

    @property
    def is_from_sources(self) -> bool:
        """Whether it was given from passages, or from the names of files."""
        return bool((self.retrieval and _is_found(self.retrieval)) or (self.web and self.web.passages))


@dataclass(frozen=True, slots=True)
class FollowUpFound:
    """The question needs the conversation to be understood; a model is asked what it means."""


@dataclass(frozen=True, slots=True)
class SearchBegan:
    pass


@dataclass(frozen=True, slots=True)
class QuestionRewritten:
    """What a follow-up is taken to mean; this is searched for."""

    question: str


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


Event = (
    FilesAwaited
    | FilesLeftOut
    | FollowUpFound
    | QuestionRewritten
    | SearchBegan
    | PassagesFound
    | WebSearched
    | WebResultsFound
    | ModelChosen
    | Piece
)
Retrieve = Callable[[Principal, Scope, str, RetrievalProfile | None, int], Retrieval]  # see `Retriever.retrieve`
SearchWeb = Callable[[Principal, str, str, OnProgress, IsCancelled, int], WebRetrieval]  # see `WebRetriever.retrieve`


async def answer(
    chat: ChatClient, retrieve: Retrieve, search_web: SearchWeb, files: ConversationFiles, question: Question
) -> AsyncGenerator[Event, None]:
    """Answer in the question's mode. Errors: those of retrieval, of the search engine and the model; `NoChatModel`.

    No text at all after `PassagesFound` or `WebResultsFound` means: nothing relevant was found, or the mode is to show
    passages only. What is no question to the documents, such as thanks, goes to the model without a search.

    A chat and a question to a knowledge base wait for the conversation's files, and use them: their texts are searched,
    and their pictures shown to a model that takes images.

    An answer that is written on keeps what it was given from. Nothing is searched for it.
    """
    asked_files = AskedFiles(question.scope)
    async for each in _wait_for_files(files, question):
        if isinstance(each, AskedFiles):
            asked_files = each
        else:
            yield each
    standing = _standing(question, asked_files.has_texts)
    if standing is Standing.FOLLOW_UP:
        yield FollowUpFound()
    context = await _in_context(chat, question, standing)
    if context.rewritten:
        yield QuestionRewritten(context.question_for_search)
    searched_for = context.question_for_search
    is_talk = context.standing is Standing.TALK and await _model_if_any(question) is not None
    needs_no_search = is_talk or (question.begun is not None and not question.begun.is_from_sources)
    if question.mode is Mode.TEST:
        steps = _test(retrieve, question)
    elif question.mode is Mode.WEB and not needs_no_search:
        steps = _prepare_from_web(search_web, question, searched_for)
    elif question.mode is Mode.KNOWLEDGE and not needs_no_search:
        steps = _prepare_from_documents(retrieve, files, asked_files, question, searched_for)
    else:
        steps = _prepare_chat(retrieve, files, asked_files, question, "" if needs_no_search else searched_for)
    prompt = None
    async with aclosing(steps):
        async for step in steps:
            if isinstance(step, _Prompt):
                prompt = step
            else:
                yield step
    if prompt is None:
        return
    messages = prompt.messages
    if question.begun:
        messages += prompts.to_go_on(question.text, question.begun.text)
    yield ModelChosen(prompt.model)
    async for piece in chat.stream(question.sampling.on(prompt.model), messages, prompt.images):
        yield piece


# --- what the model is asked, by mode ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Prompt:
    """What to ask the model. Without one, what was found is the whole answer."""

    model: ChatModel
    messages: list[prompts.ChatMessage]
    images: Sequence[str] = ()


_Steps = AsyncGenerator[Event | _Prompt]


async def _test(retrieve: Retrieve, question: Question) -> _Steps:
    yield SearchBegan()
    yield PassagesFound(await _retrieved(retrieve, question, question.text, question.scope))


async def _prepare_from_web(search_web: SearchWeb, question: Question, searched_for: str) -> _Steps:
    yield SearchBegan()
    found = WebRetrieval()
    async for event in _searched(search_web, replace(question, text=searched_for)):
        if isinstance(event, WebResultsFound):
            found = event.retrieval
        yield event
    if not found.passages:
        return
    model = await asyncio.to_thread(question.find_model)
    if model is None:
        yield TextPiece(extract_web_answer(found, _language(question)))
        return
    window = _window(question, model)
    messages = prompts.web_messages(question.text, question.history, found, window, question.page_language)
    yield _Prompt(model, add_instructions(messages, question.instructions, _language(question)))


async def _prepare_from_documents(
    retrieve: Retrieve, files: ConversationFiles, asked_files: AskedFiles, question: Question, searched_for: str
) -> _Steps:
    """From knowledge bases and the conversation's files; either is enough. A model sees pictures in any case."""
    retrieval = Retrieval(searched_for, are_attached=True)
    if asked_files.scope.knowledge_base_ids or _begun_from(question) or not asked_files.has_any:
        yield SearchBegan()
        retrieval = await _retrieved(retrieve, question, searched_for, asked_files.scope)
    yield PassagesFound(retrieval)
    is_found = _is_found(retrieval)
    model = await asyncio.to_thread(question.find_model) if is_found or asked_files.pictures else None
    images, left_out = await _shown(files, asked_files, question, model)
    if left_out:
        yield FilesLeftOut(left_out)
    if model and (is_found or images):
        yield _Prompt(model, _messages(question, retrieval, model), images)
    elif is_found:
        yield TextPiece(extract_answer(retrieval, _language(question)))


async def _prepare_chat(
    retrieve: Retrieve, files: ConversationFiles, asked_files: AskedFiles, question: Question, searched_for: str
) -> _Steps:
    """The model alone, with what the conversation's files hold about the question. They are not searched for talk."""
    retrieval = Retrieval()
    if searched_for and (asked_files.has_texts or _begun_from(question)):
        yield SearchBegan()
        retrieval = await _retrieved(retrieve, question, searched_for, asked_files.scope)
        if _is_found(retrieval) or retrieval.unsearchable:
            yield PassagesFound(retrieval)
    elif question.begun and question.begun.retrieval:  # which found nothing
        yield PassagesFound(question.begun.retrieval)
    model = await asyncio.to_thread(question.find_model)
    if model is None:
        raise NoChatModel
    images, left_out = await _shown(files, asked_files, question, model)
    if left_out:
        yield FilesLeftOut(left_out)
    yield _Prompt(model, _messages(question, retrieval, model), images)


def _messages(question: Question, retrieval: Retrieval, model: ChatModel) -> list[prompts.ChatMessage]:
    window, language = _window(question, model), question.page_language
    if _is_found(retrieval):
        messages = prompts.knowledge_messages(question.text, question.history, retrieval, window, language)
        return add_instructions(messages, question.instructions, _language(question))
    return replace_rules(
        prompts.chat_messages(question.text, question.history, window, language), question.instructions
    )


# --- the files of the conversation -------------------------------------------------------------------------------


async def _wait_for_files(files: ConversationFiles, question: Question) -> AsyncIterator[FilesAwaited | AskedFiles]:
    """As `wait_for_files`, where the question uses files. One that is written on waits for none that came later."""
    if question.conversation_id and question.mode.uses_files:
        async for each in wait_for_files(
            files,
            question.principal,
            question.conversation_id,
            question.scope,
            question.attached,
            is_patient=not question.begun,
        ):
            yield each


async def _shown(
    files: ConversationFiles, asked_files: AskedFiles, question: Question, model: ChatModel | None
) -> tuple[list[str], tuple[LeftOut, ...]]:
    return await asyncio.to_thread(show_pictures, files, question.principal, asked_files, question.attached, model)


# --- what the question means -------------------------------------------------------------------------------------


def _standing(question: Question, has_files: bool) -> Standing:
    """Whether the question is searched for as it is, needs the conversation, or is no question to the sources."""
    is_searched_for = question.mode in (Mode.KNOWLEDGE, Mode.WEB) or (question.mode is Mode.LLM and has_files)
    if not is_searched_for or question.begun:
        return Standing.ALONE
    if question.mode is Mode.WEB and read_naming(question.text).addresses:  # it says what it is about
        return Standing.ALONE
    standing = judge(question.text, has_history=bool(_said(question)))
    return Standing.ALONE if standing is Standing.FOLLOW_UP and question.find_rewriter is None else standing


def _said(question: Question) -> list[Message]:
    return [message for message in question.history if message.content]


async def _in_context(chat: ChatClient, question: Question, standing: Standing) -> Contextual:
    """What the question is taken to mean. A model is called at most once, for a follow-up that is searched for."""
    if standing is not Standing.FOLLOW_UP:
        return Contextual(question.text, standing)
    model = await _model_if_any(question)
    ask = partial(_ask_rewriter, chat, question, model) if model else None
    context = await in_context(question.text, _said(question), ask)
    if question.mode is not Mode.WEB:
        return context
    # A page that was read may tell the model to name an address of its own, with the conversation in it.
    asked = (question.text, *(message.content for message in question.history if message.role is Role.USER))
    return replace(context, question_for_search=without_unknown(context.question_for_search, asked) or question.text)


async def _ask_rewriter(
    chat: ChatClient, question: Question, answering: ChatModel, messages: Sequence[prompts.ChatMessage]
) -> str:
    find = question.find_rewriter
    model = await asyncio.to_thread(find, answering) if find else answering
    return await text_of(chat.stream(model, messages))


async def _model_if_any(question: Question) -> ChatModel | None:
    """The model that will answer. Its failure is told later, with what was found by then."""
    try:
        return await asyncio.to_thread(question.find_model)
    except ModelError:
        return None


# --- what it is given from ---------------------------------------------------------------------------------------


async def _searched(search_web: SearchWeb, question: Question) -> AsyncIterator[WebSearched | WebResultsFound]:
    """What the answer is given from on the web, as `_retrieved`, and how the search goes on until then."""
    if question.begun and question.begun.web:
        yield WebResultsFound(question.begun.web)
        return

    def ask(on_progress: OnProgress, is_cancelled: IsCancelled) -> WebRetrieval:
        return search_web(
            question.principal, question.text, question.engine, on_progress, is_cancelled, question.widened
        )

    async with aclosing(follow(ask)) as search:
        async for each in search:
            yield WebResultsFound(each) if isinstance(each, WebRetrieval) else WebSearched(each)


async def _retrieved(retrieve: Retrieve, question: Question, searched_for: str, scope: Scope) -> Retrieval:
    """What the answer is given from. One that is written on keeps what it had, because it cites it."""
    if question.begun and question.begun.retrieval:
        return question.begun.retrieval
    if not scope.knowledge_base_ids:
        raise NotFound(what=KNOWLEDGE_BASE)
    return await asyncio.to_thread(
        retrieve, question.principal, scope, searched_for, question.profile, question.widened
    )


def _is_found(retrieval: Retrieval) -> bool:
    return bool(retrieval.passages or retrieval.files)


def _begun_from(question: Question) -> bool:
    """Whether an answer that is written on was given from passages."""
    return bool(question.begun and question.begun.retrieval)


def _window(question: Question, model: ChatModel) -> int | None:
    """What is left of it beside the instructions, and beside the text that is written on."""
    window = model.settings.context_window
    beside = [question.instructions] if question.instructions else []
    if question.begun:
        beside += [text for _role, text in prompts.to_go_on(question.text, question.begun.text)]
    if not beside:
        return window
    return max(1, (window or prompts.DEFAULT_WINDOW) - sum(map(estimate_tokens, beside)))


def _language(question: Question) -> Language:
    return prompts.language_in(question.text, question.history, question.page_language)
