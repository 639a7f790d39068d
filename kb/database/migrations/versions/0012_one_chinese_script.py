"""Folded texts in Simplified characters, so that a search finds what was written in either script (`kb.names.fold`)."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from kb.names import fold

revision = "0012"
down_revision = "0011"

BATCH_ROWS = 500
FOLDED_CHARACTERS = 500  # of a document's name


def upgrade() -> None:
    _fold_again("conversations", "id", "folded_title")
    _fold_again("message_texts", "message_id", "text")
    _fold_again("versions", "id", "folded_name", FOLDED_CHARACTERS)


def downgrade() -> None:
    """What is folded further finds as much as before, for questions in Simplified characters."""


def _fold_again(table_name: str, id_name: str, column_name: str, most: int | None = None) -> None:
    connection = op.get_bind()
    identity: sa.ColumnClause[Any] = sa.column(id_name)
    column: sa.ColumnClause[str] = sa.column(column_name)
    table = sa.table(table_name, identity, column)
    change = table.update().where(identity == sa.bindparam("of")).values({column_name: sa.bindparam("folded")})
    statement = sa.select(identity, column).order_by(identity).limit(BATCH_ROWS)
    rows = connection.execute(statement).all()
    while rows:
        folded = [{"of": row[0], "folded": fold(row[1])[:most]} for row in rows]
        before = {row[0]: row[1] for row in rows}
        if changed := [each for each in folded if each["folded"] != before[each["of"]]]:
            connection.execute(change, changed)
        rows = connection.execute(statement.where(identity > rows[-1][0])).all()
