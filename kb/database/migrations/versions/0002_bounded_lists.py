"""What keeps lists, counts and searches cheap at any size: derived columns, counters, folded texts.

Also sizes beyond 2 GiB, and what is known of clean-ups that failed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

from kb.names import fold

revision = "0002"
down_revision = "0001"

ACTIVITY = (
    "CASE state WHEN 'parsing' THEN 2 WHEN 'embedding' THEN 2 WHEN 'indexing' THEN 2 WHEN 'queued' THEN 1 ELSE 0 END"
)
BATCH_ROWS = 1_000


def upgrade() -> None:
    _create_tables()
    _add_columns()
    _fill_listed()
    _fill_counts()
    _fold("documents", "name", "folded_name")
    _fold("conversations", "title", "folded_title")
    _fill_message_texts()


def _create_tables() -> None:
    op.create_table(
        "document_counts",
        sa.Column("knowledge_base_id", sa.Uuid(), nullable=False),
        *(
            sa.Column(name, sa.Integer(), nullable=False)
            for name in ("documents", "answering", "queued", "ready", "failed", "cancelled")
        ),
        sa.ForeignKeyConstraint(
            ["knowledge_base_id"],
            ["knowledge_bases.id"],
            name=op.f("fk_document_counts_knowledge_base_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("knowledge_base_id", name=op.f("pk_document_counts")),
    )
    op.create_table(
        "message_texts",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_message_texts_message_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
            name=op.f("fk_message_texts_conversation_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_message_texts")),
    )
    op.create_index(op.f("ix_message_texts_conversation_id"), "message_texts", ["conversation_id"])
    op.create_table(
        "clean_ups",
        sa.Column("target_id", sa.Uuid(), nullable=False),
        sa.Column("knowledge_base_id", sa.Uuid(), nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("retry_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("error", sa.String(length=60), nullable=False),
        sa.Column("error_values", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["knowledge_base_id"],
            ["knowledge_bases.id"],
            name=op.f("fk_clean_ups_knowledge_base_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["document_id"], ["documents.id"], name=op.f("fk_clean_ups_document_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("target_id", name=op.f("pk_clean_ups")),
    )
    op.create_index(op.f("ix_clean_ups_document_id"), "clean_ups", ["document_id"])
    op.create_index(op.f("ix_clean_ups_knowledge_base_id"), "clean_ups", ["knowledge_base_id"])


def _add_columns() -> None:
    # No batch here: SQLite would copy and drop these tables, and take along what refers to them.
    op.add_column("documents", sa.Column("folded_name", sa.Text(), server_default="", nullable=False))
    op.create_index(op.f("ix_documents_deleted_at"), "documents", ["deleted_at"])
    op.add_column("conversations", sa.Column("folded_title", sa.Text(), server_default="", nullable=False))
    with op.batch_alter_table("versions") as batch_op:
        batch_op.add_column(sa.Column("listed_in", sa.Uuid(), nullable=True))
        computed = sa.Computed(ACTIVITY, persisted=True)
        batch_op.add_column(sa.Column("activity", sa.SmallInteger(), computed, nullable=False))
        batch_op.alter_column("size_bytes", existing_type=sa.Integer(), type_=sa.BigInteger(), existing_nullable=False)
    op.create_index("ix_versions_listed_activity", "versions", ["listed_in", "activity", "created_at", "id"])
    op.create_index("ix_versions_listed_state", "versions", ["listed_in", "state", "created_at", "id"])
    op.create_index("ix_versions_queue", "versions", ["state", "cancel_requested", "created_at", "id"])


def _fill_listed() -> None:
    op.execute(
        """
        UPDATE versions SET listed_in = (
            SELECT documents.knowledge_base_id FROM documents
            WHERE documents.id = versions.document_id AND documents.deleted_at IS NULL
        )
        WHERE id IN (
            SELECT id FROM (
                SELECT id, row_number() OVER (PARTITION BY document_id ORDER BY created_at DESC, id DESC) AS place
                FROM versions
            ) AS ordered
            WHERE place = 1
        )
        """
    )


def _fill_counts() -> None:
    op.execute(
        """
        INSERT INTO document_counts (knowledge_base_id, documents, answering, queued, ready, failed, cancelled)
        SELECT
            knowledge_bases.id,
            count(versions.id),
            count(documents.live_version_id),
            count(CASE versions.state WHEN 'queued' THEN 1 END),
            count(CASE versions.state WHEN 'ready' THEN 1 END),
            count(CASE versions.state WHEN 'failed' THEN 1 END),
            count(CASE versions.state WHEN 'cancelled' THEN 1 END)
        FROM knowledge_bases
        LEFT JOIN versions ON versions.listed_in = knowledge_bases.id
        LEFT JOIN documents ON documents.id = versions.document_id
        GROUP BY knowledge_bases.id
        """
    )


def _fold(name: str, source: str, target: str) -> None:
    connection = op.get_bind()
    table = sa.table(name, *_columns("id", source, target))
    change = table.update().where(table.c.id == sa.bindparam("of")).values({target: sa.bindparam("folded")})
    for rows in _batches(connection, sa.select(table.c.id, table.c[source])):
        connection.execute(change, [{"of": row[0], "folded": fold(row[1])} for row in rows])


def _fill_message_texts() -> None:
    connection = op.get_bind()
    messages = sa.table("messages", *_columns("id", "conversation_id", "content", "role"))
    texts = sa.table("message_texts", *_columns("message_id", "conversation_id", "text"))
    statement = sa.select(messages.c.id, messages.c.conversation_id, messages.c.content).where(
        messages.c.role != "notice"
    )
    for rows in _batches(connection, statement):
        values = [{"message_id": row[0], "conversation_id": row[1], "text": fold(row[2])} for row in rows]
        connection.execute(texts.insert(), values)


def _columns(*names: str) -> list[sa.ColumnClause[Any]]:
    return [sa.column(name) for name in names]


def _batches(connection: sa.Connection, statement: sa.Select[Any]) -> Iterator[Sequence[Any]]:
    """The rows, some at a time, so that memory does not grow with the table."""
    first = None
    column = statement.selected_columns[0]
    while True:
        page = statement if first is None else statement.where(column > first)
        rows = connection.execute(page.order_by(column).limit(BATCH_ROWS)).all()
        if not rows:
            return
        yield rows
        first = rows[-1][0]


def downgrade() -> None:
    for name in ("ix_versions_queue", "ix_versions_listed_state", "ix_versions_listed_activity"):
        op.drop_index(name, "versions")
    with op.batch_alter_table("versions") as batch_op:
        batch_op.alter_column("size_bytes", existing_type=sa.BigInteger(), type_=sa.Integer(), existing_nullable=False)
        batch_op.drop_column("activity")
        batch_op.drop_column("listed_in")
    op.drop_column("conversations", "folded_title")
    op.drop_index(op.f("ix_documents_deleted_at"), "documents")
    op.drop_column("documents", "folded_name")
    for name in ("clean_ups", "message_texts", "document_counts"):
        op.drop_table(name)
