"""The SQL statements that a question takes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

import sqlalchemy as sa

from kb.access import Principal
from kb.answers import Answers
from kb.database import Database
from kb.messages import Attached, Message
from kb.models import Mode, Scope
from kb.services import Services

POLL_SECONDS = 0.15  # as the chat page does
ANSWER_SECONDS = 60.0


@contextmanager
def counted_statements(database: Database) -> Iterator[list[str]]:
    """Every statement that this process sends to the database within the block, except transaction control."""
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if not statement.startswith("BEGIN"):
            statements.append(statement)

    sa.event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        sa.event.remove(database.engine, "before_cursor_execute", note)


def ask_as_the_page_does(
    services: Services,
    answers: Answers,
    principal: Principal,
    knowledge_base_id: UUID,
    question: str,
    model: str = "",
    conversation_id: UUID | None = None,
    attached: Sequence[Attached] = (),
) -> Message:
    """Ask a knowledge base, in a new conversation or in that one, follow the answer, and return it as it was saved."""
    choice = Mode.KNOWLEDGE, Scope.of(knowledge_base_id)
    services.knowledge_bases.get(principal, knowledge_base_id)
    if conversation_id is None:
        conversation_id = services.conversations.create(principal, question, *choice).id
    message = services.messages.ask(principal, conversation_id, question, attached, choice)
    answers.start(principal, message.id, model)
    deadline = time.monotonic() + ANSWER_SECONDS
    assert message.run_id
    update = answers.read(principal, message.run_id)
    while not update.ended:
        if time.monotonic() > deadline:
            raise TimeoutError("the answer did not end")
        time.sleep(POLL_SECONDS)
        update = answers.read(principal, message.run_id, update.position)
    return services.messages.get(principal, message.id)
