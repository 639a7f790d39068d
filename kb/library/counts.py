"""How many documents a knowledge base has, by state.

Counters change in the transaction that changes what they count, so that a page reads one row however many documents
there are. On PostgreSQL a transaction changes them last: they are the rows that writers of one knowledge base share.
"""

from __future__ import annotations

from collections import Counter
from uuid import UUID

import sqlalchemy as sa

from kb.database import Database
from kb.database.tables import document_counts, documents, versions
from kb.models import VersionState

RUNNING = [state.value for state in VersionState if state.is_running]
_STATES = [state.value for state in VersionState if not state.is_running]
_COLUMNS = ["documents", "answering", *_STATES, "unsearchable"]
_LIVE = versions.alias("live")

_change = sa.update(document_counts).values(
    {name: document_counts.c[name] + sa.bindparam(f"more_{name}") for name in _COLUMNS}
)
_CHANGE = _change.where(document_counts.c.knowledge_base_id == sa.bindparam("of_knowledge_base"))
_CHANGE_WHERE_LISTED = _change.where(
    document_counts.c.knowledge_base_id
    == sa.select(versions.c.listed_in).where(versions.c.id == sa.bindparam("of_version")).scalar_subquery()
)
_COUNTS = sa.select(document_counts).where(document_counts.c.knowledge_base_id == sa.bindparam("of_knowledge_base"))
_COUNTS_BY_STATE = sa.select(
    *(document_counts.c[name] for name in _STATES),
    *(
        sa.select(sa.func.count())
        .where(versions.c.listed_in == sa.bindparam("of_knowledge_base"), versions.c.state == name)
        .scalar_subquery()
        .label(name)
        for name in RUNNING
    ),
).where(document_counts.c.knowledge_base_id == sa.bindparam("of_knowledge_base"))


def count_document(connection: sa.Connection, knowledge_base_id: UUID, state: VersionState, more: int) -> None:
    """Count a document that was added to a list in this `state` (`more` is 1) or taken from it (-1)."""
    changes = {"documents": more, state.value: more}
    connection.execute(_CHANGE, {"of_knowledge_base": knowledge_base_id, **_parameters(changes)})


def count_answering(connection: sa.Connection, knowledge_base_id: UUID, more: int) -> None:
    """Count a document that starts (`more` is 1) or stops (-1) answering questions."""
    connection.execute(_CHANGE, {"of_knowledge_base": knowledge_base_id, **_parameters({"answering": more})})


def count_unsearchable(connection: sa.Connection, knowledge_base_id: UUID, more: int) -> None:
    """Count documents that begin (`more` is positive) or cease (negative) to lack chunks in Milvus."""
    connection.execute(_CHANGE, {"of_knowledge_base": knowledge_base_id, **_parameters({"unsearchable": more})})


def lacks_chunks(table: sa.FromClause = versions) -> sa.ColumnElement[bool]:
    """With a literal: SQLite would not use the index of these few for a parameter."""
    return table.c.missing_chunks > sa.literal_column("0")


def count_moves(
    connection: sa.Connection, knowledge_base_id: UUID, before: VersionState, after: VersionState, count: int
) -> None:
    """Count a change of state of so many documents of one knowledge base."""
    changes = Counter({after.value: count})
    changes[before.value] -= count
    connection.execute(_CHANGE, {"of_knowledge_base": knowledge_base_id, **_parameters(changes)})


def count_move(connection: sa.Connection, version_id: UUID, before: VersionState, after: VersionState) -> None:
    """Count a version's change of state, if a list shows the version."""
    changes = Counter({after.value: 1})
    changes[before.value] -= 1
    connection.execute(_CHANGE_WHERE_LISTED, {"of_version": version_id, **_parameters(changes)})


def count_by_state(connection: sa.Connection, knowledge_base_id: UUID) -> dict[VersionState, int]:
    """How many documents are in each state; states without documents are left out."""
    row = connection.execute(_COUNTS_BY_STATE, {"of_knowledge_base": knowledge_base_id}).mappings().one()
    return {state: row[state.value] for state in VersionState if row[state.value]}


def recount(connection: sa.Connection, knowledge_base_id: UUID) -> dict[str, int]:
    """Recount everything and correct the counters. Returns their errors.

    Other writers wait for the row meanwhile.
    """
    of = {"of_knowledge_base": knowledge_base_id}
    stored = connection.execute(_COUNTS.with_for_update(), of).mappings().one_or_none()
    if stored is None:
        return {}  # deleted, and cleared already
    counted = (
        connection.execute(
            sa.select(
                sa.func.count().label("documents"),
                sa.func.count(documents.c.live_version_id).label("answering"),
                *(sa.func.count(sa.case((versions.c.state == state, 1))).label(state) for state in _STATES),
                sa.func.count(sa.case((lacks_chunks(_LIVE), 1))).label("unsearchable"),
            )
            .select_from(versions)
            .join(documents, documents.c.id == versions.c.document_id)
            .outerjoin(_LIVE, _LIVE.c.id == documents.c.live_version_id)
            .where(versions.c.listed_in == sa.bindparam("of_knowledge_base")),
            of,
        )
        .mappings()
        .one()
    )
    wrong = {name: counted[name] - stored[name] for name in _COLUMNS if counted[name] != stored[name]}
    if wrong:
        connection.execute(_CHANGE, of | _parameters(wrong))
    return wrong


def recount_all(database: Database) -> dict[UUID, dict[str, int]]:
    """Correct the counters of all knowledge bases, one after the other; returns what they were wrong by."""
    with database.read() as connection:
        found = list(connection.scalars(sa.select(document_counts.c.knowledge_base_id)))
    corrections = {}
    for knowledge_base_id in found:
        with database.write() as connection:
            if wrong := recount(connection, knowledge_base_id):
                corrections[knowledge_base_id] = wrong
    return corrections


def _parameters(changes: dict[str, int]) -> dict[str, int]:
    """The parameters of `_change`; running states have no counter."""
    return {f"more_{name}": changes.get(name, 0) for name in _COLUMNS}
