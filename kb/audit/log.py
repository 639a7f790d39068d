"""Searching the events, for administrators, taking them away as CSV, and clearing old ones."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from kb.access import Principal
from kb.accounts.administration import require_administrator
from kb.audit import Action, Kind, record
from kb.database import Database
from kb.database.tables import audit_events, now
from kb.names import fold

SEARCHED_WORDS = 10
MOST_LINES = 100_000  # of a CSV file: the newest ones
_COLUMNS = ("time", "user", "user_id", "api_key", "address", "action", "thing", "thing_id", "details", "times")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # what spreadsheets calculate


@dataclass(frozen=True, slots=True)
class Event:
    """`user_name`, `key_name` and `target_name` are what they were called then."""

    id: UUID
    at: datetime
    action: str  # an `Action`, or one of a later release
    user_id: UUID | None
    user_name: str
    key_name: str
    address: str
    target_id: UUID | None
    target_name: str
    details: dict[str, Any]
    times: int


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events are wanted. `text` finds those in which each of its words is, in any case."""

    user_id: UUID | None = None
    kind: Kind | None = None
    since: datetime | None = None
    before: datetime | None = None
    text: str = ""


class AuditLog:
    """Errors of every call with a principal: `AdministratorsOnly`."""

    def __init__(self, database: Database, days: int, clock: Callable[[], datetime] = now) -> None:
        """`days`: how long events are kept."""
        self._database = database
        self._clock = clock
        self.days = days

    def search(self, principal: Principal, wanted: Filter, offset: int = 0, limit: int = 50) -> Sequence[Event]:
        """The newest first."""
        with self._database.read() as connection:
            require_administrator(connection, principal)
            return [_event(row) for row in connection.execute(_newest(wanted).offset(offset).limit(limit))]

    def count(self, principal: Principal, wanted: Filter) -> int:
        """How many `search` finds in all."""
        statement = sa.select(sa.func.count()).select_from(audit_events).where(*_conditions(wanted))
        with self._database.read() as connection:
            require_administrator(connection, principal)
            return connection.scalar(statement) or 0

    def export(self, principal: Principal, wanted: Filter) -> bytes:
        """The newest events as a CSV file. Who takes it is recorded."""
        found = self.search(principal, wanted, limit=MOST_LINES)
        with self._database.write() as connection:
            record(connection, principal, Action.AUDIT_EXPORTED, count=len(found))
        text = io.StringIO(newline="")
        lines = csv.writer(text, quoting=csv.QUOTE_ALL)
        lines.writerow(_COLUMNS)
        lines.writerows([_cell(value) for value in _line(event)] for event in found)
        return text.getvalue().encode("utf-8-sig")  # without the mark, Excel takes Chinese for another encoding

    def clear(self) -> int:
        """Delete what is older than it is kept; returns how many events that were."""
        is_old = audit_events.c.at < self._clock() - timedelta(days=self.days)
        with self._database.write() as connection:
            return connection.execute(sa.delete(audit_events).where(is_old)).rowcount


def _newest(wanted: Filter) -> sa.Select[Any]:
    newest_first = audit_events.c.at.desc(), audit_events.c.id
    return sa.select(audit_events).where(*_conditions(wanted)).order_by(*newest_first)


def _conditions(wanted: Filter) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if wanted.user_id:
        found.append(audit_events.c.user_id == wanted.user_id)
    if wanted.kind:
        found.append(audit_events.c.action.in_([each.value for each in Action if each.kind is wanted.kind]))
    if wanted.since:
        found.append(audit_events.c.at >= wanted.since)
    if wanted.before:
        found.append(audit_events.c.at < wanted.before)
    words = fold(wanted.text).split()[:SEARCHED_WORDS]
    return found + [audit_events.c.folded_text.contains(word, autoescape=True) for word in words]


def _event(row: sa.Row[Any]) -> Event:
    return Event(**{field.name: getattr(row, field.name) for field in fields(Event)})


def _line(event: Event) -> Sequence[str]:
    return (
        event.at.isoformat(timespec="seconds"),
        event.user_name,
        str(event.user_id or ""),
        event.key_name,
        event.address,
        event.action,
        event.target_name,
        str(event.target_id or ""),
        json.dumps(event.details, ensure_ascii=False) if event.details else "",
        str(event.times),
    )


def _cell(value: str) -> str:
    """A spreadsheet shows it as it is: what begins like a formula gets a quotation mark before it."""
    return f"'{value}" if value.lstrip(" ").startswith(_FORMULA) else value
