"""Conversations: those that the pages show, with what was asked and answered in them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from kb.citations import without_dangling
from kb.conversations import MOST_TITLE_CHARACTERS
from kb.messages import Message
from kb.models import Conversation, MessageState, Mode, Role
from web.api.knowledge_bases import ID
from web.api.paging import Cursor, Limit, Page, cursor_of, place_of
from web.api.parties import Asker, Serving, Writer
from web.api.problems import language_of, reason_of
from web.api.tasks import SourceOut, Usage

router = APIRouter(prefix="/conversations", tags=["conversations"])
CONVERSATION_ID = "9a1d6a3e-8a53-4d3b-9a57-0d9b8a1f6c02"
ConversationId = Annotated[UUID, Path(examples=[CONVERSATION_ID])]


class ConversationOut(BaseModel):
    id: UUID = Field(examples=[CONVERSATION_ID])
    title: str = Field(examples=["How often is valve 7 checked?"])
    mode: Mode = Field(description="Of the next question.", examples=[Mode.KNOWLEDGE])
    knowledge_base_ids: list[UUID] = Field(description="What the next question is put to.", examples=[[ID]])
    document_ids: list[UUID] = Field(description="Only these of them; empty: all.", examples=[[]])
    is_pinned: bool
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, conversation: Conversation) -> ConversationOut:
        return cls(
            id=conversation.id,
            title=conversation.title,
            mode=conversation.mode,
            knowledge_base_ids=list(conversation.scope.knowledge_base_ids),
            document_ids=list(conversation.scope.document_ids),
            is_pinned=conversation.pinned_at is not None,
            created_at=conversation.created_at,
            updated_at=conversation.updated_at,
        )


class ConversationChange(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: str = Field(max_length=MOST_TITLE_CHARACTERS, examples=["Valves"])


class MessageOut(BaseModel):
    id: UUID = Field(description="Of an answer, also the id of its task.")
    parent_id: UUID | None = Field(description="The message that it follows.")
    siblings: list[UUID] = Field(description="All that may stand in its place, itself among them, the oldest first.")
    ordinal: int = Field(description="It grows along the branch.", examples=[1])
    role: Role = Field(description="notice: the mode or the knowledge bases changed.", examples=[Role.ASSISTANT])
    state: MessageState = Field(examples=[MessageState.DONE])
    mode: Mode = Field(examples=[Mode.KNOWLEDGE])
    text: str = Field(description="As Markdown; [1] cites the source of that rank.", examples=["Each spring [1]."])
    sources: list[SourceOut]
    usage: Usage | None = None
    error: str = Field(default="", description="The code of why it failed.", examples=[""])
    reason: str = Field(default="", description="Why it failed and what to do, in words.", examples=[""])
    created_at: datetime

    @classmethod
    def of(cls, message: Message, language: str) -> MessageOut:
        return cls(
            id=message.id,
            parent_id=message.parent_id,
            siblings=list(message.siblings),
            ordinal=message.ordinal,
            role=message.role,
            state=message.state,
            mode=message.mode,
            text=without_dangling(message.content, message.sources),
            sources=[SourceOut.of(source) for source in message.sources.passages] if message.sources else [],
            usage=Usage.of(message.usage) if message.model else None,
            error=message.error.code,
            reason=reason_of(message.error.code, message.error.values, language),
            created_at=message.created_at,
        )


class Branch(BaseModel):
    items: list[MessageOut] = Field(description="The oldest first.")
    before: int | None = Field(description="Pass it on as `before` for the messages before these; null: none.")


@router.get("")
def list_conversations(
    parties: Serving, acting: Asker, limit: Limit = 50, cursor: Cursor = ""
) -> Page[ConversationOut]:
    """The newest first. A key that is limited to knowledge bases sees those that were begun with it."""
    found = parties.services.conversations.after(acting, place_of(cursor), limit + 1)
    following = cursor_of(found[limit - 1].created_at, found[limit - 1].id) if len(found) > limit else None
    return Page(items=[ConversationOut.of(each) for each in found[:limit]], next=following)


@router.get("/{conversation_id}")
def get_conversation(parties: Serving, acting: Asker, conversation_id: ConversationId) -> ConversationOut:
    return ConversationOut.of(parties.services.conversations.get(acting, conversation_id))


@router.get("/{conversation_id}/messages")
def list_messages(
    request: Request,
    parties: Serving,
    acting: Asker,
    conversation_id: ConversationId,
    limit: Limit = 50,
    before: Annotated[
        int | None, Query(ge=0, le=1_000_000_000, description="Only those before this ordinal.", examples=[12])
    ] = None,
) -> Branch:
    """The last ones of the branch that is shown. A running answer is told by its task."""
    found = parties.services.messages.shown(acting, conversation_id, limit + 1, before)
    shown = found[-limit:]
    earlier = shown[0].ordinal if len(found) > limit else None
    return Branch(items=[MessageOut.of(each, language_of(request)) for each in shown], before=earlier)


@router.patch("/{conversation_id}")
def change_conversation(
    parties: Serving,
    acting: Writer,
    conversation_id: ConversationId,
    change: Annotated[ConversationChange, Body(openapi_examples={"rename": {"value": {"title": "Valves"}}})],
) -> ConversationOut:
    conversations = parties.services.conversations
    conversations.rename(acting, conversation_id, change.title)
    return ConversationOut.of(conversations.get(acting, conversation_id))


@router.delete("/{conversation_id}", status_code=204)
def delete_conversation(parties: Serving, acting: Writer, conversation_id: ConversationId) -> Response:
    """With all its messages. For an hour, the History page can undo this."""
    parties.services.conversations.delete(acting, conversation_id)
    return Response(status_code=204)
