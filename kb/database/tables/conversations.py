"""Conversations, their messages, and what belongs to them."""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    false,
)

from kb.database.tables.schema import UtcDateTime, metadata, now

conversations = Table(
    "conversations",
    metadata,
    Column("id", Uuid, primary_key=True, default=uuid4),
    Column("owner_id", ForeignKey("users.id"), nullable=False),
    Column("title", String(200), nullable=False),
    Column("mode", String(20), nullable=False),
    # The first of the scope: the database itself forgets a deleted one.
    Column("knowledge_base_id", ForeignKey("knowledge_bases.id", ondelete="SET NULL")),
    Column("scope", JSON, nullable=False, default=dict, server_default="{}"),  # kb.models.Scope
    # The message that ends the branch that is shown. No foreign key: messages point to conversations already.
    Column("shown_id", Uuid),
    Column("created_at", UtcDateTime, nullable=False, default=now),
    Column("updated_at", UtcDateTime, nullable=False, default=now),
    Column("folded_title", Text, nullable=False, server_default=""),  # for searching: `kb.names.fold`
    # Whether the user or a model gave the title. If not, it is made of the first question, and a model may replace it.
    Column("is_named", Boolean, nullable=False, default=False, server_default=false()),
    Column("pinned_at", UtcDateTime),
    Column("deleted_at", UtcDateTime),  # it is kept for a while, so that a user can undo this
    # The key it was begun with, if that reaches some knowledge bases only. No foreign key: it outlives the key.
    Column("key_id", Uuid),
    Index("ix_conversations_listed", "owner_id", "pinned_at", "updated_at"),
)

# At most one link to each conversation; it shows what ended with this message.
conversation_links = Table(
    "conversation_links",
    metadata,
    Column("conversation_id", ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True),
    Column("token", String(64), nullable=False),
    Column("until_id", Uuid, nullable=False),  # no foreign key, as for `conversations.shown_id`
    Column("shared_at", UtcDateTime, nullable=False),
    UniqueConstraint("token"),
)

# The knowledge base that holds a conversation's attached files. It outlives this row, and a worker clears it: the row
# goes in the transaction that deletes the conversation.
attachments = Table(
    "attachments",
    metadata,
    Column("conversation_id", ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True),
    Column("knowledge_base_id", ForeignKey("knowledge_bases.id", ondelete="CASCADE"), nullable=False, unique=True),
)

# The messages of a conversation form a tree: see `kb.messages`.
messages = Table(
    "messages",
    metadata,
    Column("id", Uuid, primary_key=True, default=uuid4),
    Column("conversation_id", ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
    # No foreign key: SQLite cannot cascade along a branch of a thousand messages, and the conversation's does it all.
    Column("parent_id", Uuid, index=True),
    Column("ordinal", Integer, nullable=False),
    Column("role", String(20), nullable=False),
    Column("state", String(20), nullable=False, index=True),
    Column("mode", String(20), nullable=False),
    Column("scope", JSON, nullable=False, default=dict, server_default="{}"),  # kb.models.Scope
    # Of an answer: the run that writes it, or wrote it last. It also names the answer's keys in Redis.
    Column("run_id", Uuid),
    Column("rating", JSON, nullable=False, default=dict, server_default="{}"),  # kb.messages.Rating
    Column("created_at", UtcDateTime, nullable=False, default=now),
    # Of an answer: of its last run. Null in answers of earlier releases.
    Column("began_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    UniqueConstraint("conversation_id", "ordinal"),
    Index("ix_messages_run_id", "run_id", unique=True),
)

# What a message consists of, in order: one of `kb.messages.PARTS` each.
message_parts = Table(
    "message_parts",
    metadata,
    Column("message_id", ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("body", JSON, nullable=False),
)

# A message's text folded for searching (`kb.names.fold`). In a table of its own: a search then need not read past the
# passages that messages hold.
message_texts = Table(
    "message_texts",
    metadata,
    Column("message_id", ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True),
    Column("conversation_id", ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("text", Text, nullable=False),
)
