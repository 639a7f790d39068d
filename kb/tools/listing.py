"""Which knowledge bases and documents there are."""

from __future__ import annotations

from uuid import UUID

from pydantic import Field

from kb.access import Principal
from kb.models import Document, DocumentOrder, KnowledgeBase, VersionState
from kb.names import fold
from kb.services import Services
from kb.tools.tool import Arguments, Result, Tool

MOST_LISTED = 100
FIRST = Field(default=0, ge=0, le=1_000_000, description="`next` of the result before; 0: from the beginning.")
NEXT = Field(default=None, description="Pass it as `first` for more; absent: these were the last.")


class BasesWanted(Arguments):
    name: str = Field(default="", max_length=200, description="Only those whose name contains this, in any case.")
    first: int = FIRST


class Base(Result):
    id: UUID
    name: str
    documents: int
    ready: int = Field(description="How many of the documents can be searched and read.")

    @classmethod
    def of(cls, base: KnowledgeBase) -> Base:
        return cls(
            id=base.id,
            name=base.name,
            documents=base.document_count,
            ready=base.ready_count,
        )


class Bases(Result):
    knowledge_bases: list[Base]
    next: int | None = NEXT


def _list_bases(services: Services, principal: Principal, given: BasesWanted) -> Bases:
    wanted = fold(given.name)
    found = [base for base in services.knowledge_bases.list(principal) if wanted in fold(base.name)]
    end = given.first + MOST_LISTED
    shown = [Base.of(base) for base in found[given.first : end]]
    return Bases(knowledge_bases=shown, next=end if len(found) > end else None)


class DocumentsWanted(Arguments):
    knowledge_base_id: UUID
    name: str = Field(default="", max_length=200, description="Only those whose name contains all these words.")
    first: int = FIRST


class Listed(Result):
    id: UUID
    name: str
    state: VersionState = Field(description="Of its newest content.")
    ready: bool = Field(description="Whether it can be searched and read.")
    pages: int = Field(description="0: a format without pages.")
    chunks: int

    @classmethod
    def of(cls, document: Document) -> Listed:
        return cls(
            id=document.id,
            name=document.name,
            state=document.latest.state,
            ready=document.live_version_id is not None,
            pages=document.latest.pages,
            chunks=document.latest.chunks,
        )


class Documents(Result):
    documents: list[Listed]
    next: int | None = NEXT


def _list_documents(services: Services, principal: Principal, given: DocumentsWanted) -> Documents:
    found = services.documents.list(
        principal,
        given.knowledge_base_id,
        given.first,
        MOST_LISTED + 1,
        search=given.name,
        order=DocumentOrder.NAME,
    )
    shown = [Listed.of(document) for document in found[:MOST_LISTED]]
    return Documents(documents=shown, next=given.first + MOST_LISTED if len(found) > MOST_LISTED else None)


LIST_KNOWLEDGE_BASES = Tool(
    name="list_knowledge_bases",
    title="List knowledge bases",
    description=(
        "The knowledge bases that you may read, by name, with their ids. Call this first: the other tools need ids."
    ),
    arguments=BasesWanted,
    result=Bases,
    run=_list_bases,
)
LIST_DOCUMENTS = Tool(
    name="list_documents",
    title="List documents",
    description=(
        "The documents of a knowledge base, by name, with their ids. Use it to find a document by its name or to see "
        "what there is. To find out which documents speak of something, use search or grep instead."
    ),
    arguments=DocumentsWanted,
    result=Documents,
    run=_list_documents,
)
