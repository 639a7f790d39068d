"""Figures of answers, of ingestion and of the time that steps take; of the answers that are there, what is known."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"

KEPT = timedelta(weeks=53)
AT_ONCE = 1000


def upgrade() -> None:
    op.create_table(
        "answer_figures",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("question_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("week", sa.Date(), nullable=False),
        sa.Column("release", sa.String(40), nullable=False),
        sa.Column("mode", sa.String(20), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("error", sa.String(60), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_answer_figures")),
    )
    op.create_index("ix_answer_figures_week", "answer_figures", ["week"])
    op.create_table(
        "ingestion_figures",
        sa.Column("week", sa.Date(), nullable=False),
        sa.Column("release", sa.String(40), nullable=False),
        sa.Column("outcome", sa.String(20), nullable=False),
        sa.Column("error", sa.String(60), nullable=False),
        sa.Column("documents", sa.Integer(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("week", "release", "outcome", "error", name=op.f("pk_ingestion_figures")),
    )
    op.create_table(
        "time_figures",
        sa.Column("week", sa.Date(), nullable=False),
        sa.Column("release", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("step", sa.String(60), nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("week", "release", "kind", "step", "bucket", name=op.f("pk_time_figures")),
    )
    _fill_answers()
    _fill_ingestion()


def downgrade() -> None:
    for table in ("time_figures", "ingestion_figures", "answer_figures"):
        op.drop_table(table)


def _fill_answers() -> None:
    """From the messages; their search steps stand in parts too bulky to read here."""
    connection = op.get_bind()
    messages = sa.table(
        "messages",
        *(sa.column(name, sa.Uuid()) for name in ("id", "conversation_id", "parent_id", "run_id")),
        *(sa.column(name, sa.String()) for name in ("role", "state", "mode")),
        sa.column("created_at", sa.DateTime(timezone=True)),
    )
    conversations = sa.table("conversations", sa.column("id", sa.Uuid()), sa.column("owner_id", sa.Uuid()))
    parts = sa.table(
        "message_parts",
        *(sa.column("message_id", sa.Uuid()), sa.column("kind", sa.String()), sa.column("body", sa.JSON())),
    )
    columns = (messages.c.id, messages.c.parent_id, messages.c.run_id, messages.c.state, messages.c.mode)
    answers = (
        sa.select(*columns, messages.c.created_at, conversations.c.owner_id)
        .join(conversations, conversations.c.id == messages.c.conversation_id)
        .where(messages.c.role == "assistant", messages.c.state != "streaming")
        .where(messages.c.created_at > datetime.now(UTC) - KEPT)
    )
    found = connection.execute(answers).all()
    times = Counter[tuple[date, str, int]]()
    for start in range(0, len(found), AT_ONCE):
        some = found[start : start + AT_ONCE]
        of_some = sa.select(parts).where(
            parts.c.message_id.in_([row.id for row in some]), parts.c.kind.in_(("usage", "error"))
        )
        bodies: dict[tuple[Any, str], Mapping[str, Any]] = {}
        for part in connection.execute(of_some):
            bodies[part.message_id, part.kind] = part.body if isinstance(part.body, dict) else {}
        rows = []
        for row in some:
            usage, week = bodies.get((row.id, "usage"), {}), _week(row.created_at)
            for step, name in (("first_token", "first_token_ms"), ("whole_answer", "total_ms")):
                if (taken := _number(usage.get(name))) > 0:
                    times[week, step, round(math.log2(max(taken, 0.01)) * 5)] += 1
            rows.append(
                {
                    "id": row.run_id or row.id,
                    "question_id": row.parent_id or row.id,
                    "user_id": row.owner_id,
                    "week": week,
                    "release": "",
                    "mode": row.mode,
                    "state": row.state,
                    "error": str(bodies.get((row.id, "error"), {}).get("code", ""))[:60],
                    "model": str(usage.get("model", "")),
                    "input_tokens": int(max(0, _number(usage.get("input_tokens")))),
                    "output_tokens": int(max(0, _number(usage.get("output_tokens")))),
                }
            )
        connection.execute(sa.insert(_answer_figures), rows)
    sums = [
        {"week": week, "release": "", "kind": "answer", "step": step, "bucket": bucket, "count": count}
        for (week, step, bucket), count in times.items()
    ]
    if sums:
        connection.execute(sa.insert(_time_figures), sums)


def _fill_ingestion() -> None:
    connection = op.get_bind()
    versions = sa.table(
        "versions",
        *(sa.column(name, sa.String()) for name in ("state", "error")),
        sa.column("size_bytes", sa.BigInteger()),
        sa.column("finished_at", sa.DateTime(timezone=True)),
    )
    ended = sa.select(versions).where(
        versions.c.state.in_(("ready", "failed", "cancelled")), versions.c.finished_at > datetime.now(UTC) - KEPT
    )
    counts, sizes = Counter[tuple[date, str, str]](), Counter[tuple[date, str, str]]()
    for row in connection.execute(ended.execution_options(yield_per=AT_ONCE)):
        key = _week(row.finished_at), row.state, row.error if row.state == "failed" else ""
        counts[key] += 1
        sizes[key] += row.size_bytes
    sums = [
        {
            "week": key[0],
            "release": "",
            "outcome": key[1],
            "error": key[2],
            "documents": count,
            "size_bytes": sizes[key],
        }
        for key, count in counts.items()
    ]
    if sums:
        connection.execute(sa.insert(_ingestion_figures), sums)


def _week(moment: datetime) -> date:
    """The Monday of its week, in UTC. SQLite keeps no time zone."""
    day = (moment.astimezone(UTC) if moment.tzinfo else moment).date()
    return day - timedelta(days=day.weekday())


def _number(value: object) -> float:
    return value if isinstance(value, int | float) and math.isfinite(value) else 0.0


_answer_figures = sa.table(
    "answer_figures",
    *(sa.column(name, sa.Uuid()) for name in ("id", "question_id", "user_id")),
    sa.column("week", sa.Date()),
    *(sa.column(name, sa.String()) for name in ("release", "mode", "state", "error", "model")),
    *(sa.column(name, sa.BigInteger()) for name in ("input_tokens", "output_tokens")),
)
_ingestion_figures = sa.table(
    "ingestion_figures",
    sa.column("week", sa.Date()),
    *(sa.column(name, sa.String()) for name in ("release", "outcome", "error")),
    *(sa.column(name, sa.BigInteger()) for name in ("documents", "size_bytes")),
)
_time_figures = sa.table(
    "time_figures",
    sa.column("week", sa.Date()),
    *(sa.column(name, sa.String()) for name in ("release", "kind", "step")),
    *(sa.column(name, sa.Integer()) for name in ("bucket", "count")),
)
