"""How much work each waiting version is, and an index of them, so that small files need not wait for large ones."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

QUEUED = sa.text("state = 'queued'")


def upgrade() -> None:
    for name in ("effort", "counted_chunks"):
        op.add_column("versions", sa.Column(name, sa.Integer(), server_default="0", nullable=False))
    # Those that are ready may be ingested again.
    op.execute("UPDATE versions SET effort = CASE WHEN chunks > 0 THEN chunks ELSE 1 + size_bytes / 2000 END")
    columns = ["listed_in", "effort", "created_at", "id"]
    op.create_index("ix_versions_waiting", "versions", columns, sqlite_where=QUEUED, postgresql_where=QUEUED)


def downgrade() -> None:
    op.drop_index("ix_versions_waiting", "versions")
    for name in ("counted_chunks", "effort"):
        op.drop_column("versions", name)
