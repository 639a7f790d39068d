"""Lists of documents in SQL: their orders, their pages, and searches by name."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import cache
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from kb.database.tables import FOLDED_CHARACTERS, documents, versions
from kb.library.counts import count_by_state
from kb.library.rows import DOCUMENT_COLUMNS
from kb.models import DocumentOrder, VersionState
from kb.names import clean_text, fold

# What a name is written with or without.
_SEPARATORS = " -_"
_WITHOUT_SEPARATORS = str.maketrans(dict.fromkeys(_SEPARATORS, ""))

_Columns = tuple[sa.ColumnElement[Any], ...]
_NEWEST_FIRST: _Columns = (versions.c.created_at.desc(), versions.c.id.desc())
_OLDEST_FIRST: _Columns = (versions.c.created_at, versions.c.id)
# The orders that show states after one another. States that come together are sorted by `activity`.
_GROUPS = {
    DocumentOrder.ACTIVITY: (
        [state for state in VersionState if state.is_running],
        [VersionState.QUEUED],
        [state for state in VersionState if not state.is_pending],
    ),
    DocumentOrder.STATE: (
        [VersionState.FAILED],
        [VersionState.CANCELLED],
        [VersionState.PARSING],
        [VersionState.EMBEDDING],
        [VersionState.INDEXING],
        [VersionState.QUEUED],
        [VersionState.READY],
    ),
}
_ALL_STATES = (list(VersionState),)
_ACTIVITIES = {group[0]: 2 - place for place, group in enumerate(_GROUPS[DocumentOrder.ACTIVITY])}
# How documents are sorted within a group, and the reverse.
_KEYS: dict[DocumentOrder, tuple[_Columns, _Columns]] = {
    DocumentOrder.NAME: ((versions.c.folded_name, *_NEWEST_FIRST), (versions.c.folded_name.desc(), *_OLDEST_FIRST)),
    DocumentOrder.LARGEST: ((versions.c.size_bytes.desc(), *_NEWEST_FIRST), (versions.c.size_bytes, *_OLDEST_FIRST)),
}
_KEYS |= dict.fromkeys(set(DocumentOrder) - set(_KEYS), (_NEWEST_FIRST, _OLDEST_FIRST))


def listed(
    connection: sa.Connection,
    knowledge_base_id: UUID,
    offset: int,
    limit: int,
    states: Collection[VersionState],
    search: str,
    order: DocumentOrder,
    within: Collection[UUID] | None,
) -> list[sa.Row[Any]]:
    """A page of the list that `Documents.list` gives."""
    if not search and within is None:
        return _page(connection, knowledge_base_id, states, order, offset, limit)
    keys = (_group_of_state(order), *_KEYS[order][0])
    matching = _matching(knowledge_base_id, states, search).where(is_within(versions.c.document_id, within))
    found = matching.order_by(*keys).offset(offset).limit(limit)
    return list(connection.execute(rows_of(found).order_by(*keys)))


def listed_after(
    connection: sa.Connection,
    knowledge_base_id: UUID,
    after: tuple[datetime, UUID] | None,
    limit: int,
    state: VersionState | None,
) -> list[sa.Row[Any]]:
    """The page that `Documents.after` gives: however long the list is, it reads that page alone."""
    found = sa.select(versions.c.id).where(versions.c.listed_in == knowledge_base_id)
    if state:
        found = found.where(versions.c.state == state.value)
    if after:
        moment, version_id = (
            sa.literal(value, column.type) for value, column in zip(after, _OLDEST_FIRST, strict=True)
        )
        found = found.where(sa.tuple_(*_OLDEST_FIRST) > sa.tuple_(moment, version_id))
    return list(connection.execute(rows_of(found.order_by(*_OLDEST_FIRST).limit(limit)).order_by(*_OLDEST_FIRST)))


def called(
    connection: sa.Connection, knowledge_base_id: UUID, name: str, limit: int, within: Collection[UUID] | None
) -> list[sa.Row[Any]]:
    """Those that `Documents.called` gives."""
    folded = fold(clean_text(name))[:FOLDED_CHARACTERS]
    joined: sa.ColumnElement[str] = versions.c.folded_name
    for separator in _SEPARATORS:
        joined = sa.func.replace(joined, separator, "")
    holding = (
        sa.select(versions.c.id, versions.c.folded_name)
        .where(
            versions.c.listed_in == knowledge_base_id,
            joined.contains(_join(folded), autoescape=True),
            is_within(versions.c.document_id, within),
        )
        .order_by(versions.c.state != VersionState.READY.value, versions.c.folded_name, versions.c.id)
    )
    alike = [row for row in connection.execute(holding) if _is_called(_join(row.folded_name), _join(folded))]
    exact = [row for row in alike if _is_called(row.folded_name, folded)]
    found = sa.select(versions.c.id).where(versions.c.id.in_([row.id for row in (exact or alike)[:limit]]))
    return list(connection.execute(rows_of(found).order_by(versions.c.folded_name, versions.c.id)))


def _join(name: str) -> str:
    return name.translate(_WITHOUT_SEPARATORS)


def _is_called(name: str, wanted: str) -> bool:
    """Whether `name` is `wanted` with at most folders and an extension: “report.v2.pdf” is not called “report”."""
    path = PurePosixPath(name)
    return wanted in (name, name.removesuffix(path.suffix), path.name, path.stem)


def count_listed(
    connection: sa.Connection, knowledge_base_id: UUID, states: Collection[VersionState], search: str
) -> int:
    if not search:
        counts = count_by_state(connection, knowledge_base_id)
        return sum(count for state, count in counts.items() if state in states)
    found = _matching(knowledge_base_id, states, search).subquery()
    return connection.scalar(sa.select(sa.func.count()).select_from(found)) or 0


def _page(
    connection: sa.Connection,
    knowledge_base_id: UUID,
    states: Collection[VersionState],
    order: DocumentOrder,
    offset: int,
    limit: int,
) -> list[sa.Row[Any]]:
    """One page. The counters tell in which groups of states it lies, so nothing else is read."""
    counts = count_by_state(connection, knowledge_base_id)
    rows: list[sa.Row[Any]] = []
    for group in _GROUPS.get(order, _ALL_STATES):
        chosen = [state for state in group if state in states]
        size = sum(counts.get(state, 0) for state in chosen)
        count = min(limit - len(rows), size - offset)
        if count > 0:
            rows += _slice(connection, knowledge_base_id, order, chosen, len(chosen) == len(group), size, offset, count)
        offset = max(0, offset - size)
    return rows


def _slice(
    connection: sa.Connection,
    knowledge_base_id: UUID,
    order: DocumentOrder,
    chosen: Sequence[VersionState],
    is_whole: bool,
    size: int,
    offset: int,
    count: int,
) -> list[sa.Row[Any]]:
    """`count` documents of a group after the first `offset`; there are `size` in its `chosen` states.

    Their ids come from an index alone, which is read from its nearer end.
    """
    after = size - offset - count
    is_backwards = after < offset
    skipped = after if is_backwards else offset
    of = {"of_knowledge_base": knowledge_base_id, "skipped": skipped, "count": count, "reach": skipped + count}
    return list(connection.execute(_slice_statement(order, tuple(chosen), is_whole, is_backwards), of))


@cache
def _slice_statement(
    order: DocumentOrder, chosen: tuple[VersionState, ...], is_whole: bool, is_backwards: bool
) -> sa.Select[Any]:
    """Built once: that takes longer than executing it."""
    listed = sa.select(versions.c.id, versions.c.created_at).where(
        versions.c.listed_in == sa.bindparam("of_knowledge_base")
    )
    keys = _KEYS[order][is_backwards]
    if order not in _GROUPS:
        if not is_whole:
            listed = listed.where(_is_in(chosen))
        found = listed.order_by(*keys)
    elif is_whole and order is DocumentOrder.ACTIVITY:
        found = listed.where(versions.c.activity == sa.literal_column(str(_ACTIVITIES[chosen[0]]))).order_by(*keys)
    elif len(chosen) == 1:
        found = listed.where(versions.c.state == chosen[0].value).order_by(*keys)
    else:
        # The first ones of each state: one condition for all would read every document in the other states.
        firsts = [
            listed.where(versions.c.state == state.value).order_by(*keys).limit(sa.bindparam("reach")).subquery()
            for state in chosen
        ]
        merged = sa.union_all(*(sa.select(first) for first in firsts)).subquery()
        merged_keys = (merged.c.created_at, merged.c.id)
        found = sa.select(merged).order_by(*(merged_keys if is_backwards else (key.desc() for key in merged_keys)))
    page = found.offset(sa.bindparam("skipped")).limit(sa.bindparam("count"))
    return rows_of(page).order_by(*_KEYS[order][0])


def rows_of(found: sa.Select[Any]) -> sa.Select[Any]:
    """The rows of the versions whose ids are `found`, with their documents."""
    page = found.subquery()
    return (
        sa.select(*DOCUMENT_COLUMNS)
        .select_from(page)
        .join(versions, versions.c.id == page.c.id)
        .join(documents, documents.c.id == versions.c.document_id)
    )


def _group_of_state(order: DocumentOrder) -> sa.ColumnElement[int]:
    """Which group of states a version is shown in."""
    places = {state.value: place for place, group in enumerate(_GROUPS.get(order, _ALL_STATES)) for state in group}
    return sa.case(places, value=versions.c.state)


def _is_in(states: Collection[VersionState]) -> sa.ColumnElement[bool]:
    """`NOT IN` the other states: for `IN`, planners read an index of states and sort everything that they found."""
    return versions.c.state.not_in([state.value for state in VersionState if state not in states])


def _matching(knowledge_base_id: UUID, states: Collection[VersionState], search: str) -> sa.Select[Any]:
    """All it compares is in the index of names, which is the smallest thing to read."""
    statement = sa.select(versions.c.id).where(versions.c.listed_in == knowledge_base_id)
    if len(states) < len(VersionState):
        statement = statement.where(_is_in(states))
    for word in fold(clean_text(search)).split():
        statement = statement.where(versions.c.folded_name.contains(word, autoescape=True))
    return statement


def is_within(document_id: sa.ColumnElement[UUID], within: Collection[UUID] | None) -> sa.ColumnElement[bool]:
    return sa.true() if within is None else document_id.in_(within)
