"""When the worker of a version last crashed, so that crashes weeks apart are not taken together."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.add_column("versions", sa.Column("crashed_at", sa.DateTime(timezone=True)))


def downgrade() -> None:
    op.drop_column("versions", "crashed_at")
