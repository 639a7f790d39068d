"""Where a passage stands in its document, and whether the document is still the one that it was found in."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pypdfium2
import pytest
import sqlalchemy as sa
from PIL import Image

from kb.database.tables import documents
from kb.errors import NotFound, PageNotDrawn
from kb.models import Chunk, Document
from kb.services import WorkerParts
from kb.spots import MarkedPage, SourceState, Spot
from tests.conftest import Core
from tests.kb.parsing import parsing_samples as samples

PAGES = ["The first page is about apples", "The second page is about pears"]


@pytest.fixture
def document(core: Core, worker: WorkerParts) -> Document:
    """A ready PDF."""
    return ingested(core, worker, "fruit.pdf", samples.make_pdf(PAGES))


def ingested(core: Core, worker: WorkerParts, name: str, content: bytes | str) -> Document:
    document = core.upload(core.knowledge_base(name), name, content)
    worker.ingestion.ingest(document.latest.id)
    return core.document(document.id)


def chunk_of(core: Core, document: Document) -> Chunk:
    (chunk,) = core.services.documents.chunks(core.user, document.id, 0, 10)
    return chunk


def boxes_file(core: Core, document: Document) -> Path:
    return core.services.files.line_boxes(document.latest.file_key)


def text_in(content: bytes, page: MarkedPage) -> str:
    """What PDFium reads inside the boxes of a page."""
    with pypdfium2.PdfDocument(content) as pdf:
        width, height = pdf[page.number - 1].get_size()
        textpage = pdf[page.number - 1].get_textpage()
        return "\n".join(
            textpage.get_text_bounded(
                line.left * width, (1 - line.bottom) * height, line.right * width, (1 - line.top) * height
            )
            for line in page.lines
        )


def test_lines_of_a_passage_are_marked_on_its_pages(core: Core, document: Document) -> None:
    spot = core.services.spots.find(core.user, chunk_of(core, document))
    assert (spot.source, spot.knowledge_base_id, spot.has_marks) == (SourceState.SAME, document.knowledge_base_id, True)
    assert [page.number for page in spot.pages] == [1, 2]
    assert [text_in(samples.make_pdf(PAGES), page) for page in spot.pages] == PAGES


def test_part_of_a_passage_is_on_fewer_pages(core: Core, document: Document) -> None:
    chunk = chunk_of(core, document)
    half = replace(chunk, start=chunk.start + chunk.text.index("The second"), page=2)
    (page,) = core.services.spots.find(core.user, half).pages
    assert (page.number, len(page.lines)) == (2, 1)


def test_document_of_an_earlier_release_has_pages_without_marks(core: Core, document: Document) -> None:
    boxes_file(core, document).unlink()
    spot = core.services.spots.find(core.user, chunk_of(core, document))
    assert (spot.pages, spot.has_marks) == ([MarkedPage(1, [])], False)


def test_text_has_no_pages(core: Core, worker: WorkerParts) -> None:
    document = ingested(core, worker, "a.md", "# Apples\n\nAre red.")
    spot = core.services.spots.find(core.user, chunk_of(core, document))
    assert spot == Spot(SourceState.SAME, document.latest.id, document.knowledge_base_id)
    assert not boxes_file(core, document).exists()
    with pytest.raises(PageNotDrawn):
        core.services.spots.draw(core.user, document.knowledge_base_id, document.latest.id, 1)


def test_replaced_document_has_changed(core: Core, document: Document) -> None:
    chunk = chunk_of(core, document)
    with core.services.database.write() as connection:
        connection.execute(sa.update(documents).values(live_version_id=uuid4()))
    assert core.services.spots.find(core.user, chunk) == Spot(SourceState.CHANGED, document.latest.id)


def test_deleted_document_is_gone_with_its_places(core: Core, worker: WorkerParts, document: Document) -> None:
    chunk = chunk_of(core, document)
    core.services.documents.delete(core.user, document.id)
    for _ in range(2):
        assert core.services.spots.find(core.user, chunk) == Spot(SourceState.GONE, document.latest.id)
        with pytest.raises(NotFound):
            core.services.spots.draw(core.user, document.knowledge_base_id, document.latest.id, 1)
        worker.cleanup.clear_document(document.id)
    assert not boxes_file(core, document).exists()


def test_deleted_knowledge_base_takes_its_documents_along(core: Core, document: Document) -> None:
    chunk = chunk_of(core, document)
    core.services.knowledge_bases.delete(core.user, document.knowledge_base_id)
    assert core.services.spots.find(core.user, chunk).source is SourceState.GONE


def test_stranger_sees_nothing(core: Core, document: Document) -> None:
    spots = core.services.spots
    assert spots.find(core.stranger, chunk_of(core, document)) == Spot(SourceState.GONE, document.latest.id)
    for user, base in ((core.stranger, document.knowledge_base_id), (core.user, uuid4())):
        with pytest.raises(NotFound):
            spots.draw(user, base, document.latest.id, 1)
        with pytest.raises(NotFound):
            core.services.documents.original(user, base, document.latest.id)


def test_page_is_drawn_for_its_owner(core: Core, document: Document) -> None:
    image = core.services.spots.draw(core.user, document.knowledge_base_id, document.latest.id, 2)
    assert Image.open(io.BytesIO(image)).format == "JPEG"


def test_failed_attempt_leaves_no_places(core: Core, worker: WorkerParts) -> None:
    document = ingested(core, worker, "blank.pdf", samples.make_pdf(["", ""]))
    assert document.live_version_id is None
    assert list(core.services.settings.uploads.rglob("*.partial")) == []
