"""The port through which the core tells the workers that there is work to do."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID


class Queue(Protocol):
    """Sends messages to the workers. A message carries at most an id.

    Call it after the row is committed. SQL says what there is to do; a message may get lost (the workers' reaper sends
    it again) or arrive twice. Every method raises `RedisUnavailable` when the message cannot be sent now.
    """

    def send_version(self, version_id: UUID) -> None:
        """Have a queued version ingested."""

    def send_clear_document(self, document_id: UUID) -> None:
        """Have a deleted document's chunks, files and rows cleared."""

    def send_clear_knowledge_base(self, knowledge_base_id: UUID) -> None:
        """Have a deleted knowledge base's Milvus collection, files and rows cleared."""

    def send_check(self, knowledge_base_id: UUID) -> None:
        """Have what Milvus and the disk hold of a knowledge base compared with SQL."""

    def send_note_leftovers(self) -> None:
        """Have what Milvus and the disk hold beside that looked for."""
