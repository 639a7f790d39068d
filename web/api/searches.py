"""Searching without a language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Request
from pydantic import BaseModel, ConfigDict, Field

from kb.models import (
    KnowledgeBase,
    NotSearched,
    Passage,
    Retrieval,
    RetrievalProfile,
    RouteHit,
    Scope,
    Step,
    Unread,
    VersionState,
)
from kb.questions import check_question
from web.api.knowledge_bases import ID
from web.api.parties import Reader, Serving
from web.api.problems import language_of, reason_of

router = APIRouter(tags=["search"])
MOST_BASES, MOST_DOCUMENTS = 50, 1_000
QUESTION_CHARACTERS = 20_000


class Profile(BaseModel):
    """How to search. What is left out is as the knowledge base has it."""

    model_config = ConfigDict(extra="forbid")

    top_k: int | None = Field(default=None, ge=1, le=100, examples=[5])
    threshold: float | None = Field(default=None, ge=0, le=1, description="Passages of less relevance are dropped.")
    candidates: int | None = Field(default=None, ge=1, le=500, description="How many each route brings.")
    ef: int | None = Field(default=None, ge=1, le=2000, description="The width of the search in HNSW.")
    dense_weight: float | None = Field(default=None, ge=0, le=1)
    lexical_weight: float | None = Field(default=None, ge=0, le=1)
    neighbours: int | None = Field(
        default=None, ge=0, le=10, description="Chunks before and after each passage in `context`."
    )
    context_tokens: int | None = Field(default=None, ge=0, le=100_000)

    def on(self, profile: RetrievalProfile) -> RetrievalProfile:
        return replace(profile, **self.model_dump(exclude_none=True))


class SearchIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    question: str = Field(min_length=1, max_length=QUESTION_CHARACTERS, examples=["How often is valve 7 checked?"])
    knowledge_base_ids: list[UUID] = Field(min_length=1, max_length=MOST_BASES, examples=[[ID]])
    document_ids: list[UUID] = Field(default=[], max_length=MOST_DOCUMENTS, description="Only these; empty: all.")
    profile: Profile = Profile()


class Hit(BaseModel):
    """Where one route (dense or BM25) placed the passage."""

    rank: int = Field(examples=[1])
    score: float = Field(examples=[0.91])

    @classmethod
    def of(cls, hit: RouteHit | None) -> Hit | None:
        return cls(rank=hit.rank, score=hit.score) if hit else None


class PassageOut(BaseModel):
    rank: int = Field(description="1 is the best.", examples=[1])
    text: str = Field(examples=["Valve 7 is checked each spring."])
    context: str = Field(description="The text with its neighbours.", examples=["Valve 7 is checked each spring."])
    document_id: UUID
    document_name: str = Field(examples=["manual.pdf"])
    page: int = Field(description="0: the document has no pages.", examples=[3])
    heading: str = Field(examples=["Maintenance > Yearly checks"])
    knowledge_base: str = Field(description="Its name, where several were asked.", examples=[""])
    relevance: float = Field(examples=[0.83])
    fused: float = Field(examples=[0.97])
    rerank: float | None = None
    dense: Hit | None = None
    lexical: Hit | None = None

    @classmethod
    def of(cls, passage: Passage) -> PassageOut:
        chunk = passage.chunk
        return cls(
            rank=passage.rank,
            text=chunk.text,
            context=passage.context,
            document_id=chunk.document_id,
            document_name=passage.document_name,
            page=chunk.page,
            heading=chunk.heading,
            knowledge_base=passage.knowledge_base,
            relevance=passage.relevance,
            fused=passage.fused,
            rerank=passage.rerank,
            dense=Hit.of(passage.dense),
            lexical=Hit.of(passage.lexical),
        )


class StepOut(BaseModel):
    name: str = Field(examples=["dense"])
    milliseconds: float = Field(examples=[4.2])
    remaining: int = Field(description="Candidates left after it.", examples=[50])
    note: str = Field(default="", examples=[""])
    knowledge_base: str = Field(default="", examples=[""])

    @classmethod
    def of(cls, step: Step) -> StepOut:
        note = step.note.format_map(step.note_values) if step.note_values else step.note
        return cls(
            name=step.name,
            milliseconds=step.milliseconds,
            remaining=step.remaining,
            note=note,
            knowledge_base=step.knowledge_base,
        )


class NotSearchedOut(BaseModel):
    """A knowledge base that could not be searched, while others could."""

    knowledge_base: str
    code: str

    @classmethod
    def of(cls, failed: NotSearched) -> NotSearchedOut:
        return cls(knowledge_base=failed.knowledge_base, code=failed.code)


class UnreadOut(BaseModel):
    """A document that the question names, and of which nothing can be searched (yet)."""

    name: str = Field(examples=["manual.pdf"])
    state: VersionState = Field(examples=[VersionState.QUEUED])
    error: str = Field(default="", description="The code of why it failed.", examples=[""])
    reason: str = Field(default="", description="Why it failed and what to do, in words.", examples=[""])

    @classmethod
    def of(cls, unread: Unread, language: str) -> UnreadOut:
        reason = reason_of(unread.error, unread.error_values, language)
        return cls(name=unread.name, state=VersionState(unread.state), error=unread.error, reason=reason)


class SearchOut(BaseModel):
    """No passages and no files mean that nothing relevant is there only if all documents were searched.

    They were where `documents_not_ready` and `knowledge_bases_gone` are 0, and nothing is in `unread`, `unsearchable`
    and `not_searched`.
    """

    passages: list[PassageOut] = Field(
        description="The best first. Of a question that names files: these from their beginning, without scores."
    )
    nearest: list[PassageOut] = Field(description="The best below the threshold, where no passage reached it.")
    files: list[str] = Field(
        default=[], description="Names of documents, if the question asks which there are; 100 at most."
    )
    files_total: int = Field(default=0, description="How many there are, if it asks that.", examples=[0])
    milliseconds: float = Field(examples=[18.5])
    steps: list[StepOut]
    documents_searched: int = Field(examples=[11], description="0: none is ready, so that nothing could be found.")
    documents_not_ready: int = Field(
        examples=[1],
        description="Documents of the search that wait, are being processed or failed; also those of `document_ids` "
        "that are not there.",
    )
    knowledge_bases_gone: int = Field(
        default=0, description="How many of those asked no longer exist, or are not yours to read.", examples=[0]
    )
    unread: list[UnreadOut] = []
    unsearchable: int | None = Field(
        None, description="Documents that should have been searched and could not be; 0: not known how many."
    )
    not_searched: list[NotSearchedOut] = []

    @classmethod
    def of(cls, found: Retrieval, bases: Sequence[KnowledgeBase], wanted: SearchIn, language: str) -> SearchOut:
        """`bases` are those of the wanted ones that are there."""
        searched = found.trace.documents
        asked = len(set(wanted.document_ids)) or sum(base.document_count for base in bases)
        return cls(
            passages=[PassageOut.of(passage) for passage in found.passages],
            nearest=[PassageOut.of(passage) for passage in found.nearest],
            files=list(found.files.names) if found.files else [],
            files_total=found.files.total if found.files else 0,
            milliseconds=found.trace.milliseconds,
            steps=[StepOut.of(step) for step in found.trace.steps],
            documents_searched=searched,
            documents_not_ready=max(0, asked - searched),  # some may have become ready, or gone, meanwhile
            knowledge_bases_gone=len(set(wanted.knowledge_base_ids)) - len(bases),
            unread=[UnreadOut.of(unread, language) for unread in found.unread],
            unsearchable=found.unsearchable.documents if found.unsearchable else None,
            not_searched=[NotSearchedOut.of(failed) for failed in found.not_searched],
        )


EXAMPLE = {"question": "How often is valve 7 checked?", "knowledge_base_ids": [ID], "profile": {"top_k": 3}}


@router.post("/search")
def search(
    request: Request,
    parties: Serving,
    acting: Reader,
    wanted: Annotated[SearchIn, Body(openapi_examples={"search": {"value": EXAMPLE}})],
) -> SearchOut:
    """The best passages, with their scores and how they were found, or names of files. No language model is asked."""
    check_question(wanted.question)
    services = parties.services
    scope = Scope(tuple(wanted.knowledge_base_ids), tuple(wanted.document_ids))
    bases = services.knowledge_bases.find(acting, wanted.knowledge_base_ids)
    profiles = {base.id: wanted.profile.on(base.profile) for base in bases}
    found = services.retriever.retrieve(acting, scope, wanted.question, profiles)
    return SearchOut.of(found, bases, wanted, language_of(request))
