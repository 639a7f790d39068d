"""Messages in SQL: their rows and parts, and the branches of a conversation's tree. Within a caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
import structlog

from kb.access import Permission, Principal, can
from kb.database.tables import conversations, message_parts, message_texts, messages, now
from kb.errors import N_, NotFound
from kb.formats import Unreadable, from_json, from_record, to_json, to_record
from kb.messages import PARTS, UNRATED, Message, P, Part, PassagesPart, Rating, SourcesPart, TextPart, WebPart
from kb.models import NOWHERE, MessageState, Mode, Role, Scope, known
from kb.names import clean_text, fold

MESSAGE = N_("message")
BULKY = (PassagesPart.kind, WebPart.kind)  # of an answer with five passages: 50 kB

log = structlog.get_logger()

NOT_DELETED = conversations.c.deleted_at.is_(None)

_OF_CONVERSATION = messages.c.conversation_id == sa.bindparam("of_conversation")
_OWN = (
    sa.select(messages)
    .join(conversations, conversations.c.id == messages.c.conversation_id)
    .where(can(Permission.OWN, conversations), NOT_DELETED)
)
_MESSAGE = _OWN.where(messages.c.id == sa.bindparam("of_message"))
# The last ordinal of a conversation, and its running answer if there is one.
_STATE = sa.select(
    sa.select(sa.func.max(messages.c.ordinal)).where(_OF_CONVERSATION).scalar_subquery().label("last"),
    sa.select(messages.c.id)
    .where(_OF_CONVERSATION, messages.c.state == MessageState.STREAMING.value)
    .limit(1)
    .scalar_subquery()
    .label("streaming"),
)
_PARTS = sa.select(message_parts).order_by(message_parts.c.message_id, message_parts.c.position)
# In lists a bulky part is named, but not read.
_LIGHT_PARTS = sa.select(
    message_parts.c.message_id,
    message_parts.c.kind,
    sa.case((message_parts.c.kind.in_(BULKY), sa.null()), else_=message_parts.c.body).label("body"),
).order_by(message_parts.c.message_id, message_parts.c.position)


# --- reading ---


def own_row(connection: sa.Connection, principal: Principal, message_id: UUID, lock: bool = False) -> sa.Row[Any]:
    """The row of a message of the user's. Errors: `NotFound`."""
    statement = _MESSAGE.with_for_update(of=messages) if lock else _MESSAGE
    found = connection.execute(statement, {"of_message": message_id} | principal.binds).one_or_none()
    if found is None:
        raise NotFound(what=MESSAGE)
    return found


def read(connection: sa.Connection, principal: Principal, message_id: UUID) -> Message:
    """The whole message, except its siblings. Errors: `NotFound`."""
    return _whole(connection, own_row(connection, principal, message_id))


def whole(connection: sa.Connection, message_id: UUID) -> Message:
    """As `read`, for a caller that knows that it may be read."""
    return _whole(connection, connection.execute(sa.select(messages).where(messages.c.id == message_id)).one())


def _whole(connection: sa.Connection, row: sa.Row[Any]) -> Message:
    found = connection.execute(_PARTS.where(message_parts.c.message_id == row.id))
    return _message(row, [(part.kind, part.body) for part in found])


def branch(
    connection: sa.Connection,
    end_id: UUID | sa.ScalarSelect[Any] | None,
    limit: int,
    before: int | None = None,
    after: int | None = None,
    kinds: Collection[str] = (),
) -> list[Message]:
    """The last `limit` messages between two ordinals on the branch that ends with `end_id`, the oldest first.

    Without their bulky parts and their siblings. `kinds`: with these parts alone.
    """
    if end_id is None:
        return []
    columns = messages.c.id, messages.c.parent_id, messages.c.ordinal
    path = sa.select(*columns, sa.literal(1).label("place")).where(messages.c.id == end_id).cte("path", recursive=True)
    step = sa.select(*columns, path.c.place + 1).join(path, messages.c.id == path.c.parent_id)
    if after is not None:
        step = step.where(messages.c.ordinal > after)
    if before is None:
        step = step.where(path.c.place < limit)
    path = path.union_all(step)
    statement = sa.select(messages).join(path, path.c.id == messages.c.id)
    if before is not None:
        statement = statement.where(messages.c.ordinal < before)
    if after is not None:
        statement = statement.where(messages.c.ordinal > after)
    rows = connection.execute(statement.order_by(messages.c.ordinal.desc()).limit(limit)).all()[::-1]
    bodies: dict[UUID, list[tuple[str, Any]]] = {row.id: [] for row in rows}
    wanted = [message_parts.c.message_id.in_(list(bodies))]
    wanted += [message_parts.c.kind.in_(kinds)] if kinds else []
    for part in connection.execute(_LIGHT_PARTS.where(*wanted)):
        bodies[part.message_id].append((part.kind, part.body))
    return [_message(row, bodies[row.id]) for row in rows]


def last_said(connection: sa.Connection, end_id: UUID | None) -> UUID | None:
    """The end of a branch without the notice there, which goes as soon as another one follows."""
    end = branch(connection, end_id, 1)
    return end[0].parent_id if end and end[0].role is Role.NOTICE else end_id


def tree(connection: sa.Connection, conversation_id: UUID) -> list[Message]:
    """All messages of a conversation with all their parts, the oldest first; without their siblings."""
    of = {"of_conversation": conversation_id}
    rows = connection.execute(sa.select(messages).where(_OF_CONVERSATION).order_by(messages.c.ordinal), of).all()
    bodies: dict[UUID, list[tuple[str, Any]]] = {row.id: [] for row in rows}
    found = _PARTS.join(messages, messages.c.id == message_parts.c.message_id).where(_OF_CONVERSATION)
    for part in connection.execute(found, of):
        if part.message_id in bodies:  # else it was asked since
            bodies[part.message_id].append((part.kind, part.body))
    return [_message(row, bodies[row.id]) for row in rows]


def with_siblings(connection: sa.Connection, conversation_id: UUID, found: Sequence[Message]) -> list[Message]:
    """With the ids of all that may stand in each one's place: answers to one question, wordings of one question."""
    parents = {message.parent_id for message in found if message.role is not Role.NOTICE}
    if not parents:
        return list(found)
    known = [parent for parent in parents if parent]
    is_sibling: sa.ColumnElement[bool] = messages.c.parent_id.in_(known)
    if None in parents:
        is_sibling = sa.or_(is_sibling, messages.c.parent_id.is_(None))
    statement = (
        sa.select(messages.c.id, messages.c.parent_id, messages.c.role)
        .where(_OF_CONVERSATION, is_sibling)
        .order_by(messages.c.ordinal)
    )
    places: dict[tuple[UUID | None, str], tuple[UUID, ...]] = {}
    for row in connection.execute(statement, {"of_conversation": conversation_id}):
        key = row.parent_id, row.role
        places[key] = (*places.get(key, ()), row.id)
    return [replace(each, siblings=places.get((each.parent_id, each.role.value), (each.id,))) for each in found]


def newest_end(connection: sa.Connection, message_id: UUID) -> UUID:
    """The end of the branch through the message that was written to last."""
    below = sa.select(messages.c.id, messages.c.ordinal).where(messages.c.id == message_id).cte("below", recursive=True)
    below = below.union_all(
        sa.select(messages.c.id, messages.c.ordinal).join(below, messages.c.parent_id == below.c.id)
    )
    # A message's ordinal is larger than that of any before it on its branch, so the largest one ends one.
    end = connection.scalar(sa.select(below.c.id).order_by(below.c.ordinal.desc()).limit(1))
    return end or message_id


def state_of(connection: sa.Connection, conversation_id: UUID) -> tuple[int, UUID | None]:
    """The ordinal of the next message, and the running answer if there is one."""
    row = connection.execute(_STATE, {"of_conversation": conversation_id}).one()
    return 0 if row.last is None else row.last + 1, row.streaming


def _message(row: sa.Row[Any], bodies: Sequence[tuple[str, Any]]) -> Message:
    parts, lost = [], False
    for kind, body in bodies:
        try:
            if body is not None and (part := _part(kind, body)):
                parts.append(part)
        except Unreadable as error:
            log.warning("message.part_unreadable", message=str(row.id), kind=kind, detail=str(error))
            lost = lost or kind in BULKY
    kinds = {kind for kind, _body in bodies}
    if PassagesPart.kind in kinds and SourcesPart.kind not in kinds:
        lost = True  # the migration did not understand them
    return Message(
        id=row.id,
        conversation_id=row.conversation_id,
        ordinal=row.ordinal,
        role=known(row.role, Role.NOTICE),
        state=known(row.state, MessageState.DONE),
        mode=known(row.mode, Mode.KNOWLEDGE),
        created_at=row.created_at,
        parts=tuple(parts),
        parent_id=row.parent_id,
        run_id=row.run_id,
        scope=read_scope(row.scope),
        rating=_rating(row.rating),
        has_lost_passages=lost,
        began_at=row.began_at,
        finished_at=row.finished_at,
    )


def _part(kind: str, body: Any) -> Part | None:
    """None for a kind of a later release. Errors: `Unreadable`."""
    if kind == PassagesPart.kind:
        return PassagesPart(from_record(body))
    return from_json(PARTS[kind], body) if kind in PARTS else None


def _rating(kept: Any) -> Rating:
    try:
        return from_json(Rating, kept)
    except Unreadable:
        return UNRATED


def read_scope(kept: Any) -> Scope:
    """The scope as far as it can be understood."""
    try:
        return from_json(Scope, kept)
    except Unreadable:
        return NOWHERE


# --- writing ---


def new(
    conversation_id: UUID,
    ordinal: int,
    role: Role,
    state: MessageState,
    mode: Mode,
    scope: Scope,
    parent_id: UUID | None,
    parts: Sequence[Part] = (),
) -> Message:
    """A message that is not stored yet. An answer gets a run, which begins now."""
    moment = now()
    return Message(
        id=uuid4(),
        conversation_id=conversation_id,
        ordinal=ordinal,
        role=role,
        state=state,
        mode=mode,
        created_at=moment,
        parts=tuple(parts),
        parent_id=parent_id,
        run_id=uuid4() if role is Role.ASSISTANT else None,
        scope=scope,
        began_at=moment if role is Role.ASSISTANT else None,
    )


def insert(connection: sa.Connection, added: Sequence[Message]) -> None:
    """Store new messages, all but notices with their text for searching."""
    connection.execute(sa.insert(messages), [_row(message) for message in added])
    if bodies := [row for message in added for row in _bodies(message.id, message.parts)]:
        connection.execute(sa.insert(message_parts), bodies)
    texts = [
        {"message_id": each.id, "conversation_id": each.conversation_id, "text": fold(each.content)}
        for each in added
        if each.role is not Role.NOTICE
    ]
    if texts:
        connection.execute(sa.insert(message_texts), texts)


def replace_parts(connection: sa.Connection, message_id: UUID, parts: Sequence[Part]) -> None:
    """Give a stored message other parts, and let searches find its text."""
    connection.execute(sa.delete(message_parts).where(message_parts.c.message_id == message_id))
    if bodies := _bodies(message_id, parts):
        connection.execute(sa.insert(message_parts), bodies)
    text = "".join(part.text for part in parts if isinstance(part, TextPart))
    fold_text = sa.update(message_texts).where(message_texts.c.message_id == message_id)
    connection.execute(fold_text.values(text=fold(clean_text(text))))


def replace_part(connection: sa.Connection, message_id: UUID, part: Part) -> None:
    """Give a stored message this part in place of its own of the kind, or in addition."""
    of_message = message_parts.c.message_id == message_id
    connection.execute(sa.delete(message_parts).where(of_message, message_parts.c.kind == part.kind))
    last = connection.scalar(sa.select(sa.func.max(message_parts.c.position)).where(of_message))
    (body,) = _bodies(message_id, [part])
    connection.execute(sa.insert(message_parts), body | {"position": 0 if last is None else last + 1})


def read_part(connection: sa.Connection, message_id: UUID, kind: type[P]) -> P | None:
    """One part of a stored message, without reading the bulky ones. None, too, if it cannot be understood."""
    statement = sa.select(message_parts.c.body).where(
        message_parts.c.message_id == message_id, message_parts.c.kind == kind.kind
    )
    body = connection.scalar(statement)
    try:
        return None if body is None else from_json(kind, body)
    except Unreadable:
        return None


def delete(connection: sa.Connection, message_ids: Collection[UUID]) -> None:
    connection.execute(sa.delete(messages).where(messages.c.id.in_(message_ids)))


def _row(message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "conversation_id": message.conversation_id,
        "parent_id": message.parent_id,
        "ordinal": message.ordinal,
        "role": message.role.value,
        "state": message.state.value,
        "mode": message.mode.value,
        "scope": to_json(message.scope),
        "run_id": message.run_id,
        "created_at": message.created_at,
        "began_at": message.began_at,
    }


def _bodies(message_id: UUID, parts: Sequence[Part]) -> list[dict[str, Any]]:
    return [
        {"message_id": message_id, "position": position, "kind": part.kind, "body": _body(part)}
        for position, part in enumerate(parts)
    ]


def _body(part: Part) -> dict[str, Any]:
    if isinstance(part, PassagesPart):
        return to_record(part.retrieval)
    return {name: _cleaned(value) for name, value in to_json(part).items()}


def _cleaned(value: Any) -> Any:
    return clean_text(value) if isinstance(value, str) else value
