"""A new content of a document: it replaces the old one once it is ready."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
import sqlalchemy as sa

from kb.access import Permission
from kb.database.tables import versions
from kb.errors import Cancelled, NotFound
from kb.ingestion import Claims
from kb.library import contents, contents_of, recount_all
from kb.library.counts import recount
from kb.library.rows import find_document
from kb.models import Document, KnowledgeBase, Scope, VersionState
from kb.reconciling import Lacking, count_lacking, index_again
from kb.services import WorkerParts
from tests.conftest import Clock, Core, Library, make_claims
from tests.real_services import wait_until


def replace(library: Library, document: Document, text: str) -> Document:
    return library.arrivals.replace(library.user, document.id, io.BytesIO(text.encode())).document


def claims_of(library: Library, clock: Clock) -> Claims:
    return make_claims(library.database, "worker", clock)


def end(claims: Claims, version_id: UUID, state: VersionState = VersionState.READY) -> None:
    job = claims.claim(version_id)
    assert job
    if state is VersionState.READY:
        claims.enter(job, VersionState.INDEXING)
        claims.switch(job, chunks=1)
    else:
        claims.cancel(job)


def miscounted(library: Library, base: KnowledgeBase) -> dict[str, int]:
    with library.database.write() as connection:
        return recount(connection, base.id)


def test_old_content_answers_until_the_new_one_is_ready(library: Library, clock: Clock) -> None:
    base, claims = library.knowledge_base(), claims_of(library, clock)
    old = library.upload(base, "a.md", "old")
    end(claims, old.latest.id)
    new = replace(library, old, "new")
    assert (new.id, new.name, new.live_version_id) == (old.id, "a.md", old.latest.id)
    assert library.queue.sent[-1] == ("version", new.latest.id)
    assert library.documents.list(library.user, base.id) == [library.documents.get(library.user, old.id)]
    assert library.documents.count_by_state(library.user, base.id) == {VersionState.QUEUED: 1}
    end(claims, new.latest.id)
    assert library.documents.get(library.user, old.id).live_version_id == new.latest.id
    assert library.documents.count_by_state(library.user, base.id) == {VersionState.READY: 1}
    assert miscounted(library, base) == {}


def test_content_that_is_not_ready_is_given_up(library: Library, clock: Clock) -> None:
    """One that waits at once, one that is ingested at the worker's next check."""
    base, claims = library.knowledge_base(), claims_of(library, clock)
    first = library.upload(base, "a.md", "first")
    second = replace(library, first, "second")
    assert claims.claim(first.latest.id) is None
    job = claims.claim(second.latest.id)
    assert job
    third = replace(library, first, "third")
    claims.cancel(job)
    assert library.documents.count_by_state(library.user, base.id) == {VersionState.QUEUED: 1}
    end(claims, third.latest.id)
    (content,) = contents(library.database, library.user, base.id)
    assert (content.version_id, content.state) == (third.latest.id, VersionState.READY)
    assert miscounted(library, base) == {}


def test_digests_are_those_of_the_newest_contents(library: Library) -> None:
    base = library.knowledge_base()
    old, other = library.upload(base, "a.md", "old"), library.upload(base, "b.md", "other")
    new = replace(library, old, "new")
    found = contents(library.database, library.user, base.id)
    assert [each.name for each in found] == ["a.md", "b.md"]
    assert found[0].sha256.startswith("11507a0e")
    ids = [old.latest.id, new.latest.id, other.latest.id]
    some = contents_of(library.database, library.user, base.id, ids)
    assert {each.version_id for each in some} == {new.latest.id, other.latest.id}
    with pytest.raises(NotFound):
        contents(library.database, library.stranger, base.id)


def test_stranger_cannot_replace(library: Library) -> None:
    document = library.upload(library.knowledge_base())
    before = sorted(library.uploads.rglob("*"))
    with pytest.raises(NotFound):
        library.arrivals.replace(library.stranger, document.id, io.BytesIO(b"x"))
    assert sorted(library.uploads.rglob("*")) == before


def test_two_replace_at_once(library: Library) -> None:
    """The second finds the version that the first one made, though it waited for the row of the old one."""
    base = library.knowledge_base()
    document = library.upload(base, "a.md", "one")

    def uploads() -> int:
        return len([path for path in library.uploads.rglob("*") if path.is_file() and not path.suffix])

    with ThreadPoolExecutor(1) as pool:
        with library.database.write() as connection:
            find_document(connection, library.user, document.id, Permission.EDIT, lock=True)
            other = pool.submit(replace, library, document, "two")
            wait_until(lambda: uploads() == 2, what="the other's file")
            row = {"id": document.latest.id}
            copy = connection.execute(sa.select(versions).where(versions.c.id == row["id"])).mappings().one()
            connection.execute(sa.update(versions).where(versions.c.id == row["id"]).values(listed_in=None))
            values = {name: copy[name] for name in copy if name not in ("id", "activity")}
            connection.execute(sa.insert(versions), values)
        assert other.result().latest.size_bytes == 3
    (content,) = contents(library.database, library.user, base.id)
    assert content.size_bytes == 3


def test_only_the_new_content_is_found(core: Core, worker: WorkerParts) -> None:
    base = core.knowledge_base()
    old = core.upload(base, "a.md", "The lighthouse is white.")
    worker.ingestion.ingest(old.latest.id)
    new = core.services.arrivals.replace(core.user, old.id, io.BytesIO(b"The lighthouse is red.")).document

    def found() -> list[str]:
        retrieval = core.services.retriever.retrieve(core.user, Scope.of(base.id), "lighthouse", None, 0)
        return [passage.chunk.text for passage in retrieval.passages]

    assert found() == ["The lighthouse is white."]
    worker.ingestion.ingest(new.latest.id)
    assert found() == ["The lighthouse is red."]
    assert (core.count(old), core.count(new)) == (0, 1)


def test_replaced_version_is_not_indexed_again(core: Core, worker: WorkerParts) -> None:
    base = core.knowledge_base()
    document = core.upload(base, "a.md", "old")
    worker.ingestion.ingest(document.latest.id)
    core.services.arrivals.replace(core.user, document.id, io.BytesIO(b"new"))
    core.services.vectors.drop(base.collection)
    worker.checks.check_all()
    assert index_again(core.services.database, core.services.files).queued == 0


def fail_or_cancel(core: Core, worker: WorkerParts, document: Document, state: VersionState) -> None:
    """Replace its content by one that does not become ready."""
    replaced = core.services.arrivals.replace(core.user, document.id, io.BytesIO(b" \n")).document
    if state is VersionState.FAILED:
        worker.ingestion.ingest(replaced.latest.id)
    else:
        core.services.documents.cancel(core.user, document.id)
    assert core.document(document.id).latest.state is state


@pytest.mark.parametrize("state", [VersionState.FAILED, VersionState.CANCELLED])
def test_old_content_is_indexed_again_where_the_new_one_was_given_up(
    core: Core, worker: WorkerParts, state: VersionState
) -> None:
    """It is what answers. The list goes on showing what became of the new one."""
    base, services = core.knowledge_base(), core.services
    old = core.upload(base, "a.md", "The lighthouse is white.")
    worker.ingestion.ingest(old.latest.id)
    fail_or_cancel(core, worker, old, state)
    services.vectors.drop(base.collection)
    worker.checks.check_all()
    assert count_lacking(services.database) == Lacking(ready=1)
    assert index_again(services.database, services.files).queued == 1
    assert count_lacking(services.database) == Lacking(under_way=1)
    worker.ingestion.ingest_next(old.latest.id)
    found = services.retriever.retrieve(core.user, Scope.of(base.id), "lighthouse")
    assert ([each.chunk.text for each in found.passages], found.unsearchable) == (["The lighthouse is white."], None)
    document = core.document(old.id)
    assert (document.live_version_id, document.latest.state) == (old.latest.id, state)
    assert count_lacking(services.database) == Lacking()
    assert recount_all(services.database) == {}


def test_old_content_that_cannot_be_read_again_can_be_tried_again(core: Core, worker: WorkerParts) -> None:
    base, services = core.knowledge_base(), core.services
    old = core.upload(base, "a.md", "The lighthouse is white.")
    worker.ingestion.ingest(old.latest.id)
    fail_or_cancel(core, worker, old, VersionState.FAILED)
    services.vectors.drop(base.collection)
    worker.checks.check_all()
    path = services.files.path(old.latest.file_key, "a.md")
    path.write_bytes(b" " * old.latest.size_bytes)
    for _ in range(2):
        assert index_again(services.database, services.files).queued == 1
        assert worker.ingestion.ingest(old.latest.id) is VersionState.FAILED
    assert count_lacking(services.database) == Lacking(ready=1)
    assert recount_all(services.database) == {}


@pytest.mark.parametrize("is_claimed", [False, True])
def test_old_content_does_not_replace_a_new_one_that_became_ready_meanwhile(
    core: Core, worker: WorkerParts, is_claimed: bool
) -> None:
    base, services = core.knowledge_base(), core.services
    old = core.upload(base, "a.md", "The lighthouse is white.")
    worker.ingestion.ingest(old.latest.id)
    fail_or_cancel(core, worker, old, VersionState.CANCELLED)
    services.vectors.drop(base.collection)
    worker.checks.check_all()
    assert index_again(services.database, services.files).queued == 1
    job = worker.claims.claim(old.latest.id) if is_claimed else None
    new = services.arrivals.replace(core.user, old.id, io.BytesIO(b"The lighthouse is red.")).document
    assert worker.ingestion.ingest(new.latest.id) is VersionState.READY
    if job:
        with pytest.raises(Cancelled):
            worker.claims.switch(job, chunks=1)
    else:
        assert worker.ingestion.ingest(old.latest.id) is None
    assert core.document(old.id).live_version_id == new.latest.id
    assert count_lacking(services.database) == Lacking()
    assert recount_all(services.database) == {}
