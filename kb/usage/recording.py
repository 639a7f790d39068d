"""Writing the figures, within a caller's transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from kb.database.tables import answer_figures, ingestion_figures, now, time_figures
from kb.models import MessageState, Mode, Step, VersionState
from kb.usage.buckets import bucket_of

FIRST_TOKEN, WHOLE_ANSWER = "first_token", "whole_answer"  # among the times of answers, beside their steps


class TimeKind(StrEnum):
    ANSWER = "answer"  # of a whole answer
    RETRIEVAL = "retrieval"  # of a step of the search for it
    INGESTION = "ingestion"  # of a stage of a document's


@dataclass(frozen=True, slots=True)
class AnswerEnd:
    """How a run of an answer ended. `question_id` is that of the question, of which there may be more answers.

    Times and tokens are 0 where they are not known; `error` is a code of `kb.errors`.
    """

    run_id: UUID
    question_id: UUID
    user_id: UUID
    mode: Mode
    state: MessageState
    error: str = ""
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    first_token_ms: float = 0.0
    total_ms: float = 0.0
    steps: Sequence[Step] = ()


def record_answer(connection: sa.Connection, end: AnswerEnd) -> None:
    """A run that was recorded as interrupted by mistake may be recorded again."""
    row = {
        "id": end.run_id,
        "question_id": end.question_id,
        "user_id": end.user_id,
        "week": this_week(),
        "release": release(),
        "mode": end.mode.value,
        "state": end.state.value,
        "error": end.error,
        "model": end.model,
        "input_tokens": max(0, end.input_tokens),  # some servers count nonsense
        "output_tokens": max(0, end.output_tokens),
    }
    insert = _insert(connection, answer_figures).values(row).on_conflict_do_nothing().returning(answer_figures.c.id)
    if connection.scalar(insert) is None:
        connection.execute(sa.update(answer_figures).where(answer_figures.c.id == end.run_id).values(row))
    else:
        whole = [(FIRST_TOKEN, end.first_token_ms), (WHOLE_ANSWER, end.total_ms)]
        times = [(TimeKind.ANSWER, name, milliseconds) for name, milliseconds in whole]
        times += [(TimeKind.RETRIEVAL, step.name, step.milliseconds) for step in end.steps]
        record_times(connection, times)


def record_ingested(connection: sa.Connection, ends: Iterable[tuple[VersionState, str, int]]) -> None:
    """Documents became ready, failed or were cancelled: the state, the error's code, and the size in bytes of each.

    The last thing in a transaction: others wait for its rows.
    """
    counts, sizes = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for state, error, size_bytes in ends:
        counts[state.value, error] += 1
        sizes[state.value, error] += size_bytes
    when = {"week": this_week(), "release": release()}
    rows = [
        when | {"outcome": end[0], "error": end[1], "documents": count, "size_bytes": sizes[end]}
        for end, count in sorted(counts.items())
    ]
    _add(connection, ingestion_figures, rows, ("documents", "size_bytes"))


def record_times(connection: sa.Connection, times: Iterable[tuple[TimeKind, str, float]]) -> None:
    """How many milliseconds steps took; 0: it was left out."""
    counts = Counter((kind.value, name, bucket_of(taken)) for kind, name, taken in times if taken > 0)
    when = {"week": this_week(), "release": release()}
    rows = [
        when | {"kind": kind, "step": step, "bucket": bucket, "count": count}
        for (kind, step, bucket), count in sorted(counts.items())
    ]
    _add(connection, time_figures, rows, ("count",))


def this_week(moment: datetime | None = None) -> date:
    """The Monday of a moment's week, in UTC."""
    day = (moment or now()).astimezone(UTC).date()
    return day - timedelta(days=day.weekday())


@cache
def release() -> str:
    """The version of Zhiwen that runs; empty where it is not installed."""
    try:
        return version("zhiwen")
    except PackageNotFoundError:
        return ""


def _insert(connection: sa.Connection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    """One that knows of conflicts, which each database has its own words for."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def _add(connection: sa.Connection, table: sa.Table, rows: Sequence[dict[str, Any]], sums: Sequence[str]) -> None:
    """Add to the sums of rows that are there, insert the others. `rows` are sorted, so nobody waits in a circle."""
    if not rows:
        return
    insert = _insert(connection, table).values(list(rows))
    added = {name: table.c[name] + insert.excluded[name] for name in sums}
    connection.execute(insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=added))
