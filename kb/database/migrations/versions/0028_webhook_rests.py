"""Which knowledge base a delivery tells of, and until when a slow receiver rests."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    op.add_column("webhooks", sa.Column("rests_until", sa.DateTime(timezone=True)))
    op.add_column("webhook_deliveries", sa.Column("knowledge_base_id", sa.Uuid()))


def downgrade() -> None:
    op.drop_column("webhook_deliveries", "knowledge_base_id")
    op.drop_column("webhooks", "rests_until")
