"""Finding passages, without a language model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from uuid import UUID

from pydantic import Field

from kb.access import Principal
from kb.models import Passage, Retrieval, RetrievalProfile, Scope
from kb.passages import gaps_of, scores_of
from kb.questions import check_question
from kb.retrieval.ranking import estimate_tokens
from kb.services import Services
from kb.tools.tool import MOST_TOKENS, Arguments, Result, Tool

MOST_BASES, MOST_DOCUMENTS, MOST_PASSAGES = 50, 200, 30
QUESTION_CHARACTERS = 2_000


class SearchWanted(Arguments):
    question: str = Field(
        min_length=1, max_length=QUESTION_CHARACTERS, description="A full question or a few words, as a person asks."
    )
    knowledge_base_ids: list[UUID] = Field(min_length=1, max_length=MOST_BASES)
    document_ids: list[UUID] = Field(default=[], max_length=MOST_DOCUMENTS, description="Only these; empty: all.")
    top_k: int = Field(
        default=0, ge=0, le=MOST_PASSAGES, description="How many passages at most; 0: as the knowledge base has it."
    )


class Scores(Result):
    """Each grows with relevance. Those of a step that did not see the passage are left out."""

    relevance: float = Field(description="From 0 to 1; what the threshold of the knowledge base is about.")
    fused: float
    cosine: float | None = None
    bm25: float | None = None
    rerank: float | None = None


class FoundPassage(Result):
    rank: int = Field(description="1 is the best.")
    document_id: UUID
    document: str
    knowledge_base: str | None = Field(default=None, description="Where several were searched.")
    page: int | None = Field(default=None, description="On which it begins; absent: a format without pages.")
    chunk: int = Field(description="Its place in the document, from 0; see read_document.")
    heading: str
    text: str
    scores: Scores

    @classmethod
    def of(cls, passage: Passage) -> FoundPassage:
        chunk = passage.chunk
        return cls(
            rank=passage.rank,
            document_id=chunk.document_id,
            document=passage.document_name,
            knowledge_base=passage.knowledge_base or None,
            page=chunk.page or None,
            chunk=chunk.ordinal,
            heading=chunk.heading,
            text=chunk.text,
            scores=Scores.model_validate(scores_of(passage)),
        )


class Passages(Result):
    passages: list[FoundPassage] = Field(
        description="Empty: nothing relevant was found, unless there are `files` or `warnings`."
    )
    nearest: list[FoundPassage] = Field(
        default=[], description="Where no passage is relevant enough: the best of those that are not."
    )
    files: list[str] = Field(default=[], description="Names of files, if the question asks which there are.")
    left_out: int = Field(default=0, description="How many passages found no room in this result.")
    warnings: list[str] = Field(default=[], description="What could not be searched: its content is not known.")


def _search(services: Services, principal: Principal, given: SearchWanted) -> Passages:
    check_question(given.question)
    bases = services.knowledge_bases.find(principal, given.knowledge_base_ids)
    profiles: dict[UUID, RetrievalProfile] = {
        base.id: base.profile.with_top_k(given.top_k) if given.top_k else base.profile for base in bases
    }
    scope = Scope(tuple(given.knowledge_base_ids), tuple(given.document_ids))
    found = services.retriever.retrieve(principal, scope, given.question, profiles)
    passages = list(_fitting(found.passages))
    return Passages(
        passages=[FoundPassage.of(passage) for passage in passages],
        nearest=[FoundPassage.of(passage) for passage in _fitting(found.nearest)],
        files=list(found.files.names) if found.files else [],
        left_out=len(found.passages) - len(passages),
        warnings=[*_gone(given, len(bases)), *gaps_of(found), *_unready(found)],
    )


def _fitting(passages: Sequence[Passage]) -> list[Passage]:
    """The best ones, as far as there is room; the first in any case."""
    left, count = MOST_TOKENS, 0
    for passage in passages:
        left -= estimate_tokens(passage.chunk.text)
        if left < 0 and count:
            break
        count += 1
    return list(islice(passages, count))


def _gone(given: SearchWanted, found: int) -> list[str]:
    gone = len(set(given.knowledge_base_ids)) - found
    return [f"{gone} of these knowledge bases no longer exist, or you do not have access to them."] if gone else []


def _unready(found: Retrieval) -> list[str]:
    return [] if found.trace.documents else ["No document is ready to be searched."]


SEARCH = Tool(
    name="search",
    title="Search",
    description=(
        "The passages of documents that answer a question, the best first, by meaning and by words. Use it for "
        "questions and topics. For exact words, names, numbers or codes, use grep; to see what stands before and after "
        "a passage, read_document with its `document_id` and `chunk`."
    ),
    arguments=SearchWanted,
    result=Passages,
    run=_search,
)
