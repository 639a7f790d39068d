"""Retrieval profiles that nobody changed get the new defaults; a changed one is kept as it is."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

OLD = {"dense_weight": 0.45, "lexical_weight": 0.55, "threshold": 0.1}
NEW_THRESHOLD = 0.5  # weights that are not stored are those of the embedding model

knowledge_bases = sa.table("knowledge_bases", sa.column("id", sa.Uuid()), sa.column("profile", sa.JSON()))


def upgrade() -> None:
    for row in _rows():
        if all(row.profile.get(name, value) == value for name, value in OLD.items()):
            kept = {name: value for name, value in row.profile.items() if name not in OLD}
            _store(row.id, kept | {"threshold": NEW_THRESHOLD})


def downgrade() -> None:
    for row in _rows():
        has_weights = not row.profile.keys().isdisjoint(OLD.keys() - {"threshold"})
        if not has_weights and row.profile.get("threshold", NEW_THRESHOLD) == NEW_THRESHOLD:
            _store(row.id, row.profile | OLD)


def _rows() -> list[Any]:
    return list(op.get_bind().execute(sa.select(knowledge_bases)).all())


def _store(knowledge_base_id: Any, profile: dict[str, Any]) -> None:
    changed = sa.update(knowledge_bases).where(knowledge_bases.c.id == knowledge_base_id).values(profile=profile)
    op.get_bind().execute(changed)
