"""Links to conversations: whoever has one, and can open Zhiwen's pages, reads what was said until it was shared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from kb.access import Principal, is_shared_by
from kb.access.tokens import new_token
from kb.audit import Action, record
from kb.conversations import message_rows, rows
from kb.database import Database
from kb.database.tables import conversation_links, conversations, messages, now, users
from kb.errors import N_, NotFound
from kb.messages import Message
from kb.models import MessageState
from kb.names import clean_text

SHARED_CONVERSATION = N_("shared conversation")

_LINK = sa.bindparam("of_link", type_=sa.String())
_SHARED = (
    sa.select(conversation_links, conversations.c.title, users.c.name)
    .join(conversations, conversations.c.id == conversation_links.c.conversation_id)
    .join(users, users.c.id == conversations.c.owner_id)
    .where(conversation_links.c.token == _LINK, is_shared_by(_LINK), message_rows.NOT_DELETED)
)


@dataclass(frozen=True, slots=True)
class Link:
    """`token` is kept as it is, so that it can be shown again: it opens nothing but what lies in the same database."""

    token: str
    shared_at: datetime
    is_older: bool  # something was said since, which it does not show


@dataclass(frozen=True, slots=True)
class SharedConversation:
    title: str
    owner_name: str
    shared_at: datetime
    messages: Sequence[Message]  # the oldest first; as `Messages.shown` gives them


class ConversationLinks:
    """Makes, shows and withdraws links for their owners, and reads for whoever has one."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = now) -> None:
        self._database = database
        self._clock = clock

    def find(self, principal: Principal, conversation_id: UUID) -> Link | None:
        """The link to a conversation of the user's. Errors: `NotFound` of the conversation."""
        with self._database.read() as connection:
            conversation = rows.own(connection, principal, conversation_id)
            row = connection.execute(_link_of(conversation_id)).one_or_none()
            ends = conversation.shown_id, message_rows.last_said(connection, conversation.shown_id)
        return row and Link(row.token, row.shared_at, row.until_id not in ends)

    def share(self, principal: Principal, conversation_id: UUID) -> Link:
        """Let the link show what is shown now; there is one link to a conversation. Errors: `NotFound`."""
        with self._database.write() as connection:
            conversation = rows.own(connection, principal, conversation_id, lock=True)
            until_id = message_rows.last_said(connection, conversation.shown_id)
            if until_id is None:  # nothing was asked yet
                raise NotFound(what=SHARED_CONVERSATION)
            row = connection.execute(_link_of(conversation_id)).one_or_none()
            link = Link(row.token if row else new_token(), self._clock(), is_older=False)
            connection.execute(sa.delete(conversation_links).where(_is_to(conversation_id)))
            values = {"conversation_id": conversation_id, "token": link.token, "shared_at": link.shared_at}
            connection.execute(sa.insert(conversation_links), values | {"until_id": until_id})
            record(connection, principal, Action.LINK_MADE, conversation_id)
        return link

    def withdraw(self, principal: Principal, conversation_id: UUID) -> None:
        """The link opens nothing any more; the next one is another. Errors: `NotFound` of the conversation."""
        with self._database.write() as connection:
            rows.own(connection, principal, conversation_id, lock=True)
            if connection.execute(sa.delete(conversation_links).where(_is_to(conversation_id))).rowcount:
                record(connection, principal, Action.LINK_WITHDRAWN, conversation_id)

    def read(self, token: str, limit: int = 50) -> SharedConversation:
        """The last `limit` messages, without an answer that is still being written. Errors: `NotFound`."""
        with self._database.read() as connection:
            link = _require(connection, token)
            found = message_rows.branch(connection, link.until_id, limit)
        shown = [message for message in found if message.state is not MessageState.STREAMING]
        return SharedConversation(link.title, link.name, link.shared_at, shown)

    def message(self, token: str, message_id: UUID) -> Message:
        """One of these messages with all its parts. Errors: `NotFound`."""
        with self._database.read() as connection:
            link = _require(connection, token)
            ordinal = connection.scalar(sa.select(messages.c.ordinal).where(messages.c.id == message_id))
            shown = message_rows.branch(connection, link.until_id, 1, before=(ordinal or 0) + 1)
            if not shown or shown[0].id != message_id:
                raise NotFound(what=SHARED_CONVERSATION)
            return message_rows.whole(connection, message_id)


def _require(connection: sa.Connection, token: str) -> sa.Row[tuple[object, ...]]:
    row = connection.execute(_SHARED, {"of_link": clean_text(token)}).one_or_none()
    if row is None:
        raise NotFound(what=SHARED_CONVERSATION)
    return row


def _link_of(conversation_id: UUID) -> sa.Select[tuple[object, ...]]:
    return sa.select(conversation_links).where(_is_to(conversation_id))


def _is_to(conversation_id: UUID) -> sa.ColumnElement[bool]:
    return conversation_links.c.conversation_id == conversation_id
