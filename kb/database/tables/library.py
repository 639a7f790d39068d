"""Knowledge bases, their documents, and what workers note of them."""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Computed,
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
    text,
)

from kb.database.tables.schema import UtcDateTime, metadata, now

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
    Column("memory_peak_mb", Integer),  # of the process that read the file; null: not known
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

# When a Milvus collection was last loaded again that was not compared with SQL since: see `kb.reconciling`.
index_loads = Table(
    "index_loads",
    metadata,
    Column("collection", String(100), primary_key=True),
    Column("loaded_at", UtcDateTime, nullable=False),
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
