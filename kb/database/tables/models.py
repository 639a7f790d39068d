"""Model servers that users named, and which model they chose."""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import JSON, Column, ForeignKey, String, Table, Text, UniqueConstraint, Uuid

from kb.database.tables.schema import UtcDateTime, metadata, now

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
