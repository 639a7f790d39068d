"""Groups of users, and with whom knowledge bases are shared."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.create_table(
        "groups",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(400), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_groups")),
        sa.UniqueConstraint("name", name=op.f("uq_groups_name")),
    )
    op.create_table(
        "group_members",
        sa.Column("group_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("group_id", "user_id", name=op.f("pk_group_members")),
        sa.ForeignKeyConstraint(
            ["group_id"], ["groups.id"], name=op.f("fk_group_members_group_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_group_members_user_id"), ondelete="CASCADE"),
    )
    op.create_index("ix_group_members_of_user", "group_members", ["user_id", "group_id"])
    op.create_table(
        "grants",
        sa.Column("knowledge_base_id", sa.Uuid(), nullable=False),
        sa.Column("grantee_kind", sa.String(20), nullable=False),
        sa.Column("grantee_id", sa.Uuid(), nullable=False),
        sa.Column("permission", sa.String(20), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("knowledge_base_id", "grantee_kind", "grantee_id", name=op.f("pk_grants")),
        sa.ForeignKeyConstraint(
            ["knowledge_base_id"],
            ["knowledge_bases.id"],
            name=op.f("fk_grants_knowledge_base_id"),
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_grants_of_grantee", "grants", ["grantee_kind", "grantee_id", "knowledge_base_id"])


def downgrade() -> None:
    op.drop_table("grants")
    op.drop_table("group_members")
    op.drop_table("groups")
