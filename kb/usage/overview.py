"""Reading the figures, for administrators."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from threading import Lock
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from kb.access import Principal
from kb.accounts.administration import require_administrator
from kb.accounts.rows import IS_ACCOUNT
from kb.database import Database
from kb.database.tables import answer_figures, ingestion_figures, now, time_figures, users
from kb.models import MessageState, VersionState
from kb.usage.buckets import percentile
from kb.usage.recording import FIRST_TOKEN, AnswerEnd, TimeKind, record_answer, this_week

CHOICES = (4, 12, 52)  # weeks
KEPT_WEEKS = CHOICES[-1] + 1
KEPT_SECONDS = 60.0
NAMED_USERS = NAMED_MODELS = 10  # the others are one


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens of a model or a user: `name` is empty for all others together."""

    name: str
    input_tokens: int
    output_tokens: int
    others: int = 0  # how many those are

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Ingested:
    """Documents that ended so, `error` by a code of `kb.errors`."""

    outcome: str
    error: str
    documents: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Times:
    """How long something took: half of the times, and 95 % of them, were within these."""

    count: int
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class StepTimes:
    kind: TimeKind
    step: str
    whole: Times
    by_week: Mapping[date, Times]
    by_release: Mapping[str, Times]  # the oldest first; empty: of before it was noted


@dataclass(frozen=True, slots=True)
class Overview:
    """The last weeks, by their Mondays, the oldest first; the last one goes on."""

    weeks: Sequence[date]
    active_users: int = 0
    active_users_by_week: Mapping[date, int] = field(default_factory=dict)
    questions: int = 0
    answers: Mapping[tuple[date, str], int] = field(default_factory=dict)  # by week and mode
    failed: Mapping[date, int] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)  # by code, the most frequent first
    by_model: Sequence[Spent] = ()
    by_user: Sequence[Spent] = ()
    ingested_by_week: Mapping[tuple[date, str], int] = field(default_factory=dict)  # documents, by outcome
    ingested: Sequence[Ingested] = ()
    first_token: StepTimes | None = None
    steps: Sequence[StepTimes] = ()  # the slowest first

    @property
    def answered(self) -> int:
        return sum(self.answers.values())


class Usage:
    """Safe to share among threads. Who is no administrator, nor the user of an installation without a login, gets
    `AdministratorsOnly`.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], float] = time.monotonic,
        calendar: Callable[[], datetime] = now,
    ) -> None:
        self._database = database
        self._clock = clock
        self._calendar = calendar
        self._lock = Lock()
        self._kept: dict[int, tuple[float, Overview]] = {}

    def overview(self, principal: Principal, weeks: int) -> Overview:
        """The figures of the last `weeks`, as they were within the last minute."""
        with self._database.read() as connection:
            require_operator(connection, principal)
            with self._lock:
                until, kept = self._kept.get(weeks, (0.0, Overview(())))
                if not kept.weeks or self._clock() >= until:
                    kept = _read(connection, _mondays(self._calendar(), weeks))
                    self._kept[weeks] = self._clock() + KEPT_SECONDS, kept
                return kept

    def note(self, end: AnswerEnd) -> None:
        """Record how an answer ended that no conversation keeps. Errors: `DatabaseUnavailable`."""
        with self._database.write() as connection:
            record_answer(connection, end)

    def clear(self) -> int:
        """Delete what is older than the page shows; returns how many rows that were."""
        first = _mondays(self._calendar(), KEPT_WEEKS)[0]
        tables = answer_figures, ingestion_figures, time_figures
        with self._database.write() as connection:
            return sum(connection.execute(sa.delete(table).where(table.c.week < first)).rowcount for table in tables)


def require_operator(connection: sa.Connection, principal: Principal) -> None:
    """An administrator or, where nobody has an account, the local user. Errors: `AdministratorsOnly`."""
    is_local = sa.select(users.c.id).where(users.c.id == principal.user_id, users.c.is_local, sa.not_(IS_ACCOUNT))
    if principal.key or connection.scalar(is_local) is None:
        require_administrator(connection, principal)


def _mondays(moment: datetime, weeks: int) -> Sequence[date]:
    last = this_week(moment)
    return [last - timedelta(weeks=ago) for ago in reversed(range(weeks))]


def _read(connection: sa.Connection, weeks: Sequence[date]) -> Overview:
    times = _times(connection, weeks)
    return Overview(
        weeks=weeks,
        **_people(connection, weeks[0]),
        **_answers(connection, weeks[0]),
        **_tokens(connection, weeks[0]),
        **_ingestion(connection, weeks[0]),
        first_token=next((each for each in times if each.step == FIRST_TOKEN), None),
        steps=[each for each in times if each.kind is not TimeKind.ANSWER],
    )


def _people(connection: sa.Connection, since: date) -> dict[str, Any]:
    of = answer_figures.c
    people, questions = (sa.func.count(sa.distinct(column)) for column in (of.user_id, of.question_id))
    by_week = sa.select(of.week, people).where(of.week >= since).group_by(of.week)
    active, asked = connection.execute(sa.select(people, questions).where(of.week >= since)).one()
    return {
        "active_users": active,
        "active_users_by_week": dict(connection.execute(by_week).all()),
        "questions": asked,
    }


def _answers(connection: sa.Connection, since: date) -> dict[str, Any]:
    of = answer_figures.c
    groups = of.week, of.mode, of.state, of.error
    answers, failed, failures = Counter[tuple[date, str]](), Counter[date](), Counter[str]()
    for week, mode, state, error, count in connection.execute(
        sa.select(*groups, sa.func.count()).where(of.week >= since).group_by(*groups)
    ):
        answers[week, mode] += count
        if state in (MessageState.FAILED.value, MessageState.INTERRUPTED.value):
            failed[week] += count
            failures[error or state] += count
    return {"answers": answers, "failed": failed, "failures": dict(failures.most_common())}


def _tokens(connection: sa.Connection, since: date) -> dict[str, Any]:
    of = answer_figures.c
    columns = of.model, of.user_id
    by_model: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    by_user: dict[UUID, list[int]] = defaultdict(lambda: [0, 0])
    for model, user_id, read, written in connection.execute(
        sa.select(*columns, sa.func.sum(of.input_tokens), sa.func.sum(of.output_tokens))
        .where(of.week >= since, of.model != "")
        .group_by(*columns)
    ):
        for spent in (by_model[model], by_user[user_id]):
            spent[0] += int(read)
            spent[1] += int(written)
    most = sorted(by_user, key=lambda user_id: -sum(by_user[user_id]))
    known = sa.select(users.c.id, users.c.name).where(users.c.id.in_(most[:NAMED_USERS]))
    names = {row.id: row.name for row in connection.execute(known)}
    named = [(names.get(user_id, "—"), by_user[user_id]) for user_id in most]
    models = sorted(by_model.items(), key=lambda each: -sum(each[1]))
    return {"by_model": _top(models, NAMED_MODELS), "by_user": _top(named, NAMED_USERS)}


def _top(spent: Sequence[tuple[str, list[int]]], most: int) -> Sequence[Spent]:
    """The first ones, then all others as one; without those of whom nothing is known."""
    spent = [each for each in spent if sum(each[1])]
    found = [Spent(name, *tokens) for name, tokens in spent[:most]]
    if rest := spent[most:]:
        found.append(Spent("", sum(each[0] for _, each in rest), sum(each[1] for _, each in rest), len(rest)))
    return found


def _ingestion(connection: sa.Connection, since: date) -> dict[str, Any]:
    of = ingestion_figures.c
    groups = of.week, of.outcome, of.error
    by_week, documents, sizes = Counter[tuple[date, str]](), Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for week, outcome, error, count, size_bytes in connection.execute(
        sa.select(*groups, sa.func.sum(of.documents), sa.func.sum(of.size_bytes))
        .where(of.week >= since)
        .group_by(*groups)
    ):
        by_week[week, outcome] += int(count)
        documents[outcome, error] += int(count)
        sizes[outcome, error] += int(size_bytes)
    order = {VersionState.READY.value: 0}
    ends = sorted(documents, key=lambda end: (order.get(end[0], 1), -documents[end], end))
    ingested = [Ingested(*end, documents[end], sizes[end]) for end in ends]
    return {"ingested_by_week": by_week, "ingested": ingested}


def _times(connection: sa.Connection, weeks: Sequence[date]) -> Sequence[StepTimes]:
    """The slowest first."""
    of = time_figures.c
    whole: dict[tuple[str, str], Counter[int]] = defaultdict(Counter)
    by_week: dict[tuple[str, str], dict[date, Counter[int]]] = defaultdict(lambda: defaultdict(Counter))
    by_release: dict[tuple[str, str], dict[str, Counter[int]]] = defaultdict(lambda: defaultdict(Counter))
    statement = sa.select(of.week, of.release, of.kind, of.step, of.bucket, of.count)
    for week, release, kind, step, bucket, count in connection.execute(
        statement.where(of.week >= weeks[0]).order_by(of.week)
    ):
        whole[kind, step][bucket] += count
        by_week[kind, step][week][bucket] += count
        by_release[kind, step][release][bucket] += count
    found = [
        StepTimes(
            TimeKind(kind),
            step,
            _of(counts),
            {week: _of(each) for week, each in by_week[kind, step].items()},
            {release: _of(each) for release, each in by_release[kind, step].items()},
        )
        for (kind, step), counts in whole.items()
        if kind in list(TimeKind)
    ]
    return sorted(found, key=lambda each: -each.whole.p95_ms)


def _of(counts: Mapping[int, int]) -> Times:
    return Times(sum(counts.values()), percentile(counts, 0.5), percentile(counts, 0.95))
