"""The places of waiting documents in the queue of all users."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

import sqlalchemy as sa

from kb.database.tables import knowledge_bases, versions
from kb.models import VersionState

# How far `queue_places` looks.
QUEUE_PLACES = 1_000

_QUEUED = sa.and_(versions.c.state == VersionState.QUEUED.value, versions.c.cancel_requested.is_(False))
_PLACE = sa.tuple_(versions.c.created_at, versions.c.id)
_FIRST_SHOWN = sa.tuple_(
    sa.bindparam("moment", type_=versions.c.created_at.type), sa.bindparam("version", type_=versions.c.id.type)
)
_LAST_SHOWN = sa.tuple_(
    sa.bindparam("last_moment", type_=versions.c.created_at.type),
    sa.bindparam("last_version", type_=versions.c.id.type),
)
# Without `_QUEUED`, for which SQLite would go through the whole queue, and without a join, for which it would go
# through all documents of the user.
_OWNER = sa.select(knowledge_bases.c.owner_id).where(knowledge_bases.c.id == versions.c.listed_in).scalar_subquery()
_OF_USER = (
    sa.select(
        versions.c.created_at.label("moment"),
        versions.c.id.label("version"),
        versions.c.state,
        versions.c.cancel_requested,
    )
    .where(
        versions.c.id.in_(sa.bindparam("ids", expanding=True)),
        sa.bindparam("of_user", type_=knowledge_bases.c.owner_id.type) == _OWNER,
    )
    .order_by(versions.c.created_at, versions.c.id)
)
_AHEAD = sa.select(sa.func.count()).select_from(
    sa.select(versions.c.id).where(_QUEUED, _PLACE < _FIRST_SHOWN).limit(QUEUE_PLACES).subquery()
)
_FOLLOWING = (
    sa.select(versions.c.id)
    .where(_QUEUED, _PLACE >= _FIRST_SHOWN, _PLACE <= _LAST_SHOWN)
    .order_by(versions.c.created_at, versions.c.id)
    .limit(sa.bindparam("most"))
)


def queue_places(connection: sa.Connection, user_id: UUID, version_ids: Collection[UUID]) -> dict[UUID, int | None]:
    """See `Documents.queue_places`."""
    asked = connection.execute(_OF_USER, {"ids": list(version_ids), "of_user": user_id})
    shown = [row for row in asked if row.state == VersionState.QUEUED.value and not row.cancel_requested]
    if not shown:
        return {}
    between = {
        "moment": shown[0].moment,
        "version": shown[0].version,
        "last_moment": shown[-1].moment,
        "last_version": shown[-1].version,
    }
    ahead = connection.scalar(_AHEAD, between) or 0
    following = connection.scalars(_FOLLOWING, between | {"most": QUEUE_PLACES - ahead})
    places = {version_id: place for place, version_id in enumerate(following, ahead + 1)}
    # Within the bound, a worker has taken what is missing by now.
    is_bounded = ahead + len(places) >= QUEUE_PLACES
    return {row.version: places.get(row.version) for row in shown if is_bounded or row.version in places}
