"""A file that is uploaded again: it makes no second document, and replaces one where it is told to."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from kb.errors import NotFound, OtherKind
from kb.ingestion import Claims
from kb.library import Added
from kb.library.quotas import Quotas
from kb.models import Document, KnowledgeBase, VersionState
from kb.parsing import extensions_like, is_same_kind
from tests.conftest import Clock, Library, make_claims


class Meanwhile(io.BytesIO):
    """A file, before whose end something else happens."""

    def __init__(self, content: bytes, happens: Callable[[], object]) -> None:
        super().__init__(content)
        self._happens = happens

    def read(self, size: int | None = -1, /) -> bytes:
        block = super().read(size)
        if not block:
            self._happens()
        return block


@pytest.fixture
def base(library: Library) -> KnowledgeBase:
    return library.knowledge_base()


@pytest.fixture
def claims(library: Library, clock: Clock) -> Claims:
    return make_claims(library.database, "worker", clock)


def add(library: Library, base: KnowledgeBase, name: str = "a.md", content: bytes = b"# A") -> Added:
    return library.arrivals.register(library.user, base.id, name, io.BytesIO(content), is_once=True)


def renew(library: Library, document: Document, content: bytes, name: str = "a.md") -> Added:
    source = io.BytesIO(content)
    return library.arrivals.replace_once(library.user, document.knowledge_base_id, document.id, name, source)


def files(library: Library) -> int:
    return sum(path.is_file() for path in library.uploads.rglob("*"))


def make_ready(claims: Claims, version_id: UUID) -> None:
    job = claims.claim(version_id)
    assert job
    claims.switch(job, chunks=1)


# --- the same file again ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_ready", [False, True], ids=["waiting", "ready"])
def test_file_that_is_there_makes_no_second_document(
    library: Library, base: KnowledgeBase, claims: Claims, is_ready: bool
) -> None:
    first = add(library, base)
    if is_ready:
        make_ready(claims, first.document.latest.id)
    again = add(library, base)
    assert (first.was_there, again.was_there) == (False, True)
    assert again.document == library.documents.get(library.user, first.document.id)
    assert library.documents.count(library.user, base.id) == 1
    assert files(library) == 1
    assert library.queue.sent == [("version", first.document.latest.id)]


def test_same_content_elsewhere_or_under_another_name_is_a_document_of_its_own(
    library: Library, base: KnowledgeBase
) -> None:
    other = library.knowledge_base("Other")
    for place, name in ((base, "a.md"), (base, "A.md"), (base, "old/a.md"), (other, "a.md")):
        added = add(library, place, name)
        assert (added.was_there, added.shares_name) == (False, False), name
    assert library.documents.count(library.user, base.id) == 3


def test_other_content_under_the_same_name_is_kept_and_told(library: Library, base: KnowledgeBase) -> None:
    add(library, base, content=b"old")
    second = add(library, base, content=b"new")
    assert (second.was_there, second.shares_name) == (False, True)
    assert add(library, base, content=b"old").was_there
    assert library.documents.count(library.user, base.id) == 2


def test_content_that_was_replaced_is_not_there(library: Library, base: KnowledgeBase) -> None:
    document = add(library, base, content=b"old").document
    library.arrivals.replace(library.user, document.id, io.BytesIO(b"new"))
    assert add(library, base, content=b"new").was_there
    assert not add(library, base, content=b"old").was_there


def test_what_was_given_up_deleted_or_lost_can_be_uploaded_again(
    library: Library, base: KnowledgeBase, claims: Claims
) -> None:
    waiting = add(library, base, "cancelled.md").document
    library.documents.cancel(library.user, waiting.id)
    running = add(library, base, "cancelling.md").document
    assert claims.claim(running.latest.id)
    library.documents.cancel(library.user, running.id)
    deleted = add(library, base, "deleted.md").document
    library.documents.delete(library.user, deleted.id)
    lost = add(library, base, "lost.md").document
    library.files.delete(lost.latest.file_key)
    for document in (waiting, running, deleted, lost):
        again = add(library, base, document.name)
        assert not again.was_there, document.name
        assert again.document.id != document.id


def test_same_file_twice_at_once_is_added_once(library: Library, base: KnowledgeBase) -> None:
    """The second arrives while the first is still read, so neither was there when the other began.

    There is room for one.
    """
    library.limit(Quotas(most_queued=1, most_bytes=3))
    inner: list[Added] = []
    source = Meanwhile(b"# A", lambda: inner.append(add(library, base)))
    outer = library.arrivals.register(library.user, base.id, "a.md", source, is_once=True)
    assert (inner[0].was_there, outer.was_there) == (False, True)
    assert outer.document.id == inner[0].document.id
    assert (library.documents.count(library.user, base.id), files(library)) == (1, 1)


def test_many_at_once_add_it_once(library: Library, base: KnowledgeBase) -> None:
    with ThreadPoolExecutor(4) as pool:
        added = list(pool.map(lambda _: add(library, base), range(4)))
    assert [each.was_there for each in added].count(False) == 1
    assert len({each.document.id for each in added}) == 1
    assert files(library) == 1


def test_programs_add_the_same_file_as_often_as_they_say(library: Library, base: KnowledgeBase) -> None:
    assert library.upload(base).id != library.upload(base).id


# --- a new version ---------------------------------------------------------------------------------------------


def test_new_version_of_a_document(library: Library, base: KnowledgeBase, claims: Claims) -> None:
    old = add(library, base, "report.md", b"old").document
    make_ready(claims, old.latest.id)
    new = renew(library, old, b"new", "report (2).md")
    assert (new.was_there, new.document.id, new.document.name) == (False, old.id, "report.md")
    assert new.document.live_version_id == old.latest.id
    failing = claims.claim(new.document.latest.id)
    assert failing
    claims.cancel(failing)
    found = library.documents.get(library.user, old.id)
    assert (found.latest.state, found.live_version_id) == (VersionState.CANCELLED, old.latest.id)
    assert not renew(library, old, b"old").was_there, "the way back"


def test_same_content_is_no_new_version(library: Library, base: KnowledgeBase) -> None:
    old = add(library, base, content=b"same").document
    again = renew(library, old, b"same", "b.md")
    assert (again.was_there, again.document.latest) == (True, library.version(old))
    assert files(library) == 1


@pytest.mark.parametrize(
    ("name", "other", "is_same"),
    [
        ("a.jpg", "B.JPEG", True),
        ("old/a.htm", "a.html", True),
        ("README", "notes.zwx", True),
        ("a.md", "a.pdf", False),
        ("README", "README.md", False),
        ("a.xls", "a.xlsx", False),
    ],
)
def test_kinds_of_files(name: str, other: str, is_same: bool) -> None:
    assert is_same_kind(name, other) is is_same_kind(other, name) is is_same


def test_extensions_of_the_same_kind() -> None:
    assert extensions_like("scan.jpg") == [".jpg", ".jpeg"]
    assert extensions_like("README") == []


def test_other_kind_of_file_replaces_nothing(library: Library, base: KnowledgeBase) -> None:
    document = add(library, base, "a.md").document
    with pytest.raises(OtherKind):
        renew(library, document, b"%PDF-", "a.pdf")
    assert library.version(document) == document.latest
    assert files(library) == 1


def test_new_version_comes_into_the_knowledge_base_that_was_asked(library: Library, base: KnowledgeBase) -> None:
    document, other = add(library, base).document, library.knowledge_base("Other")
    with pytest.raises(NotFound):
        library.arrivals.replace_once(library.user, other.id, document.id, "a.md", io.BytesIO(b"new"))
    assert library.version(document) == document.latest
