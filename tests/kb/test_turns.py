"""Whose turn it is among waiting versions, on SQLite and PostgreSQL, and how many large ones a worker takes."""

from __future__ import annotations

import io
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from kb.database.tables import documents, versions
from kb.effort import LARGE, effort_of
from kb.errors import MilvusUnavailable
from kb.ingestion import Claims, Turns, making_way
from kb.ingestion.making_way import MakesWay, Stint, look_for_others
from kb.ingestion.turns import LargeLane
from kb.models import Document
from kb.parsing.media_types import EXCEL, MARKDOWN, PDF, PLAIN, PNG
from tests.conftest import Clock, Library, make_claims


@pytest.fixture
def turns(library: Library, clock: Clock) -> Turns:
    return Turns(library.database, clock)


def make_large(library: Library, *found: Document) -> None:
    ids = [document.latest.id for document in found]
    with library.database.write() as connection:
        connection.execute(sa.update(versions).where(versions.c.id.in_(ids)).values(effort=LARGE))


def library_name(library: Library, version_id: UUID) -> str:
    statement = sa.select(documents.c.name).join(versions, versions.c.document_id == documents.c.id)
    with library.database.read() as connection:
        return str(connection.scalar(statement.where(versions.c.id == version_id)))


def take_all(library: Library, turns: Turns, clock: Clock, *, with_large: bool = True) -> list[str]:
    """The names of what waits, as one worker would take them; each is done before the next one is chosen."""
    claims, names = make_claims(library.database, "worker", clock), []
    while version_id := turns.next(with_large=with_large):
        job = claims.claim(version_id)
        assert job
        names.append(job.name)
        claims.cancel(job)
    return names


def test_knowledge_bases_take_turns(library: Library, turns: Turns, clock: Clock) -> None:
    many, single = library.knowledge_base("many"), library.knowledge_base("single")
    for number in range(5):
        library.upload(many, f"{number}.md")
    assert turns.next(with_large=True)  # the worker has begun before the other one's file came
    library.upload(single, "note.md")
    assert take_all(library, turns, clock) == ["note.md", *(f"{number}.md" for number in range(5))]


def test_many_knowledge_bases_of_a_user_do_not_hold_up_another_user(
    library: Library, turns: Turns, clock: Clock
) -> None:
    claims = make_claims(library.database, "worker", clock)
    theirs = library.knowledge_base("theirs", owner=library.stranger)
    for number in range(50):
        library.upload(library.knowledge_base(str(number)), f"{number}.md")
    in_work = turns.next(with_large=True)
    assert in_work
    assert claims.claim(in_work)  # none of the other 49 has anything in work
    for name in ("a.md", "b.md"):
        library.arrivals.register(library.stranger, theirs.id, name, io.BytesIO(b"note"))
    taken = take_all(library, turns, clock)
    assert taken[:2] == ["a.md", "b.md"]  # as long as that one takes
    assert sorted(taken[2:]) == sorted({f"{number}.md" for number in range(50)} - {library_name(library, in_work)})


def test_users_take_turns(library: Library, turns: Turns, clock: Clock) -> None:
    theirs = library.knowledge_base("theirs", owner=library.stranger)
    for number in range(3):
        library.upload(library.knowledge_base(str(number)), "mine.md")
        library.arrivals.register(library.stranger, theirs.id, "theirs.md", io.BytesIO(b"note"))
    names = take_all(library, turns, clock)
    assert names in (["mine.md", "theirs.md"] * 3, ["theirs.md", "mine.md"] * 3)


def test_limit_of_a_user_holds_for_all_workers(library: Library, clock: Clock) -> None:
    turns = Turns(library.database, clock, most_per_user=1)
    one, another = (Claims(library.database, name, 20, clock, most_per_user=1) for name in ("one", "another"))
    first, second = library.upload(library.knowledge_base("a")), library.upload(library.knowledge_base("b"))
    theirs = library.knowledge_base("theirs", owner=library.stranger)
    job = one.claim(first.latest.id)
    assert job
    assert another.claim(second.latest.id) is None, "a message about it came to another worker"
    assert turns.next(with_large=True) is None
    note = library.arrivals.register(library.stranger, theirs.id, "note.md", io.BytesIO(b"note")).document
    assert turns.next(with_large=True) == note.latest.id
    assert another.claim(note.latest.id)
    one.cancel(job)
    assert turns.next(with_large=True) == second.latest.id
    assert another.claim(second.latest.id)


def test_knowledge_base_with_nothing_in_work_comes_first(library: Library, turns: Turns, clock: Clock) -> None:
    many, single = library.knowledge_base("many"), library.knowledge_base("single")
    claims = make_claims(library.database, "worker", clock)
    for number in range(3):
        library.upload(many, f"{number}.md")
    notes = [library.upload(single, name) for name in ("a.md", "b.md")]
    job = claims.claim(notes[0].latest.id)
    assert job
    running = turns.next(with_large=True)
    assert running
    assert claims.claim(running)
    claims.cancel(job)
    assert turns.next(with_large=True) == notes[1].latest.id


def test_least_work_comes_first(library: Library, turns: Turns, clock: Clock) -> None:
    base = library.knowledge_base()
    large = library.upload(base, "large.md")
    library.upload(base, "middle.md", "Text. " * 2_000)
    library.upload(base, "note.md")
    make_large(library, large)
    assert take_all(library, turns, clock, with_large=False) == ["note.md", "middle.md"]
    assert take_all(library, turns, clock) == ["large.md"]


def test_what_cannot_be_claimed_has_no_turn(library: Library, turns: Turns, clock: Clock) -> None:
    base = library.knowledge_base()
    claims = make_claims(library.database, "worker", clock)
    postponed, cancelled = library.upload(base), library.upload(base)
    job = claims.claim(postponed.latest.id)
    assert job
    claims.postpone(job, MilvusUnavailable(detail="away"))
    library.documents.cancel(library.user, cancelled.id)
    assert turns.next(with_large=True) is None
    clock.advance(60)
    assert turns.next(with_large=True) == postponed.latest.id


def test_large_document_makes_way_only_for_much_less_work(library: Library, turns: Turns) -> None:
    base = library.knowledge_base()
    assert not turns.smaller_waits(LARGE)
    document = library.upload(base, "middle.md", "Text. " * 2_000)
    effort = effort_of(document.latest.media_type, document.latest.size_bytes)
    assert turns.smaller_waits(4 * effort)
    assert not turns.smaller_waits(4 * effort - 1)
    make_large(library, document)
    assert not turns.smaller_waits(100 * LARGE)


def test_large_document_makes_way_for_another_knowledge_base(library: Library, turns: Turns, clock: Clock) -> None:
    mine, other = library.knowledge_base("mine"), library.knowledge_base("other")
    claims = make_claims(library.database, "worker", clock)
    waiting, more, note = library.upload(other), library.upload(other), library.upload(other)
    make_large(library, waiting, more, library.upload(mine))
    assert turns.other_large_waits(mine.id)
    assert claims.claim(note.latest.id)
    assert turns.other_large_waits(mine.id)
    job = claims.claim(waiting.latest.id)
    assert job
    assert not turns.other_large_waits(mine.id)  # its knowledge base has its share
    claims.make_way(job)
    assert turns.other_large_waits(mine.id)


def test_large_document_makes_way_for_a_user_without_one_in_work(library: Library, turns: Turns, clock: Clock) -> None:
    mine, first, second = (
        library.knowledge_base(name, owner)
        for name, owner in (("mine", library.user), ("first", library.stranger), ("second", library.stranger))
    )
    claims = make_claims(library.database, "worker", clock)
    of = [
        library.arrivals.register(library.stranger, base.id, "a.md", io.BytesIO(b"a")).document
        for base in (first, second)
    ]
    make_large(library, library.upload(mine), *of)
    assert turns.other_large_waits(mine.id)
    assert claims.claim(of[0].latest.id)
    assert not turns.other_large_waits(mine.id)  # their other knowledge base waits for them, not for me
    assert turns.other_large_waits(first.id)


def test_waiting_versions_are_found_by_their_index(library: Library, turns: Turns) -> None:
    if not library.database.is_sqlite:
        pytest.skip("PostgreSQL reads small tables whole")
    library.upload(library.knowledge_base())
    sent: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_rest: object) -> None:
        if "ORDER BY versions.effort" in statement:
            sent.append((statement, parameters))

    sa.event.listen(library.database.engine, "before_cursor_execute", note)
    turns.next(with_large=True)
    sa.event.remove(library.database.engine, "before_cursor_execute", note)
    ((statement, values),) = sent
    with library.database.engine.connect() as connection:
        (step,) = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
    assert "USING INDEX ix_versions_waiting (listed_in=? AND effort<?)" in step.detail


def test_one_thread_is_left_for_small_documents() -> None:
    lane = LargeLane(threads=3)
    first, second, third = uuid4(), uuid4(), uuid4()
    rooms = []
    for each in (first, second, third):  # the third turned out to be large
        rooms.append(lane.has_room)
        lane.enter(each)
    assert rooms == [True, True, False]
    assert [lane.is_beyond(each) for each in (first, second, third)] == [False, False, True]
    lane.leave(first)
    assert not lane.is_beyond(third)


def test_effort_grows_with_what_a_file_may_hold() -> None:
    megabyte = 1 << 20
    assert effort_of(PLAIN, 30) == 1
    assert effort_of(MARKDOWN, megabyte) >= LARGE
    assert effort_of(PDF, megabyte) < effort_of(EXCEL, megabyte) < effort_of(MARKDOWN, megabyte)
    assert effort_of(PNG, 20 * megabyte) < LARGE <= effort_of(PDF, 20 * megabyte)
    assert effort_of("", 1 << 60) == 2**31 - 1


def test_large_document_goes_on_while_nothing_would_be_gained(
    library: Library, turns: Turns, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making_way, "LOOK_SECONDS", 0.0)
    mine, other = library.knowledge_base("mine"), library.knowledge_base("other")
    running = library.upload(mine)
    make_large(library, running)
    job = make_claims(library.database, "worker", clock).claim(running.latest.id)
    assert job
    lane, stint = LargeLane(threads=2), Stint()
    look_for_others(job, stint, lane, turns)
    make_large(library, library.upload(other))
    look_for_others(job, stint, lane, turns)  # its time is not over
    monkeypatch.setattr(making_way, "SLICE_SECONDS", 0.0)
    monkeypatch.setattr(making_way, "SLICE_TIMES", 0)
    look_for_others(job, stint, lane, turns)  # nothing new is stored
    stint.note_stored()
    with pytest.raises(MakesWay):
        look_for_others(job, stint, lane, turns)
