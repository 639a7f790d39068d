"""Which knowledge bases a webhook is for, which one a delivery tells of, and until when a slow receiver rests."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    op.add_column("webhooks", sa.Column("rests_until", sa.DateTime(timezone=True)))
    op.add_column("webhook_deliveries", sa.Column("knowledge_base_id", sa.Uuid()))
    op.add_column("webhooks", sa.Column("is_limited", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "webhook_bases",
        sa.Column("webhook_id", sa.Uuid(), nullable=False),
        sa.Column("knowledge_base_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("webhook_id", "knowledge_base_id", name=op.f("pk_webhook_bases")),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhooks.id"], name=op.f("fk_webhook_bases_webhook_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["knowledge_base_id"],
            ["knowledge_bases.id"],
            name=op.f("fk_webhook_bases_knowledge_base_id"),
            ondelete="CASCADE",
        ),
    )


def downgrade() -> None:
    op.drop_table("webhook_bases")
    op.drop_column("webhooks", "is_limited")
    op.drop_column("webhook_deliveries", "knowledge_base_id")
    op.drop_column("webhooks", "rests_until")
