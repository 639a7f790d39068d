"""Knowledge bases."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from kb.access import Permission
from kb.models import KnowledgeBase
from web.api.paging import Cursor, Limit, Page, cursor_of, place_of
from web.api.parties import Administrator, Reader, Serving, Writer
from web.api.repeats import NewId, Repeatable

router = APIRouter(prefix="/knowledge-bases", tags=["knowledge bases"], route_class=Repeatable)
ID = "0b0f3c1e-6f5e-4f0a-9f39-2f1c8f5d7a11"
KnowledgeBaseId = Annotated[UUID, Path(examples=[ID])]


class KnowledgeBaseOut(BaseModel):
    id: UUID = Field(examples=[ID])
    name: str = Field(examples=["产品手册"])
    embedding_model: str = Field(examples=["builtin:multilingual-e5-small"])
    documents: int = Field(examples=[12])
    ready: int = Field(description="How many of them can be asked.", examples=[11])
    unsearchable: int = Field(description="How many of those Milvus lacks parts of.", examples=[0])
    permission: Permission = Field(description="What you may do with it.", examples=[Permission.OWN])
    prompt: str = Field(description="A template of its own; empty: the default.", examples=[""])
    created_at: datetime

    @classmethod
    def of(cls, base: KnowledgeBase) -> KnowledgeBaseOut:
        return cls(
            id=base.id,
            name=base.name,
            embedding_model=base.embedding_model,
            documents=base.document_count,
            ready=base.ready_count,
            unsearchable=base.unsearchable_count,
            permission=base.permission,
            prompt=base.prompt,
            created_at=base.created_at,
        )


class KnowledgeBaseIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=1000, examples=["产品手册"])
    embedding_model: str = Field(default="", max_length=400, description="Empty: the one for new knowledge bases.")


class KnowledgeBaseChange(BaseModel):
    """What is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(default=None, max_length=1000, examples=["产品手册 2026"])
    prompt: str | None = Field(default=None, max_length=20_000, description="Empty: the default one.")


@router.get("")
def list_knowledge_bases(
    parties: Serving, acting: Reader, limit: Limit = 50, cursor: Cursor = ""
) -> Page[KnowledgeBaseOut]:
    """All that you may view, the oldest first."""
    after = place_of(cursor)
    found = sorted(parties.services.knowledge_bases.list(acting), key=lambda base: (base.created_at, base.id))
    left = [base for base in found if after is None or (base.created_at, base.id) > after]
    shown = left[:limit]
    following = cursor_of(shown[-1].created_at, shown[-1].id) if len(left) > limit else None
    return Page(items=[KnowledgeBaseOut.of(base) for base in shown], next=following)


@router.post("", status_code=201)
def create_knowledge_base(
    parties: Serving,
    acting: Writer,
    wanted: Annotated[KnowledgeBaseIn, Body(openapi_examples={"new": {"value": {"name": "产品手册"}}})],
    new_id: NewId,
) -> KnowledgeBaseOut:
    """A new, empty one, which belongs to you."""
    services = parties.services
    model = services.embeddings.get(wanted.embedding_model or services.offered_embeddings(acting)[0])
    base = services.knowledge_bases.create(acting, wanted.name, model.name, new_id=new_id)
    services.embeddings.prepare(model.name)
    return KnowledgeBaseOut.of(base)


@router.get("/{knowledge_base_id}")
def get_knowledge_base(parties: Serving, acting: Reader, knowledge_base_id: KnowledgeBaseId) -> KnowledgeBaseOut:
    return KnowledgeBaseOut.of(parties.services.knowledge_bases.get(acting, knowledge_base_id))


@router.patch("/{knowledge_base_id}")
def change_knowledge_base(
    parties: Serving,
    acting: Writer,
    knowledge_base_id: KnowledgeBaseId,
    change: Annotated[KnowledgeBaseChange, Body(openapi_examples={"rename": {"value": {"name": "产品手册 2026"}}})],
) -> KnowledgeBaseOut:
    bases = parties.services.knowledge_bases
    bases.change(acting, knowledge_base_id, change.name, change.prompt)
    return KnowledgeBaseOut.of(bases.get(acting, knowledge_base_id))


@router.delete("/{knowledge_base_id}", status_code=204)
def delete_knowledge_base(parties: Serving, acting: Administrator, knowledge_base_id: KnowledgeBaseId) -> Response:
    """With all its documents. This cannot be undone."""
    parties.services.knowledge_bases.delete(acting, knowledge_base_id)
    return Response(status_code=204)
