"""Questions to models: a program asks, gets a task, and looks until its answer is there."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Annotated
from uuid import UUID, uuid5

from fastapi import APIRouter, Body, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from kb.access import Principal
from kb.answers import Answers
from kb.citations import without_dangling
from kb.conversations import Conversations
from kb.errors import N_, KbError, NotFound, RedisUnavailable
from kb.messages import ErrorPart, Message, Source, UsagePart
from kb.models import MessageState, Mode, Role, Scope
from kb.providers.connection import Purpose
from kb.questions import check_question
from web.api.knowledge_bases import ID
from web.api.parties import Asker, Parties, Serving
from web.api.problems import language_of, reason_of
from web.api.repeats import NewId, Repeatable
from web.api.searches import MOST_BASES, MOST_DOCUMENTS, QUESTION_CHARACTERS, PassageOut

router = APIRouter(tags=["questions"], route_class=Repeatable)
TASK = N_("task")
TASK_ID = "4b7f2d37-55a4-4d7c-9a59-6d0c2e6a1f10"
TaskId = Annotated[UUID, Path(examples=[TASK_ID])]


class Question(BaseModel):
    model_config = ConfigDict(extra="forbid")

    question: str = Field(min_length=1, max_length=QUESTION_CHARACTERS, examples=["How often is valve 7 checked?"])
    mode: Mode = Field(default=Mode.KNOWLEDGE, description="llm: no documents; web: from the web; test: passages.")
    knowledge_base_ids: list[UUID] = Field(default=[], max_length=MOST_BASES, examples=[[ID]])
    document_ids: list[UUID] = Field(default=[], max_length=MOST_DOCUMENTS, description="Only these; empty: all.")
    model: str = Field(default="", max_length=400, description="The id of a language model; empty: your own choice.")
    conversation_id: UUID | None = Field(
        default=None,
        description="Ask in this conversation, with its own mode and documents where none are given; null: a new one.",
    )

    @model_validator(mode="after")
    def _names_what_is_searched(self) -> Question:
        is_known = self.goes_on or self.knowledge_base_ids
        if self.mode in (Mode.KNOWLEDGE, Mode.TEST) and not is_known:
            raise ValueError("knowledge_base_ids: name at least one in this mode")
        return self

    @property
    def goes_on(self) -> bool:
        """Whether it is asked as the conversation was asked before."""
        chosen = {"mode", "knowledge_base_ids", "document_ids"} & self.model_fields_set
        return self.conversation_id is not None and not chosen


class Task(BaseModel):
    id: UUID = Field(examples=[TASK_ID])
    conversation_id: UUID
    state: MessageState = Field(description="Of a task under way: streaming.", examples=[MessageState.STREAMING])

    @classmethod
    def of(cls, answer: Message) -> Task:
        return cls(id=answer.id, conversation_id=answer.conversation_id, state=answer.state)


class SourceOut(BaseModel):
    rank: int = Field(description="What [1] in the text points to.", examples=[1])
    name: str = Field(examples=["manual.pdf"])
    page: int = Field(examples=[3])
    heading: str = Field(examples=["Maintenance"])
    address: str = Field(description="Of a web page.", examples=[""])

    @classmethod
    def of(cls, source: Source) -> SourceOut:
        return cls(
            rank=source.rank,
            name=source.document_name,
            page=source.page,
            heading=source.heading,
            address=source.address,
        )


class Usage(BaseModel):
    model: str
    first_token_ms: float
    total_ms: float
    input_tokens: int = Field(description="0: the server did not say.")
    output_tokens: int

    @classmethod
    def of(cls, part: UsagePart) -> Usage:
        return cls(
            model=part.model,
            first_token_ms=part.first_token_ms,
            total_ms=part.total_ms,
            input_tokens=part.input_tokens,
            output_tokens=part.output_tokens,
        )


class Result(Task):
    """With what there is so far; all of it once the state is no longer `streaming`."""

    text: str = Field(description="The answer as Markdown; [1] cites the passage of that rank.")
    sources: list[SourceOut]
    passages: list[PassageOut] = Field(description="From a knowledge base, once the answer has ended.")
    milliseconds: float | None = Field(
        default=None,
        description="From the question to the end, however it ended; null: it runs, or an earlier release answered "
        "without a model.",
        examples=[1840.5],
    )
    finished_at: datetime | None = Field(default=None, description="null: it runs, or an earlier release answered.")
    memory_peak_mb: int | None = Field(
        default=None,
        description="Always null: an answer runs in a process with others, so that no memory is its own. Documents "
        "have theirs.",
    )
    usage: Usage | None = Field(default=None, description="Of the language model; null: none answered.")
    error: str = Field(default="", description="The code of why it failed.", examples=[""])
    reason: str = Field(default="", description="Why it failed and what to do, in words.", examples=[""])


EXAMPLE = {"question": "How often is valve 7 checked?", "knowledge_base_ids": [ID]}


@router.post("/generate", status_code=202)
def generate(
    request: Request,
    parties: Serving,
    acting: Asker,
    wanted: Annotated[Question, Body(openapi_examples={"knowledge": {"value": EXAMPLE}})],
    new_id: NewId,
) -> Task:
    """Ask. The task is an answer in a conversation, which the pages show as well."""
    services = parties.services
    with suppress(NotFound):  # it is repeated, and the process that ran it first is gone
        return Task.of(services.messages.get(acting, new_id))
    check_question(wanted.question)
    scope = Scope(tuple(wanted.knowledge_base_ids), tuple(wanted.document_ids))
    services.request_limits.count_answer(acting)
    conversation_id = wanted.conversation_id or _begin(services.conversations, acting, wanted, scope, new_id)
    choice = None if wanted.goes_on else (wanted.mode, scope)
    answer = services.messages.ask(acting, conversation_id, wanted.question, choice=choice, new_id=new_id)
    try:
        model = wanted.model or services.providers.chosen_model(acting, Purpose.CHAT)
        parties.answers.start(acting, answer.id, model, page_language=language_of(request))
    except KbError as error:
        part = ErrorPart(error.code, error.values)
        services.messages.finish(acting, answer.id, MessageState.FAILED, [part])
        raise
    return Task.of(answer)


def _begin(conversations: Conversations, acting: Principal, wanted: Question, scope: Scope, new_id: UUID) -> UUID:
    """The id of a conversation for the question."""
    conversation_id = uuid5(new_id, "conversation")
    with suppress(NotFound):
        return conversations.get(acting, conversation_id).id
    return conversations.create(acting, wanted.question, wanted.mode, scope, conversation_id).id


@router.get("/tasks/{task_id}")
def get_task(request: Request, parties: Serving, acting: Asker, task_id: TaskId) -> Result:
    return _result(parties, acting, _answer(parties, acting, task_id), language_of(request))


@router.delete("/tasks/{task_id}", status_code=204)
def cancel_task(parties: Serving, acting: Asker, task_id: TaskId) -> Response:
    """Stop the answer; what was written stays. One that has ended stays as it is."""
    answer = _answer(parties, acting, task_id)
    if answer.state is MessageState.STREAMING and answer.run_id:
        parties.answers.stop(acting, answer.run_id)
    return Response(status_code=204)


def _answer(parties: Parties, acting: Principal, task_id: UUID) -> Message:
    message = parties.services.messages.get(acting, task_id)
    if message.role is not Role.ASSISTANT:
        raise NotFound(what=TASK)
    return message


def _result(parties: Parties, acting: Principal, answer: Message, language: str) -> Result:
    retrieval, sources, usage = answer.retrieval, answer.sources, answer.usage
    has_ended = answer.state is not MessageState.STREAMING
    return Result(
        id=answer.id,
        conversation_id=answer.conversation_id,
        state=answer.state,
        text=without_dangling(answer.content, sources) or _so_far(parties.answers, acting, answer),
        sources=[SourceOut.of(source) for source in sources.passages] if sources else [],
        passages=[PassageOut.of(passage) for passage in retrieval.passages] if retrieval else [],
        milliseconds=answer.took_ms if has_ended else None,
        finished_at=answer.finished_at,
        usage=Usage.of(usage) if usage.model else None,
        error=answer.error.code,
        reason=reason_of(answer.error.code, answer.error.values, language),
    )


def _so_far(answers: Answers, acting: Principal, answer: Message) -> str:
    """What has arrived of a running answer; nothing while Redis does not tell."""
    if answer.state is not MessageState.STREAMING or answer.run_id is None:
        return ""
    try:
        return answers.read(acting, answer.run_id).text
    except RedisUnavailable:
        return ""
