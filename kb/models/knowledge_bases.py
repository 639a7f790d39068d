"""Knowledge bases."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from kb.models.retrieval import RetrievalProfile
from kb.principals import Permission


class KnowledgeBaseKind(StrEnum):
    LIBRARY = "library"  # people create, fill and choose it
    ATTACHMENTS = "attachments"  # the files of one conversation, in no list; see `kb.attachments`


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """How a knowledge base's vectors are indexed in Milvus."""

    index_type: str = "HNSW"  # or FLAT, IVF_FLAT, IVF_SQ8
    metric: str = "COSINE"  # or IP, L2
    m: int = 16
    ef_construction: int = 200
    nlist: int = 128


@dataclass(frozen=True, slots=True)
class KnowledgeBase:
    id: UUID
    owner_id: UUID
    name: str
    collection: str
    embedding_model: str
    dimension: int | None  # of its vectors; None until a worker has embedded the first file
    index: IndexSettings
    profile: RetrievalProfile
    created_at: datetime
    document_count: int = 0
    ready_count: int = 0
    kind: KnowledgeBaseKind = KnowledgeBaseKind.LIBRARY
    unsearchable_count: int = 0  # documents whose chunks Milvus lacks, of those that are ready
    prompt: str = ""  # a template of its own: see `kb.prompt_templates`
    permission: Permission = Permission.OWN  # of whoever asked for it
    owner_name: str = ""  # for pages; a worker does not ask for it

    @property
    def partition(self) -> UUID | None:
        """Its part of a Milvus collection that it shares with others; None: the collection is its own."""
        return self.id if self.kind is KnowledgeBaseKind.ATTACHMENTS else None
