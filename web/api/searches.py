"""Searching without a language model."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, Field

from kb.models import NotSearched, Passage, Retrieval, RetrievalProfile, RouteHit, Scope, Step
from kb.questions import check_question
from web.api.knowledge_bases import ID
from web.api.parties import Reader, Serving

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


class SearchOut(BaseModel):
    """No passages and nothing in the last two fields: nothing relevant is there."""

    passages: list[PassageOut]
    nearest: list[PassageOut] = Field(description="The best below the threshold, where no passage reached it.")
    milliseconds: float = Field(examples=[18.5])
    steps: list[StepOut]
    unsearchable: int | None = Field(
        None, description="Documents that should have been searched and could not be; 0: not known how many."
    )
    not_searched: list[NotSearchedOut] = []

    @classmethod
    def of(cls, found: Retrieval) -> SearchOut:
        return cls(
            passages=[PassageOut.of(passage) for passage in found.passages],
            nearest=[PassageOut.of(passage) for passage in found.nearest],
            milliseconds=found.trace.milliseconds,
            steps=[StepOut.of(step) for step in found.trace.steps],
            unsearchable=found.unsearchable.documents if found.unsearchable else None,
            not_searched=[NotSearchedOut.of(failed) for failed in found.not_searched],
        )


EXAMPLE = {"question": "How often is valve 7 checked?", "knowledge_base_ids": [ID], "profile": {"top_k": 3}}


@router.post("/search")
def search(
    parties: Serving, acting: Reader, wanted: Annotated[SearchIn, Body(openapi_examples={"search": {"value": EXAMPLE}})]
) -> SearchOut:
    """The best passages, with their scores and how they were found. No language model is asked."""
    check_question(wanted.question)
    services = parties.services
    scope = Scope(tuple(wanted.knowledge_base_ids), tuple(wanted.document_ids))
    bases = services.knowledge_bases.find(acting, wanted.knowledge_base_ids)
    profiles = {base.id: wanted.profile.on(base.profile) for base in bases}
    return SearchOut.of(services.retriever.retrieve(acting, scope, wanted.question, profiles))
