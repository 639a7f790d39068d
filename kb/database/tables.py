"""The tables. Rows never leave `kb`: callers get the dataclasses of `kb.models`."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Computed,
    Date,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
    false,
    text,
)


def now() -> datetime:
    return datetime.now(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC; SQLite, which keeps no time zone, gets it back as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

users = Table(
    "users",
    metadata,
    Column("id", Uuid, primary_key=True, default=uuid4),
    Column("name", String(100), nullable=False, unique=True),
    # True for one row, the user of an installation without a login, and null for all others. See `kb.users`.
    Column("is_local", Boolean, index=True, unique=True),
    # An account has one, by which its user signs in: `kb.names.fold` of the name. See `kb.accounts`.
    Column("folded_name", String(500), index=True, unique=True),
    Column("password_hash", String(300), nullable=False, default="", server_default=""),
    Column("role", String(20), nullable=False, default="member", server_default="member"),  # kb.models.UserRole
    Column("awaits_approval", Boolean, nullable=False, default=False, server_default=false()),
    Column("suspended_at", UtcDateTime),
    Column("signed_in_at", UtcDateTime),
    Column("last_choices", JSON, nullable=False, default=dict, server_default="{}"),  # kb.models.Choices
    Column("created_at", UtcDateTime, nullable=False, default=now),
)

# Who is signed in, in which browser. The cookie holds the token, of which only the digest is kept here.
login_sessions = Table(
    "login_sessions",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
)

# Links for one use: to an account of one's own or, with `user_id`, to a new password.
invitations = Table(
    "invitations",
    metadata,
    Column("id", Uuid, primary_key=True, default=uuid4),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("role", String(20), nullable=False),  # that the account gets
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE")),
    Column("created_by", ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime),
)

# Users as OpenID providers know them: see `kb.accounts.identities`.
identities = Table(
    "identities",
    metadata,
    Column("issuer", String(500), primary_key=True),
    Column("subject", String(255), primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", UtcDateTime, nullable=False),
)

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

# OpenAI-compatible servers that users named on the Models page.
providers = Table(
    "providers",
    metadata,
    Column("id", Uuid, primary_key=True, default=uuid4),
    Column("owner_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(400), nullable=False),
    Column("preset", String(40), nullable=False),
    Column("base_url", Text, nullable=False),
    Column("encrypted_key", Text, nullable=False, default=""),  # kb.providers.keys; empty: the server needs none
    Column("model_names", JSON, nullable=False, default=list),  # empty: those that the server lists
    Column("settings", JSON, nullable=False, default=dict),  # kb.providers.connection.ModelSettings
    Column("created_at", UtcDateTime, nullable=False, default=now),
    UniqueConstraint("owner_id", "name"),
)

# Which model a user wants for what, by its id, whose provider need not be in a table: see kb.llm.
model_choices = Table(
    "model_choices",
    metadata,
    Column("owner_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("purpose", String(20), primary_key=True),
    Column("model", String(400), nullable=False),
)

knowledge_bases = Table(
    "knowledge_bases",
    metadata,
    Column("id", Uuid, primary_key=True, default=uuid4),
    Column("owner_id", ForeignKey("users.id"), nullable=False),
    Column("name", String(400), nullable=False),
    Column("collection", String(100), nullable=False),
    Column("embedding_model", String(300), nullable=False),
    Column("dimension", Integer),  # null until a worker has embedded the first file
    Column("index_settings", JSON, nullable=False),
    Column("profile", JSON, nullable=False),
    Column("prompt", Text, nullable=False, server_default=""),  # see `kb.prompt_templates`; empty: the default
    Column("kind", String(20), nullable=False, server_default="library"),  # kb.models.KnowledgeBaseKind
    Column("created_at", UtcDateTime, nullable=False, default=now),
    # Set when its owner deleted it: it is gone for everyone, and a worker drops what Milvus and the disk hold.
    Column("deleted_at", UtcDateTime),
    UniqueConstraint("owner_id", "name"),
)

groups = Table(
    "groups",
    metadata,
    Column("id", Uuid, primary_key=True, default=uuid4),
    Column("name", String(400), nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False, default=now),
)

group_members = Table(
    "group_members",
    metadata,
    Column("group_id", ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Index("ix_group_members_of_user", "user_id", "group_id"),
)

# What others than its owner may do with a knowledge base: see kb.access.
grants = Table(
    "grants",
    metadata,
    Column("knowledge_base_id", ForeignKey("knowledge_bases.id", ondelete="CASCADE"), primary_key=True),
    Column("grantee_kind", String(20), primary_key=True),  # kb.access.GranteeKind
    Column("grantee_id", Uuid, primary_key=True),  # of a user or a group; of everybody: kb.access.policy.EVERYBODY
    Column("permission", String(20), nullable=False),  # kb.access.Permission
    Column("created_at", UtcDateTime, nullable=False, default=now),
    Index("ix_grants_of_grantee", "grantee_kind", "grantee_id", "knowledge_base_id"),
)

# With which programs act for a user: see kb.access.keys.
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True, default=uuid4),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("name", String(400), nullable=False),
    Column("hint", String(20), nullable=False),  # how it begins, by which people know it again
    Column("digest", String(64), nullable=False, unique=True),  # SHA-256 of the key, which is random
    Column("scopes", JSON, nullable=False),  # kb.access.KeyScope
    Column("is_limited", Boolean, nullable=False),  # to the knowledge bases of api_key_bases
    Column("created_at", UtcDateTime, nullable=False, default=now),
    Column("expires_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    Column("used_at", UtcDateTime),
)

api_key_bases = Table(
    "api_key_bases",
    metadata,
    Column("key_id", ForeignKey("api_keys.id", ondelete="CASCADE"), primary_key=True),
    Column("knowledge_base_id", ForeignKey("knowledge_bases.id", ondelete="CASCADE"), primary_key=True),
)

# How many documents a knowledge base has, by the state of their newest version: see `kb.library.counts`.
# Running ones are counted where they are listed: there are never more of them than threads of workers.
document_counts = Table(
    "document_counts",
    metadata,
    Column("knowledge_base_id", ForeignKey("knowledge_bases.id", ondelete="CASCADE"), primary_key=True),
    Column("documents", Integer, nullable=False, default=0),
    Column("answering", Integer, nullable=False, default=0),  # those with a live version
    Column("queued", Integer, nullable=False, default=0),
    Column("ready", Integer, nullable=False, default=0),
    Column("failed", Integer, nullable=False, default=0),
    Column("cancelled", Integer, nullable=False, default=0),
    # Those whose live version lacks chunks in Milvus.
    Column("unsearchable", Integer, nullable=False, default=0, server_default="0"),
)

documents = Table(
    "documents",
    metadata,
    Column("id", Uuid, primary_key=True, default=uuid4),
    Column("knowledge_base_id", ForeignKey("knowledge_bases.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    # No foreign key: versions point to documents already, and a circle of constraints helps nobody.
    Column("live_version_id", Uuid, index=True),
    Column("created_at", UtcDateTime, nullable=False, default=now),
    Column("deleted_at", UtcDateTime, index=True),
    Index("ix_documents_knowledge_base_created", "knowledge_base_id", "created_at"),
)

# Running versions 2, waiting ones 1, the others 0: lists show them in this order.
ACTIVITY = (
    "CASE state WHEN 'parsing' THEN 2 WHEN 'embedding' THEN 2 WHEN 'indexing' THEN 2 WHEN 'queued' THEN 1 ELSE 0 END"
)

FOLDED_CHARACTERS = 500  # a few signs fold into many characters

versions = Table(
    "versions",
    metadata,
    Column("id", Uuid, primary_key=True, default=uuid4),
    Column("document_id", ForeignKey("documents.id", ondelete="CASCADE"), nullable=False, index=True),
    # The knowledge base whose list shows this version: the newest one of a document that is not deleted.
    Column("listed_in", Uuid),
    Column("state", String(20), nullable=False),
    # Derived by the database, so that no statement that moves the state can forget it.
    Column("activity", SmallInteger, Computed(ACTIVITY, persisted=True), nullable=False),
    Column("file_key", String(200), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False, server_default=""),  # of the file; empty for those of old releases
    Column("media_type", String(100), nullable=False, server_default=""),
    # About how much work it is: `kb.effort`.
    Column("effort", Integer, nullable=False, default=0, server_default="0"),
    # All that the file makes, counted before the first one of a large file is stored; 0 if they were not counted.
    Column("counted_chunks", Integer, nullable=False, default=0, server_default="0"),
    Column("pages", Integer, nullable=False, default=0),
    Column("chunks", Integer, nullable=False, default=0),
    Column("stored_chunks", Integer, nullable=False, default=0),
    # What `stored_chunks` counts is only good for the same chunks: their digest.
    Column("chunks_digest", String(64), nullable=False, default=""),
    Column("attempts", Integer, nullable=False, default=0),
    # Attempts in a row that ended with the worker's death and stored nothing new.
    Column("crashes", Integer, nullable=False, default=0),
    Column("crashed_at", UtcDateTime),  # the last sign of life before the last of them
    # Attempts in a row that ended because a service did not answer.
    Column("waits", Integer, nullable=False, default=0),
    Column("retry_at", UtcDateTime),
    Column("lease_owner", String(100), nullable=False, default=""),
    Column("lease_until", UtcDateTime),
    Column("heartbeat_at", UtcDateTime),
    Column("sent_at", UtcDateTime),
    Column("cancel_requested", Boolean, nullable=False, default=False),
    Column("error", String(60), nullable=False, default=""),
    Column("error_values", JSON, nullable=False, default=dict),
    Column("notes", JSON, nullable=False, default=dict, server_default="{}"),  # kb.notes.Notes
    # What `kb.reconciling` has found missing of a ready version: chunks in Milvus, and its file.
    Column("missing_chunks", Integer, nullable=False, default=0, server_default="0"),
    Column("file_missing", Boolean, nullable=False, default=False, server_default=false()),
    Column("created_at", UtcDateTime, nullable=False, default=now),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    # The document's name, for searching and sorting (`kb.names.fold`). Here, because one index must hold all that a
    # list sorts and filters by. PostgreSQL refuses index entries of more than 2,700 bytes.
    Column("folded_name", String(FOLDED_CHARACTERS), nullable=False, server_default=""),
    Index("ix_versions_state_lease", "state", "lease_until"),
    # Workers look here for versions of which nobody was told.
    Index("ix_versions_queue", "state", "cancel_requested", "created_at", "id"),
    # The waiting ones of each knowledge base, the one that is least work first.
    Index(
        "ix_versions_waiting",
        *("listed_in", "effort", "created_at", "id"),
        sqlite_where=text("state = 'queued'"),
        postgresql_where=text("state = 'queued'"),
    ),
    # A list reads the ids of one page from one of these alone. The last three hold the state for the filter.
    Index("ix_versions_listed_activity", "listed_in", "activity", "created_at", "id"),
    Index("ix_versions_listed_state", "listed_in", "state", "created_at", "id"),
    Index("ix_versions_listed_created", "listed_in", "created_at", "id", "state"),
    Index("ix_versions_listed_size", "listed_in", "size_bytes", "created_at", "id", "state"),
    Index("ix_versions_listed_name", "listed_in", "folded_name", "created_at", "id", "state", "size_bytes"),
    # Few rows, if any.
    Index(
        "ix_versions_missing_chunks",
        "listed_in",
        "created_at",
        sqlite_where=text("missing_chunks > 0"),
        postgresql_where=text("missing_chunks > 0"),
    ),
    Index(
        "ix_versions_file_missing",
        "document_id",
        sqlite_where=text("file_missing = 1"),
        postgresql_where=text("file_missing"),
    ),
)

# A clean-up that failed: how often, why, and when it is tried again. The row goes once it succeeds.
clean_ups = Table(
    "clean_ups",
    metadata,
    # What is to be cleared: a knowledge base, a document of it, or a version of that.
    Column("target_id", Uuid, primary_key=True),
    Column("knowledge_base_id", ForeignKey("knowledge_bases.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("document_id", ForeignKey("documents.id", ondelete="CASCADE"), index=True),
    Column("failures", Integer, nullable=False),
    Column("retry_at", UtcDateTime, nullable=False),
    Column("error", String(60), nullable=False),
    Column("error_values", JSON, nullable=False, default=dict),
)

# When a Milvus collection was compared with SQL, and why it could not be: see `kb.reconciling`.
index_checks = Table(
    "index_checks",
    metadata,
    Column("collection", String(100), primary_key=True),
    Column("checked_at", UtcDateTime, nullable=False),
    Column("error", String(60), nullable=False, default="", server_default=""),
    Column("error_values", JSON, nullable=False, default=dict, server_default="{}"),
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
)
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", Uuid, primary_key=True, default=uuid4),
    Column("webhook_id", ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False),
    Column("event", String(40), nullable=False),
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

# What Milvus and the uploads hold that SQL does not know: see `kb.reconciling.leftovers`.
leftovers = Table(
    "leftovers",
    metadata,
    Column("kind", String(20), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("items", Integer, nullable=False),  # chunks of a collection, files of a folder
    Column("size_bytes", BigInteger, nullable=False),
)
