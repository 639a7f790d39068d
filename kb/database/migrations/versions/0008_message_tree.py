"""Messages become a tree of typed parts, a question's knowledge base its scope; conversations are pinned, and deleted.

A deleted conversation is kept for a while, so that a user can undo this.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

BATCH = 200  # answers hold their passages: some megabytes

conversations = sa.table(
    "conversations",
    sa.column("id", sa.Uuid()),
    sa.column("knowledge_base_id", sa.Uuid()),
    sa.column("scope", sa.JSON()),
    sa.column("shown_id", sa.Uuid()),
    sa.column("is_named", sa.Boolean()),
    sa.column("deleted_at", sa.DateTime()),
)
messages = sa.table(
    "messages",
    sa.column("id", sa.Uuid()),
    sa.column("conversation_id", sa.Uuid()),
    sa.column("ordinal", sa.Integer()),
    sa.column("role", sa.String()),
    sa.column("content", sa.Text()),
    sa.column("knowledge_base_id", sa.Uuid()),
    sa.column("model", sa.String()),
    sa.column("error", sa.String()),
    sa.column("error_values", sa.JSON()),
    sa.column("retrieval", sa.JSON(none_as_null=True)),
    sa.column("reasoning", sa.Text()),
    sa.column("parent_id", sa.Uuid()),
    sa.column("scope", sa.JSON()),
    sa.column("run_id", sa.Uuid()),
)
parts = sa.table(
    "message_parts",
    sa.column("message_id", sa.Uuid()),
    sa.column("position", sa.Integer()),
    sa.column("kind", sa.String()),
    sa.column("body", sa.JSON()),
)
MOVED: dict[str, sa.types.TypeEngine[Any]] = {
    "content": sa.Text(),
    "knowledge_base_id": sa.Uuid(),
    "model": sa.String(300),
    "error": sa.String(60),
    "error_values": sa.JSON(),
    "retrieval": sa.JSON(none_as_null=True),
    "reasoning": sa.Text(),
}
DEFAULTS = {"content": "", "model": "", "error": "", "error_values": "{}", "reasoning": ""}  # the others may be NULL


def upgrade() -> None:
    op.create_table(
        "message_parts",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name="fk_message_parts_message_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("message_id", "position", name="pk_message_parts"),
    )
    # No batch here: SQLite would copy and drop these tables, and take along what refers to them.
    op.add_column("conversations", sa.Column("scope", sa.JSON(), server_default="{}", nullable=False))
    op.add_column("conversations", sa.Column("shown_id", sa.Uuid()))
    op.add_column("conversations", sa.Column("is_named", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("conversations", sa.Column("pinned_at", sa.DateTime(timezone=True)))
    op.add_column("conversations", sa.Column("deleted_at", sa.DateTime(timezone=True)))
    op.create_index("ix_conversations_listed", "conversations", ["owner_id", "pinned_at", "updated_at"])
    op.drop_index("ix_conversations_owner_updated", "conversations")
    op.add_column("messages", sa.Column("parent_id", sa.Uuid()))
    op.add_column("messages", sa.Column("scope", sa.JSON(), server_default="{}", nullable=False))
    op.add_column("messages", sa.Column("run_id", sa.Uuid()))
    op.add_column("messages", sa.Column("rating", sa.JSON(), server_default="{}", nullable=False))
    connection = op.get_bind()
    connection.execute(sa.update(conversations).values(is_named=True))  # no model is to replace titles that are known
    _move_choices(connection)
    _move_messages(connection)
    for column in MOVED:
        op.drop_column("messages", column)
    op.create_index("ix_messages_parent_id", "messages", ["parent_id"])
    op.create_index("ix_messages_run_id", "messages", ["run_id"], unique=True)


def downgrade() -> None:
    """Only the branches that are shown are kept, and no deleted conversations: a release before has neither."""
    for name, kind in MOVED.items():
        default = DEFAULTS.get(name)
        op.add_column("messages", sa.Column(name, kind, server_default=default, nullable=default is None))
    connection = op.get_bind()
    connection.execute(sa.delete(conversations).where(conversations.c.deleted_at.is_not(None)))
    _keep_shown(connection)
    _restore_columns(connection)
    op.drop_index("ix_messages_run_id", "messages")
    op.drop_index("ix_messages_parent_id", "messages")
    for column in ("rating", "run_id", "scope", "parent_id"):
        op.drop_column("messages", column)
    op.create_index("ix_conversations_owner_updated", "conversations", ["owner_id", "updated_at"])
    op.drop_index("ix_conversations_listed", "conversations")
    for column in ("deleted_at", "pinned_at", "is_named", "shown_id", "scope"):
        op.drop_column("conversations", column)
    op.drop_table("message_parts")


def _keep_shown(connection: sa.Connection) -> None:
    found = connection.execute(sa.select(messages.c.id, messages.c.parent_id)).all()
    parent_of = {row.id: row.parent_id for row in found}
    kept: set[UUID] = set()
    for shown in connection.execute(sa.select(conversations.c.shown_id)).scalars().all():
        while shown in parent_of:
            kept.add(shown)
            shown = parent_of[shown]
    removed = [{"of": message_id} for message_id in parent_of if message_id not in kept]
    _each(connection, sa.delete(messages).where(messages.c.id == sa.bindparam("of")), removed)


def _restore_columns(connection: sa.Connection) -> None:
    change = sa.update(messages).where(messages.c.id == sa.bindparam("of"))
    ids = connection.execute(sa.select(messages.c.id)).scalars().all()
    for first in range(0, len(ids), BATCH):
        some = ids[first : first + BATCH]
        changes = {
            row.id: {"of": row.id}
            | dict.fromkeys(MOVED, "")
            | {"error_values": {}, "retrieval": None}
            | {"knowledge_base_id": _first(row.scope)}
            for row in connection.execute(sa.select(messages.c.id, messages.c.scope).where(messages.c.id.in_(some)))
        }
        for row in connection.execute(sa.select(parts).where(parts.c.message_id.in_(some))):
            match row.kind:
                case "text":
                    changes[row.message_id]["content"] = row.body["text"]
                case "reasoning":
                    changes[row.message_id]["reasoning"] = row.body["text"]
                case "passages":
                    changes[row.message_id]["retrieval"] = row.body
                case "usage":
                    changes[row.message_id]["model"] = row.body["model"]
                case "error":
                    changes[row.message_id] |= {"error": row.body["code"], "error_values": row.body["values"]}
        if changes:
            connection.execute(change, list(changes.values()))


def _first(scope: dict[str, Any]) -> UUID | None:
    ids = scope.get("knowledge_base_ids")
    return UUID(ids[0]) if ids else None


def _move_choices(connection: sa.Connection) -> None:
    change = sa.update(conversations).where(conversations.c.id == sa.bindparam("of"))
    found = connection.execute(sa.select(conversations.c.id, conversations.c.knowledge_base_id)).all()
    _each(connection, change, [{"of": row.id, "scope": _scope(row.knowledge_base_id)} for row in found])


def _move_messages(connection: sa.Connection) -> None:
    """Each message follows the one before it; what its columns held becomes its parts."""
    order = sa.select(messages.c.id, messages.c.conversation_id).order_by(
        messages.c.conversation_id, messages.c.ordinal
    )
    change = sa.update(messages).where(messages.c.id == sa.bindparam("of"))
    before: dict[UUID, UUID | None] = {}
    shown: dict[UUID, UUID] = {}
    for message_id, conversation_id in connection.execute(order).all():
        before[message_id] = shown.get(conversation_id)
        shown[conversation_id] = message_id
    ids = list(before)
    for first in range(0, len(ids), BATCH):
        rows = connection.execute(sa.select(messages).where(messages.c.id.in_(ids[first : first + BATCH]))).all()
        changes = [
            {
                "of": row.id,
                "parent_id": before[row.id],
                "scope": _scope(row.knowledge_base_id),
                "run_id": uuid4() if row.role == "assistant" else None,
            }
            for row in rows
        ]
        connection.execute(change, changes)
        if moved := [part for row in rows for part in _parts(row)]:
            connection.execute(sa.insert(parts), moved)
    end = sa.update(conversations).where(conversations.c.id == sa.bindparam("of"))
    _each(connection, end, [{"of": key, "shown_id": message_id} for key, message_id in shown.items()])


def _parts(row: sa.Row[Any]) -> Iterator[dict[str, Any]]:
    bodies: list[tuple[str, dict[str, Any]]] = []
    if row.reasoning:
        bodies.append(("reasoning", {"text": row.reasoning}))
    if row.content:
        bodies.append(("text", {"text": row.content}))
    if row.retrieval is not None:
        if (sources := _sources(row.retrieval)) is not None:
            bodies.append(("sources", {"passages": sources}))
        bodies.append(("passages", row.retrieval))
    if row.model:
        bodies.append(("usage", {"model": row.model}))
    if row.error:
        bodies.append(("error", {"code": row.error, "values": row.error_values or {}}))
    for position, (kind, body) in enumerate(bodies):
        yield {"message_id": row.id, "position": position, "kind": kind, "body": {"format": 1, **body}}


def _sources(retrieval: Any) -> list[dict[str, Any]] | None:
    """The passages' names; None where the record is not understood."""
    try:
        return [
            {
                "rank": int(passage.get("rank", 0)),
                "document_name": str(passage.get("document_name", "")),
                "page": int(passage["chunk"].get("page", 0)),
            }
            for passage in retrieval.get("passages", [])
        ]
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _scope(knowledge_base_id: UUID | None) -> dict[str, Any]:
    return {"format": 1, "knowledge_base_ids": [str(knowledge_base_id)] if knowledge_base_id else []}


def _each(connection: sa.Connection, statement: sa.Executable, values: Sequence[dict[str, Any]]) -> None:
    for first in range(0, len(values), BATCH):
        connection.execute(statement, values[first : first + BATCH])
