"""Reading documents as text, and finding exact text in them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from kb.database.tables import documents, versions
from kb.errors import BeyondEnd, InvalidCursor, InvalidPattern, NoPages, NotFound, WrongState
from kb.models import Chunk, Document, chunk_id
from kb.reading import Pattern, Reader
from kb.reading.reader import SCAN_SECONDS, WINDOW_CHARACTERS
from tests.conftest import Clock, Library


class Chunks:
    """In the place of Milvus."""

    def __init__(self) -> None:
        self.stored: dict[str, Chunk] = {}
        self.calls = 0

    def get(self, _collection: str, ids: Sequence[str]) -> list[Chunk]:
        self.calls += 1
        return [self.stored[each] for each in reversed(ids) if each in self.stored]  # in any order

    def chunks(self, collection: str, version_id: UUID, first: int, count: int) -> list[Chunk]:
        ids = [chunk_id(version_id, ordinal) for ordinal in range(first, first + count)]
        return sorted(self.get(collection, ids), key=lambda chunk: chunk.ordinal)


class Shelf:
    """Documents of the library's user that answer, with a reader."""

    def __init__(self, library: Library, clock: Clock) -> None:
        self.library, self.chunks, self.clock = library, Chunks(), clock
        self.reader = Reader(library.database, cast(Any, self.chunks), clock_of(clock))
        self.base = library.knowledge_base()

    def add(self, name: str, *texts: str, shared: int = 0, pages: Sequence[int] = ()) -> Document:
        """With a chunk for each text, that repeats the last `shared` characters of the one before, on these pages."""
        document = self.library.upload(self.base, name, "any")
        version_id, start, before = document.latest.id, 0, ""
        for ordinal, text in enumerate(texts):
            repeated = before[-shared:] if shared else ""
            begin = start - len(repeated)
            self.chunks.stored[chunk_id(version_id, ordinal)] = Chunk(
                chunk_id(version_id, ordinal),
                document.id,
                version_id,
                ordinal,
                begin,
                start + len(text),
                pages[ordinal] if pages else 0,
                "Heading",
                repeated + text,
            )
            start, before = start + len(text), text
        counts = {"chunks": len(texts), "pages": max(pages, default=0), "state": "ready"}
        with self.library.database.write() as connection:
            connection.execute(sa.update(versions).where(versions.c.id == version_id).values(counts))
            answering = sa.update(documents).where(documents.c.id == document.id)
            connection.execute(answering.values(live_version_id=version_id))
        return document

    def grep(self, pattern: str, limit: int = 30, cursor: str = "", **options: bool) -> tuple[list[str], str]:
        """Where it stands, as “name:chunk match”, and the cursor."""
        wanted = Pattern.of(pattern, **options)
        found = self.reader.grep(self.library.user, wanted, [self.base.id], limit=limit, cursor=cursor)
        return [f"{match.of.name}:{match.chunk.ordinal} {match.matched}" for match in found.matches], found.cursor


def clock_of(clock: Clock) -> Any:
    return lambda: clock().timestamp()


@pytest.fixture
def shelf(library: Library, clock: Clock) -> Shelf:
    return Shelf(library, clock)


# --- reading ---


def test_text_goes_on_from_chunk_to_chunk_without_repeating(shelf: Shelf) -> None:
    document = shelf.add("a.md", "The valve is ", "checked each ", "spring.", shared=5)
    stretch = shelf.reader.read(shelf.library.user, document.id)
    assert "".join(part.text for part in stretch.parts) == "The valve is checked each spring."
    assert (stretch.next_chunk, stretch.missing) == (None, 0)
    later = shelf.reader.read(shelf.library.user, document.id, first_chunk=1, most_chunks=1)
    assert [part.text for part in later.parts] == ["e is checked each "]
    assert later.next_chunk == 2


def test_one_part_is_read_however_long_and_the_rest_within_the_budget(shelf: Shelf) -> None:
    document = shelf.add("a.md", "字" * 100, "字" * 10, "字" * 10)
    stretch = shelf.reader.read(shelf.library.user, document.id, most_tokens=50)
    assert ([part.chunk.ordinal for part in stretch.parts], stretch.next_chunk) == ([0], 1)


def test_pages_are_read_with_the_chunk_that_reaches_into_them(shelf: Shelf) -> None:
    many = 3000
    document = shelf.add("a.pdf", *("x" * 8 for _ in range(many)), pages=[1 + each // 3 for each in range(many)])
    shelf.chunks.calls = 0
    stretch = shelf.reader.read(shelf.library.user, document.id, first_page=500, last_page=501)
    assert [part.chunk.ordinal for part in stretch.parts] == [1496, 1497, 1498, 1499, 1500, 1501, 1502]
    assert stretch.next_chunk is None
    assert shelf.chunks.calls <= 5  # not all of them are read to find the page
    first = shelf.reader.read(shelf.library.user, document.id, first_page=1, last_page=1)
    assert [part.chunk.ordinal for part in first.parts] == [0, 1, 2]
    going_on = shelf.reader.read(shelf.library.user, document.id, first_page=500, last_page=501, first_chunk=1500)
    assert [part.chunk.ordinal for part in going_on.parts] == [1500, 1501, 1502]


def test_slides_are_read_without_the_one_before(shelf: Shelf) -> None:
    document = shelf.add("a.pptx", "One", "Two", "Three", pages=[1, 2, 4])
    read = shelf.reader.read
    assert [part.text for part in read(shelf.library.user, document.id, 2, 2).parts] == ["Two"]
    assert read(shelf.library.user, document.id, 3, 3).parts == []


def test_what_cannot_be_read_says_so(shelf: Shelf) -> None:
    library, read = shelf.library, shelf.reader.read
    document, waiting = shelf.add("a.md", "One"), library.upload(shelf.base, "b.md", "any")
    with pytest.raises(NoPages):
        read(library.user, document.id, 1, 1)
    with pytest.raises(BeyondEnd):
        read(library.user, document.id, first_chunk=1)
    with pytest.raises(WrongState):
        read(library.user, waiting.id)
    with pytest.raises(NotFound):
        read(library.stranger, document.id)
    shelf.chunks.stored.clear()
    assert (read(library.user, document.id).parts, read(library.user, document.id).missing) == ([], 1)


# --- exact text ---


def test_matches_stand_across_chunks_and_line_ends(shelf: Shelf) -> None:
    shelf.add("a.md", "Valve 7 is che", "cked\neach spring. Val", "ve 8 is not.", shared=4)
    shelf.add("b.md", "No valves")
    assert shelf.grep("checked each spring") == (["a.md:0 checked\neach spring"], "")
    assert shelf.grep("valve")[0] == ["a.md:0 Valve", "a.md:1 Valve", "b.md:0 valve"]
    assert shelf.grep("valve", is_case_sensitive=True)[0] == ["b.md:0 valve"]
    assert shelf.grep(r"^no|valve \d", is_regex=True)[0] == ["a.md:0 Valve 7", "a.md:1 Valve 8", "b.md:0 No"]
    assert shelf.grep(r"valve \d")[0] == []


def test_cursor_goes_on_behind_the_last_match(shelf: Shelf) -> None:
    shelf.add("a.md", "x x ", "x ", "x", shared=1)
    shelf.add("b.md", "x")
    found, cursor, seen = *shelf.grep("x", limit=2), list[str]()
    while cursor:
        seen += found
        found, cursor = shelf.grep("x", limit=2, cursor=cursor)
    assert [*seen, *found] == ["a.md:0 x", "a.md:0 x", "a.md:1 x", "a.md:2 x", "b.md:0 x"]


def test_many_documents_are_listed_some_at_a_time(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kb.reading.reader.LISTED_AT_ONCE", 2)
    for name in "ebdac":
        shelf.add(f"{name}.md", "x")
    every = [f"{name}.md:0 x" for name in "abcde"]
    assert shelf.grep("x") == (every, "")
    found, cursor = shelf.grep("x", limit=3)
    rest, end = shelf.grep("x", cursor=cursor)
    assert ([*found, *rest], end) == (every, "")


def test_large_documents_are_matched_in_windows(shelf: Shelf) -> None:
    shelf.add("a.txt", *(f"{number:06d} " * 100 for number in range(3 * WINDOW_CHARACTERS // 700)))
    found, cursor = shelf.grep(r"(000\d\d0 000)", limit=30, is_regex=True)
    every = [*found]
    while cursor:
        found, cursor = shelf.grep(r"(000\d\d0 000)", limit=30, is_regex=True, cursor=cursor)
        every += found
    assert len(every) == len(set(every)) * 50 == 22 * 50


def test_scan_ends_in_time_and_can_go_on(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.add("a.md", "x")
    shelf.add("b.md", "x")
    get = shelf.chunks.get

    def slow(collection: str, ids: Sequence[str]) -> list[Chunk]:
        shelf.clock.advance(SCAN_SECONDS)
        return get(collection, ids)

    monkeypatch.setattr(shelf.chunks, "get", slow)
    found, cursor = shelf.grep("x")
    assert found == ["a.md:0 x"]
    assert shelf.grep("x", cursor=cursor)[0] == ["b.md:0 x"]


def test_scan_ends_between_two_matches_and_goes_on_there(shelf: Shelf) -> None:
    """`x|` matches at each character, as patterns do that take the square of the time of one match."""
    shelf.add("a.md", *("abcx" * 5 for _ in range(4)), shared=2)
    seconds = itertools.count()
    shelf.reader = Reader(shelf.library.database, cast(Any, shelf.chunks), lambda: float(next(seconds)))
    found, cursor = shelf.grep("x|", is_regex=True)
    assert len(found) <= SCAN_SECONDS / 4
    calls = 1
    while cursor:
        more, cursor = shelf.grep("x|", cursor=cursor, is_regex=True)
        found += more
        calls += 1
    assert found == [f"a.md:{chunk} x" for chunk in range(4) for _ in range(5)]
    assert calls >= 80 / SCAN_SECONDS


def test_where_may_be_searched_and_what_is_missing(shelf: Shelf) -> None:
    library, pattern = shelf.library, Pattern.of("x")
    document = shelf.add("a.md", "x", "x")
    with pytest.raises(NotFound):
        shelf.reader.grep(library.stranger, pattern, [shelf.base.id])
    with pytest.raises(NotFound):
        shelf.reader.grep(library.stranger, pattern, [], [document.id])
    with pytest.raises(NotFound):
        shelf.reader.grep(library.user, pattern, [shelf.base.id, uuid4()])
    for cursor in ("nonsense", f"{uuid4().hex}-0-0"):
        with pytest.raises(InvalidCursor):
            shelf.reader.grep(library.user, pattern, [shelf.base.id], cursor=cursor)
    del shelf.chunks.stored[chunk_id(document.latest.id, 0)]
    found = shelf.reader.grep(library.user, pattern, [], [document.id])
    assert (len(found.matches), found.missing) == (1, 1)


def test_long_matches_are_cut_and_shown_with_what_is_around(shelf: Shelf) -> None:
    shelf.add("a.md", "before " * 50 + "<" + "y" * 5000 + ">" + " after" * 50)
    found = shelf.reader.grep(shelf.library.user, Pattern.of("<y+>", is_regex=True), [shelf.base.id])
    (match,) = found.matches
    assert len(match.matched) == 300
    assert match.text.startswith("e before ")
    assert len(match.text) == 500


# --- patterns ---


@pytest.mark.parametrize("bad", ["(", r"(a)\1", "(?=x)", "x{1,100000}", "(x{999}){999}", "*"])
def test_patterns_that_are_refused(bad: str) -> None:
    with pytest.raises(InvalidPattern) as refused:
        Pattern.of(bad, is_regex=True)
    assert "b'" not in str(refused.value)


def test_empty_and_endless_patterns_are_refused() -> None:
    for bad in ("", " \n", "x" * 501):
        with pytest.raises(InvalidPattern):
            Pattern.of(bad)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+b", "(.*)*x", "(a?){50}a{50}c"])
def test_catastrophic_patterns_take_linear_time(pattern: str) -> None:
    began = time.process_time()
    text = "a" * WINDOW_CHARACTERS + "!"
    assert [start for start, end in Pattern.of(pattern, is_regex=True).spans(text) if end > start] == []
    assert time.process_time() - began < 5  # backtracking would take longer than the universe is old


def test_matches_of_nothing_do_not_count(shelf: Shelf) -> None:
    shelf.add("a.md", "axxb")
    assert shelf.grep("x*", is_regex=True) == (["a.md:0 xx"], "")


def test_positions_are_those_of_characters() -> None:
    assert list(Pattern.of("阀门").spans("检查阀门")) == [(2, 4)]
