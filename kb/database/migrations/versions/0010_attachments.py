"""Files attached to conversations: each conversation's are in a knowledge base of their own kind."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("knowledge_bases", sa.Column("kind", sa.String(20), server_default="library", nullable=False))
    op.create_table(
        "attachments",
        sa.Column(
            "conversation_id", sa.Uuid(), sa.ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column(
            "knowledge_base_id",
            sa.Uuid(),
            sa.ForeignKey("knowledge_bases.id", ondelete="CASCADE"),
            nullable=False,
            unique=True,
        ),
    )


def downgrade() -> None:
    op.drop_table("attachments")
    op.execute("DELETE FROM knowledge_bases WHERE kind = 'attachments'")
    op.drop_column("knowledge_bases", "kind")
