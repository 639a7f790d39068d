"""The files of conversations.

Each conversation's files are the documents of a knowledge base of its own, which no list shows. So they are ingested,
searched, cancelled, retried and cleared as all documents are. For each embedding model, those knowledge bases share one
Milvus collection with a partition key, since thousands of small collections would cost Milvus much memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID, uuid4

import sqlalchemy as sa

from kb.access import Permission, Principal, can
from kb.conversations import CONVERSATION
from kb.database import Database
from kb.database.tables import attachments, conversations, knowledge_bases, now
from kb.embedding import EmbeddingModels
from kb.errors import NotFound, UnsupportedFormat
from kb.library import Arrivals, Documents, insert_knowledge_base
from kb.library.files import Source
from kb.library.knowledge_bases import shared_collection
from kb.library.listing import listed_after
from kb.library.rows import DOCUMENT, to_document
from kb.models import (
    Document,
    IndexSettings,
    KnowledgeBase,
    KnowledgeBaseKind,
    Original,
    RetrievalProfile,
)
from kb.parsing import require_supported

MOST_FILES = 1_000  # that are listed

_OWN_CONVERSATION = (
    sa.select(conversations.c.id)
    .where(
        conversations.c.id == sa.bindparam("of_conversation"),
        can(Permission.OWN, conversations),
        conversations.c.deleted_at.is_(None),
    )
    .with_for_update(key_share=True)
)
_BASE = (
    sa.select(knowledge_bases.c.id)
    .join(attachments, attachments.c.knowledge_base_id == knowledge_bases.c.id)
    .join(conversations, conversations.c.id == attachments.c.conversation_id)
    .where(
        attachments.c.conversation_id == sa.bindparam("of_conversation"),
        can(Permission.OWN, knowledge_bases),
        knowledge_bases.c.deleted_at.is_(None),
        conversations.c.deleted_at.is_(None),
    )
)


class Attachments:
    """The files of each user's conversations. Deleting a conversation deletes them: a worker clears what is left."""

    def __init__(
        self, database: Database, documents: Documents, arrivals: Arrivals, embeddings: EmbeddingModels
    ) -> None:
        self._database = database
        self._documents = documents
        self._arrivals = arrivals
        self._embeddings = embeddings

    def add(self, principal: Principal, conversation_id: UUID, name: str, source: Source) -> Document:
        """Keep a file, queue it and tell the workers, as `Arrivals.register` does.

        Errors: `NotFound` without the conversation; `UnsupportedFormat`; those of `Arrivals.register`;
        those of `EmbeddingModels.get`. Sends the embedding model no request.
        """
        base_id = self._base(principal, conversation_id) or self._create_base(principal, conversation_id)
        document = self._arrivals.register(principal, base_id, name, source).document
        try:
            require_supported(document.name, document.latest.media_type)
        except UnsupportedFormat:
            self._documents.delete(principal, document.id)
            raise
        return document

    def list(self, principal: Principal, conversation_id: UUID) -> Sequence[Document]:
        """The files of a conversation in the order in which they came, whatever their state."""
        with self._database.read() as connection:
            base = connection.execute(_BASE, {"of_conversation": conversation_id} | principal.binds).one_or_none()
            if base is None:
                return []
            return [to_document(row) for row in listed_after(connection, base.id, None, MOST_FILES, None)]

    def original(self, principal: Principal, document: Document) -> Original:
        """The file itself. Errors: `NotFound`, `FileMissing`."""
        return self._documents.original(principal, document.knowledge_base_id, document.latest.id)

    def remove(self, principal: Principal, conversation_id: UUID, document_id: UUID) -> None:
        """Delete one file. Errors: `NotFound` if the conversation has no such file."""
        document = self._documents.get(principal, document_id)
        if document.knowledge_base_id != self._base(principal, conversation_id):
            raise NotFound(what=DOCUMENT)
        self._documents.delete(principal, document_id)

    def _base(self, principal: Principal, conversation_id: UUID) -> UUID | None:
        """The id of the conversation's knowledge base; None before the first file."""
        with self._database.read() as connection:
            return connection.scalar(_BASE, {"of_conversation": conversation_id} | principal.binds)

    def _create_base(self, principal: Principal, conversation_id: UUID) -> UUID:
        """The conversation's knowledge base, unless another thread has created it meanwhile."""
        model = self._embeddings.default
        base_id = uuid4()
        created = KnowledgeBase(
            id=base_id,
            owner_id=principal.user_id,
            name=str(base_id),
            collection=shared_collection(model.name, None),
            embedding_model=model.name,
            dimension=None,  # asking the model could take long; a worker finds it
            # Exact, and fast enough for the files of one conversation.
            index=IndexSettings(index_type="FLAT"),
            profile=RetrievalProfile(),
            created_at=now(),
            kind=KnowledgeBaseKind.ATTACHMENTS,
        )
        of = {"of_conversation": conversation_id} | principal.binds
        with self._database.write() as connection:
            if connection.scalar(_OWN_CONVERSATION, of) is None:
                raise NotFound(what=CONVERSATION)
            if existing := connection.execute(_BASE, of).one_or_none():
                existing_id: UUID = existing.id
                return existing_id
            # A deleted one that is not cleared yet may still be named.
            connection.execute(sa.delete(attachments).where(attachments.c.conversation_id == conversation_id))
            insert_knowledge_base(connection, created)
            link = {"conversation_id": conversation_id, "knowledge_base_id": base_id}
            connection.execute(sa.insert(attachments), link)
        return base_id
