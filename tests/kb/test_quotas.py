"""What each user may take: storage, and places in the queue. On SQLite and PostgreSQL."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa

from kb.access import GranteeKind, Permission
from kb.database.tables import versions
from kb.errors import KbError, NotFound, OwnersStorageFull, QueueFull, StorageFull
from kb.ingestion import Claims
from kb.library.quotas import MEGABYTE, Quotas, Usage, stored_by_user
from kb.library.sharing import Grantee, Sharing
from kb.models import Document, KnowledgeBase, Version, VersionState
from kb.reconciling import index_again
from tests.conftest import Clock, Library, make_claims

BLOCK = b"x" * 1_000


@dataclass
class Arriving:
    """A file of so many blocks; something happens while its last block arrives."""

    blocks: int
    meanwhile: Callable[[], object] = field(default=lambda: None)
    read_blocks: int = 0

    def read(self, _size: int, /) -> bytes:
        if self.read_blocks == self.blocks:
            return b""
        self.read_blocks += 1
        if self.read_blocks == self.blocks:
            self.meanwhile()
        return BLOCK


def put(library: Library, base: KnowledgeBase, source: Arriving, expected_bytes: int = 0) -> Document:
    return library.arrivals.register(library.user, base.id, "a.txt", source, expected_bytes=expected_bytes).document


def test_storage_is_limited(library: Library) -> None:
    library.limit(Quotas(most_bytes=2 * MEGABYTE))
    mine, theirs = library.knowledge_base("mine"), library.knowledge_base("theirs", owner=library.stranger)
    library.arrivals.register(library.stranger, theirs.id, "theirs.txt", Arriving(2_000))
    first = put(library, mine, Arriving(1_500))
    announced = Arriving(700)
    with pytest.raises(StorageFull) as full:
        put(library, mine, announced, expected_bytes=700_000)
    assert announced.read_blocks == 0, "it was known that there is no room"
    assert str(full.value) == (
        "“a.txt” does not fit: 1.5 of your 2 MB are used. Delete documents or conversations that you no longer need, "
        "or ask an administrator for more."
    )
    endless = Arriving(1_000_000)
    with pytest.raises(StorageFull):
        put(library, mine, endless)
    assert endless.read_blocks == 501
    assert library.documents.usage(library.user, mine.id) == Usage(0, 0, 1_500_000, 2 * MEGABYTE)
    library.documents.delete(library.user, first.id)
    put(library, mine, Arriving(2_000), expected_bytes=2_000_000)


def test_uploads_at_once_stay_within_the_storage(library: Library) -> None:
    library.limit(Quotas(most_bytes=MEGABYTE))
    base, other = library.knowledge_base("a"), library.knowledge_base("b")
    with pytest.raises(StorageFull):
        put(library, base, Arriving(600, lambda: put(library, other, Arriving(600))))
    assert library.documents.count(library.user, base.id) == 0
    assert library.documents.count(library.user, other.id) == 1
    assert len([each for each in library.uploads.rglob("*") if each.is_file()]) == 1


def test_new_content_takes_the_room_of_one_that_was_not_ready(library: Library) -> None:
    """Whose file counts until a worker has deleted it."""
    library.limit(Quotas(most_queued=1, most_bytes=MEGABYTE))
    base = library.knowledge_base()
    document = put(library, base, Arriving(900))
    library.arrivals.replace(library.user, document.id, Arriving(1_000), expected_bytes=1_000_000)
    with pytest.raises(StorageFull):
        library.arrivals.replace(library.user, document.id, Arriving(200))
    assert library.version(document).size_bytes == 1_000_000
    assert stored(library, base) == 1_900_000 == on_disk(library)


def test_what_is_kept_of_replaced_contents_counts(library: Library, clock: Clock) -> None:
    """Else new contents in a loop filled the disk."""
    library.limit(Quotas(most_bytes=MEGABYTE))
    base, claims = library.knowledge_base(), make_claims(library.database, "worker", clock)
    document = put(library, base, Arriving(400))
    for blocks in (300, 200):
        make_ready(claims, library.version(document))
        library.arrivals.replace(library.user, document.id, Arriving(blocks))
    make_ready(claims, library.version(document))
    assert stored(library, base) == 900_000 == on_disk(library)
    with library.database.read() as connection:
        assert stored_by_user(connection) == {library.user.user_id: 900_000}
    with pytest.raises(StorageFull) as full:
        library.arrivals.replace(library.user, document.id, Arriving(101))
    assert "0.9 of your 1 MB" in str(full.value)
    library.documents.delete(library.user, document.id)
    assert stored(library, base) == 0


def test_content_that_is_indexed_again_is_kept_when_it_is_replaced(library: Library, clock: Clock) -> None:
    """It has answered, so answers cite it."""
    library.limit(Quotas(most_bytes=MEGABYTE))
    base = library.knowledge_base()
    document = put(library, base, Arriving(600))
    make_ready(make_claims(library.database, "worker", clock), document.latest)
    with library.database.write() as connection:
        connection.execute(sa.update(versions).values(missing_chunks=1))
    assert index_again(library.database, library.files).queued == 1
    with pytest.raises(StorageFull):
        library.arrivals.replace(library.user, document.id, Arriving(500))


def make_ready(claims: Claims, version: Version) -> None:
    job = claims.claim(version.id)
    assert job
    claims.enter(job, VersionState.INDEXING)
    claims.switch(job, chunks=1)


def stored(library: Library, base: KnowledgeBase) -> int:
    usage = library.documents.usage(library.user, base.id)
    assert usage
    return usage.stored_bytes


def on_disk(library: Library) -> int:
    return sum(each.stat().st_size for each in library.uploads.rglob("*") if each.is_file())


def test_files_count_for_who_owns_the_knowledge_base(library: Library) -> None:
    library.limit(Quotas(most_bytes=MEGABYTE))
    base = library.knowledge_base()
    put(library, base, Arriving(900))
    with pytest.raises(NotFound):
        library.documents.usage(library.stranger, base.id)
    grantee, sharing = Grantee(GranteeKind.USER, library.stranger.user_id), Sharing(library.database)
    sharing.grant(library.user, base.id, grantee, Permission.VIEW)
    assert library.documents.usage(library.stranger, base.id) is None
    sharing.grant(library.user, base.id, grantee, Permission.EDIT)
    with pytest.raises(OwnersStorageFull) as full:
        library.arrivals.register(library.stranger, base.id, "b.txt", Arriving(300))
    assert str(full.value).startswith("“b.txt” does not fit: the owner of this knowledge base has used 0.9 of 1 MB.")


def test_queue_is_limited(library: Library, clock: Clock) -> None:
    library.limit(Quotas(most_queued=2))
    one, other = library.knowledge_base("one"), library.knowledge_base("other")
    first = library.upload(one)
    library.upload(other)
    late = Arriving(1)
    with pytest.raises(QueueFull) as full:
        put(library, one, late)
    assert late.read_blocks == 0
    assert str(full.value).startswith("2 of at most 2 documents are waiting in the queue.")
    claims = make_claims(library.database, "worker", clock)
    assert claims.claim(first.latest.id)
    with pytest.raises(QueueFull):
        put(library, one, Arriving(1, lambda: library.upload(other)))
    assert library.documents.usage(library.user, one.id) == Usage(2, 2, 0, 0)
    with pytest.raises(QueueFull):
        library.arrivals.replace(library.user, first.id, io.BytesIO(b"new"))


def test_documents_are_tried_again_within_the_queue(library: Library) -> None:
    library.limit(Quotas(most_queued=1))
    base = library.knowledge_base()
    first = library.upload(base)
    library.documents.cancel(library.user, first.id)
    second = library.upload(base)
    with pytest.raises(QueueFull):
        library.documents.retry(library.user, first.id)
    assert library.version(first).state is VersionState.CANCELLED
    library.documents.cancel(library.user, second.id)
    library.documents.quotas = Quotas(most_queued=1, most_bytes=1)  # its file is kept in any case
    library.documents.retry(library.user, first.id)
    assert library.version(first).state is VersionState.QUEUED


def test_nothing_is_limited_unless_it_is_set(library: Library) -> None:
    assert library.documents.usage(library.user, library.knowledge_base().id) is None


@pytest.mark.parametrize("kind", [StorageFull, OwnersStorageFull, QueueFull])
def test_retry_is_offered_when_there_is_room_again(kind: type[KbError]) -> None:
    assert kind.retry_helps
