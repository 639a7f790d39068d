"""A prompt template for each knowledge base; empty is the default one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("knowledge_bases", sa.Column("prompt", sa.Text(), server_default="", nullable=False))


def downgrade() -> None:
    op.drop_column("knowledge_bases", "prompt")
