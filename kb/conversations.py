"""Conversations and their messages. Every call takes the acting user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Session, defer

from kb.database import Database
from kb.database.tables import ConversationRow, MessageRow, now
from kb.errors import N_, AnswerRunning, KbError, NotFound
from kb.library.access import own_knowledge_base, require_knowledge_base
from kb.library.names import clean_label, clean_name, clean_text
from kb.models import Conversation, Message, MessageState, Mode, Retrieval, Role, Sources
from kb.retrieval.record import from_record, sources_from, to_record

TITLE_CHARACTERS = 60  # of a title made of the first question
MOST_TITLE_CHARACTERS = 200
SEARCHED_WORDS = 10
MOST_SOURCES = 10_000  # answers whose sources are kept in memory

CONVERSATION = N_("conversation")
MESSAGE = N_("message")


@dataclass(frozen=True, slots=True)
class Streaming:
    """An answer that is being written, for those who look after all users' answers."""

    id: UUID
    user_id: UUID


class Conversations:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._sources: dict[tuple[UUID, MessageState, datetime], Sources | None] = {}

    # --- conversations ---

    def create(self, user_id: UUID, first_question: str, mode: Mode, knowledge_base_id: UUID | None) -> Conversation:
        """A conversation named after its first question."""
        title = " ".join(clean_label(first_question).split()) or "?"
        title = title if len(title) <= TITLE_CHARACTERS else title[: TITLE_CHARACTERS - 1] + "…"
        row = ConversationRow(
            id=uuid4(), owner_id=user_id, title=title, mode=mode.value, knowledge_base_id=knowledge_base_id
        )
        with self._database.write() as session:
            if knowledge_base_id:
                require_knowledge_base(session, user_id, knowledge_base_id)
            session.add(row)
        return _conversation(row)

    def get(self, user_id: UUID, conversation_id: UUID) -> Conversation:
        with self._database.read() as session:
            return _conversation(_own(session, user_id, conversation_id))

    def search(self, user_id: UUID, search: str = "", offset: int = 0, limit: int = 20) -> list[Conversation]:
        """The latest first; with `search`, those whose title or messages contain each of its words."""
        statement = (
            _matching(user_id, search)
            .order_by(ConversationRow.updated_at.desc(), ConversationRow.id)
            .offset(offset)
            .limit(limit)
        )
        with self._database.read() as session:
            return [_conversation(row) for row in session.scalars(statement)]

    def count(self, user_id: UUID, search: str = "") -> int:
        statement = sa.select(sa.func.count()).select_from(_matching(user_id, search).subquery())
        with self._database.read() as session:
            return session.scalar(statement) or 0

    def rename(self, user_id: UUID, conversation_id: UUID, title: str) -> None:
        """Errors: `InvalidName` for an empty title, or one of more than 200 characters."""
        cleaned = clean_name(title, MOST_TITLE_CHARACTERS)
        with self._database.write() as session:
            _own(session, user_id, conversation_id).title = cleaned

    def delete(self, user_id: UUID, conversation_id: UUID) -> None:
        with self._database.write() as session:
            session.delete(_own(session, user_id, conversation_id))

    def choose(self, user_id: UUID, conversation_id: UUID, mode: Mode, knowledge_base_id: UUID | None) -> None:
        """Answer what follows in another mode or from another knowledge base, and leave a line saying so."""
        with self._database.write() as session:
            row = _own(session, user_id, conversation_id, lock=True)
            if (row.mode, row.knowledge_base_id) == (mode.value, knowledge_base_id):
                return
            if knowledge_base_id:
                require_knowledge_base(session, user_id, knowledge_base_id)
            row.mode, row.knowledge_base_id = mode.value, knowledge_base_id
            last = _last(session, conversation_id)
            if last and last.role == Role.NOTICE.value:
                session.delete(last)  # only the latest of several switches in a row matters
                session.flush()
            _add_notice(session, row)

    def note_choice(self, user_id: UUID, conversation_id: UUID) -> None:
        """Leave a line that says in which mode, and from which knowledge base, the conversation is answered."""
        with self._database.write() as session:
            _add_notice(session, _own(session, user_id, conversation_id, lock=True))

    # --- messages ---

    def messages(
        self, user_id: UUID, conversation_id: UUID, limit: int = 50, before: int | None = None
    ) -> Sequence[Message]:
        """The last `limit` messages (before ordinal `before`), the oldest first, with `sources` but no retrieval."""
        statement = (
            sa.select(MessageRow)
            .where(MessageRow.conversation_id == conversation_id)
            .options(defer(MessageRow.retrieval))
            .order_by(MessageRow.ordinal.desc())
            .limit(limit)
        )
        if before is not None:
            statement = statement.where(MessageRow.ordinal < before)
        with self._database.read() as session:
            _own(session, user_id, conversation_id)
            messages = [_listed(row) for row in session.scalars(statement)][::-1]
            sources = self._sources_of(session, messages)
        return [replace(message, sources=sources.get(message.id)) for message in messages]

    def _sources_of(self, session: Session, messages: Sequence[Message]) -> dict[UUID, Sources]:
        """Read once for each answer: 50 answers with five passages each are megabytes of JSON."""
        ended = {
            message.id: (message.id, message.state, message.created_at)
            for message in messages
            if message.role is Role.ASSISTANT and message.state is not MessageState.STREAMING
        }
        missing = [message_id for message_id, key in ended.items() if key not in self._sources]
        if missing:
            statement = sa.select(MessageRow.id, MessageRow.retrieval).where(MessageRow.id.in_(missing))
            for message_id, record in session.execute(statement):
                self._sources[ended[message_id]] = sources_from(record) if record else None
        found = {message_id: self._sources.get(key) for message_id, key in ended.items()}
        if len(self._sources) > MOST_SOURCES:
            self._sources.clear()
        return {message_id: sources for message_id, sources in found.items() if sources}

    def message(self, user_id: UUID, message_id: UUID) -> Message:
        with self._database.read() as session:
            return _message(_own_message(session, user_id, message_id))

    def state(self, user_id: UUID, message_id: UUID) -> MessageState:
        """How far a message is, without what it holds: for those who ask often."""
        statement = (
            sa.select(MessageRow.state)
            .join(ConversationRow, ConversationRow.id == MessageRow.conversation_id)
            .where(MessageRow.id == message_id, ConversationRow.owner_id == user_id)
        )
        with self._database.read() as session:
            state = session.scalar(statement)
        if state is None:
            raise NotFound(what=MESSAGE)
        return MessageState(state)

    def streaming(self) -> list[Streaming]:
        """The answers of all users that are being written."""
        statement = (
            sa.select(MessageRow.id, ConversationRow.owner_id)
            .join(ConversationRow, ConversationRow.id == MessageRow.conversation_id)
            .where(MessageRow.state == MessageState.STREAMING.value)
        )
        with self._database.read() as session:
            return [Streaming(*row) for row in session.execute(statement)]

    def ask(self, user_id: UUID, conversation_id: UUID, question: str) -> Message:
        """Add a question and the empty answer to it, in the conversation's mode; returns the answer.

        Errors: `AnswerRunning`: one at a time.
        """
        with self._database.write() as session:
            row = _own(session, user_id, conversation_id, lock=True)
            _require_silence(session, conversation_id)
            row.updated_at = now()
            _add(session, row, Role.USER, MessageState.DONE, clean_text(question))
            return _message(_add(session, row, Role.ASSISTANT, MessageState.STREAMING, ""))

    def ask_again(self, user_id: UUID, message_id: UUID) -> Message | None:
        """Empty an answer that did not come to its end, to give it anew.

        None if there is nothing to do: it is being given, or is complete by now. Errors: `AnswerRunning`, if another
        one is being given.
        """
        with self._database.write() as session:
            # The conversation before the message, as `ask` does.
            _own(session, user_id, _own_message(session, user_id, message_id).conversation_id, lock=True)
            row = _own_message(session, user_id, message_id, lock=True)
            _require_silence(session, row.conversation_id, row.id)
            if row.state in (MessageState.STREAMING.value, MessageState.DONE.value):
                return None
            row.state, row.content, row.error, row.error_values = MessageState.STREAMING.value, "", "", {}
            row.retrieval, row.model, row.created_at = None, "", now()
            return _message(row)

    def question_of(self, user_id: UUID, message_id: UUID) -> tuple[Message, list[Message]]:
        """The question an answer belongs to, and the messages before that question, the oldest first."""
        with self._database.read() as session:
            answer = _own_message(session, user_id, message_id)
            statement = (
                sa.select(MessageRow)
                .where(MessageRow.conversation_id == answer.conversation_id, MessageRow.ordinal < answer.ordinal)
                .options(defer(MessageRow.retrieval))
                .order_by(MessageRow.ordinal.desc())
                .limit(30)
            )
            earlier = [_listed(row) for row in session.scalars(statement)]
        for index, message in enumerate(earlier):
            if message.role is Role.USER:
                return message, earlier[index + 1 :][::-1]
        raise NotFound(what=MESSAGE)

    def finish(
        self,
        user_id: UUID,
        message_id: UUID,
        state: MessageState,
        content: str,
        model: str = "",
        retrieval: Retrieval | None = None,
        error: KbError | None = None,
        begun: datetime | None = None,
    ) -> bool:
        """Write an answer's end. False if it had ended already, which is left as it is.

        Its producer, who knows when this try was `begun`, also corrects those who took it for dead, and leaves a later
        try alone.
        """
        with self._database.write() as session:
            row = _own_message(session, user_id, message_id, lock=True)
            if begun and row.created_at != begun:
                return False
            is_mistaken = begun is not None and row.state == MessageState.INTERRUPTED.value
            if row.state != MessageState.STREAMING.value and not is_mistaken:
                return False
            row.state, row.content, row.model = state.value, clean_text(content), model
            row.retrieval = to_record(retrieval) if retrieval else None
            row.error, row.error_values = (error.code, error.values) if error else ("", {})
            return True


def _matching(user_id: UUID, search: str) -> sa.Select[ConversationRow]:
    statement = sa.select(ConversationRow).where(ConversationRow.owner_id == user_id)
    for word in clean_text(search).split()[:SEARCHED_WORDS]:
        hit = sa.exists().where(
            MessageRow.conversation_id == ConversationRow.id, MessageRow.content.icontains(word, autoescape=True)
        )
        statement = statement.where(sa.or_(ConversationRow.title.icontains(word, autoescape=True), hit))
    return statement


def _own(session: Session, user_id: UUID, conversation_id: UUID, lock: bool = False) -> ConversationRow:
    """The row, if it is the user's; with `lock`, no other session adds messages meanwhile."""
    row = session.get(ConversationRow, conversation_id, with_for_update=lock or None)
    if row is None or row.owner_id != user_id:
        raise NotFound(what=CONVERSATION)
    return row


def _own_message(session: Session, user_id: UUID, message_id: UUID, lock: bool = False) -> MessageRow:
    row = session.get(MessageRow, message_id, with_for_update=lock or None)
    if row is None:
        raise NotFound(what=MESSAGE)
    _own(session, user_id, row.conversation_id)
    return row


def _require_silence(session: Session, conversation_id: UUID, but: UUID | None = None) -> None:
    """`AnswerRunning` while an answer of the conversation is being written, except `but`."""
    running = sa.select(MessageRow.id).where(
        MessageRow.conversation_id == conversation_id, MessageRow.state == MessageState.STREAMING.value
    )
    if any(message_id != but for message_id in session.scalars(running)):
        raise AnswerRunning


def _last(session: Session, conversation_id: UUID) -> MessageRow | None:
    statement = sa.select(MessageRow).where(MessageRow.conversation_id == conversation_id)
    return session.scalar(statement.order_by(MessageRow.ordinal.desc()).limit(1))


def _add(session: Session, row: ConversationRow, role: Role, state: MessageState, content: str) -> MessageRow:
    last = _last(session, row.id)
    message = MessageRow(
        id=uuid4(),
        conversation_id=row.id,
        ordinal=last.ordinal + 1 if last else 0,
        role=role.value,
        state=state.value,
        mode=row.mode,
        content=content,
        knowledge_base_id=row.knowledge_base_id,
        model="",
        error="",
        error_values={},
        created_at=now(),
    )
    session.add(message)
    session.flush()
    return message


def _add_notice(session: Session, row: ConversationRow) -> None:
    knowledge_base_id = row.knowledge_base_id
    name = own_knowledge_base(session, row.owner_id, knowledge_base_id).name if knowledge_base_id else ""
    _add(session, row, Role.NOTICE, MessageState.DONE, name)


def _conversation(row: ConversationRow) -> Conversation:
    return Conversation(
        id=row.id,
        owner_id=row.owner_id,
        title=row.title,
        mode=Mode(row.mode),
        knowledge_base_id=row.knowledge_base_id,
        created_at=row.created_at or now(),
        updated_at=row.updated_at or now(),
    )


def _message(row: MessageRow) -> Message:
    return replace(_listed(row), retrieval=from_record(row.retrieval) if row.retrieval else None)


def _listed(row: MessageRow) -> Message:
    """Without the retrieval, which is not read."""
    return Message(
        id=row.id,
        conversation_id=row.conversation_id,
        ordinal=row.ordinal,
        role=Role(row.role),
        state=MessageState(row.state),
        mode=Mode(row.mode),
        content=row.content,
        created_at=row.created_at,
        knowledge_base_id=row.knowledge_base_id,
        model=row.model,
        error=row.error,
        error_values=row.error_values,
    )
