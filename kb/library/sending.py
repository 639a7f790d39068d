"""Telling the workers of queued versions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
import structlog

from kb.database import Database
from kb.database.tables import now, versions
from kb.errors import KbError
from kb.queue import Queue

log = structlog.get_logger()

_MARK_SENT = sa.update(versions).where(versions.c.id == sa.bindparam("of_version"))


def send_version(database: Database, queue: Queue, version_id: UUID) -> datetime | None:
    """Tell the workers of a queued version; when, or None if that cannot be done now: the reaper sends it later."""
    moment = now()
    try:
        queue.send_version(version_id)
        mark_sent(database, [version_id], moment)
    except KbError as error:
        log.warning("version.unsent", version=str(version_id), reason=str(error))
        return None
    return moment


def mark_sent(database: Database, version_ids: Sequence[UUID], moment: datetime) -> None:
    """Note that a message for these versions was put into the queue."""
    with database.write() as connection:
        # In one order, as all who change some of them.
        rows = [{"of_version": version_id, "sent_at": moment} for version_id in sorted(version_ids)]
        connection.execute(_MARK_SENT, rows)
