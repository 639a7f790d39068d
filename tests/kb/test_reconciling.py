"""SQL says ready, and Milvus or the disk do not hold it: that is found, said, and mended from the uploads."""

from __future__ import annotations

import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from pymilvus import MilvusClient
from pymilvus.client.types import LoadState

from kb.config import Settings
from kb.database.tables import documents as documents_table
from kb.database.tables import index_checks, knowledge_bases, versions, webhook_deliveries
from kb.errors import CollectionMissing, MilvusRefused, MilvusUnavailable, SetupError
from kb.library import insert_knowledge_base, recount_all
from kb.local.running import running
from kb.models import Document, KnowledgeBase, VersionState, chunk_id
from kb.reconciling import Checks, IndexedAgain, Leftover, drop_collections, index_again, note_loading, reconciled
from kb.reconciling.__main__ import run
from kb.services import Services, WorkerParts, build_services, build_worker_parts
from kb.vectors import VectorStore
from tests.conftest import Core, MakeSettings, open_core
from tests.fakes.embedding import HashedWords
from tests.real_services import HOST, ONE_OLD_MILVUS, MilvusLite, free_port, wait_until


@pytest.fixture(params=["lite", pytest.param("2.3.5", marks=ONE_OLD_MILVUS)])
def core(request: pytest.FixtureRequest, settings: Settings, embedding: HashedWords) -> Iterator[Core]:
    """On Milvus Lite, and on a Milvus server."""
    if request.param == "2.3.5":
        settings = settings.model_copy(update={"milvus_uri": request.getfixturevalue("old_milvus_url")})
    with open_core(settings, embedding) as core:
        yield core


def ingest(core: Core, worker: WorkerParts, base: KnowledgeBase, name: str) -> Document:
    document = core.upload(base, name, f"# {name}\n\nA text about {name}.\n\n# More\n\nAnd more of it.")
    assert worker.ingestion.ingest(document.latest.id) is VersionState.READY
    return core.document(document.id)


def missing(core: Core, *documents: Document) -> list[int]:
    return [core.document(document.id).latest.missing_chunks for document in documents]


def unsearchable(core: Core, base: KnowledgeBase) -> int:
    return core.services.knowledge_bases.get(core.user, base.id).unsearchable_count


def again(core: Core, base: KnowledgeBase | None = None) -> IndexedAgain:
    return index_again(core.services.database, core.services.files, core.user, base.id if base else None)


def queued(core: Core) -> list[UUID]:
    with core.services.database.read() as connection:
        return list(connection.scalars(sa.select(versions.c.id).where(versions.c.state == "queued")))


def test_nothing_is_noted_where_all_is_there(core: Core, worker: WorkerParts) -> None:
    base = core.knowledge_base()
    document = ingest(core, worker, base, "a.md")
    core.upload(base, "waiting.md", "x")
    worker.checks.check_all()
    found = reconciled(core.services.database)
    assert (found.unsearchable, found.files_missing, found.errors) == (0, 0, {})
    assert found.checked_at
    assert missing(core, document) == [0]
    assert again(core) == IndexedAgain()


def test_dropped_collection_is_noted_and_indexed_again(core: Core, worker: WorkerParts) -> None:
    """Each document keeps its id, version and name; it is searchable, and counted so, once it is ready again."""
    base, other = core.knowledge_base(), core.knowledge_base("Other")
    first, second = (ingest(core, worker, base, name) for name in ("a.md", "b.md"))
    kept = ingest(core, worker, other, "c.md")
    core.services.vectors.drop(base.collection)
    worker.checks.check_all()
    assert missing(core, first, second, kept) == [first.latest.chunks, second.latest.chunks, 0]
    assert (unsearchable(core, base), unsearchable(core, other)) == (2, 0)
    assert reconciled(core.services.database).unsearchable == 2
    assert again(core, other) == IndexedAgain()
    assert again(core, base) == IndexedAgain(queued=2)
    assert again(core, base) == IndexedAgain()
    assert set(queued(core)) == {first.latest.id, second.latest.id}
    assert unsearchable(core, base) == 2  # until they are there
    for document in (first, second):
        assert worker.ingestion.ingest(document.latest.id) is VersionState.READY
        found = core.document(document.id)
        assert (found.live_version_id, found.name, found.created_at) == (
            document.latest.id,
            document.name,
            document.created_at,
        )
        assert core.count(found) == found.latest.chunks
    assert unsearchable(core, base) == 0
    assert recount_all(core.services.database) == {}
    worker.checks.check_all()
    assert missing(core, first, second, kept) == [0, 0, 0]


def test_missing_chunks_of_one_document_are_noted(core: Core, worker: WorkerParts) -> None:
    base = core.knowledge_base()
    short, whole = (ingest(core, worker, base, name) for name in ("a.md", "b.md"))
    core.services.vectors.delete_from(base.collection, short.latest.id, 1)
    worker.checks.check_knowledge_base(base.id)
    assert missing(core, short, whole) == [short.latest.chunks - 1, 0]
    assert recount_all(core.services.database) == {}
    core.services.documents.delete(core.user, short.id)
    assert unsearchable(core, base) == 0


def swap(core: Core, base: KnowledgeBase, lost: Document) -> None:
    """Put chunks that SQL does not know in place of a document's, as an older copy of Milvus' data does."""
    vectors, version = core.services.vectors, uuid4()
    chunks = vectors.chunks(base.collection, lost.latest.id, 0, 10)
    vectors.delete_version(base.collection, lost.latest.id)
    back = [replace(each, id=chunk_id(version, each.ordinal), version_id=version) for each in chunks]
    vectors.upsert(base.collection, back, core.embedding.embed_documents([each.text for each in back]))


def test_loss_that_other_chunks_make_up_for_is_noted(core: Core, worker: WorkerParts) -> None:
    """There are as many chunks as there should be. Those that do not belong there are cleared."""
    base = core.knowledge_base()
    lost, whole = (ingest(core, worker, base, name) for name in ("a.md", "b.md"))
    swap(core, base, lost)
    assert core.services.vectors.size(base.collection) == lost.latest.chunks + whole.latest.chunks
    worker.checks.check_all()
    assert missing(core, lost, whole) == [lost.latest.chunks, 0]
    assert core.services.vectors.count_by_version(base.collection).keys() == {whole.latest.id}
    assert again(core) == IndexedAgain(queued=1)


@pytest.mark.parametrize("core", ["lite"], indirect=True)
def test_comparing_loads_no_collection(core: Core, worker: WorkerParts) -> None:
    """It would fill the memory of Milvus Lite. Whoever loads it, for a question say, has it compared."""
    base = core.knowledge_base()
    lost = ingest(core, worker, base, "a.md")
    swap(core, base, lost)
    with closing(MilvusClient(core.services.settings.milvus_uri)) as client:
        client.release_collection(base.collection)  # as it is after a start
        worker.checks.check_all()
        assert client.get_load_state(base.collection)["state"] == LoadState.NotLoad
    assert missing(core, lost) == [0]
    core.services.vectors.warm_up(base.collection)
    worker.checks.check_loaded()
    assert missing(core, lost) == [lost.latest.chunks]


@pytest.mark.parametrize("core", ["lite"], indirect=True)
def test_what_was_loaded_again_is_compared_once_milvus_is_back(
    core: Core, worker: WorkerParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes away in the middle of comparing: neither this collection nor those that follow are forgotten."""
    bases = [core.knowledge_base(name) for name in "abc"]
    documents = [ingest(core, worker, base, "a.md") for base in bases]
    vectors = core.services.vectors
    worker.checks.check_loaded()
    with closing(MilvusClient(core.services.settings.milvus_uri)) as client:
        for base, document in zip(bases, documents, strict=True):
            vectors.delete_version(base.collection, document.latest.id)
            client.release_collection(base.collection)
            vectors.warm_up(base.collection)
    middle = sorted(base.collection for base in bases)[1]
    size = vectors.size

    def go_away(collection: str) -> int:
        if collection == middle:
            raise MilvusUnavailable(detail="connection refused")
        return size(collection)

    with monkeypatch.context() as patch:
        patch.setattr(vectors, "size", go_away)
        with pytest.raises(MilvusUnavailable):
            worker.checks.check_loaded()
    assert sum(map(bool, missing(core, *documents))) == 1
    worker.checks.check_loaded()
    assert all(missing(core, *documents))


def load_by_question(services: Services, base: KnowledgeBase) -> None:
    services.vectors.warm_up(base.collection)


def load_by_ingestion(services: Services, base: KnowledgeBase) -> None:
    assert not services.vectors.create(base)


def die_before_loading(services: Services, base: KnowledgeBase) -> None:
    note_loading(services.database, base.collection)


@pytest.mark.parametrize("core", ["lite"], indirect=True)
@pytest.mark.parametrize("load", [load_by_question, load_by_ingestion, die_before_loading])
def test_what_a_process_loads_and_dies_of_is_compared(
    core: Core, worker: WorkerParts, load: Callable[[Services, KnowledgeBase], None]
) -> None:
    """All others find the collection loaded, or noted by one that is gone."""
    base = core.knowledge_base()
    lost = ingest(core, worker, base, "a.md")
    worker.checks.check_loaded()
    swap(core, base, lost)
    with closing(MilvusClient(core.services.settings.milvus_uri)) as client:
        client.release_collection(base.collection)  # as it is after a start
    with closing(build_services(core.services.settings, core.queue)) as of_another_process:
        load(of_another_process, base)
    worker.checks.check_loaded()
    assert missing(core, lost) == [lost.latest.chunks]


@pytest.mark.parametrize("core", ["lite"], indirect=True)
def test_what_is_loaded_while_it_is_compared_is_compared_again(
    core: Core, worker: WorkerParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Milvus Lite was restarted in the middle, and lost something then. Once compared, it is left alone."""
    base = core.knowledge_base()
    lost = ingest(core, worker, base, "a.md")
    vectors, compared = core.services.vectors, list[str]()
    note_loading(core.services.database, base.collection)
    lacks_ends = vectors.lacks_ends

    def lose_it_then(collection: str, totals: Mapping[UUID, int]) -> bool:
        is_short = lacks_ends(collection, totals)
        compared.append(collection)
        if len(compared) == 1:
            swap(core, base, lost)
            with closing(MilvusClient(core.services.settings.milvus_uri)) as client:
                client.release_collection(collection)
            load_by_question(core.services, base)
        return is_short

    monkeypatch.setattr(vectors, "lacks_ends", lose_it_then)
    worker.checks.check_loaded()
    assert missing(core, lost) == [0]
    worker.checks.check_loaded()
    assert missing(core, lost) == [lost.latest.chunks]
    worker.checks.check_loaded()
    assert compared == [base.collection] * 2


@pytest.mark.parametrize("core", ["lite"], indirect=True)
def test_what_milvus_refuses_to_load_is_tried_once(
    core: Core, worker: WorkerParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try is noted before it is known to fail."""
    base = core.knowledge_base()
    ingest(core, worker, base, "a.md")
    tried = list[str]()

    def refuse(collection: str, totals: Mapping[UUID, int]) -> bool:
        tried.append(collection)
        note_loading(core.services.database, collection)
        raise MilvusRefused(detail="out of memory")

    monkeypatch.setattr(core.services.vectors, "lacks_ends", refuse)
    note_loading(core.services.database, base.collection)
    for _ in range(2):
        worker.checks.check_loaded()
    assert tried == [base.collection]
    assert reconciled(core.services.database).errors.keys() == {base.collection}


def test_what_is_found_again_is_searchable_again(core: Core, worker: WorkerParts) -> None:
    """After MILVUS_URI was set back, or a backup restored."""
    base = core.knowledge_base()
    document = ingest(core, worker, base, "a.md")
    nowhere = VectorStore(core.services.settings.model_copy(update={"milvus_uri": f"http://{HOST}:{free_port()}"}))
    with core.services.database.write() as connection:
        connection.execute(sa.update(versions).values(missing_chunks=1))
    recount_all(core.services.database)
    assert unsearchable(core, base) == 1
    with pytest.raises(MilvusUnavailable):
        Checks(core.services.database, nowhere, core.services.files).check_all()
    assert unsearchable(core, base) == 1
    worker.checks.check_all()
    assert (missing(core, document), unsearchable(core, base)) == ([0], 0)


def test_document_without_its_file_is_named_and_not_queued(core: Core, worker: WorkerParts) -> None:
    base = core.knowledge_base()
    lost, cut, whole = (ingest(core, worker, base, name) for name in ("a.md", "b.md", "c.md"))
    uploads = core.services.settings.uploads
    (uploads / lost.latest.file_key).unlink()
    (uploads / cut.latest.file_key).write_text("x")
    core.services.vectors.drop(base.collection)
    worker.checks.check_all()
    assert [core.document(each.id).latest.file_missing for each in (lost, cut, whole)] == [True, True, False]
    assert reconciled(core.services.database).files_missing == 2
    assert again(core) == IndexedAgain(queued=1, without_file=2)
    assert queued(core) == [whole.latest.id]


def test_what_is_lost_is_told_once(core: Core, worker: WorkerParts) -> None:
    """To programs, of each document that has lost its chunks, and of each that has lost its file."""
    base = core.knowledge_base()
    lost, whole = (ingest(core, worker, base, name) for name in ("a.md", "b.md"))
    core.services.webhooks.create(core.user, "https://hooks.example")

    def told() -> list[tuple[str, str, int, bool]]:
        """Each event, of which document, and what that lacks."""
        with core.services.database.read() as connection:
            bodies = [json.loads(body) for body in connection.scalars(sa.select(webhook_deliveries.c.body))]
        return sorted(
            (body["type"], body["data"]["name"], body["data"]["missing_chunks"], body["data"]["file_missing"])
            for body in bodies
        )

    (core.services.settings.uploads / lost.latest.file_key).unlink()
    for _ in range(2):
        worker.checks.check_all()
        assert told() == [("document.file_missing", "a.md", 0, True)]
    core.services.vectors.drop(base.collection)
    for _ in range(2):
        worker.checks.check_all()
        assert told()[1:] == [
            ("document.unsearchable", "a.md", lost.latest.chunks, True),
            ("document.unsearchable", "b.md", whole.latest.chunks, False),
        ]


def test_leftovers_are_cleared(core: Core, worker: WorkerParts) -> None:
    """Chunks of versions that are gone or replaced; not those of versions under way, which others take care of."""
    base = core.knowledge_base()
    live, gone, replaced, running = (ingest(core, worker, base, f"{n}.md") for n in range(4))
    with core.services.database.write() as connection:
        connection.execute(sa.delete(documents_table).where(documents_table.c.id == gone.id))
        of = documents_table.c.id == replaced.id
        connection.execute(sa.update(documents_table).where(of).values(live_version_id=uuid4()))
        connection.execute(sa.update(versions).where(versions.c.id == running.latest.id).values(state="embedding"))
    worker.checks.check_all()
    found = core.services.vectors.count_by_version(base.collection)
    assert found.keys() == {live.latest.id, running.latest.id}


def test_collection_that_ingestion_creates_anew_is_checked(core: Core, worker: WorkerParts) -> None:
    """A new document would hide that the others are gone."""
    base = core.knowledge_base()
    first = ingest(core, worker, base, "a.md")
    core.services.vectors.drop(base.collection)
    second = ingest(core, worker, base, "b.md")
    assert missing(core, first, second) == [first.latest.chunks, 0]


def test_version_that_changes_during_the_check_is_left_alone(
    core: Core, worker: WorkerParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = core.knowledge_base()
    first, second = (ingest(core, worker, base, name) for name in ("a.md", "b.md"))
    core.services.vectors.drop(base.collection)
    is_whole = core.services.files.is_whole

    def change_meanwhile(key: str, size_bytes: int) -> bool:
        with core.services.database.write() as connection:
            change = sa.update(versions).where(versions.c.id == first.latest.id)
            connection.execute(change.values(finished_at=sa.func.current_timestamp()))
        return is_whole(key, size_bytes)

    monkeypatch.setattr(core.services.files, "is_whole", change_meanwhile)
    worker.checks.check_all()
    assert missing(core, first, second) == [0, second.latest.chunks]
    assert unsearchable(core, base) == 1


def test_refusal_is_noted_and_other_collections_are_compared(
    core: Core, worker: WorkerParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    bases = [core.knowledge_base(name) for name in "ab"]
    documents = [ingest(core, worker, base, "a.md") for base in bases]
    core.services.vectors.drop(bases[1].collection)
    size = core.services.vectors.size

    def refuse(collection: str) -> int:
        if collection == bases[0].collection:
            raise MilvusRefused(detail="out of memory")
        return size(collection)

    monkeypatch.setattr(core.services.vectors, "size", refuse)
    worker.checks.check_all()
    found = reconciled(core.services.database)
    assert {name: error.values for name, error in found.errors.items()} == {
        bases[0].collection: {"detail": "out of memory"}
    }
    assert missing(core, *documents) == [0, documents[1].latest.chunks]


@pytest.mark.parametrize("hours", [-1, 1])
def test_recent_checks_are_not_repeated_at_night(core: Core, worker: WorkerParts, hours: int) -> None:
    """Nor is one of the future, which a clock that was ahead has written, taken for a recent one."""
    base = core.knowledge_base()
    document = ingest(core, worker, base, "a.md")
    worker.checks.check_all()
    core.services.vectors.drop(base.collection)
    worker.checks.check_all(unless_within=timedelta(minutes=10))
    assert missing(core, document) == [0]
    with core.services.database.write() as connection:
        change = sa.update(index_checks)
        connection.execute(change.values(checked_at=document.created_at + timedelta(hours=hours)))
    worker.checks.check_all(unless_within=timedelta(minutes=10))
    assert missing(core, document) == [document.latest.chunks]


def test_command_says_what_is_missing_and_queues_it(
    core: Core, worker: WorkerParts, capsys: pytest.CaptureFixture[str]
) -> None:
    base = core.knowledge_base()
    document = ingest(core, worker, base, "a.md")
    assert run(core.services.settings, wants_again=False) == 0
    core.services.vectors.drop(base.collection)
    assert run(core.services.settings, wants_again=True) == 1
    assert "cannot be searched: 1" in capsys.readouterr().out
    assert queued(core) == [document.latest.id]


def test_command_needs_services_that_run(make_settings: MakeSettings) -> None:
    with pytest.raises(SetupError, match="not running"):
        running(make_settings())


# --- what SQL does not know ---------------------------------------------------------------------------------------


def age(path: Path) -> Path:
    """As if it had been saved an hour ago."""
    moment = time.time() - 3600
    os.utime(path, (moment, moment))
    return path


def forget(core: Core, base: KnowledgeBase) -> None:
    """As if an older backup of the database had been restored."""
    with core.services.database.write() as connection:
        connection.execute(sa.delete(knowledge_bases).where(knowledge_bases.c.id == base.id))


def folder_of(core: Core, base: KnowledgeBase) -> Path:
    return core.services.settings.uploads / base.id.hex


@pytest.mark.parametrize("core", ["lite"], indirect=True)
def test_what_sql_does_not_know_is_told_and_kept(core: Core, worker: WorkerParts) -> None:
    kept, forgotten = core.knowledge_base(), core.knowledge_base("Forgotten")
    documents = [ingest(core, worker, base, "a.md") for base in (kept, forgotten)]
    forget(core, forgotten)
    for document in documents:
        age(core.services.settings.uploads / document.latest.file_key)
    worker.checks.check_all()
    found = reconciled(core.services.database)
    latest = documents[1].latest
    assert Leftover(forgotten.collection, latest.chunks) in found.unknown_collections
    assert kept.collection not in {each.name for each in found.unknown_collections}
    assert found.unknown_folders == (Leftover(forgotten.id.hex, 1, latest.size_bytes),)
    assert (found.unsearchable, found.files_missing) == (0, 0)
    assert core.services.vectors.stored(forgotten.collection) == latest.chunks
    assert len(list(folder_of(core, forgotten).iterdir())) == 1


@pytest.mark.parametrize("core", ["lite"], indirect=True)
def test_only_unknown_collections_are_dropped_on_demand(
    core: Core, worker: WorkerParts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bases = [core.knowledge_base(name) for name in ("kept", "restored", "forgotten")]
    documents = [ingest(core, worker, base, "a.md") for base in bases]
    for base in bases[1:]:
        forget(core, base)
    names = [base.collection for base in bases]
    monkeypatch.setattr(VectorStore, "names", lambda _store: names)  # other tests' are on this Milvus, too
    age(core.services.settings.uploads / documents[2].latest.file_key)
    assert run(core.services.settings) == 0
    told = capsys.readouterr().out
    assert f"{folder_of(core, bases[2])}: 1 file," in told
    assert all(name in told for name in names[1:])
    with core.services.database.write() as connection:
        insert_knowledge_base(connection, bases[1])
    assert drop_collections(core.services.database, core.services.vectors) == 1
    assert [core.services.vectors.stored(name) for name in names[:2]] == [each.latest.chunks for each in documents[:2]]
    with pytest.raises(CollectionMissing):
        core.services.vectors.stored(names[2])
    forget(core, bases[1])
    assert run(core.services.settings, wants_drop=True) == 0
    assert "Collections dropped:               1" in capsys.readouterr().out
    assert folder_of(core, bases[2]).exists()


@pytest.mark.parametrize("core", [pytest.param("2.3.5", marks=ONE_OLD_MILVUS)], indirect=True)
def test_collections_of_other_installations_are_not_counted(core: Core, worker: WorkerParts) -> None:
    """A Milvus server may be shared. A collection says for which user it was created."""
    ours = core.knowledge_base()
    theirs = replace(ours, owner_id=uuid4(), collection=f"kb_{uuid4().hex}")
    vectors = core.services.vectors
    for base in (ours, theirs):
        vectors.create(base)
        assert vectors.owner(base.collection) == base.owner_id
    forget(core, ours)
    worker.checks.note_leftovers()
    assert reconciled(core.services.database).unknown_collections == (Leftover(ours.collection, 0),)
    for base in (ours, theirs):
        vectors.drop(base.collection)


@pytest.mark.parametrize("core", ["lite"], indirect=True)
def test_what_people_put_into_the_uploads_is_counted(core: Core, worker: WorkerParts) -> None:
    """Whatever its name is; not what is being written, and not what file systems and desktops hide there."""
    uploads = core.services.settings.uploads
    names = ("notes.txt", "old backup/2025/a.pdf", "old backup/b.pdf", ".DS_Store", ".trash/c.pdf", "d.partial")
    for name in names:
        path = uploads / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"four")
        age(path)
    worker.checks.check_all()
    found = reconciled(core.services.database).unknown_folders
    assert set(found) == {Leftover("notes.txt", 1, 4), Leftover("old backup", 2, 8)}


@pytest.mark.parametrize("core", ["lite"], indirect=True)
def test_odd_files_among_the_uploads_keep_nothing_from_being_noted(
    core: Core, worker: WorkerParts, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names that are not text or too long for SQL, links in a circle, and what is no file. Sweeping goes on, too."""
    uploads = core.services.settings.uploads
    folder = uploads / "mine"
    folder.mkdir(parents=True)
    (folder / "ring").symlink_to(folder / "ring")
    os.mkfifo(folder / "pipe")
    for name in ("a.partial", "a.recognised"):
        (folder / name).mkdir()
        age(folder / name)
    for path in (uploads / os.fsdecode(b"caf\xe9.txt"), uploads / f"{'x' * 200}1", uploads / f"{'x' * 200}2"):
        path.write_bytes(b"four")
        age(path)
    worker.checks.check_all()
    found = reconciled(core.services.database).unknown_folders
    assert set(found) == {Leftover("caf\\xe9.txt", 1, 4), Leftover("x" * 99 + "…", 2, 8)}
    assert run(core.services.settings) == 0
    assert "caf\\xe9.txt: 1 file," in capsys.readouterr().out
    assert core.services.files.delete_partial(older_than_seconds=60) == 0


@pytest.mark.parametrize("core", ["lite"], indirect=True)
def test_leftovers_are_looked_for_once_a_night(core: Core, worker: WorkerParts) -> None:
    """By the worker that compares. Where there is no knowledge base, SQL may have been lost: by each worker."""
    base = core.knowledge_base()
    worker.checks.check_all()
    stray = core.services.settings.uploads / "notes.txt"
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"four")
    age(stray)
    worker.checks.check_all(unless_within=timedelta(minutes=10))
    assert reconciled(core.services.database).unknown_folders == ()
    forget(core, base)
    worker.checks.check_all(unless_within=timedelta(minutes=10))
    assert reconciled(core.services.database).unknown_folders == (Leftover("notes.txt", 1, 4),)


@pytest.mark.parametrize("core", ["lite"], indirect=True)
def test_file_beside_known_ones_is_named_alone(
    core: Core, worker: WorkerParts, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever deletes the folder that is named must lose nothing that is known."""
    base = core.knowledge_base()
    document = ingest(core, worker, base, "a.md")
    key = core.services.files.key(base.id, uuid4())
    core.services.files.save(key, "b.md", io.BytesIO(b"stray"))
    age(core.services.settings.uploads / key)
    worker.checks.note_leftovers()
    assert reconciled(core.services.database).unknown_folders == (Leftover(key, 1, 5),)
    run(core.services.settings)
    told = capsys.readouterr().out
    assert f"Of no document: {core.services.settings.uploads / key}: 1 file, 5 bytes" in told
    assert document.latest.file_key not in told


@pytest.mark.parametrize("core", ["lite"], indirect=True)
def test_file_that_is_about_to_be_noted_is_not_told(core: Core, worker: WorkerParts) -> None:
    base = core.knowledge_base()
    core.services.files.save(core.services.files.key(base.id, uuid4()), "a.md", io.BytesIO(b"x"))
    worker.checks.note_leftovers()
    assert reconciled(core.services.database).unknown_folders == ()


@pytest.mark.parametrize("core", ["lite"], indirect=True)
def test_what_was_made_from_files_that_are_gone_is_cleared(core: Core, worker: WorkerParts) -> None:
    """A worker that was suspended writes OCR results after everything was cleared. Those of known files stay."""
    base = core.knowledge_base()
    known = core.upload(base, "a.md", "x").latest.file_key
    (core.services.settings.uploads / known).unlink()
    files = core.services.files
    unknown = files.key(base.id, uuid4())
    paths = [files.recognised(unknown), files.line_boxes(unknown), files.recognised(known)]
    for path in paths:
        path.touch()
        age(path)
    worker.checks.note_leftovers()
    assert [path.exists() for path in paths] == [False, False, True]


# --- the embedded Milvus, with its data lost or damaged between two starts ----------------------------------------


@pytest.fixture
def own_milvus(tmp_path: Path) -> Iterator[MilvusLite]:
    folder = tmp_path / "own"
    folder.mkdir()
    server = MilvusLite(folder)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_core(own_milvus: MilvusLite, settings: Settings, embedding: HashedWords) -> Iterator[Core]:
    with open_core(settings.model_copy(update={"milvus_uri": own_milvus.url}), embedding) as core:
        yield core


@pytest.fixture
def own_worker(own_core: Core, shared_parser: None) -> Iterator[WorkerParts]:
    parts = build_worker_parts(own_core.services)
    yield parts
    parts.ingestion.close()


def ingest_again(core: Core, worker: WorkerParts, document: Document) -> None:
    assert worker.ingestion.ingest(document.latest.id) is VersionState.READY
    assert core.count(document) == document.latest.chunks
    assert missing(core, document) == [0]


def test_emptied_milvus_and_another_one_are_noticed(
    own_core: Core, own_worker: WorkerParts, own_milvus: MilvusLite, milvus_url: str, embedding: HashedWords
) -> None:
    """The data folder is removed between two starts; and MILVUS_URI is set to a server that has none of it."""
    core, worker = own_core, own_worker
    document = ingest(core, worker, core.knowledge_base(), "a.md")
    elsewhere = VectorStore(core.services.settings.model_copy(update={"milvus_uri": milvus_url}))
    Checks(core.services.database, elsewhere, core.services.files).check_all()
    assert missing(core, document) == [document.latest.chunks]
    worker.checks.check_all()  # it was set back
    assert missing(core, document) == [0]
    own_milvus.kill()
    shutil.rmtree(own_milvus.folder / "data")
    own_milvus.start()
    wait_until(lambda: is_answering(core), what="an answer")
    worker.checks.check_all()
    assert missing(core, document) == [document.latest.chunks]
    assert again(core) == IndexedAgain(queued=1)
    ingest_again(core, worker, document)


def is_answering(core: Core) -> bool:
    try:
        core.services.vectors.ping()
    except MilvusUnavailable:
        return False
    return True


def cut_data(folder: Path) -> None:
    for path in folder.rglob("*.parquet"):
        os.truncate(path, 1_000)


def lose_data(folder: Path) -> None:
    for path in folder.rglob("*.parquet"):
        path.unlink()


def damage_manifest(folder: Path) -> None:
    """The one before is read instead, and what came after it is lost without a word."""
    (folder / "manifest.json").write_bytes(b"\0" * 100)


def damage_manifests(folder: Path) -> None:
    for path in folder.glob("manifest*"):
        path.write_bytes(b"\0" * 100)


DAMAGES = (cut_data, lose_data, damage_manifest, damage_manifests)


def test_damaged_collections_are_noticed_and_filled_again(
    own_core: Core, own_worker: WorkerParts, own_milvus: MilvusLite
) -> None:
    core, worker = own_core, own_worker
    bases = [core.knowledge_base(name) for name in ("whole", *(damage.__name__ for damage in DAMAGES))]
    whole, *documents = (ingest(core, worker, base, "a.md") for base in bases)
    for base in bases:
        core.services.vectors.flush(base.collection)
    own_milvus.kill()
    for damage, base in zip(DAMAGES, bases[1:], strict=True):
        damage(own_milvus.folder / "data" / "collections" / base.collection)
    own_milvus.start()
    wait_until(lambda: is_answering(core), what="an answer")
    worker.checks.check_all()
    assert missing(core, whole, *documents) == [0, *(document.latest.chunks for document in documents)]
    assert again(core) == IndexedAgain(queued=len(documents))
    for document in documents:
        ingest_again(core, worker, document)
