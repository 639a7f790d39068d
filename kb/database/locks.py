"""Row locks. On SQLite, which has one writer at a time, they do nothing.

Who locks rows of several tables locks the knowledge base first, then its documents, then their versions.
"""

from __future__ import annotations

import sqlalchemy as sa


def lock_rows(connection: sa.Connection, table: sa.Table, *chosen: sa.ColumnElement[bool]) -> None:
    """Nobody else changes or deletes these rows until the transaction ends; foreign keys may point to them meanwhile.

    In the order of their ids: of two who lock some of the same rows, neither holds one that the other waits for.
    """
    ids = sa.select(table.c.id).where(*chosen).order_by(table.c.id)
    connection.execute(ids.with_for_update(key_share=True)).all()
