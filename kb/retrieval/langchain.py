"""Retrieval as a LangChain retriever. Their `Document` is our chunk."""

from __future__ import annotations

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict

from kb.access import Principal
from kb.errors import CollectionMissing
from kb.models import Passage, RetrievalProfile, Scope
from kb.retrieval import Retriever


class KnowledgeBaseRetriever(BaseRetriever):
    """Retrieves for one user, by the same function as the chat."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    retriever: Retriever
    principal: Principal
    scope: Scope
    profile: RetrievalProfile | None = None

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        found = self.retriever.retrieve(self.principal, self.scope, query, self.profile)
        if found.unsearchable and not found.passages:
            raise CollectionMissing(detail=", ".join(found.unsearchable.names))
        return [to_langchain(passage) for passage in found.passages]


def to_langchain(passage: Passage) -> Document:
    """A passage with its place and scores as metadata."""
    chunk = passage.chunk
    return Document(
        id=chunk.id,
        page_content=chunk.text,
        metadata={
            "document_id": str(chunk.document_id),
            "document": passage.document_name,
            "ordinal": chunk.ordinal,
            "page": chunk.page,
            "heading": chunk.heading,
            "rank": passage.rank,
            "fused": passage.fused,
            "cosine": passage.dense.score if passage.dense else None,
            "bm25": passage.lexical.score if passage.lexical else None,
        },
    )
