"""Reads the texts of documents from Milvus, in bounded steps."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from operator import attrgetter, itemgetter
from uuid import UUID

from kb.access import Principal
from kb.database import Database
from kb.errors import BeyondEnd, InvalidCursor, NoPages, WrongState
from kb.library.rows import find_document, find_knowledge_base, to_document
from kb.models import Chunk, chunk_id
from kb.places import are_pages_whole
from kb.reading.live import LiveText, live_texts
from kb.reading.patterns import Pattern
from kb.retrieval.ranking import estimate_tokens
from kb.texts import own_texts
from kb.vectors import VectorStore

CHUNKS_AT_ONCE = 50  # of one document
PROBES = 50  # chunks that are looked at together for where a page begins
SCANNED_AT_ONCE = 500  # chunks, of any documents
LISTED_AT_ONCE = 1_000  # documents
WINDOW_CHARACTERS = 50_000  # matched together
SCAN_SECONDS = 10.0
MATCH_CHARACTERS, AROUND_CHARACTERS = 300, 100


@dataclass(frozen=True, slots=True)
class Part:
    """A chunk's text without what the part before it holds."""

    chunk: Chunk
    text: str


@dataclass(frozen=True, slots=True)
class Stretch:
    """Parts of a document that follow one another. `next_chunk` is where it goes on; None: that was all.

    `missing` chunks among them should be there, and Milvus lacks them.
    """

    of: LiveText
    parts: Sequence[Part]
    next_chunk: int | None
    missing: int


@dataclass(frozen=True, slots=True)
class Match:
    """A place that a pattern found: `text` is the match with what stands around it."""

    of: LiveText
    chunk: Chunk
    matched: str
    text: str


@dataclass(frozen=True, slots=True)
class Found:
    """`cursor` is where to go on; empty: all was searched. Of what was, Milvus lacks `missing` chunks."""

    matches: Sequence[Match]
    cursor: str
    missing: int


class Reader:
    """Safe to share among threads. Errors: those of SQL and Milvus."""

    def __init__(self, database: Database, vectors: VectorStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._vectors = vectors
        self._clock = clock

    # --- a document from one place to another ---

    def read(
        self,
        principal: Principal,
        document_id: UUID,
        first_page: int = 0,
        last_page: int = 0,
        first_chunk: int = 0,
        most_chunks: int = CHUNKS_AT_ONCE,
        most_tokens: int = 8_000,
    ) -> Stretch:
        """The text from `first_chunk` on, or that of some pages from `first_chunk` on.

        A chunk belongs to the page on which it begins. One that begins before `first_page` comes first where its end
        may stand on that page. At least one part is returned, however long.
        Errors: `NotFound`, `WrongState` if nothing of it is ready, `NoPages`, `BeyondEnd`.
        """
        of = self._live(principal, document_id)
        if first_page and not of.pages:
            raise NoPages(name=of.name)
        if first_page > of.pages or (first_chunk and first_chunk >= of.chunks):
            raise BeyondEnd(name=of.name, pages=of.pages, chunks=of.chunks)
        start = max(first_chunk, self._first_on(of, first_page) if first_page else 0)
        parts: list[Part] = []
        missing, expected = 0, start
        for chunk, text in own_texts(self._chunks_from(of, start)):
            if last_page and chunk.page > last_page:
                return Stretch(of, parts, None, missing)
            most_tokens -= estimate_tokens(text)
            if parts and (most_tokens < 0 or len(parts) == most_chunks):
                return Stretch(of, parts, chunk.ordinal, missing)
            missing, expected = missing + chunk.ordinal - expected, chunk.ordinal + 1
            parts.append(Part(chunk, text))
        return Stretch(of, parts, None, missing + of.chunks - expected)

    def _live(self, principal: Principal, document_id: UUID) -> LiveText:
        with self._database.read() as connection:
            document = to_document(find_document(connection, principal, document_id))
            found = live_texts(connection, principal, (), [document_id])
        if not found:
            raise WrongState(name=document.name, state=document.latest.state)
        return found[0]

    def _chunks_from(self, of: LiveText, first: int) -> Iterator[Chunk]:
        for start in range(first, of.chunks, CHUNKS_AT_ONCE):
            yield from self._vectors.chunks(of.collection, of.version_id, start, CHUNKS_AT_ONCE)

    def _first_on(self, of: LiveText, page: int) -> int:
        """The first chunk with text of this page."""
        low, high = -1, of.chunks  # chunks up to `low` begin on pages before it, those from `high` on do not
        while high - low > 1:
            step = max(1, (high - low) // PROBES)
            ids = [chunk_id(of.version_id, ordinal) for ordinal in range(low + 1, high, step)]
            found = sorted(self._vectors.get(of.collection, ids), key=lambda chunk: chunk.ordinal)
            if not found:
                break
            for chunk in found:
                if chunk.page >= page:
                    high = chunk.ordinal
                    break
                low = chunk.ordinal
        return high if low < 0 or are_pages_whole(of.name) else low

    # --- places that a pattern finds ---

    def grep(
        self,
        principal: Principal,
        pattern: Pattern,
        knowledge_base_ids: Collection[UUID],
        document_ids: Collection[UUID] = (),
        limit: int = 30,
        cursor: str = "",
    ) -> Found:
        """The next places, document by document in the order of names, after those before `cursor`.

        Ends early, with a cursor, after `SCAN_SECONDS`, also between two matches of a pattern that takes long to match.
        Errors: `NotFound` for what may not be viewed; `InvalidCursor`.
        """
        until = self._clock() + SCAN_SECONDS
        since = _Place.of(cursor) if cursor else None
        self._require_seen(principal, knowledge_base_ids, document_ids)
        texts = self._texts(principal, knowledge_base_ids, document_ids, since)
        place, missing = since, _Count()
        matches: list[Match] = []
        for window in _windows(self._pieces(texts, since, missing)):
            for at, match in window.matches(pattern, since):
                if since and at.is_not_after(since):
                    continue
                if place and place is not since and (len(matches) == limit or self._clock() >= until):
                    return Found(matches, place.text, missing.number)
                place = at
                if match:
                    matches.append(match)
            if since and window.end.is_not_after(since):
                continue  # each call gets on, however slow Milvus is
            place = window.end
            if self._clock() >= until:
                return Found(matches, place.text, missing.number)
        return Found(matches, "", missing.number)

    def _require_seen(
        self, principal: Principal, knowledge_base_ids: Collection[UUID], document_ids: Collection[UUID]
    ) -> None:
        with self._database.read() as connection:
            for knowledge_base_id in knowledge_base_ids:
                find_knowledge_base(connection, principal, knowledge_base_id)
            for document_id in document_ids:
                find_document(connection, principal, document_id)

    def _texts(
        self,
        principal: Principal,
        knowledge_base_ids: Collection[UUID],
        document_ids: Collection[UUID],
        since: _Place | None,
    ) -> Iterator[LiveText]:
        """All, or those from `since` on; some at a time, as there may be very many. Errors: `InvalidCursor`."""
        first, is_begun = since.document_id if since else None, False
        while True:
            with self._database.read() as connection:
                some = live_texts(connection, principal, knowledge_base_ids, document_ids, first, LISTED_AT_ONCE)
            if first and (not some or some[0].document_id != first):
                raise InvalidCursor
            yield from some[1:] if is_begun else some
            if len(some) < LISTED_AT_ONCE:
                return
            first, is_begun = some[-1].document_id, True

    def _pieces(self, texts: Iterable[LiveText], since: _Place | None, missing: _Count) -> Iterator[_Piece]:
        """The chunks of all texts, in order. From `since` on, with the one before, whose text the next may repeat."""
        first = max(0, since.ordinal - 1) if since else 0
        for of, group in groupby(self._chunks(texts, first, missing), key=itemgetter(0)):
            for chunk, text in own_texts(chunk for _of, chunk in group):
                yield _Piece(of, chunk, text)

    def _chunks(self, texts: Iterable[LiveText], first: int, missing: _Count) -> Iterator[tuple[LiveText, Chunk]]:
        """Of the first text from its chunk `first` on. Many at once, also of several documents: most are short."""
        wanted = (
            (of, chunk_id(of.version_id, ordinal))
            for number, of in enumerate(texts)
            for ordinal in range(0 if number else first, of.chunks)
        )
        for collection, group in groupby(wanted, key=lambda each: each[0].collection):
            while some := list(islice(group, SCANNED_AT_ONCE)):
                found = {chunk.id: chunk for chunk in self._vectors.get(collection, [each for _of, each in some])}
                missing.number += len(some) - len(found)
                yield from ((of, found[each]) for of, each in some if each in found)


@dataclass(slots=True)
class _Count:
    number: int = 0


@dataclass(frozen=True, slots=True)
class _Place:
    """In the text of a document, at a character of one of its chunks."""

    document_id: UUID
    ordinal: int
    position: int

    @classmethod
    def of(cls, cursor: str) -> _Place:
        """Errors: `InvalidCursor`."""
        try:
            document_id, ordinal, position = cursor.split("-")
            return cls(UUID(document_id), int(ordinal), int(position))
        except ValueError as error:
            raise InvalidCursor from error

    @property
    def text(self) -> str:
        return f"{self.document_id.hex}-{self.ordinal}-{self.position}"

    def is_not_after(self, other: _Place) -> bool:
        return self.document_id == other.document_id and self.position <= other.position


@dataclass(frozen=True, slots=True)
class _Piece:
    """A chunk with the part of its text that the one before does not hold."""

    of: LiveText
    chunk: Chunk
    text: str

    def place(self, offset: int = 0) -> _Place:
        start = self.chunk.start + len(self.chunk.text) - len(self.text)
        return _Place(self.of.document_id, self.chunk.ordinal, start + offset)


@dataclass(frozen=True, slots=True)
class _Window:
    """Pieces of a document that follow one another. Unless it `is_last`, the next window begins with its last piece."""

    pieces: Sequence[_Piece]
    is_last: bool

    @property
    def end(self) -> _Place:
        """What is not after this has been searched."""
        last = self.pieces[-1]
        return last.place(len(last.text)) if self.is_last else last.place(-1)

    def matches(self, pattern: Pattern, since: _Place | None) -> Iterator[tuple[_Place, Match | None]]:
        """Those that begin in these pieces, from `since` on, but for what is left to the next window.

        None: of nothing. That does not count, but it may have taken long.
        """
        text, starts = self._joined()
        for start, end in pattern.spans(text, self._first(starts, since)):
            number = max(0, bisect_right(starts, start) - 1)
            if number == len(starts) - 1 and not self.is_last:
                return
            piece = self.pieces[number]
            at = piece.place(start - starts[number])
            if end == start:
                yield at, None
                continue
            matched = text[start : min(end, start + MATCH_CHARACTERS)]
            around = text[max(0, start - AROUND_CHARACTERS) : start] + matched
            around += text[start + len(matched) : start + len(matched) + AROUND_CHARACTERS]
            yield at, Match(piece.of, piece.chunk, matched, around)

    def _first(self, starts: Sequence[int], since: _Place | None) -> int:
        """Where in the text `since` is; 0: before it, or in another document."""
        if since is None or since.document_id != self.pieces[0].of.document_id:
            return 0
        places = [piece.place().position for piece in self.pieces]
        number = max(0, bisect_right(places, since.position) - 1)
        within = min(since.position - places[number], len(self.pieces[number].text))
        return starts[number] + max(0, within)

    def _joined(self) -> tuple[str, Sequence[int]]:
        """The text, and where in it each piece begins."""
        texts: list[str] = []
        starts: list[int] = []
        length, end = 0, None
        for piece in self.pieces:
            if end is not None and piece.chunk.start > end:  # white space, which no chunk holds
                texts.append("\n")
                length += 1
            starts.append(length)
            texts.append(piece.text)
            length, end = length + len(piece.text), piece.chunk.end
        return "".join(texts), starts


def _windows(pieces: Iterator[_Piece]) -> Iterator[_Window]:
    for _of, group in groupby(pieces, key=attrgetter("of")):
        window: list[_Piece] = []
        characters = 0
        for piece in group:
            if characters >= WINDOW_CHARACTERS and len(window) > 1:
                yield _Window(window, is_last=False)
                window = window[-1:]
                characters = len(window[0].text)
            window.append(piece)
            characters += len(piece.text)
        yield _Window(window, is_last=True)
