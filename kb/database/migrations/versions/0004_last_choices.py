"""What a user chose last: a new tab begins with it."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("users", sa.Column("last_choices", sa.JSON(), server_default="{}", nullable=False))


def downgrade() -> None:
    op.drop_column("users", "last_choices")
