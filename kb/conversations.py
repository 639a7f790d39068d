"""Conversations and the trees of their messages. Every call takes the acting user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

import sqlalchemy as sa

from kb import message_store as store
from kb.database import Database
from kb.database.tables import conversations, message_texts, messages, now
from kb.errors import N_, AnswerRunning, NotFound, QuestionTooLong
from kb.formats import to_json
from kb.library.access import own_knowledge_base
from kb.message_store import NOT_DELETED
from kb.messages import Attached, AttachmentsPart, Message, Part, Rating, SupportPart, TextPart
from kb.models import NOWHERE, Conversation, MessageState, Mode, Role, Scope, known
from kb.names import clean_label, clean_name, clean_text, fold

QUESTION_CHARACTERS = 20_000
TITLE_CHARACTERS = 60  # of a title made of the first question
MOST_TITLE_CHARACTERS = 200
REASON_CHARACTERS = 1_000  # of what somebody has against an answer
SEARCHED_WORDS = 10
HISTORY_MESSAGES = 30  # read to find the conversation before a question
UNDO_SECONDS = 3600  # for so long a deleted conversation can be restored

CONVERSATION = N_("conversation")

T = TypeVar("T")

_OF_USER = sa.and_(conversations.c.owner_id == sa.bindparam("of_user"), NOT_DELETED)
_CONVERSATION = sa.select(conversations).where(conversations.c.id == sa.bindparam("of_conversation"), _OF_USER)
_CONVERSATION_LOCKED = _CONVERSATION.with_for_update()
_STATE = (
    sa.select(messages.c.state)
    .join(conversations, conversations.c.id == messages.c.conversation_id)
    .where(messages.c.run_id == sa.bindparam("of_run"), _OF_USER)
)


@dataclass(frozen=True, slots=True)
class Streaming:
    """A running answer of any user."""

    message_id: UUID
    run_id: UUID
    user_id: UUID
    is_unwanted: bool = False  # its conversation was deleted


@dataclass(frozen=True, slots=True)
class Asked:
    """An answer, its question, and the messages before the question on its branch, oldest first."""

    answer: Message
    question: Message
    history: Sequence[Message]


class Conversations:
    def __init__(self, database: Database) -> None:
        self._database = database

    # --- conversations ---

    def create(self, user_id: UUID, first_question: str, mode: Mode, scope: Scope = NOWHERE) -> Conversation:
        """Create a conversation named after its first question. Errors: `NotFound` for a knowledge base."""
        title = " ".join(clean_label(first_question).split()) or "?"
        title = title if len(title) <= TITLE_CHARACTERS else title[: TITLE_CHARACTERS - 1] + "…"
        moment = now()
        created = Conversation(uuid4(), user_id, title, mode, scope, moment, moment)
        row: dict[str, Any] = {"id": created.id, "owner_id": user_id} | _title(title)
        row |= _choice(mode, scope) | {"created_at": moment, "updated_at": moment}
        with self._database.write() as connection:
            _names(connection, user_id, scope)
            connection.execute(sa.insert(conversations), row)
        return created

    def get(self, user_id: UUID, conversation_id: UUID) -> Conversation:
        with self._database.read() as connection:
            return _conversation(_own(connection, user_id, conversation_id))

    def search(
        self,
        user_id: UUID,
        search: str = "",
        offset: int = 0,
        limit: int = 20,
        mode: Mode | None = None,
        knowledge_base_id: UUID | None = None,
    ) -> list[Conversation]:
        """Conversations, pinned ones first, then the latest.

        `search` keeps those whose title or messages contain every word, in any case and either Chinese script; `mode`
        and `knowledge_base_id` those with a question in that mode, and with one that was looked up there. The next
        question counts, too.
        """
        pinned, updated = conversations.c.pinned_at, conversations.c.updated_at
        statement = (
            _matching(user_id, search, mode, knowledge_base_id)
            .order_by(pinned.desc().nulls_last(), updated.desc(), conversations.c.id)
            .offset(offset)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [_conversation(row) for row in connection.execute(statement)]

    def count(
        self, user_id: UUID, search: str = "", mode: Mode | None = None, knowledge_base_id: UUID | None = None
    ) -> int:
        """How many `search` finds in all."""
        found = _matching(user_id, search, mode, knowledge_base_id).subquery()
        with self._database.read() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(found)) or 0

    def rename(self, user_id: UUID, conversation_id: UUID, title: str) -> None:
        """Errors: `InvalidName` for an empty title, or one of more than 200 characters."""
        cleaned = clean_name(title, MOST_TITLE_CHARACTERS)
        with self._database.write() as connection:
            _own(connection, user_id, conversation_id, lock=True)
            connection.execute(_change(conversation_id).values(_title(cleaned, is_named=True)))

    def pin(self, user_id: UUID, conversation_id: UUID, is_pinned: bool = True) -> None:
        """Keep it at the head of the lists, or no longer."""
        with self._database.write() as connection:
            row = _own(connection, user_id, conversation_id, lock=True)
            if is_pinned is (row.pinned_at is None):
                connection.execute(_change(conversation_id).values(pinned_at=now() if is_pinned else None))

    def delete(self, user_id: UUID, conversation_id: UUID) -> None:
        """From now on it is not found; `restore` undoes this until `purge` removes it for good."""
        with self._database.write() as connection:
            _own(connection, user_id, conversation_id, lock=True)
            connection.execute(_change(conversation_id).values(deleted_at=now()))

    def restore(self, user_id: UUID, conversation_id: UUID) -> None:
        """Undo `delete`. Errors: `NotFound` once it was removed for good."""
        deleted = _change(conversation_id).where(conversations.c.owner_id == user_id)
        with self._database.write() as connection:
            if connection.execute(deleted.values(deleted_at=None)).rowcount == 0:
                raise NotFound(what=CONVERSATION)

    def purge(self) -> int:
        """Remove for good what any user deleted more than an hour ago; returns how many conversations that were."""
        is_due = conversations.c.deleted_at < now() - timedelta(seconds=UNDO_SECONDS)
        with self._database.write() as connection:
            return connection.execute(sa.delete(conversations).where(is_due)).rowcount

    def lacks_title(self, user_id: UUID, message_id: UUID) -> bool:
        """Whether the message's conversation is still named after its first question. False if it was deleted."""
        with self._database.read() as connection:
            is_named = connection.scalar(_of_message(user_id, message_id, conversations.c.is_named))
        return is_named is not None and not is_named

    def suggest_title(self, user_id: UUID, message_id: UUID, title: str) -> bool:
        """Name the message's conversation, unless it has a name already; returns whether it took the title."""
        cleaned = " ".join(clean_label(title).split())[:MOST_TITLE_CHARACTERS]
        own = _of_message(user_id, message_id, conversations.c.id).correlate(None).scalar_subquery()
        unnamed = sa.update(conversations).where(conversations.c.id == own, conversations.c.is_named.is_(False))
        if not cleaned:
            return False
        with self._database.write() as connection:
            return connection.execute(unnamed.values(_title(cleaned, is_named=True))).rowcount > 0

    def choose(self, user_id: UUID, conversation_id: UUID, mode: Mode, scope: Scope = NOWHERE) -> None:
        """Switch the mode or the scope for the following questions, and add a notice. Errors: `NotFound`."""
        with self._database.write() as connection:
            _choose(connection, _own(connection, user_id, conversation_id, lock=True), mode, scope)

    def note_choice(self, user_id: UUID, conversation_id: UUID) -> None:
        """Add a notice with the conversation's mode and knowledge bases."""
        with self._database.write() as connection:
            row = _own(connection, user_id, conversation_id, lock=True)
            scope = store.read_scope(row.scope)
            _add_notice(connection, row, known(row.mode, Mode.KNOWLEDGE), scope, _names(connection, user_id, scope))

    # --- messages ---

    def messages(
        self,
        user_id: UUID,
        conversation_id: UUID,
        limit: int = 50,
        before: int | None = None,
        after: int | None = None,
    ) -> Sequence[Message]:
        """The last `limit` messages between two ordinals on the branch that is shown, the oldest first.

        They name their passages (`sources`), but lack the retrieval.
        """
        with self._database.read() as connection:
            row = _own(connection, user_id, conversation_id)
            found = store.branch(connection, row.shown_id, limit, before, after)
            return store.with_siblings(connection, conversation_id, found)

    def tree(self, user_id: UUID, conversation_id: UUID) -> Sequence[Message]:
        """All messages of all branches with all their parts, the oldest first."""
        with self._database.read() as connection:
            _own(connection, user_id, conversation_id)
            return store.tree(connection, conversation_id)

    def message(self, user_id: UUID, message_id: UUID) -> Message:
        """The message with all its parts, but without its siblings."""
        with self._database.read() as connection:
            return store.read(connection, user_id, message_id)

    def support(self, user_id: UUID, message_id: UUID) -> SupportPart:
        """How its passages support an answer, for frequent polling. Errors: `NotFound`."""
        with self._database.read() as connection:
            store.own_row(connection, user_id, message_id)
            return store.read_part(connection, message_id, SupportPart) or SupportPart()

    def note_support(self, user_id: UUID, message_id: UUID, part: SupportPart) -> None:
        """Errors: `NotFound`."""
        with self._database.write() as connection:
            store.own_row(connection, user_id, message_id, lock=True)
            store.replace_part(connection, message_id, part)

    def begin_check(self, user_id: UUID, message_id: UUID, now_seconds: float, running_since: float) -> bool:
        """Note that a model is asked from now on; returns False if one is asked since `running_since` or later.

        Errors: `NotFound`.
        """
        with self._database.write() as connection:
            store.own_row(connection, user_id, message_id, lock=True)
            kept = store.read_part(connection, message_id, SupportPart) or SupportPart()
            if kept.asked_at >= running_since:
                return False
            begun = replace(kept, asked_at=now_seconds, code="", values={})
            store.replace_part(connection, message_id, begun)
            return True

    def state(self, user_id: UUID, run_id: UUID) -> MessageState:
        """The state of the answer of a run without its content, for frequent polling. Errors: `NotFound`."""
        with self._database.read() as connection:
            state = connection.scalar(_STATE, {"of_run": run_id, "of_user": user_id})
        if state is None:
            raise NotFound(what=store.MESSAGE)
        return MessageState(state)

    def streaming(self) -> list[Streaming]:
        """The running answers of all users, with those that nobody waits for any more."""
        columns = messages.c.id, messages.c.run_id, conversations.c.owner_id, conversations.c.deleted_at.is_not(None)
        statement = (
            sa.select(*columns)
            .join(conversations, conversations.c.id == messages.c.conversation_id)
            .where(messages.c.state == MessageState.STREAMING.value)
        )
        with self._database.read() as connection:
            return [Streaming(*row) for row in connection.execute(statement)]

    # --- asking: each returns the answer that a run is to write ---

    def ask(
        self,
        user_id: UUID,
        conversation_id: UUID,
        question: str,
        attached: Sequence[Attached] = (),
        choice: tuple[Mode, Scope] | None = None,
    ) -> Message:
        """Add a question and its empty answer to the branch that is shown.

        `attached`: the files that come with it. `choice`: the mode and the scope that the user sees, which another tab
        may have switched since; without it, the conversation's. Errors: `NotFound`; `QuestionTooLong`; `AnswerRunning`,
        because a conversation has one running answer at a time.
        """
        check_question(question)
        with self._database.write() as connection:
            row = _own(connection, user_id, conversation_id, lock=True)
            if choice:
                _choose(connection, row, *choice)
                row = _own(connection, user_id, conversation_id)
            return _ask(connection, row, row.shown_id, question, attached)

    def edit(self, user_id: UUID, message_id: UUID, question: str, choice: tuple[Mode, Scope] | None = None) -> Message:
        """Ask a question in other words; the old branch stays beside it. `choice` as in `ask`.

        The files that came with it come with it again. Errors: `NotFound`, `QuestionTooLong`, `AnswerRunning`.
        """
        check_question(question)
        with self._database.write() as connection:
            asked, row = _own_pair(connection, user_id, message_id)
            if asked.role != Role.USER.value:
                raise NotFound(what=store.MESSAGE)
            if choice and _switch(connection, row, *choice) is not None:
                row = _own(connection, user_id, row.id)
            attached = store.read(connection, user_id, message_id).attached
            return _ask(connection, row, asked.parent_id, question, attached)

    def regenerate(
        self,
        user_id: UUID,
        message_id: UUID,
        run_id: UUID | None,
        is_beside: bool = False,
        mode: Mode | None = None,
    ) -> Message | None:
        """Have the answer of a run written again: beside the old one, or in its place if that has no text.

        `is_beside`: beside it in any case. `mode`: in another mode than the old one, which is the conversation's still.
        Returns None if it is being written, or if another run has written it since. Errors: `NotFound`,
        `AnswerRunning` if another answer is being written.
        """
        with self._database.write() as connection:
            old, row = _own_pair(connection, user_id, message_id)
            ordinal, streaming = store.state_of(connection, row.id)
            if streaming == message_id or old.run_id != run_id:
                return None
            if streaming:
                raise AnswerRunning
            if not is_beside and not store.read(connection, user_id, message_id).content:
                store.replace_parts(connection, message_id, ())
                return _reopen(connection, user_id, old, row)
            mode, scope = mode or known(old.mode, Mode.KNOWLEDGE), store.read_scope(old.scope)
            again = store.new(row.id, ordinal, Role.ASSISTANT, MessageState.STREAMING, mode, scope, old.parent_id)
            store.insert(connection, [again])
            _show(connection, row.id, again.id)
            return again

    def go_on(self, user_id: UUID, message_id: UUID, run_id: UUID | None) -> Message | None:
        """Have the answer of a run that ended early written on; what it says stays.

        Returns None if it is being written, or is complete by now. Errors: `NotFound`, `AnswerRunning`.
        """
        with self._database.write() as connection:
            old, row = _own_pair(connection, user_id, message_id)
            if old.state in (MessageState.STREAMING.value, MessageState.DONE.value) or old.run_id != run_id:
                return None
            if store.state_of(connection, row.id)[1]:
                raise AnswerRunning
            return _reopen(connection, user_id, old, row)

    def show(self, user_id: UUID, message_id: UUID) -> None:
        """Show the branch through a message, to its newest end. Errors: `NotFound`, `AnswerRunning`."""
        with self._database.write() as connection:
            _message, row = _own_pair(connection, user_id, message_id)
            if store.state_of(connection, row.id)[1]:
                raise AnswerRunning
            shown = store.newest_end(connection, message_id)
            connection.execute(_change(row.id).values(shown_id=shown))

    def rate(self, user_id: UUID, message_id: UUID, rating: Rating) -> None:
        """Keep what the user thinks of an answer. Errors: `NotFound`."""
        kept = to_json(Rating(rating.value, clean_text(rating.reason)[:REASON_CHARACTERS]))
        with self._database.write() as connection:
            store.own_row(connection, user_id, message_id, lock=True)
            connection.execute(sa.update(messages).where(messages.c.id == message_id).values(rating=kept))

    # --- for the run ---

    def asked(self, user_id: UUID, message_id: UUID) -> Asked:
        """The answer `message_id` with its question and history. Errors: `NotFound`."""
        with self._database.read() as connection:
            answer = store.read(connection, user_id, message_id)
            *history, question = store.branch(connection, answer.parent_id, HISTORY_MESSAGES) or [answer]
        if question.role is not Role.USER:
            raise NotFound(what=store.MESSAGE)
        return Asked(answer, question, history)

    def finish(
        self,
        user_id: UUID,
        message_id: UUID,
        state: MessageState,
        parts: Sequence[Part] | None = None,
        run_id: UUID | None = None,
    ) -> bool:
        """Store how an answer ended. Returns False, and changes nothing, if it had already ended.

        Without `parts` it keeps those that it has. With `run_id`, the producer's run, this also replaces a mistaken
        interruption, but never the answer of a later run. A deleted conversation, which can be restored, keeps the
        text, too. Errors: `NotFound` for a message that is gone for good.
        """
        open_states = [MessageState.STREAMING.value, *([MessageState.INTERRUPTED.value] if run_id else [])]
        own = sa.select(conversations.c.id).where(conversations.c.owner_id == user_id)
        is_own = sa.and_(messages.c.id == message_id, messages.c.conversation_id.in_(own))
        end = sa.update(messages).where(is_own, messages.c.state.in_(open_states))
        if run_id:
            end = end.where(messages.c.run_id == run_id)
        with self._database.write() as connection:
            if connection.execute(end.values(state=state.value)).rowcount == 0:
                if connection.scalar(sa.select(messages.c.id).where(is_own)) is None:
                    raise NotFound(what=store.MESSAGE)
                return False
            if parts is not None:
                store.replace_parts(connection, message_id, parts)
            return True


def check_question(question: str) -> None:
    """Errors: `QuestionTooLong`."""
    if len(question) > QUESTION_CHARACTERS:
        raise QuestionTooLong(count=f"{len(question):,}", most=f"{QUESTION_CHARACTERS:,}")


def _ask(
    connection: sa.Connection,
    row: sa.Row[Any],
    parent_id: UUID | None,
    question: str,
    attached: Sequence[Attached],
) -> Message:
    """A question and its answer as children of `parent_id`, which are shown from now on."""
    ordinal, streaming = store.state_of(connection, row.id)
    if streaming:
        raise AnswerRunning
    mode, scope = known(row.mode, Mode.KNOWLEDGE), store.read_scope(row.scope)
    parts: list[Part] = [TextPart(clean_text(question))]
    parts += [AttachmentsPart(tuple(attached))] if attached else []
    asked = store.new(row.id, ordinal, Role.USER, MessageState.DONE, mode, scope, parent_id, parts)
    answer = store.new(row.id, ordinal + 1, Role.ASSISTANT, MessageState.STREAMING, mode, scope, asked.id)
    store.insert(connection, [asked, answer])
    _show(connection, row.id, answer.id)
    return answer


def _reopen(connection: sa.Connection, user_id: UUID, old: sa.Row[Any], row: sa.Row[Any]) -> Message:
    """Begin another run of an answer."""
    begun = {"state": MessageState.STREAMING.value, "run_id": uuid4()}
    connection.execute(sa.update(messages).where(messages.c.id == old.id).values(begun))
    _show(connection, row.id, store.newest_end(connection, old.id))
    return store.read(connection, user_id, old.id)


def _show(connection: sa.Connection, conversation_id: UUID, message_id: UUID) -> None:
    """Let the branch that is shown end with a message that has just been written."""
    connection.execute(_change(conversation_id).values(shown_id=message_id, updated_at=now()))


def _matching(
    user_id: UUID, search: str, mode: Mode | None = None, knowledge_base_id: UUID | None = None
) -> sa.Select[Any]:
    statement = sa.select(conversations).where(conversations.c.owner_id == user_id, NOT_DELETED)
    if mode:
        statement = statement.where(_is_of(conversations.c.mode == mode.value, messages.c.mode == mode.value))
    if knowledge_base_id:  # the scope is JSON, and the two databases share no way to look into it
        held, asked = (
            sa.cast(table.c.scope, sa.Text).contains(f'"{knowledge_base_id}"', autoescape=True)
            for table in (conversations, messages)
        )
        statement = statement.where(_is_of(held, asked))
    for word in fold(clean_text(search)).split()[:SEARCHED_WORDS]:
        hit = sa.exists().where(
            message_texts.c.conversation_id == conversations.c.id, message_texts.c.text.contains(word, autoescape=True)
        )
        statement = statement.where(sa.or_(conversations.c.folded_title.contains(word, autoescape=True), hit))
    return statement


def _is_of(conversation: sa.ColumnElement[bool], message: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """Whether a condition holds for a conversation's next question, or held for one that was asked."""
    is_question = messages.c.role == Role.USER.value
    of_it = messages.c.conversation_id == conversations.c.id
    return sa.or_(conversation, sa.exists().where(of_it, is_question, message))


def _own(connection: sa.Connection, user_id: UUID, conversation_id: UUID, lock: bool = False) -> sa.Row[Any]:
    """The user's conversation. `lock` keeps others from adding messages until the transaction ends."""
    of = {"of_conversation": conversation_id, "of_user": user_id}
    found = connection.execute(_CONVERSATION_LOCKED if lock else _CONVERSATION, of).one_or_none()
    if found is None:
        raise NotFound(what=CONVERSATION)
    return found


def _own_pair(connection: sa.Connection, user_id: UUID, message_id: UUID) -> tuple[sa.Row[Any], sa.Row[Any]]:
    """A message and its conversation, both locked; the conversation first, as `ask` does."""
    conversation_id = store.own_row(connection, user_id, message_id).conversation_id
    row = _own(connection, user_id, conversation_id, lock=True)
    return store.own_row(connection, user_id, message_id, lock=True), row


def _of_message(user_id: UUID, message_id: UUID, column: sa.Column[T]) -> sa.Select[T]:
    """A column of a message's conversation."""
    return (
        sa.select(column)
        .join(messages, messages.c.conversation_id == conversations.c.id)
        .where(messages.c.id == message_id, conversations.c.owner_id == user_id, NOT_DELETED)
    )


def _title(title: str, is_named: bool = False) -> dict[str, Any]:
    return {"title": title, "folded_title": fold(title), "is_named": is_named}


def _change(conversation_id: UUID) -> sa.Update:
    return sa.update(conversations).where(conversations.c.id == conversation_id)


def _choice(mode: Mode, scope: Scope) -> dict[str, Any]:
    return {"mode": mode.value, "knowledge_base_id": scope.first_id, "scope": to_json(scope)}


def _choose(connection: sa.Connection, row: sa.Row[Any], mode: Mode, scope: Scope) -> None:
    """Switch the mode or the scope of a locked conversation, with a notice. Errors: `NotFound`."""
    names = _switch(connection, row, mode, scope)
    if names is not None:
        _add_notice(connection, row, mode, scope, names)


def _switch(connection: sa.Connection, row: sa.Row[Any], mode: Mode, scope: Scope) -> str | None:
    """The names of the knowledge bases that are chosen now; None if nothing changes. Errors: `NotFound`."""
    if (row.mode, store.read_scope(row.scope)) == (mode.value, scope):
        return None
    names = _names(connection, row.owner_id, scope)
    connection.execute(_change(row.id).values(_choice(mode, scope)))
    return names


def _names(connection: sa.Connection, user_id: UUID, scope: Scope) -> str:
    """The knowledge bases' names. Errors: `NotFound`."""
    return ", ".join(own_knowledge_base(connection, user_id, base_id).name for base_id in scope.knowledge_base_ids)


def _add_notice(connection: sa.Connection, row: sa.Row[Any], mode: Mode, scope: Scope, names: str) -> None:
    """Add a notice to the branch that is shown. Only the latest of several in a row matters."""
    end = store.branch(connection, row.shown_id, 1)
    parent_id = row.shown_id
    if end and end[0].role is Role.NOTICE:
        parent_id = end[0].parent_id
        store.delete(connection, [end[0].id])
    ordinal, _streaming = store.state_of(connection, row.id)
    notice = store.new(row.id, ordinal, Role.NOTICE, MessageState.DONE, mode, scope, parent_id, [TextPart(names)])
    store.insert(connection, [notice])
    connection.execute(_change(row.id).values(shown_id=notice.id))


def _conversation(row: sa.Row[Any]) -> Conversation:
    scope = store.read_scope(row.scope)
    if row.knowledge_base_id is None:  # deleted since, or never chosen
        scope = replace(scope, knowledge_base_ids=scope.knowledge_base_ids[1:])
    return Conversation(
        id=row.id,
        owner_id=row.owner_id,
        title=row.title,
        mode=known(row.mode, Mode.KNOWLEDGE),
        scope=scope,
        created_at=row.created_at,
        updated_at=row.updated_at,
        shown_id=row.shown_id,
        pinned_at=row.pinned_at,
        is_named=row.is_named,
    )
