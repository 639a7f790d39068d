"""Providers of models, and the choice of models by purpose, to which each user's chat model moves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

users = sa.table("users", sa.column("id", sa.Uuid()), sa.column("chat_model", sa.String()))


def upgrade() -> None:
    op.create_table(
        "providers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(400), nullable=False),
        sa.Column("preset", sa.String(40), nullable=False),
        sa.Column("base_url", sa.Text(), nullable=False),
        sa.Column("encrypted_key", sa.Text(), nullable=False),
        sa.Column("model_names", sa.JSON(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name="fk_providers_owner_id_users", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_providers"),
        sa.UniqueConstraint("owner_id", "name", name="uq_providers_owner_id_name"),
    )
    choices = op.create_table(
        "model_choices",
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.String(20), nullable=False),
        sa.Column("model", sa.String(400), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name="fk_model_choices_owner_id_users", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("owner_id", "purpose", name="pk_model_choices"),
    )
    chosen = sa.select(users.c.id, sa.literal("chat"), users.c.chat_model).where(users.c.chat_model != "")
    op.execute(sa.insert(choices).from_select(["owner_id", "purpose", "model"], chosen))
    op.drop_column("users", "chat_model")


def downgrade() -> None:
    op.add_column("users", sa.Column("chat_model", sa.String(300), server_default="", nullable=False))
    choices = sa.table("model_choices", sa.column("owner_id", sa.Uuid()), sa.column("purpose"), sa.column("model"))
    chosen = sa.select(choices.c.model).where(
        choices.c.owner_id == users.c.id, choices.c.purpose == "chat", sa.func.length(choices.c.model) <= 300
    )
    op.execute(sa.update(users).values(chat_model=sa.func.coalesce(chosen.scalar_subquery(), "")))
    op.drop_table("model_choices")
    op.drop_table("providers")
