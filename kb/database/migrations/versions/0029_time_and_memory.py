"""When the last run of an answer began and ended, and the most memory that reading a version's file took."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    op.add_column("messages", sa.Column("began_at", sa.DateTime(timezone=True)))
    op.add_column("messages", sa.Column("finished_at", sa.DateTime(timezone=True)))
    op.add_column("versions", sa.Column("memory_peak_mb", sa.Integer()))


def downgrade() -> None:
    op.drop_column("versions", "memory_peak_mb")
    op.drop_column("messages", "finished_at")
    op.drop_column("messages", "began_at")
