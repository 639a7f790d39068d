"""The conversations of a user: creating, finding, naming, pinning and deleting them, and what is asked next in them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

import sqlalchemy as sa

from kb.access import Permission, Principal, can
from kb.audit import Action, record
from kb.conversations import message_rows, rows
from kb.conversations.message_rows import NOT_DELETED
from kb.database import Database
from kb.database.tables import conversations, message_texts, messages, now
from kb.errors import NotFound
from kb.models import NOWHERE, Conversation, Mode, Role, Scope, known
from kb.names import clean_label, clean_name, clean_text, fold

TITLE_CHARACTERS = 60  # of a title made of the first question
MOST_TITLE_CHARACTERS = 200
SEARCHED_WORDS = 10
UNDO_SECONDS = 3600  # for so long a deleted conversation can be restored
PURGED_AT_ONCE = 100  # conversations, with all their messages

T = TypeVar("T")


class Conversations:
    """Every call but `expire` and `purge` takes the acting user."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, principal: Principal, first_question: str, mode: Mode, scope: Scope = NOWHERE, new_id: UUID | None = None
    ) -> Conversation:
        """Create a conversation named after its first question, with an id that is to be new.

        Errors: `NotFound` for a knowledge base.
        """
        title = " ".join(clean_label(first_question).split()) or "?"
        title = title if len(title) <= TITLE_CHARACTERS else title[: TITLE_CHARACTERS - 1] + "…"
        moment = now()
        created = Conversation(new_id or uuid4(), principal.user_id, title, mode, scope, moment, moment)
        row: dict[str, Any] = {"id": created.id, "owner_id": principal.user_id} | _title(title)
        row |= rows.choice_of(mode, scope) | {"created_at": moment, "updated_at": moment}
        row |= {"key_id": principal.limiting_key_id}
        with self._database.write() as connection:
            rows.names_of(connection, principal, scope)
            connection.execute(sa.insert(conversations), row)
        return created

    def get(self, principal: Principal, conversation_id: UUID) -> Conversation:
        with self._database.read() as connection:
            return rows.conversation_of(rows.own(connection, principal, conversation_id))

    def after(self, principal: Principal, after: tuple[datetime, UUID] | None, limit: int) -> Sequence[Conversation]:
        """The next conversations, the newest first, `after` the moment of creation and the id of the last one before.

        So a list that changes meanwhile is gone through without one twice, or one that is left out.
        """
        created, own_id = conversations.c.created_at, conversations.c.id
        statement = _matching(principal, "").order_by(created.desc(), own_id.desc()).limit(limit)
        if after:
            place = (sa.literal(value, column.type) for value, column in zip(after, (created, own_id), strict=True))
            statement = statement.where(sa.tuple_(created, own_id) < sa.tuple_(*place))
        with self._database.read() as connection:
            return [rows.conversation_of(row) for row in connection.execute(statement)]

    def search(
        self,
        principal: Principal,
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
            _matching(principal, search, mode, knowledge_base_id)
            .order_by(pinned.desc().nulls_last(), updated.desc(), conversations.c.id)
            .offset(offset)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [rows.conversation_of(row) for row in connection.execute(statement)]

    def count(
        self, principal: Principal, search: str = "", mode: Mode | None = None, knowledge_base_id: UUID | None = None
    ) -> int:
        """How many `search` finds in all."""
        found = _matching(principal, search, mode, knowledge_base_id).subquery()
        with self._database.read() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(found)) or 0

    def rename(self, principal: Principal, conversation_id: UUID, title: str) -> None:
        """Errors: `InvalidName` for an empty title, or one of more than 200 characters."""
        cleaned = clean_name(title, MOST_TITLE_CHARACTERS)
        with self._database.write() as connection:
            rows.own(connection, principal, conversation_id, lock=True)
            connection.execute(rows.change(conversation_id).values(_title(cleaned, is_named=True)))

    def pin(self, principal: Principal, conversation_id: UUID, is_pinned: bool = True) -> None:
        """Keep it at the head of the lists, or no longer."""
        with self._database.write() as connection:
            row = rows.own(connection, principal, conversation_id, lock=True)
            if is_pinned is (row.pinned_at is None):
                connection.execute(rows.change(conversation_id).values(pinned_at=now() if is_pinned else None))

    def delete(self, principal: Principal, conversation_id: UUID) -> None:
        """From now on it is not found; `restore` undoes this until `purge` removes it for good."""
        with self._database.write() as connection:
            rows.own(connection, principal, conversation_id, lock=True)
            connection.execute(rows.change(conversation_id).values(deleted_at=now()))
            record(connection, principal, Action.CONVERSATION_DELETED, conversation_id)

    def restore(self, principal: Principal, conversation_id: UUID) -> None:
        """Undo `delete`. Errors: `NotFound` once it was removed for good."""
        deleted = rows.change(conversation_id).where(can(Permission.OWN, conversations, principal))
        with self._database.write() as connection:
            if connection.execute(deleted.values(deleted_at=None)).rowcount == 0:
                raise NotFound(what=rows.CONVERSATION)
            record(connection, principal, Action.CONVERSATION_RESTORED, conversation_id)

    def expire(self, days: int) -> int:
        """Delete what any user has asked nothing in for so many days and not pinned, as `delete` does; how many.

        It is the installation's rule and no act of the user, so it is no event of the audit log.
        """
        is_due = sa.and_(
            NOT_DELETED, conversations.c.pinned_at.is_(None), conversations.c.updated_at < now() - timedelta(days=days)
        )
        due = _free(is_due)
        with self._database.write() as connection:
            expired = sa.update(conversations).where(conversations.c.id.in_(due)).values(deleted_at=now())
            return connection.execute(expired).rowcount

    def purge(self) -> int:
        """Remove for good what any user deleted more than an hour ago; returns how many conversations that were.

        Some at a time, as others write meanwhile, and `expire` may have deleted years of them.
        """
        due = _free(conversations.c.deleted_at < now() - timedelta(seconds=UNDO_SECONDS)).limit(PURGED_AT_ONCE)
        total = 0
        while True:
            with self._database.write() as connection:
                some = connection.scalars(due).all()
                connection.execute(sa.delete(conversations).where(conversations.c.id.in_(some)))
            total += len(some)
            if len(some) < PURGED_AT_ONCE:
                return total

    def lacks_title(self, principal: Principal, message_id: UUID) -> bool:
        """Whether the message's conversation is still named after its first question. False if it was deleted."""
        with self._database.read() as connection:
            is_named = connection.scalar(_of_message(principal, message_id, conversations.c.is_named))
        return is_named is not None and not is_named

    def suggest_title(self, principal: Principal, message_id: UUID, title: str) -> bool:
        """Name the message's conversation, unless it has a name already; returns whether it took the title."""
        cleaned = " ".join(clean_label(title).split())[:MOST_TITLE_CHARACTERS]
        own = _of_message(principal, message_id, conversations.c.id).correlate(None).scalar_subquery()
        unnamed = sa.update(conversations).where(conversations.c.id == own, conversations.c.is_named.is_(False))
        if not cleaned:
            return False
        with self._database.write() as connection:
            return connection.execute(unnamed.values(_title(cleaned, is_named=True))).rowcount > 0

    def choose(self, principal: Principal, conversation_id: UUID, mode: Mode, scope: Scope = NOWHERE) -> None:
        """Switch the mode or the scope for the following questions, and add a notice. Errors: `NotFound`."""
        with self._database.write() as connection:
            row = rows.own(connection, principal, conversation_id, lock=True)
            rows.choose(connection, principal, row, mode, scope)

    def note_choice(self, principal: Principal, conversation_id: UUID) -> None:
        """Add a notice with the conversation's mode and knowledge bases."""
        with self._database.write() as connection:
            row = rows.own(connection, principal, conversation_id, lock=True)
            scope = message_rows.read_scope(row.scope)
            rows.add_notice(
                connection, row, known(row.mode, Mode.KNOWLEDGE), scope, rows.names_of(connection, principal, scope)
            )


def _free(are_due: sa.ColumnElement[bool]) -> sa.Select[tuple[UUID]]:
    """Those of any user, locked, that nobody else changes at this moment; the others are due the next time still.

    Whoever waits for one while it holds many may be waited for: by the deletion of a knowledge base that both chose.
    """
    return sa.select(conversations.c.id).where(are_due).with_for_update(skip_locked=True)


def _matching(
    principal: Principal, search: str, mode: Mode | None = None, knowledge_base_id: UUID | None = None
) -> sa.Select[Any]:
    statement = sa.select(conversations).where(can(Permission.OWN, conversations, principal), NOT_DELETED)
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


def _of_message(principal: Principal, message_id: UUID, column: sa.Column[T]) -> sa.Select[T]:
    """A column of a message's conversation."""
    return (
        sa.select(column)
        .join(messages, messages.c.conversation_id == conversations.c.id)
        .where(messages.c.id == message_id, can(Permission.OWN, conversations, principal), NOT_DELETED)
    )


def _title(title: str, is_named: bool = False) -> dict[str, Any]:
    return {"title": title, "folded_title": fold(title), "is_named": is_named}
