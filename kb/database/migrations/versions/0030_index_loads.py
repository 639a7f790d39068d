"""Which collections Milvus has loaded again, and when: what a restart may have lost is compared then."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    op.create_table(
        "index_loads",
        sa.Column("collection", sa.String(100), nullable=False),
        sa.Column("loaded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("collection", name=op.f("pk_index_loads")),
    )


def downgrade() -> None:
    op.drop_table("index_loads")
