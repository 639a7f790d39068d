"""Conversations and their messages. Every call takes the acting user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
import structlog

from kb.database import Database
from kb.database.tables import conversations, message_texts, messages, now
from kb.errors import N_, AnswerRunning, KbError, NotFound
from kb.formats import Unreadable, from_record, sources_from, to_record
from kb.library.access import own_knowledge_base
from kb.models import Conversation, Message, MessageState, Mode, Retrieval, Role, Sources
from kb.names import clean_label, clean_name, clean_text, fold

TITLE_CHARACTERS = 60  # of a title made of the first question
MOST_TITLE_CHARACTERS = 200
SEARCHED_WORDS = 10
MOST_SOURCES = 10_000  # the largest number of answers whose sources stay in memory
HISTORY_MESSAGES = 30  # read to find a question and the conversation before it

CONVERSATION = N_("conversation")
MESSAGE = N_("message")

log = structlog.get_logger()

_OF_USER = conversations.c.owner_id == sa.bindparam("of_user")
_CONVERSATION = sa.select(conversations).where(conversations.c.id == sa.bindparam("of_conversation"), _OF_USER)
_CONVERSATION_LOCKED = _CONVERSATION.with_for_update()
_MESSAGE = (
    sa.select(messages)
    .join(conversations, conversations.c.id == messages.c.conversation_id)
    .where(messages.c.id == sa.bindparam("of_message"), _OF_USER)
)
_WITHOUT_RETRIEVAL = [column for column in messages.c if column is not messages.c.retrieval]
# The last ordinal of a conversation, and its running answer if there is one.
_in_conversation = messages.c.conversation_id == sa.bindparam("of_conversation")
_STATE = sa.select(
    sa.select(sa.func.max(messages.c.ordinal)).where(_in_conversation).scalar_subquery().label("last"),
    sa.select(messages.c.id)
    .where(_in_conversation, messages.c.state == MessageState.STREAMING.value)
    .limit(1)
    .scalar_subquery()
    .label("streaming"),
)


@dataclass(frozen=True, slots=True)
class Streaming:
    """A running answer of any user."""

    id: UUID
    user_id: UUID


@dataclass(frozen=True, slots=True)
class Asked:
    """An answer, its question, and the messages before the question, oldest first."""

    answer: Message
    question: Message
    history: Sequence[Message]


@dataclass(frozen=True, slots=True)
class _KeptSources:
    sources: Sources | None = None
    are_lost: bool = False


class Conversations:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._sources: dict[tuple[UUID, MessageState, datetime], _KeptSources] = {}

    # --- conversations ---

    def create(self, user_id: UUID, first_question: str, mode: Mode, knowledge_base_id: UUID | None) -> Conversation:
        """Create a conversation named after its first question."""
        title = " ".join(clean_label(first_question).split()) or "?"
        title = title if len(title) <= TITLE_CHARACTERS else title[: TITLE_CHARACTERS - 1] + "…"
        moment = now()
        created = Conversation(uuid4(), user_id, title, mode, knowledge_base_id, moment, moment)
        row = {"id": created.id, "owner_id": user_id, "title": title, "folded_title": fold(title)}
        row |= {"mode": mode.value, "knowledge_base_id": knowledge_base_id}
        row |= {"created_at": moment, "updated_at": moment}
        with self._database.write() as connection:
            if knowledge_base_id:
                own_knowledge_base(connection, user_id, knowledge_base_id)
            connection.execute(sa.insert(conversations), row)
        return created

    def get(self, user_id: UUID, conversation_id: UUID) -> Conversation:
        with self._database.read() as connection:
            return _conversation(_own(connection, user_id, conversation_id))

    def search(self, user_id: UUID, search: str = "", offset: int = 0, limit: int = 20) -> list[Conversation]:
        """Conversations, latest first; `search` keeps those whose title or messages contain every word, in any case."""
        statement = (
            _matching(user_id, search)
            .order_by(conversations.c.updated_at.desc(), conversations.c.id)
            .offset(offset)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [_conversation(row) for row in connection.execute(statement)]

    def count(self, user_id: UUID, search: str = "") -> int:
        statement = sa.select(sa.func.count()).select_from(_matching(user_id, search).subquery())
        with self._database.read() as connection:
            return connection.scalar(statement) or 0

    def rename(self, user_id: UUID, conversation_id: UUID, title: str) -> None:
        """Errors: `InvalidName` for an empty title, or one of more than 200 characters."""
        cleaned = clean_name(title, MOST_TITLE_CHARACTERS)
        with self._database.write() as connection:
            _own(connection, user_id, conversation_id, lock=True)
            connection.execute(_change(conversation_id).values(title=cleaned, folded_title=fold(cleaned)))

    def delete(self, user_id: UUID, conversation_id: UUID) -> None:
        with self._database.write() as connection:
            _own(connection, user_id, conversation_id, lock=True)
            connection.execute(sa.delete(conversations).where(conversations.c.id == conversation_id))

    def choose(self, user_id: UUID, conversation_id: UUID, mode: Mode, knowledge_base_id: UUID | None) -> None:
        """Switch the mode or knowledge base for the following questions, and add a notice."""
        with self._database.write() as connection:
            row = _own(connection, user_id, conversation_id, lock=True)
            if (row.mode, row.knowledge_base_id) == (mode.value, knowledge_base_id):
                return
            name = own_knowledge_base(connection, user_id, knowledge_base_id).name if knowledge_base_id else ""
            connection.execute(_change(conversation_id).values(mode=mode.value, knowledge_base_id=knowledge_base_id))
            # Only the latest of several switches in a row matters.
            last = sa.select(sa.func.max(messages.c.ordinal)).where(messages.c.conversation_id == conversation_id)
            connection.execute(
                sa.delete(messages).where(
                    messages.c.conversation_id == conversation_id,
                    messages.c.ordinal == last.scalar_subquery(),
                    messages.c.role == Role.NOTICE.value,
                )
            )
            _add_notice(connection, conversation_id, mode, knowledge_base_id, name)

    def note_choice(self, user_id: UUID, conversation_id: UUID) -> None:
        """Add a notice with the conversation's mode and knowledge base."""
        with self._database.write() as connection:
            row = _own(connection, user_id, conversation_id, lock=True)
            base_id = row.knowledge_base_id
            name = own_knowledge_base(connection, user_id, base_id).name if base_id else ""
            _add_notice(connection, conversation_id, Mode(row.mode), base_id, name)

    # --- messages ---

    def messages(
        self,
        user_id: UUID,
        conversation_id: UUID,
        limit: int = 50,
        before: int | None = None,
        after: int | None = None,
    ) -> Sequence[Message]:
        """The last `limit` messages between two ordinals, the oldest first, with `sources` but no retrieval."""
        statement = (
            sa.select(*_WITHOUT_RETRIEVAL)
            .where(messages.c.conversation_id == conversation_id)
            .order_by(messages.c.ordinal.desc())
            .limit(limit)
        )
        if before is not None:
            statement = statement.where(messages.c.ordinal < before)
        if after is not None:
            statement = statement.where(messages.c.ordinal > after)
        with self._database.read() as connection:
            _own(connection, user_id, conversation_id)
            found = [_listed(row) for row in connection.execute(statement)][::-1]
            return self._with_sources(connection, found)

    def _with_sources(self, connection: sa.Connection, found: Sequence[Message]) -> Sequence[Message]:
        """Add the sources. Each answer is read once: 50 answers with five passages each are megabytes of JSON."""
        ended = {
            message.id: (message.id, message.state, message.created_at)
            for message in found
            if message.role is Role.ASSISTANT and message.state is not MessageState.STREAMING
        }
        missing = [message_id for message_id, key in ended.items() if key not in self._sources]
        if missing:
            statement = sa.select(messages.c.id, messages.c.retrieval).where(messages.c.id.in_(missing))
            for message_id, record in connection.execute(statement):
                self._sources[ended[message_id]] = _read_sources(message_id, record)
        kept = {message_id: self._sources.get(key, _KeptSources()) for message_id, key in ended.items()}
        if len(self._sources) > MOST_SOURCES:
            self._sources.clear()
        none = _KeptSources()
        return [
            replace(message, sources=sources.sources, has_lost_passages=sources.are_lost)
            for message, sources in ((message, kept.get(message.id, none)) for message in found)
        ]

    def message(self, user_id: UUID, message_id: UUID) -> Message:
        with self._database.read() as connection:
            return _message(_own_message(connection, user_id, message_id))

    def state(self, user_id: UUID, message_id: UUID) -> MessageState:
        """A message's state without its content, for frequent polling. Errors: `NotFound`."""
        statement = _MESSAGE.with_only_columns(messages.c.state)
        with self._database.read() as connection:
            state = connection.scalar(statement, {"of_message": message_id, "of_user": user_id})
        if state is None:
            raise NotFound(what=MESSAGE)
        return MessageState(state)

    def streaming(self) -> list[Streaming]:
        """The running answers of all users."""
        statement = (
            sa.select(messages.c.id, conversations.c.owner_id)
            .join(conversations, conversations.c.id == messages.c.conversation_id)
            .where(messages.c.state == MessageState.STREAMING.value)
        )
        with self._database.read() as connection:
            return [Streaming(*row) for row in connection.execute(statement)]

    def ask(self, user_id: UUID, conversation_id: UUID, question: str) -> Message:
        """Add a question and its empty answer in the conversation's mode; return the answer.

        Errors: `AnswerRunning`, because a conversation has one running answer at a time.
        """
        with self._database.write() as connection:
            row = _own(connection, user_id, conversation_id, lock=True)
            found = connection.execute(_STATE, {"of_conversation": conversation_id}).one()
            if found.streaming:
                raise AnswerRunning
            mode, base_id = Mode(row.mode), row.knowledge_base_id
            first = 0 if found.last is None else found.last + 1
            cleaned = clean_text(question)
            asked = _new(conversation_id, first, Role.USER, MessageState.DONE, mode, cleaned, base_id)
            answer = _new(conversation_id, first + 1, Role.ASSISTANT, MessageState.STREAMING, mode, "", base_id)
            connection.execute(sa.insert(messages), [_row(asked), _row(answer)])
            texts = [
                {"message_id": message.id, "conversation_id": conversation_id, "text": fold(message.content)}
                for message in (asked, answer)
            ]
            connection.execute(sa.insert(message_texts), texts)
            connection.execute(_change(conversation_id).values(updated_at=now()))
        return answer

    def ask_again(self, user_id: UUID, message_id: UUID) -> Message | None:
        """Empty an incomplete answer, so that it can be regenerated.

        Returns None if the answer is running or complete. Errors: `AnswerRunning` if another answer is running.
        """
        with self._database.write() as connection:
            # Lock the conversation before the message, as `ask` does.
            conversation_id = _own_message(connection, user_id, message_id).conversation_id
            _own(connection, user_id, conversation_id, lock=True)
            row = _own_message(connection, user_id, message_id, lock=True)
            streaming = connection.execute(_STATE, {"of_conversation": conversation_id}).one().streaming
            if streaming not in (None, message_id):
                raise AnswerRunning
            if row.state in (MessageState.STREAMING.value, MessageState.DONE.value):
                return None
            empty: dict[str, Any] = {
                "state": MessageState.STREAMING.value,
                "content": "",
                "error": "",
                "error_values": {},
            }
            empty |= {"reasoning": "", "retrieval": None, "model": "", "created_at": now()}
            connection.execute(sa.update(messages).where(messages.c.id == message_id).values(empty))
            return _message(_own_message(connection, user_id, message_id))

    def asked(self, user_id: UUID, message_id: UUID) -> Asked:
        """The answer `message_id` with its question and history. Errors: `NotFound`."""
        with self._database.read() as connection:
            answer = _message(_own_message(connection, user_id, message_id))
            statement = (
                sa.select(*_WITHOUT_RETRIEVAL)
                .where(
                    messages.c.conversation_id == answer.conversation_id,
                    messages.c.ordinal < answer.ordinal,
                )
                .order_by(messages.c.ordinal.desc())
                .limit(HISTORY_MESSAGES)
            )
            earlier = [_listed(row) for row in connection.execute(statement)]
        for index, message in enumerate(earlier):
            if message.role is Role.USER:
                return Asked(answer, message, earlier[index + 1 :][::-1])
        raise NotFound(what=MESSAGE)

    def finish(
        self,
        user_id: UUID,
        message_id: UUID,
        state: MessageState,
        content: str,
        model: str = "",
        reasoning: str = "",
        retrieval: Retrieval | None = None,
        error: KbError | None = None,
        begun: datetime | None = None,
    ) -> bool:
        """Store how an answer ended. Returns False, and changes nothing, if it had already ended.

        With `begun`, the time when the producer's run began, this also replaces a mistaken interruption, but never the
        answer of a later run.
        """
        cleaned = clean_text(content)
        values: dict[str, Any] = {"state": state.value, "content": cleaned, "model": model}
        values["reasoning"] = clean_text(reasoning)
        values["retrieval"] = to_record(retrieval) if retrieval else None
        values |= {"error": error.code if error else "", "error_values": error.values if error else {}}
        open_states = [MessageState.STREAMING.value, *([MessageState.INTERRUPTED.value] if begun else [])]
        own = sa.select(conversations.c.id).where(conversations.c.owner_id == user_id)
        end = sa.update(messages).where(
            messages.c.id == message_id, messages.c.conversation_id.in_(own), messages.c.state.in_(open_states)
        )
        if begun:
            end = end.where(messages.c.created_at == begun)
        fold_text = sa.update(message_texts).where(message_texts.c.message_id == message_id)
        with self._database.write() as connection:
            if connection.execute(end.values(values)).rowcount == 0:
                _own_message(connection, user_id, message_id)
                return False
            connection.execute(fold_text.values(text=fold(cleaned)))
            return True


def _matching(user_id: UUID, search: str) -> sa.Select[Any]:
    statement = sa.select(conversations).where(conversations.c.owner_id == user_id)
    for word in fold(clean_text(search)).split()[:SEARCHED_WORDS]:
        hit = sa.exists().where(
            message_texts.c.conversation_id == conversations.c.id, message_texts.c.text.contains(word, autoescape=True)
        )
        statement = statement.where(sa.or_(conversations.c.folded_title.contains(word, autoescape=True), hit))
    return statement


def _own(connection: sa.Connection, user_id: UUID, conversation_id: UUID, lock: bool = False) -> sa.Row[Any]:
    """The user's conversation. `lock` keeps others from adding messages until the transaction ends."""
    of = {"of_conversation": conversation_id, "of_user": user_id}
    found = connection.execute(_CONVERSATION_LOCKED if lock else _CONVERSATION, of).one_or_none()
    if found is None:
        raise NotFound(what=CONVERSATION)
    return found


def _own_message(connection: sa.Connection, user_id: UUID, message_id: UUID, lock: bool = False) -> sa.Row[Any]:
    statement = _MESSAGE.with_for_update(of=messages) if lock else _MESSAGE
    found = connection.execute(statement, {"of_message": message_id, "of_user": user_id}).one_or_none()
    if found is None:
        raise NotFound(what=MESSAGE)
    return found


def _change(conversation_id: UUID) -> sa.Update:
    return sa.update(conversations).where(conversations.c.id == conversation_id)


def _new(
    conversation_id: UUID,
    ordinal: int,
    role: Role,
    state: MessageState,
    mode: Mode,
    content: str,
    knowledge_base_id: UUID | None,
) -> Message:
    return Message(uuid4(), conversation_id, ordinal, role, state, mode, content, now(), knowledge_base_id)


def _row(message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "conversation_id": message.conversation_id,
        "ordinal": message.ordinal,
        "role": message.role.value,
        "state": message.state.value,
        "mode": message.mode.value,
        "content": message.content,
        "knowledge_base_id": message.knowledge_base_id,
        "created_at": message.created_at,
    }


def _add_notice(
    connection: sa.Connection, conversation_id: UUID, mode: Mode, knowledge_base_id: UUID | None, name: str
) -> None:
    last = connection.execute(_STATE, {"of_conversation": conversation_id}).one().last
    ordinal = 0 if last is None else last + 1
    notice = _new(conversation_id, ordinal, Role.NOTICE, MessageState.DONE, mode, name, knowledge_base_id)
    connection.execute(sa.insert(messages), _row(notice))


def _conversation(row: sa.Row[Any]) -> Conversation:
    return Conversation(
        id=row.id,
        owner_id=row.owner_id,
        title=row.title,
        mode=Mode(row.mode),
        knowledge_base_id=row.knowledge_base_id,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _message(row: sa.Row[Any]) -> Message:
    message = _listed(row)
    try:
        return replace(message, retrieval=from_record(row.retrieval) if row.retrieval else None)
    except Unreadable as error:
        log.warning("message.passages_unreadable", message=str(row.id), detail=str(error))
        return replace(message, has_lost_passages=True)


def _read_sources(message_id: UUID, record: dict[str, Any] | None) -> _KeptSources:
    try:
        return _KeptSources(sources_from(record) if record else None)
    except Unreadable as error:
        log.warning("message.passages_unreadable", message=str(message_id), detail=str(error))
        return _KeptSources(are_lost=True)


def _listed(row: sa.Row[Any]) -> Message:
    """The message without its retrieval."""
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
        reasoning=row.reasoning,
    )
