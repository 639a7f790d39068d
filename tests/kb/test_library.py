"""Knowledge bases, documents and their files, on SQLite and PostgreSQL."""

from __future__ import annotations

import io
import os
import shutil
import unicodedata
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import product
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from kb.database.tables import document_counts, versions
from kb.errors import (
    Cancelled,
    DamagedFile,
    FileMissing,
    FileNotSaved,
    InvalidName,
    LeaseLost,
    MilvusUnavailable,
    NameTaken,
    NotFound,
    WrongState,
)
from kb.library import FileStore
from kb.library.counts import recount, recount_all
from kb.models import Document, DocumentOrder, VersionState
from kb.names import clean_file_name, clean_label, clean_name, fold
from tests.conftest import Clock, Library, make_claims


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


# --- names -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "cleaned"),
    [
        ("  产品手册  ", "产品手册"),
        ("two\nlines\tand  spaces", "two lines and spaces"),
        ("a\u202etxt.exe", "atxt.exe"),
        ("zero\u200bwidth\x00", "zerowidth"),
        ("e\u0301", "é"),
        ('../../x" or 1==1 or ".pdf', '../../x" or 1==1 or ".pdf'),
        ("x" * 100, "x" * 100),
        ("👩‍🚀", "👩‍🚀"),
    ],
)
def test_names_are_labels_in_any_script(given: str, cleaned: str) -> None:
    assert clean_name(given) == cleaned


@pytest.mark.parametrize("given", ["", "   ", "\x00\u200b", "\ud800", "名" * 101])
def test_invisible_and_long_names_are_refused(given: str) -> None:
    with pytest.raises(InvalidName):
        clean_name(given)


@pytest.mark.parametrize(
    ("given", "shortened"),
    [
        ("年" * 300 + ".pdf", "年" * 251 + ".pdf"),
        ("a" * 251 + ".pdf", "a" * 251 + ".pdf"),
        ("a" * 300, "a" * 255),
        ("a." + "b" * 300, "a." + "b" * 253),  # no extension
        ("a" * 254 + "\u200b.md", "a" * 252 + ".md"),
    ],
)
def test_long_file_name_keeps_its_extension(given: str, shortened: str) -> None:
    assert clean_file_name(given) == shortened


def test_chinese_label_of_255_bytes_is_kept() -> None:
    name = "年" * 83 + ".pdf"
    assert clean_label(name) == name
    assert unicodedata.is_normalized("NFC", clean_label("e\u0301.md"))


# --- knowledge bases -------------------------------------------------------------------------------------------


def test_knowledge_bases_are_listed_by_name_with_their_counts(library: Library, clock: Clock) -> None:
    second, first = library.knowledge_base("资料"), library.knowledge_base("Manual")
    library.knowledge_base("Mine", owner=library.stranger)
    documents = [library.upload(second) for _ in range(3)]
    claims = make_claims(library.database, "worker", clock)
    job = claims.claim(documents[0].latest.id)
    assert job is not None
    claims.switch(job)
    library.documents.delete(library.user, documents[1].id)
    found = library.knowledge_bases.list(library.user)
    assert [(base.name, base.document_count, base.ready_count) for base in found] == [("Manual", 0, 0), ("资料", 2, 1)]
    assert found[1] == library.knowledge_bases.get(library.user, second.id)
    assert first.collection != second.collection


def test_names_are_unique_per_owner(library: Library) -> None:
    library.knowledge_base("Same")
    with pytest.raises(NameTaken):
        library.knowledge_base(" Same ")
    library.knowledge_base("Same", owner=library.stranger)
    other = library.knowledge_base("Other")
    with pytest.raises(NameTaken):
        library.knowledge_bases.rename(library.user, other.id, "Same")
    library.knowledge_bases.rename(library.user, other.id, "改名")
    assert library.knowledge_bases.get(library.user, other.id).name == "改名"


def test_one_of_two_simultaneous_creations_gets_the_name(library: Library) -> None:
    def create(_number: int) -> bool:
        try:
            library.knowledge_base("Same")
        except NameTaken:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(create, range(4))) == 1


def test_deleted_knowledge_base_frees_its_name(library: Library) -> None:
    knowledge_base = library.knowledge_base("Again")
    document = library.upload(knowledge_base)
    library.knowledge_bases.delete(library.user, knowledge_base.id)
    assert library.knowledge_bases.list(library.user) == []
    for call in (
        lambda: library.knowledge_bases.get(library.user, knowledge_base.id),
        lambda: library.knowledge_bases.delete(library.user, knowledge_base.id),
        lambda: library.documents.get(library.user, document.id),
        lambda: library.documents.list(library.user, knowledge_base.id),
        lambda: library.upload(knowledge_base),
    ):
        with pytest.raises(NotFound):
            call()
    library.knowledge_base("Again")


# --- documents -------------------------------------------------------------------------------------------------


def test_upload_is_saved_and_queued(library: Library) -> None:
    knowledge_base = library.knowledge_base()
    document = library.arrivals.register(library.user, knowledge_base.id, "报告.md", io.BytesIO(b"# Hello")).document
    found = library.documents.get(library.user, document.id)
    assert (found.name, found.latest.state, found.latest.size_bytes) == ("报告.md", VersionState.QUEUED, 7)
    assert library.files.path(found.latest.file_key, "报告.md").read_bytes() == b"# Hello"
    assert found.live_version_id is None
    assert library.documents.chunks(library.user, document.id, 0, 10) == []


@pytest.mark.parametrize(
    "name",
    ['../../x" or 1==1 or ".pdf', "/etc/passwd", "C:\\x\\y.md", "年" * 83 + ".pdf", "a\x00b.md", ".", "..", "\ud800"],
)
def test_file_name_is_only_a_label(library: Library, name: str) -> None:
    document = library.upload(library.knowledge_base(), name)
    stored = files_in(library.uploads)
    assert [path.relative_to(library.uploads).as_posix() for path in stored] == [document.latest.file_key]
    assert library.documents.get(library.user, document.id).name == (clean_label(name) or "?")


def test_files_with_the_same_name_are_separate_documents(library: Library) -> None:
    knowledge_base = library.knowledge_base()
    first, second = library.upload(knowledge_base, "a.md", "one"), library.upload(knowledge_base, "a.md", "two")
    assert [document.id for document in library.documents.list(library.user, knowledge_base.id)] == [
        second.id,
        first.id,
    ]
    assert library.files.path(first.latest.file_key, "").read_text() == "one"


def test_documents_are_paged_newest_first(library: Library) -> None:
    knowledge_base = library.knowledge_base()
    ids = [library.upload(knowledge_base, f"{number}.md").id for number in range(5)]
    pages = [library.documents.list(library.user, knowledge_base.id, offset, 2) for offset in (0, 2, 4, 6)]
    assert [document.id for page in pages for document in page] == ids[::-1]
    assert library.documents.count_by_state(library.user, knowledge_base.id) == {VersionState.QUEUED: 5}


def test_documents_are_listed_by_state(library: Library) -> None:
    knowledge_base = library.knowledge_base()
    queued, cancelled = library.upload(knowledge_base), library.upload(knowledge_base)
    library.documents.cancel(library.user, cancelled.id)
    found = {
        state: [document.id for document in library.documents.list(library.user, knowledge_base.id, states=[state])]
        for state in (VersionState.QUEUED, VersionState.CANCELLED, VersionState.READY)
    }
    assert list(found.values()) == [[queued.id], [cancelled.id], []]


def test_documents_are_sorted_and_searched(library: Library, clock: Clock) -> None:
    knowledge_base = library.knowledge_base()
    texts = {"Report 2.md": "long " * 9, "annual REPORT.md": "a", "Budget.md": "medium"}
    uploaded = {name: library.upload(knowledge_base, name, text) for name, text in texts.items()}
    claims = make_claims(library.database, "worker", clock)
    assert claims.claim(uploaded["Budget.md"].latest.id)
    library.documents.cancel(library.user, uploaded["annual REPORT.md"].id)

    def names(search: str = "", order: DocumentOrder = DocumentOrder.ACTIVITY) -> list[str]:
        found = library.documents.list(library.user, knowledge_base.id, search=search, order=order)
        return [document.name for document in found]

    first, second, third = texts
    assert names() == [third, first, second]
    assert names(order=DocumentOrder.NEWEST) == [third, second, first]
    assert names(order=DocumentOrder.NAME) == [second, third, first]
    assert names(order=DocumentOrder.LARGEST) == [first, third, second]
    assert names(order=DocumentOrder.STATE) == [second, third, first]
    assert names("report") == [first, second]
    assert names("rep annual") == [second]
    assert names("%") == []
    count = library.documents.count
    assert count(library.user, knowledge_base.id, search="report") == 2
    assert count(library.user, knowledge_base.id, [VersionState.CANCELLED], "report") == 1


def test_queue_places_count_all_users(library: Library) -> None:
    mine, theirs = library.knowledge_base(), library.knowledge_base("Theirs", owner=library.stranger)
    first = library.upload(mine)
    library.arrivals.register(library.stranger, theirs.id, "b.md", io.BytesIO(b"b"))
    last, cancelled = library.upload(mine), library.upload(mine)
    library.documents.cancel(library.user, cancelled.id)
    library.documents.delete(library.user, library.upload(mine).id)
    other = library.arrivals.register(library.stranger, theirs.id, "c.md", io.BytesIO(b"c")).document
    ids = [first.latest.id, last.latest.id, cancelled.latest.id, other.latest.id, uuid4()]
    assert library.documents.queue_places(library.user, ids) == {first.latest.id: 1, last.latest.id: 3}
    assert library.documents.queue_places(library.stranger, ids) == {other.latest.id: 3}


def test_queue_places_share_the_turns_of_a_user(library: Library) -> None:
    mine, other = library.knowledge_base("mine"), library.knowledge_base("other")
    theirs = library.knowledge_base("theirs", owner=library.stranger)
    ids = [library.upload(mine, f"{number}.md").latest.id for number in range(2)]
    for _ in range(3):
        library.upload(other)
    last = [
        library.arrivals.register(library.stranger, theirs.id, "b.md", io.BytesIO(b"b")).document.latest.id
        for _ in range(3)
    ][-1]
    # Of my two, the last one waits for one of the other knowledge base, and both for their turn after the other user's.
    assert library.documents.queue_places(library.user, ids) == {ids[0]: 1, ids[1]: 1 + 2 + 2}
    # Their third waits for two of their own, and two of mine, from whichever knowledge base.
    assert library.documents.queue_places(library.stranger, [last]) == {last: 5}


def test_queue_places_are_bounded(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    knowledge_base = library.knowledge_base()
    ids = [library.upload(knowledge_base, f"{number}.md").latest.id for number in range(4)]
    monkeypatch.setattr("kb.library.queue_places.QUEUE_PLACES", 3)
    assert library.documents.queue_places(library.user, ids) == dict(zip(ids, [1, 2, 3, None], strict=True))
    assert library.documents.queue_places(library.user, ids[1:]) == {ids[1]: 2, ids[2]: 3, ids[3]: None}
    assert library.documents.queue_places(library.user, ids[3:]) == {ids[3]: None}


def test_pages_add_up_to_the_whole_list(library: Library, clock: Clock) -> None:
    """They are read from either end of an index, and from several groups of states."""
    knowledge_base = library.knowledge_base()
    claims = make_claims(library.database, "worker", clock)
    for number in range(23):
        document = library.upload(knowledge_base, f"{number % 7}.md", "x" * (number % 3 + 1))
        if number % 5:
            job = claims.claim(document.latest.id)
            assert job
            match number % 5:
                case 1:
                    claims.switch(job)
                case 2:
                    claims.fail(job, DamagedFile(name="x", detail="x"))
                case 3:
                    claims.cancel(job)
    pending, given_up = VersionState.QUEUED, (VersionState.FAILED, VersionState.CANCELLED)
    chosen = (tuple(VersionState), (pending,), given_up, (VersionState.READY, *given_up), (pending, *given_up))
    for order, states in product(DocumentOrder, chosen):
        whole = library.documents.list(library.user, knowledge_base.id, states=states, order=order)
        assert len(whole) == library.documents.count(library.user, knowledge_base.id, states)
        keys = [(SORT_KEYS[order](document), -document.created_at.timestamp()) for document in whole]
        assert keys == sorted(keys)
        # A search reads them in another way.
        searched = library.documents.list(library.user, knowledge_base.id, states=states, search="md", order=order)
        assert searched == whole
        for size in (1, 4, 7, 23):
            pages = [
                library.documents.list(library.user, knowledge_base.id, offset, size, states, order=order)
                for offset in range(0, 30, size)
            ]
            assert [document for page in pages for document in page] == whole
    assert library.documents.list(library.user, knowledge_base.id, states=()) == []


def activity(document: Document) -> int:
    state = document.latest.state
    return 2 if state.is_running else int(state is VersionState.QUEUED)


ATTENTION = ("failed", "cancelled", "parsing", "embedding", "indexing", "queued", "ready")
SORT_KEYS: dict[DocumentOrder, Callable[[Document], str | int]] = {
    DocumentOrder.ACTIVITY: lambda document: -activity(document),
    DocumentOrder.NEWEST: lambda _document: 0,
    DocumentOrder.NAME: lambda document: fold(document.name),
    DocumentOrder.LARGEST: lambda document: -document.latest.size_bytes,
    DocumentOrder.STATE: lambda document: ATTENTION.index(document.latest.state),
}


@pytest.mark.parametrize("order", DocumentOrder)
@pytest.mark.parametrize("search", ["", "a"])
def test_list_reads_only_the_rows_of_its_page(library: Library, order: DocumentOrder, search: str) -> None:
    """An index alone finds them. SQLite uses the same plan for few documents as for many."""
    database = library.database
    if not database.is_sqlite:
        pytest.skip("PostgreSQL plans by the size of the tables")
    knowledge_base = library.knowledge_base()
    library.upload(knowledge_base)
    library.documents.cancel(library.user, library.upload(knowledge_base).id)
    sent: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_rest: object) -> None:
        if "FROM versions" in statement:
            sent.append((statement, parameters))

    sa.event.listen(database.engine, "before_cursor_execute", note)
    for states in (tuple(VersionState), (VersionState.QUEUED,), (VersionState.QUEUED, VersionState.CANCELLED)):
        library.documents.list(library.user, knowledge_base.id, 0, 1, states, search, order)
        library.documents.count(library.user, knowledge_base.id, states, search)
    sa.event.remove(database.engine, "before_cursor_execute", note)
    with database.engine.connect() as connection:
        plans = [
            connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all() for statement, values in sent
        ]
    steps = [row.detail for plan in plans for row in plan if " versions " in row.detail]
    reads = [step for step in steps if "(id=?)" not in step]
    assert len(reads) >= 3
    # SQLite never calls an index covering that holds a derived column.
    derived = "USING INDEX ix_versions_listed_activity (listed_in=? AND activity=?)"
    assert [step for step in reads if "USING COVERING INDEX ix_versions_" not in step and derived not in step] == []


def test_counters_agree_with_the_documents(library: Library, clock: Clock) -> None:
    """Whatever happens to documents, and however many workers and users act at once."""
    knowledge_base, dice = library.knowledge_base(), Random(7)

    def act(number: int) -> None:
        claims = make_claims(library.database, f"worker {number}", clock)
        document = library.upload(knowledge_base, f"{number}.md")
        for _ in range(6):
            job = claims.claim(document.latest.id)
            actions: list[Callable[[], object]] = [
                lambda: library.documents.cancel(library.user, document.id),
                lambda: library.documents.retry(library.user, document.id),
            ]
            if dice.random() < 0.1:
                actions.append(lambda: library.documents.delete(library.user, document.id))
            if job:
                actions += [
                    partial(claims.switch, job),
                    partial(claims.fail, job, DamagedFile(name="x", detail="x")),
                    partial(claims.cancel, job),
                    partial(claims.release, job),
                    partial(claims.postpone, job, MilvusUnavailable(detail="x")),
                    partial(claims.enter, job, VersionState.EMBEDDING),
                ]
            with suppress(NotFound, WrongState, Cancelled, LeaseLost):
                dice.choice(actions)()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(act, range(24)))
    clock.advance(60)
    make_claims(library.database, "reaper", clock).expire()
    with library.database.write() as connection:
        assert recount(connection, knowledge_base.id) == {}
    listed = Counter(document.latest.state for document in library.documents.list(library.user, knowledge_base.id))
    assert library.documents.count_by_state(library.user, knowledge_base.id) == listed
    found = library.knowledge_bases.get(library.user, knowledge_base.id)
    assert found.document_count == listed.total()


def test_wrong_counters_are_corrected(library: Library) -> None:
    knowledge_base = library.knowledge_base()
    library.upload(knowledge_base)
    with library.database.write() as connection:
        connection.execute(sa.update(document_counts).values(documents=7, failed=2))
    with library.database.write() as connection:
        assert recount(connection, knowledge_base.id) == {"documents": -6, "failed": -2}
    assert library.documents.count_by_state(library.user, knowledge_base.id) == {VersionState.QUEUED: 1}
    with library.database.write() as connection:
        assert recount(connection, uuid4()) == {}


def test_recount_of_all_corrects_each_knowledge_base(library: Library) -> None:
    wrong, right = library.knowledge_base("Wrong"), library.knowledge_base("Right")
    for base in (wrong, right):
        library.upload(base)
    with library.database.write() as connection:
        of_wrong = document_counts.c.knowledge_base_id == wrong.id
        connection.execute(sa.update(document_counts).where(of_wrong).values(answering=3))
    assert recount_all(library.database) == {wrong.id: {"answering": -3}}
    assert recount_all(library.database) == {}


def test_file_sizes_have_64_bits(library: Library) -> None:
    document = library.upload(library.knowledge_base())
    with library.database.write() as connection:
        connection.execute(sa.update(versions).values(size_bytes=5 << 30))
    assert library.version(document).size_bytes == 5 << 30


@pytest.mark.parametrize(
    ("name", "search"),
    [
        ("ОТЧЁТ за год.docx", "отчёт"),
        ("ΣΊΣΥΦΟΣ.txt", "σίσυφος"),
        ("Résumé.pdf", "RE\u0301SUME\u0301"),
        ("Straße.md", "STRASSE"),
        ("İSTANBUL IŞIK.txt", "istanbul ışık"),
        ("ＡＢＣ 报告.md", "abc 报告"),
    ],
)
def test_search_folds_case_in_every_script(library: Library, name: str, search: str) -> None:
    knowledge_base = library.knowledge_base()
    library.upload(knowledge_base, name)
    library.upload(knowledge_base, "Resume.pdf")
    assert [each.name for each in library.documents.list(library.user, knowledge_base.id, search=search)] == [name]
    assert fold(fold(name)) == fold(name)


@pytest.mark.parametrize(
    ("called", "names"),
    [
        ("report", ["old/Report.docx", "report", "Report.pdf"]),
        ("Report.PDF", ["Report.pdf"]),
        ("report.v2", ["report.v2.pdf"]),
        ("old/report", ["old/Report.docx"]),
        ("re%ort", []),
        ("areport", ["a report.pdf"]),
        ("a_report.pdf", ["a report.pdf"]),
        ("年报", ["年报.docx"]),
    ],
)
def test_document_is_found_by_its_name(library: Library, clock: Clock, called: str, names: list[str]) -> None:
    """However many other names begin with it."""
    knowledge_base = library.knowledge_base()
    alike = [*(f"report.{letter}2.pdf" for letter in "abcv"), "a report.pdf", "old.report/a.pdf", "reports.pdf"]
    claims = make_claims(library.database, "worker", clock)
    for name in (*alike, "Report.pdf", "report", "old/Report.docx", "年报.docx"):
        job = claims.claim(library.upload(knowledge_base, name).latest.id)
        assert job is not None
        claims.switch(job)
    library.upload(knowledge_base, "report.aaa")  # not ready, so it comes behind the others
    found = library.documents.called(library.user, knowledge_base.id, called, limit=3)
    assert [document.name for document in found] == names


def test_cancel_and_retry(library: Library, clock: Clock) -> None:
    document = library.upload(library.knowledge_base())
    with pytest.raises(WrongState):
        library.documents.retry(library.user, document.id)
    library.documents.cancel(library.user, document.id)
    assert library.version(document).state is VersionState.CANCELLED
    with pytest.raises(WrongState):
        library.documents.cancel(library.user, document.id)
    assert library.documents.retry(library.user, document.id) == document.latest.id
    version = library.version(document)
    assert (version.state, version.cancel_requested, version.finished_at) == (VersionState.QUEUED, False, None)
    assert library.queue.sent == [("version", document.latest.id)] * 2
    claims = make_claims(library.database, "worker", clock)
    assert claims.claim(document.latest.id)
    library.documents.cancel(library.user, document.id)
    version = library.version(document)
    assert (version.state, version.cancel_requested) == (VersionState.PARSING, True)


def test_deleted_document_is_not_found(library: Library, clock: Clock) -> None:
    document = library.upload(library.knowledge_base())
    library.documents.delete(library.user, document.id)
    assert library.documents.list(library.user, document.knowledge_base_id) == []
    with pytest.raises(NotFound):
        library.documents.get(library.user, document.id)
    assert make_claims(library.database, "worker", clock).claim(document.latest.id) is None


def test_live_names_belong_to_live_versions(library: Library, clock: Clock) -> None:
    knowledge_base, other = library.knowledge_base(), library.knowledge_base("Other")
    live, queued, deleted = (library.upload(knowledge_base, f"{name}.md") for name in ("live", "queued", "deleted"))
    claims = make_claims(library.database, "worker", clock)
    for document in (live, deleted):
        job = claims.claim(document.latest.id)
        assert job is not None
        claims.switch(job)
    library.documents.delete(library.user, deleted.id)
    asked = [live.latest.id, queued.latest.id, deleted.latest.id, uuid4()]
    assert library.documents.live_names(library.user, knowledge_base.id, asked) == {live.latest.id: "live.md"}
    assert library.documents.live_names(library.user, other.id, asked) == {}
    assert library.documents.live_names(library.stranger, knowledge_base.id, asked) == {}
    assert library.documents.live_names(library.user, knowledge_base.id, []) == {}


def test_other_users_cannot_access_documents(library: Library) -> None:
    knowledge_base = library.knowledge_base()
    document = library.upload(knowledge_base)
    bases, documents, stranger = library.knowledge_bases, library.documents, library.stranger
    calls: list[Callable[[], object]] = [
        lambda: bases.get(stranger, knowledge_base.id),
        lambda: bases.rename(stranger, knowledge_base.id, "Mine now"),
        lambda: bases.delete(stranger, knowledge_base.id),
        lambda: library.arrivals.register(stranger, knowledge_base.id, "b.md", io.BytesIO(b"b")),
        lambda: documents.list(stranger, knowledge_base.id),
        lambda: documents.count_by_state(stranger, knowledge_base.id),
        lambda: documents.get(stranger, document.id),
        lambda: documents.retry(stranger, document.id),
        lambda: documents.cancel(stranger, document.id),
        lambda: documents.delete(stranger, document.id),
        lambda: documents.chunks(stranger, document.id, 0, 1),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            call()
    assert bases.list(stranger) == []
    assert library.version(document).state is VersionState.QUEUED
    assert len(files_in(library.uploads)) == 1


# --- files -----------------------------------------------------------------------------------------------------


class BrokenUpload(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        raise OSError(28, "No space left on device")


def test_interrupted_upload_leaves_nothing(library: Library) -> None:
    knowledge_base = library.knowledge_base()
    with pytest.raises(FileNotSaved, match=r"a\.md.*the disk is full"):
        library.arrivals.register(library.user, knowledge_base.id, "a.md", BrokenUpload())
    assert files_in(library.uploads) == []
    assert library.documents.list(library.user, knowledge_base.id) == []


def test_upload_into_a_base_that_is_deleted_meanwhile(library: Library) -> None:
    """The worker that clears the base takes the folder away in which the file arrives."""
    knowledge_base = library.knowledge_base()

    class SlowUpload(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            library.knowledge_bases.delete(library.user, knowledge_base.id)
            library.files.delete_knowledge_base(knowledge_base.id)
            return b""

    with pytest.raises(NotFound):
        library.arrivals.register(library.user, knowledge_base.id, "a.md", SlowUpload())
    assert files_in(library.uploads) == []


def test_only_old_partial_uploads_are_removed(tmp_path: Path) -> None:
    files, folder = FileStore(tmp_path), tmp_path / uuid4().hex
    folder.mkdir()
    old, young, whole = (folder / name for name in ("old.partial", "young.partial", "whole"))
    for path in (old, young, whole):
        path.write_bytes(b"x")
    for path in (old, whole):
        os.utime(path, (0, 0))
    assert files.delete_partial(3600) == 1
    assert files.delete_partial(3600) == 0
    assert sorted(files_in(tmp_path)) == sorted([young, whole])


def test_folder_that_is_deleted_meanwhile_is_passed_over(tmp_path: Path) -> None:
    """By whoever looks for what broken uploads, and files that are gone, have left."""
    files = FileStore(tmp_path)

    class Deleting:
        def __contains__(self, key: object) -> bool:
            for folder in tmp_path.iterdir():
                if folder.name != str(key).partition("/")[0]:
                    shutil.rmtree(folder)
            return True

    for folder in "ab":
        files.save(f"{folder}/x", "x", io.BytesIO(b"x"))
        files.recognised(f"{folder}/x").write_text("{}")
    files.delete_derived(Deleting(), 0)
    assert len(list(tmp_path.iterdir())) == 1


def test_missing_file_is_named(tmp_path: Path) -> None:
    files = FileStore(tmp_path)
    key = files.key(uuid4(), uuid4())
    with pytest.raises(FileMissing, match=r"report\.pdf"):
        files.path(key, "report.pdf")
    files.delete(key)  # nothing to do


def test_deleting_a_knowledge_base_deletes_its_files(tmp_path: Path) -> None:
    files, first, second = FileStore(tmp_path), uuid4(), uuid4()
    for knowledge_base in (first, first, second):
        files.save(files.key(knowledge_base, uuid4()), "a.txt", io.BytesIO(b"x"))
    files.delete_knowledge_base(first)
    files.delete_knowledge_base(first)
    assert len(files_in(tmp_path)) == 1
