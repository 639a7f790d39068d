"""What Milvus and the disk lack of ready documents, and when that was looked at."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.add_column("versions", sa.Column("missing_chunks", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("versions", sa.Column("file_missing", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("document_counts", sa.Column("unsearchable", sa.Integer(), nullable=False, server_default="0"))
    op.create_index(
        "ix_versions_missing_chunks",
        "versions",
        ["listed_in", "created_at"],
        sqlite_where=sa.text("missing_chunks > 0"),
        postgresql_where=sa.text("missing_chunks > 0"),
    )
    op.create_index(
        "ix_versions_file_missing",
        "versions",
        ["document_id"],
        sqlite_where=sa.text("file_missing = 1"),
        postgresql_where=sa.text("file_missing"),
    )
    op.create_table(
        "index_checks",
        sa.Column("collection", sa.String(100), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("error", sa.String(60), nullable=False, server_default=""),
        sa.Column("error_values", sa.JSON(), nullable=False, server_default="{}"),
        sa.PrimaryKeyConstraint("collection", name=op.f("pk_index_checks")),
    )


def downgrade() -> None:
    op.drop_table("index_checks")
    op.drop_index("ix_versions_file_missing", "versions")
    op.drop_index("ix_versions_missing_chunks", "versions")
    op.drop_column("document_counts", "unsearchable")
    op.drop_column("versions", "file_missing")
    op.drop_column("versions", "missing_chunks")
