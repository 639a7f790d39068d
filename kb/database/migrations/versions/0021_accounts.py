"""Accounts, login sessions and invitations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

COLUMNS = ("is_local", "folded_name", "password_hash", "role", "awaits_approval", "suspended_at", "signed_in_at")


def upgrade() -> None:
    op.add_column("users", sa.Column("is_local", sa.Boolean()))
    op.add_column("users", sa.Column("folded_name", sa.String(500)))
    op.add_column("users", sa.Column("password_hash", sa.String(300), nullable=False, server_default=""))
    op.add_column("users", sa.Column("role", sa.String(20), nullable=False, server_default="member"))
    op.add_column("users", sa.Column("awaits_approval", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("users", sa.Column("suspended_at", sa.DateTime(timezone=True)))
    op.add_column("users", sa.Column("signed_in_at", sa.DateTime(timezone=True)))
    for name in ("is_local", "folded_name"):
        op.create_index(op.f(f"ix_users_{name}"), "users", [name], unique=True)
    table = sa.table("users", *(sa.column(name) for name in ("name", "is_local", "role")))
    op.execute(sa.update(table).where(table.c.name == "local").values(is_local=sa.true(), role="administrator"))
    op.create_table(
        "login_sessions",
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], op.f("fk_login_sessions_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_login_sessions")),
    )
    for name in ("user_id", "expires_at"):
        op.create_index(op.f(f"ix_login_sessions_{name}"), "login_sessions", [name])
    op.create_table(
        "invitations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("user_id", sa.Uuid()),
        sa.Column("created_by", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], op.f("fk_invitations_user_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["created_by"], ["users.id"], op.f("fk_invitations_created_by"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitations")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_invitations_token_hash")),
    )


def downgrade() -> None:
    """The local user gets its name back: before, it was found by that."""
    op.drop_table("invitations")
    op.drop_table("login_sessions")
    table = sa.table("users", sa.column("name"), sa.column("is_local", sa.Boolean()))
    op.execute(sa.update(table).where(table.c.is_local).values(name="local"))
    for name in ("is_local", "folded_name"):
        op.drop_index(op.f(f"ix_users_{name}"), "users")
    for column in COLUMNS:
        op.drop_column("users", column)
