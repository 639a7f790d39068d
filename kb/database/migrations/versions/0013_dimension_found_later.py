"""Knowledge bases whose dimension is not known yet: a worker finds it with the first file's vectors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    if op.get_bind().dialect.name != "sqlite":
        op.alter_column("knowledge_bases", "dimension", existing_type=sa.Integer(), nullable=True)
        op.execute("UPDATE knowledge_bases SET dimension = NULL WHERE dimension = 0")  # see `downgrade`
        return
    # No batch here: SQLite would copy and drop the table, and take along the documents that refer to it.
    op.add_column("knowledge_bases", sa.Column("found_dimension", sa.Integer()))
    op.execute("UPDATE knowledge_bases SET found_dimension = NULLIF(dimension, 0)")
    op.drop_column("knowledge_bases", "dimension")
    op.execute("ALTER TABLE knowledge_bases RENAME COLUMN found_dimension TO dimension")


def downgrade() -> None:
    """Zero stands for what is not known: nothing is stored in these knowledge bases.

    On SQLite the column may still hold null, which the code before never writes.
    """
    op.execute("UPDATE knowledge_bases SET dimension = 0 WHERE dimension IS NULL")
    if op.get_bind().dialect.name != "sqlite":
        op.alter_column("knowledge_bases", "dimension", existing_type=sa.Integer(), nullable=False)
