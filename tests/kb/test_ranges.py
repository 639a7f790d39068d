"""A large document is chunked range by range, always in the same way, and no chunk shows that."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest

from kb.chunking import chunk_document
from kb.models import Heading, PageStart, ParsedDocument
from kb.notes import Note, NoteKind
from kb.parsing import joined
from kb.ranges import RANGE_CHARACTERS, Range, read_ranges

SENTENCE = "The long way home leads past apples and pears. "
PAGE = SENTENCE * 60


def paged(count: int, has_whole_pages: bool = False) -> Iterator[ParsedDocument]:
    for number in range(1, count + 1):
        heading = Heading(2, 1, f"Sheet {number}")
        text = f"\n\nSheet {number}\n{PAGE}" if has_whole_pages else f"\n\n{PAGE}"
        headings = (heading,) if has_whole_pages else ()
        yield ParsedDocument(text, (PageStart(2, number),), headings, "Title" * (number == 1), has_whole_pages)


def texts(ranges: list[Range]) -> list[str]:
    return [each.document.text[span.start : span.end] for each in ranges for span in each.spans]


def test_small_document_is_one_range_with_the_chunks_of_the_whole() -> None:
    whole = joined(paged(20))
    (only,) = read_ranges(paged(20))
    assert only.is_last
    assert only.spans == chunk_document(whole)
    assert (only.document.title, only.new_pages, only.start) == ("Title", 20, 0)


@pytest.mark.parametrize("has_whole_pages", [False, True])
def test_ranges_cover_a_large_document(has_whole_pages: bool) -> None:
    whole = joined(paged(200, has_whole_pages))
    ranges = list(read_ranges(paged(200, has_whole_pages)))
    assert len(ranges) > 2
    assert [each.is_last for each in ranges] == [*[False] * (len(ranges) - 1), True]
    assert sum(each.new_pages for each in ranges) == 200
    assert all(len(each.document.text) < 3 * RANGE_CHARACTERS for each in ranges)
    spans = [span for each in ranges for span in each.spans]
    assert [span.ordinal for span in spans] == list(range(len(spans)))
    positions = [(each.start + span.start, each.start + span.end) for each in ranges for span in each.spans]
    assert [whole.text[start:end] for start, end in positions] == texts(ranges)
    assert all(not whole.text[first[1] : second[0]].strip() for first, second in pairwise(positions))
    starts = {page.number: page.start for page in whole.pages}
    for (start, end), span in zip(positions, spans, strict=True):
        assert starts[span.page] < end
        assert span.page == 200 or start < starts[span.page + 1]
    if has_whole_pages:
        assert [span.heading for span in spans] == [f"Sheet {span.page}" for span in spans]
    assert [each.spans for each in read_ranges(paged(200, has_whole_pages))] == [each.spans for each in ranges]


def test_headings_and_page_go_on_in_the_next_range() -> None:
    head = ParsedDocument(
        f"Book\n\nChapter\n{PAGE}", (PageStart(0, 7),), (Heading(0, 1, "Book"), Heading(6, 2, "Chapter"))
    )
    body = [ParsedDocument(f"\n{PAGE}") for _ in range(3 * RANGE_CHARACTERS // len(PAGE))]
    tail = ParsedDocument(f"\n\nNext\n{PAGE}", (), (Heading(2, 2, "Next"),))
    ranges = list(read_ranges([head, *body, tail]))
    assert len(ranges) > 1
    found = [(span.page, span.heading) for each in ranges for span in each.spans]
    assert set(found) == {(7, "Book"), (7, "Book > Chapter"), (7, "Book > Next")}
    assert found == sorted(found)


def test_sheet_over_several_ranges_keeps_its_heading_and_the_next_one_does_not() -> None:
    rows = [ParsedDocument(f"\n{PAGE}", has_whole_pages=True) for _ in range(3 * RANGE_CHARACTERS // len(PAGE))]
    first = ParsedDocument(f"Plan\n{PAGE}", (PageStart(0, 1),), (Heading(0, 1, "Plan"),), has_whole_pages=True)
    second = ParsedDocument(f"\n\n{PAGE}", (PageStart(2, 2),), has_whole_pages=True)
    found = {(span.page, span.heading) for each in read_ranges([first, *rows, second]) for span in each.spans}
    assert found == {(1, "Plan"), (2, "")}


def test_range_begins_at_a_heading_where_one_is_near() -> None:
    def sections() -> Iterator[ParsedDocument]:
        for number in range(60):
            for part in range(3):
                headings = (Heading(1, 1, f"Section {number}"),) if part == 0 else ()
                text = f"\nSection {number}\n{PAGE}" if part == 0 else f"\n{PAGE}"
                yield ParsedDocument(text, headings=headings)

    ranges = list(read_ranges(sections()))
    assert len(ranges) > 2
    assert all(each.document.text.startswith("\nSection") for each in ranges)


def test_notes_come_with_their_range() -> None:
    parts = [*paged(100)]
    parts[90] = ParsedDocument("", (PageStart(0, 91),), notes=(Note(NoteKind.IMAGES_ONLY, 1, (91,)),))
    ranges = list(read_ranges(parts))
    assert [each.notes for each in ranges if each.notes] == [(Note(NoteKind.IMAGES_ONLY, 1, (91,)),)]


def test_document_without_text_has_one_range_without_chunks() -> None:
    (only,) = read_ranges([])
    assert (only.spans, only.is_last) == ([], True)
