"""A queue that notes what was sent, or that cannot be reached."""

from __future__ import annotations

from uuid import UUID

from kb.errors import RedisUnavailable


class RecordingQueue:
    """`kb.queue.Queue` without workers: `sent` holds (what, id) in order."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, UUID]] = []
        self.is_away = False

    def send_version(self, version_id: UUID) -> None:
        self._send("version", version_id)

    def send_clear_document(self, document_id: UUID) -> None:
        self._send("clear_document", document_id)

    def send_clear_knowledge_base(self, knowledge_base_id: UUID) -> None:
        self._send("clear_knowledge_base", knowledge_base_id)

    def send_check(self, knowledge_base_id: UUID) -> None:
        self._send("check", knowledge_base_id)

    def send_note_leftovers(self) -> None:
        self._send("note_leftovers", UUID(int=0))

    def _send(self, what: str, subject: UUID) -> None:
        if self.is_away:
            raise RedisUnavailable(detail="away")
        self.sent.append((what, subject))
