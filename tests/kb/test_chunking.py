"""Chunks are exact spans, lose nothing, respect the size, and know their page and headings."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest

from kb.chunking import MAX_CHUNK_BYTES, chunk_document
from kb.columns import columns
from kb.models import ChunkSpan, Heading, PageStart, ParsedDocument, TableRows


def spans_text(document: ParsedDocument, spans: list[ChunkSpan]) -> list[str]:
    return [document.text[span.start : span.end] for span in spans]


def check(document: ParsedDocument, size: int = 1000, overlap: int = 100) -> list[ChunkSpan]:
    """Chunk a document and check what must hold for every text."""
    text = document.text
    spans = chunk_document(document, size, overlap)
    covered = 0
    for ordinal, (span, chunk) in enumerate(zip(spans, spans_text(document, spans), strict=True)):
        assert span.ordinal == ordinal
        assert chunk
        assert chunk == chunk.strip()
        assert columns(chunk) <= max(size, 8)
        assert len(chunk.encode()) <= MAX_CHUNK_BYTES
        assert span.end > covered
        assert not text[covered : span.start].strip()
        assert len(span.heading) <= 500
        covered = span.end
    assert not text[covered:].strip()
    assert chunk_document(document, size, overlap) == spans
    return spans


def sectioned(*sections: tuple[int, str, str]) -> ParsedDocument:
    """A document of (level, title, body)."""
    text = ""
    headings = []
    for level, title, body in sections:
        headings.append(Heading(len(text), level, title))
        text += f"{title}\n{body}\n" if body else f"{title}\n"
    return ParsedDocument(text, headings=tuple(headings))


def test_slides_are_not_joined_and_have_their_own_headings() -> None:
    slides = ["Topic 1\nOne point.", "No title here.", "Topic 3", "Topic 4\nLast point."]
    text, pages, headings = "", [], []
    for number, slide in enumerate(slides, 1):
        pages.append(PageStart(len(text), number))
        if slide.startswith("Topic"):
            headings.append(Heading(len(text), 1, slide.split("\n")[0]))
        text += slide + "\n\n"
    document = ParsedDocument(text, tuple(pages), tuple(headings), has_whole_pages=True)
    spans = check(document)
    assert spans_text(document, spans) == slides
    assert [(span.page, span.heading) for span in spans] == [(1, "Topic 1"), (2, ""), (3, "Topic 3"), (4, "Topic 4")]
    assert len(check(replace(document, has_whole_pages=False))) == 1


@pytest.mark.parametrize("seed", range(8))
def test_nothing_is_lost_in_random_texts(seed: int) -> None:
    source = random.Random(seed)
    alphabet = "abc de.f。，的一是不\n\n \t😀!?；:ก"
    for _ in range(40):
        text = "".join(source.choice(alphabet) for _ in range(source.randrange(1500)))
        lines = sorted(text.rfind("\n", 0, source.randrange(len(text) + 1)) + 1 for _ in range(source.randrange(12)))
        headings = tuple(Heading(at, source.randrange(1, 5), "H" * source.randrange(1, 300)) for at in lines)
        size, overlap = source.choice([1, 2, 10, 50, 200, 1000, 10**9]), source.choice([0, 1, 5, 30, 100, 900])
        check(ParsedDocument(text, headings=headings), size, overlap)


@pytest.mark.parametrize(
    "text", ["知" * 30_000, "x" * 30_000, "😀" * 9_000, "ก" * 30_000, "ab " * 10_000, "。" * 5_000, "\n" * 5_000, ""]
)
def test_texts_without_good_places_to_split(text: str) -> None:
    check(ParsedDocument(text))
    check(ParsedDocument(text), size=10**9)


def test_chunk_size_is_500_han_or_1000_latin_characters() -> None:
    chinese = check(ParsedDocument("知识库检索系统。" * 2_000))
    english = check(ParsedDocument("Some plain words. " * 2_000))
    assert {span.end - span.start for span in chinese[1:-1]} <= set(range(430, 501))
    assert {span.end - span.start for span in english[1:-1]} <= set(range(860, 1001))


def test_splits_and_overlaps_at_sentences() -> None:
    text = "".join(f"第{n}条规定员工须提前三天提交申请。" for n in range(100))
    document = ParsedDocument(text)
    chunks = spans_text(document, check(document, size=300, overlap=60))
    assert all(chunk.startswith("第") and chunk.endswith("。") for chunk in chunks)
    assert all(after.split("。")[0] in before for before, after in pairwise(chunks))


def test_tiny_sections_are_joined() -> None:
    document = sectioned(*((1, f"Heading {n}", "one line") for n in range(300)))
    spans = check(document)
    assert len(spans) < 10
    assert spans[0].heading == "Heading 0"
    assert document.text[spans[1].start :].startswith("Heading")


def test_sections_are_kept_whole() -> None:
    document = sectioned((1, "A", "a " * 300), (2, "B", "b " * 300), (2, "C", "c " * 300), (1, "D", "d " * 300))
    spans = check(document)
    assert [span.heading for span in spans] == ["A", "A > B", "A > C", "D"]


def test_bare_heading_stays_with_what_follows() -> None:
    document = sectioned((1, "A", "a " * 300), (1, "B", ""), (2, "C", "c " * 300))
    chunks = spans_text(document, check(document))
    assert [chunk[:5] for chunk in chunks] == ["A\na a", "B\nC\nc"]


def test_page_is_where_the_chunk_starts() -> None:
    text = "first page\n\n" + "word " * 300 + "\n\nlast"
    pages = (PageStart(0, 1), PageStart(12, 2), PageStart(12, 3), PageStart(text.index("last"), 4))
    spans = check(ParsedDocument(text, pages=pages))
    assert [span.page for span in spans] == [1, *[3] * (len(spans) - 1)]
    assert chunk_document(ParsedDocument("no pages"))[0].page == 0


def test_long_text_is_split_in_windows() -> None:
    document = ParsedDocument("知识库的检索。\n" * 100_000)
    assert len(chunk_document(document)) > 1_500


def test_rows_of_tables_stay_whole() -> None:
    before, after = "Some words before. " * 20, "Some words behind it. " * 60
    rows = [f"Part: SP-{n}; Weight: {n} g; Note: {'it is heavy, and sold; ' * 8}" for n in range(30)]
    text = "\n".join([before, *rows, after])
    start = len(before) + 1
    document = ParsedDocument(text, tables=(TableRows(start, start + len("\n".join(rows))),))
    chunks = spans_text(document, check(document))
    assert len(chunks) > 5
    assert sum(chunk.count("Part: ") for chunk in chunks) == len(rows)
    assert all(chunk.startswith(("Part: ", "Some", "words", "before", "behind")) for chunk in chunks)
    assert all(row.rstrip("; ") in "".join(chunks) for row in rows)
