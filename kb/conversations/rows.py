"""Conversations in SQL: the rows of their owner, what their next question is asked with, and the notices of that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from kb.access import Permission, Principal, can
from kb.conversations import message_rows
from kb.conversations.message_rows import NOT_DELETED
from kb.database.tables import conversations
from kb.errors import N_, NotFound
from kb.formats import to_json
from kb.library.rows import find_knowledge_base
from kb.messages import TextPart
from kb.models import Conversation, MessageState, Mode, Role, Scope, known

CONVERSATION = N_("conversation")

OF_USER = sa.and_(can(Permission.OWN, conversations), NOT_DELETED)
_CONVERSATION = sa.select(conversations).where(conversations.c.id == sa.bindparam("of_conversation"), OF_USER)
_CONVERSATION_LOCKED = _CONVERSATION.with_for_update()


def own(connection: sa.Connection, principal: Principal, conversation_id: UUID, lock: bool = False) -> sa.Row[Any]:
    """The user's conversation. `lock` keeps others from adding messages until the transaction ends."""
    of = {"of_conversation": conversation_id} | principal.binds
    found = connection.execute(_CONVERSATION_LOCKED if lock else _CONVERSATION, of).one_or_none()
    if found is None:
        raise NotFound(what=CONVERSATION)
    return found


def own_pair(connection: sa.Connection, principal: Principal, message_id: UUID) -> tuple[sa.Row[Any], sa.Row[Any]]:
    """A message and its conversation, both locked; the conversation first, as `ask` does."""
    conversation_id = message_rows.own_row(connection, principal, message_id).conversation_id
    row = own(connection, principal, conversation_id, lock=True)
    return message_rows.own_row(connection, principal, message_id, lock=True), row


def conversation_of(row: sa.Row[Any]) -> Conversation:
    scope = message_rows.read_scope(row.scope)
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


def change(conversation_id: UUID) -> sa.Update:
    return sa.update(conversations).where(conversations.c.id == conversation_id)


def choice_of(mode: Mode, scope: Scope) -> dict[str, Any]:
    return {"mode": mode.value, "knowledge_base_id": scope.first_id, "scope": to_json(scope)}


def choose(connection: sa.Connection, principal: Principal, row: sa.Row[Any], mode: Mode, scope: Scope) -> bool:
    """Switch the mode or the scope of a locked conversation, with a notice; returns whether anything changed.

    Errors: `NotFound`.
    """
    names = switch(connection, principal, row, mode, scope)
    if names is None:
        return False
    add_notice(connection, row, mode, scope, names)
    return True


def switch(connection: sa.Connection, principal: Principal, row: sa.Row[Any], mode: Mode, scope: Scope) -> str | None:
    """The names of the knowledge bases that are chosen now; None if nothing changes. Errors: `NotFound`."""
    if (row.mode, message_rows.read_scope(row.scope)) == (mode.value, scope):
        return None
    names = names_of(connection, principal, scope)
    connection.execute(change(row.id).values(choice_of(mode, scope)))
    return names


def names_of(connection: sa.Connection, principal: Principal, scope: Scope) -> str:
    """The knowledge bases' names. Errors: `NotFound`."""
    return ", ".join(find_knowledge_base(connection, principal, base_id).name for base_id in scope.knowledge_base_ids)


def add_notice(connection: sa.Connection, row: sa.Row[Any], mode: Mode, scope: Scope, names: str) -> None:
    """Add a notice to the branch that is shown. Only the latest of several in a row matters."""
    end = message_rows.branch(connection, row.shown_id, 1)
    parent_id = row.shown_id
    if end and end[0].role is Role.NOTICE:
        parent_id = end[0].parent_id
        message_rows.delete(connection, [end[0].id])
    ordinal, _streaming = message_rows.state_of(connection, row.id)
    notice = message_rows.new(
        row.id, ordinal, Role.NOTICE, MessageState.DONE, mode, scope, parent_id, [TextPart(names)]
    )
    message_rows.insert(connection, [notice])
    connection.execute(change(row.id).values(shown_id=notice.id))
