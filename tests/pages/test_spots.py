"""The drawer of a citation: the pages that the passage stands on, and what has become of its document."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest
import sqlalchemy as sa

from kb.database.tables import documents
from kb.models import Document
from tests.kb.parsing import parsing_samples as samples
from tests.pages.conftest import Installation, Visit
from tests.pages.visitor import Visitor

QUESTION = "How long is black tea steeped in boiling water?"
PAGES = ["Green tea is steeped for two minutes.", "Black tea is steeped in boiling water for four minutes."]


@pytest.fixture
def document(without_model: Installation) -> Document:
    """A ready PDF of two pages."""
    base = without_model.filled(files={"tea.pdf": samples.make_pdf(PAGES)})
    return without_model.documents(base)[0]


def open_citation(visit: Visit, locale: str = "en-US") -> Visitor:
    visitor = visit(locale)
    visitor.ask(QUESTION)
    visitor.open_citation(1)
    return visitor


def markup(visitor: Visitor, name: str) -> str:
    """The HTML that the drawer shows of a class."""
    return "".join(part.value for part in visitor.app.html if f"class='{name}'" in part.value)


def pages(visitor: Visitor) -> str:
    return markup(visitor, "zw-page")


def link(visitor: Visitor) -> str:
    return markup(visitor, "zw-open")


def test_page_with_the_matching_sentence_comes_first_and_has_it_marked(document: Document, visit: Visit) -> None:
    visitor = open_citation(visit)
    file = f"{document.knowledge_base_id}/{document.latest.id}"
    shown = pages(visitor)
    assert re.findall(r"src='([^?']+)", shown) == [f"api/pages/{file}/2", f"api/pages/{file}/1"]
    assert re.findall(r"<i class='([^']+)", shown) == ["zw-mark zw-match", "zw-mark"]
    assert f"href='api/originals/{file}?ticket=" in link(visitor)
    assert "download='tea.pdf'" in link(visitor)
    assert ">Open the document</a>" in link(visitor)


def test_drawer_speaks_chinese(document: Document, visit: Visit) -> None:
    visitor = open_citation(visit, "zh-CN")
    assert "打开原文件" in link(visitor)
    assert "此页无法显示，请打开原文件查看。" in pages(visitor)


def test_document_of_an_earlier_release_is_shown_without_marks(
    document: Document, without_model: Installation, visit: Visit
) -> None:
    without_model.services.files.line_boxes(document.latest.file_key).unlink()
    visitor = open_citation(visit)
    assert pages(visitor).count("<img") == 1
    assert "To see passages marked, upload it again." in visitor.text()


@pytest.mark.parametrize("is_deleted", [False, True])
def test_lost_document_leaves_the_passage_and_no_link(
    document: Document, is_deleted: bool, without_model: Installation, visit: Visit
) -> None:
    visitor = visit()
    visitor.ask(QUESTION)
    if is_deleted:
        without_model.services.documents.delete(without_model.user, document.id)
    else:
        with without_model.services.database.write() as connection:
            connection.execute(sa.update(documents).values(live_version_id=uuid4()))
    visitor.open_citation(1)
    assert ("deleted" if is_deleted else "changed since") in visitor.text()
    assert "Black tea is steeped in boiling water" in visitor.text()
    assert link(visitor) == pages(visitor) == ""


def test_text_has_a_link_and_no_pages(without_model: Installation, visit: Visit) -> None:
    without_model.filled()
    visitor = open_citation(visit)
    assert "api/originals/" in link(visitor)
    assert pages(visitor) == ""
