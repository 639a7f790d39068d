"""The places of waiting documents in the queue of all users, in the order in which `kb.ingestion.turns` takes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from uuid import UUID

import sqlalchemy as sa

from kb.access import Permission, Principal, can
from kb.database.tables import document_counts, knowledge_bases, versions
from kb.models import VersionState

# How far `queue_places` looks.
QUEUE_PLACES = 1_000

# Written out, for the index of waiting versions.
_QUEUED = sa.and_(
    versions.c.state == sa.literal_column(f"'{VersionState.QUEUED}'"), versions.c.cancel_requested.is_(False)
)
# Without `_QUEUED`, for which SQLite would go through the whole queue, and without a join, for which it would go
# through all documents of the user.
_IS_SEEN = (
    sa.select(can(Permission.VIEW, knowledge_bases))
    .where(knowledge_bases.c.id == versions.c.listed_in)
    .scalar_subquery()
)
_SEEN = sa.select(versions.c.id, versions.c.listed_in, versions.c.state, versions.c.cancel_requested).where(
    versions.c.id.in_(sa.bindparam("ids", expanding=True)),
    _IS_SEEN,
)
_FIRST = (
    sa.select(versions.c.id)
    .where(versions.c.listed_in == sa.bindparam("of_knowledge_base"), _QUEUED)
    .order_by(versions.c.effort, versions.c.created_at, versions.c.id)
    .limit(sa.bindparam("most"))
)
_WAITING = (
    sa.select(document_counts.c.knowledge_base_id, knowledge_bases.c.owner_id, document_counts.c.queued)
    .join(knowledge_bases, knowledge_bases.c.id == document_counts.c.knowledge_base_id)
    .where(document_counts.c.queued > 0)
)


def queue_places(
    connection: sa.Connection, principal: Principal, version_ids: Collection[UUID]
) -> dict[UUID, int | None]:
    """See `Documents.queue_places`."""
    asked = connection.execute(_SEEN, {"ids": list(version_ids)} | principal.binds)
    shown = [row for row in asked if row.state == VersionState.QUEUED.value and not row.cancel_requested]
    places: dict[UUID, int | None] = {}
    waiting = connection.execute(_WAITING).all() if shown else []
    for base in {row.listed_in for row in shown}:
        of = {"of_knowledge_base": base, "most": QUEUE_PLACES}
        first = {version_id: place for place, version_id in enumerate(connection.scalars(_FIRST, of))}
        owner = next((each.owner_id for each in waiting if each.knowledge_base_id == base), None)
        beside = [each.queued for each in waiting if each.owner_id == owner and each.knowledge_base_id != base]
        others = Counter[UUID]()
        for each in waiting:
            if each.owner_id != owner:
                others[each.owner_id] += each.queued
        for row in shown:
            if row.listed_in != base:
                continue
            if row.id in first:
                ahead = first[row.id]
                # The knowledge bases of a user take turns, and so do users: as many of each other one go first.
                ahead += sum(min(ahead, queued) for queued in beside)
                place = ahead + sum(min(ahead, queued) for queued in others.values()) + 1
                places[row.id] = place if place <= QUEUE_PLACES else None
            elif len(first) >= QUEUE_PLACES:
                places[row.id] = None
            # Within the bound, a worker has taken what is missing by now.
    return places
