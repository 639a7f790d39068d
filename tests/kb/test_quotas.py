"""What each user may take: storage, and places in the queue. On SQLite and PostgreSQL."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from kb.access import GranteeKind, Permission
from kb.errors import KbError, NotFound, OwnersStorageFull, QueueFull, StorageFull
from kb.library.quotas import MEGABYTE, Quotas, Usage
from kb.library.sharing import Grantee, Sharing
from kb.models import Document, KnowledgeBase, VersionState
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


def test_new_content_takes_the_room_of_the_old(library: Library) -> None:
    library.limit(Quotas(most_queued=1, most_bytes=MEGABYTE))
    document = put(library, library.knowledge_base(), Arriving(900))
    library.arrivals.replace(library.user, document.id, Arriving(1_000), expected_bytes=1_000_000)
    with pytest.raises(StorageFull):
        library.arrivals.replace(library.user, document.id, Arriving(1_100))
    assert library.version(document).size_bytes == 1_000_000


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
