"""Figures of usage: what answers and ingestion leave, how they are summed, and who may read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from alembic import command

from kb.access import Principal
from kb.conversations import Conversations, Messages
from kb.database import Database
from kb.database.migrate import alembic_config
from kb.database.tables import answer_figures
from kb.errors import AdministratorsOnly, ModelUnreachable, NoText, WorkerDied
from kb.ingestion.claims import MAX_CRASHES
from kb.messages import Part, PassagesPart, TextPart, UsagePart
from kb.metrics import StageTimes
from kb.models import MessageState, Mode, Retrieval, Step, Trace, VersionState
from kb.usage import AnswerEnd, TimeKind, record_answer, record_ingested, record_times, recording
from kb.usage.buckets import bucket_of, milliseconds_of, percentile
from kb.usage.overview import Usage
from kb.users import Users
from tests.conftest import Clock, Library, add_user, make_claims
from tests.messages import said

LEASE_AND_MORE = 60.0  # seconds


def end(user: Principal, **values: Any) -> AnswerEnd:
    known: dict[str, Any] = {"mode": Mode.LLM, "state": MessageState.DONE, "question_id": uuid4(), **values}
    return AnswerEnd(uuid4(), user_id=user.user_id, **known)


def record(database: Database, *ends: AnswerEnd) -> None:
    with database.write() as connection:
        for each in ends:
            record_answer(connection, each)


def operator(database: Database) -> Principal:
    return Users(database).local_principal()


# --- times as counts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("milliseconds", [0.02, 0.9, 1.0, 37.0, 1234.5, 3_600_000.0])
def test_bucket_is_within_seven_per_cent(milliseconds: float) -> None:
    assert milliseconds_of(bucket_of(milliseconds)) == pytest.approx(milliseconds, rel=0.075)


def test_percentiles_of_counts() -> None:
    counts = Counter(bucket_of(milliseconds) for milliseconds in range(1, 1001))
    assert percentile(counts, 0.5) == pytest.approx(500, rel=0.075)
    assert percentile(counts, 0.95) == pytest.approx(950, rel=0.075)
    assert percentile({}, 0.5) == 0.0
    assert percentile({bucket_of(8): 1}, 0.95) == pytest.approx(8)


def test_week_begins_on_monday_in_utc() -> None:
    sunday_night = datetime(2026, 11, 29, 23, 30, tzinfo=UTC)
    assert recording.this_week(sunday_night) == date(2026, 11, 23)
    assert recording.this_week(sunday_night.astimezone() + timedelta(hours=1)) == date(2026, 11, 30)


# --- what answers leave ----------------------------------------------------------------------------------------


def asked(database: Database, user: Principal) -> tuple[Messages, UUID, UUID | None]:
    messages = Messages(database)
    conversation = Conversations(database).create(user, "secret title", Mode.KNOWLEDGE)
    answer = messages.ask(user, conversation.id, "a secret question")
    return messages, answer.id, answer.run_id


def test_answer_leaves_its_figures_and_outlives_its_conversation(database: Database) -> None:
    user = add_user(database, "Ben")
    messages, message_id, run_id = asked(database, user)
    trace = Trace((Step("embed", 20.0), Step("dense", 40.0), Step("rerank", 0.0)), milliseconds=60.0)
    parts: list[Part] = [TextPart("a secret answer"), PassagesPart(Retrieval(trace=trace))]
    messages.finish(user, message_id, MessageState.DONE, [*parts, UsagePart("qwen", 300.0, 900.0, 100, 20)], run_id)
    again = messages.regenerate(user, message_id, run_id)
    assert again
    messages.finish(user, again.id, MessageState.FAILED, said(error=ModelUnreachable(host="h")), again.run_id)
    with database.write() as connection:
        connection.execute(sa.text("DELETE FROM conversations"))
    found = Usage(database).overview(operator(database), 4)
    assert (found.questions, found.answered, found.active_users) == (1, 2, 1)
    assert found.answers == {(found.weeks[-1], "knowledge"): 2}
    assert found.failures == {ModelUnreachable.code: 1}
    assert [(each.name, each.tokens) for each in found.by_model] == [("qwen", 120)]
    assert [(each.name, each.tokens) for each in found.by_user] == [("Ben", 120)]
    assert found.first_token
    assert found.first_token.whole.p95_ms == pytest.approx(300, rel=0.075)
    assert [(each.kind, each.step) for each in found.steps] == [
        (TimeKind.RETRIEVAL, "dense"),
        (TimeKind.RETRIEVAL, "embed"),
    ]
    assert list(found.steps[0].by_release) == [recording.release()]
    with database.read() as connection:
        assert "secret" not in str(connection.execute(sa.select(answer_figures)).all())


def test_mistaken_interruption_is_replaced(database: Database) -> None:
    user = add_user(database, "Ben")
    messages, message_id, run_id = asked(database, user)
    messages.finish(user, message_id, MessageState.INTERRUPTED, None)
    messages.finish(user, message_id, MessageState.DONE, [UsagePart("qwen", 1.0, 2.0, 3, 4)], run_id)
    found = Usage(database).overview(operator(database), 4)
    assert (found.answered, found.failures, found.by_model[0].tokens) == (1, {}, 7)


# --- sums ------------------------------------------------------------------------------------------------------


def test_only_the_first_ten_users_are_named(database: Database) -> None:
    people = [add_user(database, f"user {place}") for place in range(12)]
    record(database, *(end(user, model="m", input_tokens=place + 1) for place, user in enumerate(people)))
    found = Usage(database).overview(operator(database), 4)
    *named, rest = found.by_user
    assert [each.name for each in named] == [f"user {place}" for place in range(11, 1, -1)]
    assert (rest.name, rest.tokens, rest.others) == ("", 3, 2)


def test_end_of_a_document_leaves_its_figures(library: Library, clock: Clock) -> None:
    claims, base = make_claims(library.database, "worker 1", clock), library.knowledge_base()
    ready, failed, dead = (library.upload(base, f"{place}.md") for place in range(3))
    job = claims.claim(ready.latest.id)
    assert job
    claims.switch(job, {VersionState.PARSING: 2.0, VersionState.EMBEDDING: 8.0})
    job = claims.claim(failed.latest.id)
    assert job
    claims.fail(job, NoText(name="1.md"))
    for _ in range(MAX_CRASHES):
        claims.claim(dead.latest.id)
        clock.advance(LEASE_AND_MORE)
        claims.expire()
    found = Usage(library.database).overview(operator(library.database), 4)
    size = ready.latest.size_bytes
    assert {(each.outcome, each.error, each.documents, each.size_bytes) for each in found.ingested} == {
        ("ready", "", 1, size),
        ("failed", NoText.code, 1, size),
        ("failed", WorkerDied.code, 1, size),
    }
    assert [(each.step, each.whole.count) for each in found.steps] == [("embedding", 1), ("parsing", 1)]


def test_stage_that_goes_on_counts_so_far() -> None:
    times = StageTimes()
    with times.spend(VersionState.PARSING):
        pass
    with times.spend(VersionState.INDEXING):
        assert set(times.so_far()) == {VersionState.PARSING, VersionState.INDEXING}
    assert times.so_far() == times.seconds


def test_documents_are_summed_by_outcome_and_reason(database: Database) -> None:
    for _ in range(2):
        with database.write() as connection:
            ends = [(VersionState.READY, "", 1000), (VersionState.FAILED, NoText.code, 7)]
            record_ingested(connection, ends)
            record_times(connection, [(TimeKind.INGESTION, "parsing", 50.0), (TimeKind.INGESTION, "embedding", 0.0)])
    found = Usage(database).overview(operator(database), 4)
    sums = [(each.outcome, each.error, each.documents, each.size_bytes) for each in found.ingested]
    assert sums == [("ready", "", 2, 2000), ("failed", NoText.code, 2, 14)]
    assert [(each.step, each.whole.count) for each in found.steps] == [("parsing", 2)]


def test_weeks_and_releases_are_apart(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    weeks: Sequence[date] = [recording.this_week() - timedelta(weeks=ago) for ago in (60, 5, 0)]
    for place, week in enumerate(weeks):
        monkeypatch.setattr(recording, "this_week", lambda week=week: week)
        monkeypatch.setattr(recording, "release", lambda place=place: f"{place}.0")
        record(database, end(operator(database), steps=[Step("dense", 10.0 * 10**place)]))
    usage = Usage(database)
    assert usage.overview(operator(database), 4).answered == 1
    found = usage.overview(operator(database), 12)
    assert found.answered == 2
    (dense,) = found.steps
    assert list(dense.by_week) == weeks[1:]
    assert list(dense.by_release) == ["1.0", "2.0"]
    assert usage.clear() == 2  # a row and a time of a year ago
    assert usage.overview(operator(database), 52).answered == 2


def test_figures_are_kept_for_a_minute(database: Database) -> None:
    moment = [0.0]
    usage = Usage(database, clock=lambda: moment[0])
    assert usage.overview(operator(database), 4).answered == 0
    record(database, end(operator(database)))
    assert usage.overview(operator(database), 4).answered == 0
    moment[0] = 60.0
    assert usage.overview(operator(database), 4).answered == 1


def test_only_administrators_read_them(database: Database) -> None:
    usage, local = Usage(database), operator(database)
    member, administrator = add_user(database, "Ben"), add_user(database, "Ada", role="administrator")
    for principal in (member, Principal(uuid4())):
        with pytest.raises(AdministratorsOnly):
            usage.overview(principal, 4)
    for principal in (administrator, local):
        assert usage.overview(principal, 4).weeks


# --- upgrades --------------------------------------------------------------------------------------------------


def test_upgrade_fills_in_what_messages_tell(database: Database) -> None:
    user = add_user(database, "Ben")
    messages, message_id, run_id = asked(database, user)
    messages.finish(user, message_id, MessageState.DONE, [UsagePart("qwen", 300.0, 900.0, 100, 20)], run_id)
    again = messages.regenerate(user, message_id, run_id, is_beside=True)
    assert again
    messages.finish(user, again.id, MessageState.FAILED, said(error=ModelUnreachable(host="h")), again.run_id)
    before = Usage(database).overview(operator(database), 4)
    with database.engine.begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0026")
    database.migrate()
    after = Usage(database).overview(operator(database), 4)
    assert before.first_token
    assert after.first_token
    assert after.first_token.whole == before.first_token.whole
    assert list(after.first_token.by_release) == [""]
    assert replace(after, first_token=None) == replace(before, first_token=None)
