"""What operators look at, and what programs are told."""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    false,
)

from kb.database.tables.schema import UtcDateTime, metadata

# Who did what, with which thing: see `kb.audit`. No foreign keys: it outlives what it names.
audit_events = Table(
    "audit_events",
    metadata,
    Column("id", Uuid, primary_key=True, default=uuid4),
    Column("at", UtcDateTime, nullable=False),
    Column("action", String(40), nullable=False),  # kb.audit.Action
    Column("user_id", Uuid),
    Column("user_name", String(100), nullable=False, default=""),
    Column("key_name", String(100), nullable=False, default=""),  # of the API key that a program acted with
    Column("address", String(100), nullable=False, default=""),
    Column("target_id", Uuid),
    Column("target_name", Text, nullable=False, default=""),
    Column("details", JSON, nullable=False, default=dict),
    Column("times", Integer, nullable=False, default=1),  # how often within a short time
    Column("folded_text", Text, nullable=False, default=""),  # for searching: `kb.names.fold`
    Index("ix_audit_events_at", "at"),
    Index("ix_audit_events_user_id", "user_id", "at"),
    Index("ix_audit_events_action", "action", "at"),
)

# What an idempotency key of a program stands for: see `kb.access.idempotency`.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("id", Uuid, primary_key=True, default=uuid4),
    Column("key_id", ForeignKey("api_keys.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(64), nullable=False),  # its digest
    Column("request", String(64), nullable=False),  # the digest of what is asked, without the body
    Column("body", String(64), nullable=False, default="", server_default=""),
    Column("status", SmallInteger),  # null: it runs, or whoever ran it is gone
    Column("encrypted_reply", Text, nullable=False, default="", server_default=""),
    Column("created_at", UtcDateTime, nullable=False, index=True),
    Column("alive_at", UtcDateTime, nullable=False),
    UniqueConstraint("key_id", "name"),
)

# Where programs are told of events, see `kb.webhooks`, and what they are told.
webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Uuid, primary_key=True, default=uuid4),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("key_id", ForeignKey("api_keys.id", ondelete="CASCADE")),  # that made it; it ends with the key
    Column("limiting_key_id", Uuid),  # the same, if that reaches some knowledge bases only
    Column("address", Text, nullable=False),
    Column("events", JSON, nullable=False),  # kb.webhooks.Event; none: all
    Column("encrypted_secret", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("failing_since", UtcDateTime),
    Column("disabled_at", UtcDateTime),
    Column("rests_until", UtcDateTime),  # it was slow: others are served first
    Column("is_limited", Boolean, nullable=False, default=False, server_default=false()),  # to its `webhook_bases`
)

webhook_bases = Table(
    "webhook_bases",
    metadata,
    Column("webhook_id", ForeignKey("webhooks.id", ondelete="CASCADE"), primary_key=True),
    Column("knowledge_base_id", ForeignKey("knowledge_bases.id", ondelete="CASCADE"), primary_key=True),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", Uuid, primary_key=True, default=uuid4),
    Column("webhook_id", ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False),
    Column("event", String(40), nullable=False),
    Column("knowledge_base_id", Uuid),  # that it tells of. No foreign key: it outlives the knowledge base
    Column("body", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("due_at", UtcDateTime, index=True),  # of the next attempt; null: it has ended
    Column("claimed_until", UtcDateTime, index=True),
    Column("delivered_at", UtcDateTime),
    Column("attempts", Integer, nullable=False, default=0, server_default="0"),
    Column("status", SmallInteger, nullable=False, default=0, server_default="0"),  # of the last reply; 0: none
    Column("error", String(60), nullable=False, default="", server_default=""),
    Column("error_values", JSON, nullable=False, default=dict, server_default="{}"),
    Index("ix_webhook_deliveries_listed", "webhook_id", "created_at"),
)

# How each run of an answer ended, and the sums of what documents and steps took: see `kb.usage`. `week` is a Monday,
# `release` the version of Zhiwen that did it. No foreign keys: figures outlive what they count.
answer_figures = Table(
    "answer_figures",
    metadata,
    Column("id", Uuid, primary_key=True),  # of the run
    Column("question_id", Uuid, nullable=False),
    Column("user_id", Uuid, nullable=False),
    Column("week", Date, nullable=False, index=True),
    Column("release", String(40), nullable=False),
    Column("mode", String(20), nullable=False),
    Column("state", String(20), nullable=False),
    Column("error", String(60), nullable=False),
    Column("model", Text, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
)

ingestion_figures = Table(
    "ingestion_figures",
    metadata,
    Column("week", Date, primary_key=True),
    Column("release", String(40), primary_key=True),
    Column("outcome", String(20), primary_key=True),  # kb.models.VersionState
    Column("error", String(60), primary_key=True),
    Column("documents", Integer, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
)

time_figures = Table(
    "time_figures",
    metadata,
    Column("week", Date, primary_key=True),
    Column("release", String(40), primary_key=True),
    Column("kind", String(20), primary_key=True),  # kb.usage.recording.TimeKind
    Column("step", String(60), primary_key=True),
    Column("bucket", Integer, primary_key=True),  # kb.usage.buckets
    Column("count", Integer, nullable=False),
)
