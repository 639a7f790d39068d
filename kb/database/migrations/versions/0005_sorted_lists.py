"""What keeps sorted lists and searches cheap: versions carry the folded name, and each order has an index."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

INDEXES = {
    "ix_versions_listed_created": ["listed_in", "created_at", "id", "state"],
    "ix_versions_listed_size": ["listed_in", "size_bytes", "created_at", "id", "state"],
    "ix_versions_listed_name": ["listed_in", "folded_name", "created_at", "id", "state", "size_bytes"],
}


def upgrade() -> None:
    op.add_column("versions", sa.Column("folded_name", sa.String(500), server_default="", nullable=False))
    op.execute(
        """
        UPDATE versions SET folded_name = (
            SELECT substr(documents.folded_name, 1, 500) FROM documents WHERE documents.id = versions.document_id
        )
        """
    )
    for name, columns in INDEXES.items():
        op.create_index(name, "versions", columns)
    op.drop_column("documents", "folded_name")


def downgrade() -> None:
    op.add_column("documents", sa.Column("folded_name", sa.Text(), server_default="", nullable=False))
    op.execute(
        """
        UPDATE documents SET folded_name = coalesce(
            (SELECT max(versions.folded_name) FROM versions WHERE versions.document_id = documents.id), ''
        )
        """
    )
    for name in INDEXES:
        op.drop_index(name, "versions")
    op.drop_column("versions", "folded_name")
