"""The domain's dataclasses and enums. No I/O."""

from __future__ import annotations

from kb.models.conversations import Conversation, MessageState, Mode, Role
from kb.models.documents import Document, DocumentOrder, Original, Progress, Version, VersionState
from kb.models.health import ServiceHealth
from kb.models.knowledge_bases import IndexSettings, KnowledgeBase, KnowledgeBaseKind
from kb.models.retrieval import (
    NOWHERE,
    Beginning,
    FileList,
    NotSearched,
    Passage,
    Place,
    Retrieval,
    RetrievalProfile,
    Route,
    RouteHit,
    Scope,
    Step,
    Trace,
    Unread,
    Unsearchable,
)
from kb.models.stored import known
from kb.models.texts import Chunk, ChunkSpan, Heading, LineBox, PageStart, ParsedDocument, TableRows, chunk_id
from kb.models.users import Account, Choices, User, UserRole

__all__ = [
    "NOWHERE",
    "Account",
    "Beginning",
    "Choices",
    "Chunk",
    "ChunkSpan",
    "Conversation",
    "Document",
    "DocumentOrder",
    "FileList",
    "Heading",
    "IndexSettings",
    "KnowledgeBase",
    "KnowledgeBaseKind",
    "LineBox",
    "MessageState",
    "Mode",
    "NotSearched",
    "Original",
    "PageStart",
    "ParsedDocument",
    "Passage",
    "Place",
    "Progress",
    "Retrieval",
    "RetrievalProfile",
    "Role",
    "Route",
    "RouteHit",
    "Scope",
    "ServiceHealth",
    "Step",
    "TableRows",
    "Trace",
    "Unread",
    "Unsearchable",
    "User",
    "UserRole",
    "Version",
    "VersionState",
    "chunk_id",
    "known",
]
