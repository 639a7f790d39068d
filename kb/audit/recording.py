"""Writing events. Titles of conversations and what was asked are nobody else's business and are not recorded."""

from __future__ import annotations

from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from kb.access import Principal
from kb.audit.actions import Action
from kb.database.tables import api_keys, audit_events, now, users
from kb.names import fold

# Failed sign-ins of one account from one address within this time are one event, which counts them.
SAME_FAILURE = timedelta(minutes=15)
MOST_FAILURES = 500  # events within that time; further ones, of whomever and from wherever, are counted as one

ADDRESS_CHARACTERS = 100
COMMAND_LINE = "command line"  # in place of an address
_address: ContextVar[str] = ContextVar("audit_address", default="")


def acting_from(address: str) -> None:
    """From which address the request or the page comes that this thread or task works for from now on."""
    _address.set(address[:ADDRESS_CHARACTERS])


def record(
    connection: sa.Connection,
    principal: Principal,
    action: Action,
    target_id: UUID | None = None,
    target_name: str = "",
    **details: str | int,
) -> None:
    """Note within a transaction that `principal` did this with a thing, which is called so now."""
    user_name = connection.scalar(sa.select(users.c.name).where(users.c.id == principal.user_id)) or ""
    key_name = ""
    if principal.key:
        key_name = connection.scalar(sa.select(api_keys.c.name).where(api_keys.c.id == principal.key.id)) or ""
    who = {"user_id": principal.user_id, "user_name": user_name, "key_name": key_name}
    target = {"target_id": target_id, "target_name": target_name, "details": details}
    _insert(connection, action, now(), who | target, _address.get())


def was_recorded(
    connection: sa.Connection, principal: Principal, action: Action, target_id: UUID, within: timedelta
) -> bool:
    """Whether `principal` did this with the thing lately, from the same address."""
    found = sa.select(audit_events.c.id).where(
        audit_events.c.user_id == principal.user_id,
        audit_events.c.at > now() - within,
        audit_events.c.action == action.value,
        audit_events.c.target_id == target_id,
        audit_events.c.address == _address.get(),
    )
    return connection.execute(found.limit(1)).first() is not None


def record_failed_sign_in(
    connection: sa.Connection, user_id: UUID | None, user_name: str, moment: datetime | None = None
) -> None:
    """`user_id` None: no account has the name, which is not kept: people type passwords into the wrong field."""
    moment, address = moment or now(), _address.get()
    recent = sa.and_(audit_events.c.action == Action.SIGN_IN_FAILED.value, audit_events.c.at > moment - SAME_FAILURE)
    if _count_again(connection, recent, moment, user_id, address):
        return
    if (connection.scalar(sa.select(sa.func.count()).where(recent)) or 0) >= MOST_FAILURES:
        user_id, user_name, address = None, "", ""
        if _count_again(connection, recent, moment, user_id, address):
            return
    _insert(connection, Action.SIGN_IN_FAILED, moment, {"user_id": user_id, "user_name": user_name}, address)


def _count_again(
    connection: sa.Connection, recent: sa.ColumnElement[bool], moment: datetime, user_id: UUID | None, address: str
) -> bool:
    """Whether there is such an event, which now counts one more."""
    same = sa.and_(recent, audit_events.c.user_id.is_not_distinct_from(user_id), audit_events.c.address == address)
    # One of them: two that came at the same moment are two events.
    one = sa.select(audit_events.c.id).where(same).order_by(audit_events.c.id).limit(1).with_for_update()
    again = sa.update(audit_events).where(audit_events.c.id == one.scalar_subquery())
    again = again.values(times=audit_events.c.times + 1, at=moment)
    return connection.execute(again).rowcount > 0


def _insert(connection: sa.Connection, action: Action, moment: datetime, values: dict[str, Any], address: str) -> None:
    values = {"key_name": "", "target_name": "", "details": {}} | values
    texts = [values["user_name"], values["key_name"], values["target_name"], address, *values["details"].values()]
    values |= {
        "action": action.value,
        "at": moment,
        "address": address,
        "folded_text": fold("\n".join(map(str, texts))),
    }
    connection.execute(sa.insert(audit_events), values)
